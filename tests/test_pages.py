"""Every command that a page prints is one that mien, or the bench, understands."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.tools.commands import parse

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    page
    for folder in ("stream", "models", "tools", "bench", "")
    for page in (ROOT / folder).glob("**/*.md" if folder else "*.md")
    if page.name != "CHANGELOG.md" and not any(part.startswith(".") for part in page.parts)
)
_ELISION = re.compile(r"\.\.\.|\[|\||…")

_MENTIONED = re.compile("Required options|Missing subcommand|Missing value")
"""A page may name a command, or an option, without all that it needs."""


def commands(text: str) -> Iterator[str]:
    """What stands in a line of its own, in a block, or between back quotes."""
    joined = re.sub(r" *\\\n *", " ", text)
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", joined, re.MULTILINE | re.DOTALL))
    lines = re.findall(r"^(?: {4}|\t)(.*)$", joined, re.MULTILINE) + fenced.splitlines()
    blocks = [re.sub(r"^([A-Z_]+=\S+ )+", "", line.strip()) for line in lines]
    quoted = re.findall(r"`((?:mien|python) [^`]*)`", joined)
    for command in (*blocks, *quoted):
        for part in re.split(r" && |; | \| | > | & ?$", command):
            found = re.split(r"  #| \(", part)[0].strip()
            if re.match(r"(mien [a-z]|python (-m mien|bench/))", found):
                yield found


FOUND = sorted({
    (page.relative_to(ROOT).as_posix(), command)
    for page in PAGES
    for command in commands(page.read_text(encoding="utf-8"))
})  # fmt: skip


def test_there_are_commands_on_many_pages() -> None:
    assert len({page for page, _ in FOUND}) >= 8
    assert len(FOUND) >= 60


@pytest.mark.parametrize(("page", "command"), FOUND)
def test_a_printed_command_is_understood(
    page: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["1" if re.fullmatch("[A-Z]", word) else word for word in shlex.split(command)]
    if _ELISION.search(command):
        pytest.skip("stands for several commands")
    if words[0] == "mien":
        try:
            parse(words[1:])
        except SystemExit as end:
            if end.code:
                told = capsys.readouterr().err
                assert _MENTIONED.search(told), f"{page}: {command}\n{told}"
    elif words[1] == "-m":
        assert importlib.util.find_spec(words[2]), f"{page}: {command}"
    else:
        assert (ROOT / words[1]).is_file(), f"{page}: {command}"
        text = (ROOT / words[1]).read_text(encoding="utf-8")
        options = [word for word in words[2:] if word.startswith("--")]
        assert all(option.split("=")[0] in text for option in options), f"{page}: {command}"
