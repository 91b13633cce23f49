"""The commands that pages print, in their order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
_PROGRAMS = re.compile(r"(mien|python3?|pip|mkdir|cp|for|find|srun|\.venv/bin/\w+) ")
_WHOLE = {"mien demo", "mien center"}
"""Commands that need no argument; between back quotes others without one are mere names."""
_GROUPS = {"train", "synthesize", "evaluate-models"}


@dataclass(frozen=True)
class Step:
    """A command that a reader is to type.

    Attributes:
        page: where it is printed, from the root.
        line: as printed, on one line.
        elided: the page says ``...`` for the words of the command before.
    """

    page: str
    line: str
    elided: bool = False

    @property
    def words(self) -> list[str]:
        """As a shell would split it."""
        return shlex.split(self.line)

    @property
    def name(self) -> str:
        """``mien annotate``, ``mien train pifuhd``, or the program."""
        words = self.line.split()
        if words[0] != "mien":
            return words[0]
        return " ".join(words[: 3 if words[1] in _GROUPS else 2])


def pages() -> list[Path]:
    """Every page that is not a record of changes, or of a bench's runs."""
    found = [page for room in ("stream", "models", "tools") for page in (ROOT / room).rglob("*.md")]
    return sorted([*ROOT.glob("*.md"), ROOT / "bench/README.md", *found])


def text_of(page: str) -> str:
    """A page without its programs in other languages; lines that go on are joined."""
    text = (ROOT / page).read_text(encoding="utf-8")
    shells = {"", "sh", "bash", "console"}
    text = _FENCE.sub(
        lambda found: re.sub("^", "    ", found[2], flags=re.M) if found[1] in shells else "", text
    )
    return re.sub(r" *(\\| \|)\n +", lambda end: end[1].strip("\\") + " ", text)


def block_steps(page: str) -> Iterator[Step]:
    """Commands on lines of their own."""
    for line in re.findall(r"^(?: {4}|\t) *(.*)$", text_of(page), re.MULTILINE):
        if _PROGRAMS.match(line):
            yield Step(page, line.strip())


def table_steps(page: str) -> Iterator[Step]:
    """Commands in the cells of a page's tables that begin with one.

    ``--option`` after a command stands for the command with that option in the place of its own,
    and ``...`` for the words of the row above.
    """
    above = ""
    for row in re.findall(r"^\| .* \|$", text_of(page), re.MULTILINE):
        for cell in re.findall(r"(?<=\| )`(?:mien|\.\.\.) .*?(?= \|)", row):
            codes = re.findall("`([^`]+)`", cell)
            elided = codes[0].startswith("...")
            begin = above if elided else re.sub(" --.*", "", codes[0])
            for code in codes:
                option = code.removeprefix("... ")
                yield Step(page, f"{begin} {option}" if option[0] == "-" else code, elided)
            above = above if elided else codes[0]


def whole(step: Step) -> bool:
    """Whether it is a command to type, not the name of one or of its option."""
    return not re.fullmatch(f"{step.name}( --[a-z]+)?", step.line) or step.line in _WHOLE


def printed() -> list[Step]:
    """What the tests are to run: blocks of every page, and the README's tables."""
    found: dict[Step, None] = {}
    for path in pages():
        page = path.relative_to(ROOT).as_posix()
        found |= dict.fromkeys(block_steps(page))
        if page == "README.md":
            found |= {step: None for step in table_steps(page) if whole(step)}
    return list(found)
