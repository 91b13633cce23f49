"""What pages print is true: commands are understood, links lead somewhere, examples run.

That commands do what they should when they are typed in their order, ``tests/pages`` sees.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models.face.morphable import FaceModel
from mien.stream.sources.opening import open_source
from mien.tools.commands import parse
from mien.tools.demo import demo_clip
from mien.tools.options import shipped_face_model

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


_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
NAMED = [*PAGES, ROOT / "CHANGELOG.md"]


def anchors(page: Path) -> set[str]:
    """Names that GitHub gives to a page's headings."""
    titles = re.findall(
        r"^#+ (.*)$", _BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE
    )
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Every link of a page to a file of the project: itself, the file, and the heading there."""
    for link in _LINK.findall(_BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", link):
            place, _, anchor = link.partition("#")
            yield link, (page.parent / place).resolve() if place else page, anchor


@pytest.mark.parametrize("page", NAMED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_what_is_there(page: Path) -> None:
    for link, target, anchor in links(page):
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_reached_from_the_readme() -> None:
    reached, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in reached:
            reached.add(page)
            ahead += [target for _, target, _ in links(page) if target.suffix == ".md"]
    assert set(PAGES) <= reached


def test_pictures_are_small_and_none_is_left_over() -> None:
    shown = {target for page in NAMED for _, target, _ in links(page)}
    for picture in (ROOT / ".github").iterdir():
        if picture.suffix in {".jpg", ".png", ".webp"}:
            assert picture in shown, f"no page shows {picture.name}"
            assert picture.stat().st_size < 700e3, picture.name


def test_the_licence_page_knows_every_file() -> None:
    text = (ROOT / "LICENCES.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    patterns = [pattern for row in rows for pattern in re.findall(r"`([^`]+)`", row)]
    rooms = ("models", "stream", "tools", "tests", "bench", ".github")
    files = [path for room in rooms for path in (ROOT / room).rglob("*") if path.is_file()]
    names = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    deep = [pattern.replace("**/", "*/") for pattern in patterns]
    assert len(names) > 300
    assert not {name for name in names if not any(fnmatch(name, one) for one in deep)}
    assert not [one for one in deep if "/" in one and not any(fnmatch(n, one) for n in names)]


@pytest.mark.parametrize("name", ["stream/sinks", "stream/detector"])
def test_the_python_of_a_page_runs(name: str) -> None:
    (code,) = python_of(name)
    short = code.replace("in source:", "in islice(source, 3):")
    with demo_clip() as path:
        with open_source(path) as source:
            (frame,) = islice(source, 1)
        names: dict[str, Any] = {"path": path, "islice": islice, "image_bgr": frame.image_bgr}
        exec(compile(short, name, "exec"), names)
    if name == "stream/sinks":
        assert 0 in names["sink"].yaw_deg
    else:
        (face,) = names["faces"]
        assert abs(face.yaw) < 30


def test_the_python_of_the_noise_page_runs() -> None:
    model = FaceModel.load(shipped_face_model())
    pose = np.hstack([np.eye(3) * 0.5, [[60.0], [60.0], [0.0]]])
    picture = np.full((120, 120, 3), 90, np.uint8)
    for code in python_of("models/noise"):
        names: dict[str, Any] = {"vertices_mm": model.mean, "triangles": model.triangles}
        names |= {"pose": pose.astype(np.float32), "image_bgr": picture}
        exec(compile(code, "models/noise", "exec"), names)


def test_the_loss_of_the_page_trains() -> None:
    torch = pytest.importorskip("torch")
    from mien.models.regressor.losses import PointDecoder, Targets
    from mien.models.regressor.objective import TensorBatch

    torch.manual_seed(0)
    faces = torch.tensor([1.0, 0.0])
    targets = Targets(
        torch.randn(2, 3, 4),
        torch.randn(2, 40),
        torch.randn(2, 10),
        torch.rand(2, 52),
        torch.randn(2, 68, 2),
        faces,
    )
    crops = torch.randint(0, 256, (2, 120, 120, 3), dtype=torch.uint8)
    decoder = PointDecoder(FaceModel.load(shipped_face_model()).landmarks())
    names: dict[str, Any] = {"decoder": decoder, "batch": TensorBatch(crops, targets)}
    (code,) = python_of("models/regressor")
    exec(compile(code, "models/regressor", "exec"), names)
    assert float(names["terms"]["huber"]) > 0
    assert any(p.grad is not None for p in names["network"].parameters())


def python_of(folder: str) -> list[str]:
    """The Python that the page of a folder shows."""
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)
