"""``mien report``: what the pages say, that they stand alone, and that a browser draws them."""

from __future__ import annotations

import base64
import html.parser
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import cv2
import msgspec
import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.stream.digest import Digest, digest
from mien.stream.frame import Frame
from mien.stream.observation import FaceObservation
from mien.stream.reading import read_observations
from mien.stream.sinks.base import Recording
from mien.stream.sinks.jsonl import JsonLinesSink
from mien.stream.sinks.parquet import ParquetSink
from mien.tools.annotate.annotated import Annotation, VideoFinder
from mien.tools.annotate.command import Annotate
from mien.tools.report.command import Report

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NASTY = "a <img src=x onerror=alert(1)>&\"'#?%41 ü"


@pytest.fixture(scope="session")
def annotated(
    tmp_path_factory: pytest.TempPathFactory, portrait_video: Path, empty_room_video: Path
) -> Path:
    """A folder ``rows`` made by ``mien annotate`` of the two videos in the folder beside it."""
    folder = tmp_path_factory.mktemp("report")
    videos = folder / "videos"
    (videos / "sub").mkdir(parents=True)
    shutil.copy(portrait_video, videos / f"{NASTY}.mp4")
    shutil.copy(empty_room_video, videos / "sub" / "empty.mp4")
    assert Annotate((videos,), out=folder / "rows").run() == 0
    return folder


@pytest.fixture(scope="session")
def pages(annotated: Path) -> Path:
    """The report of those."""
    out = annotated / "pages out"
    report = Report(annotated / "rows", out=out, videos=(annotated / "videos",))
    assert report.run() == 0
    return out


class Page(html.parser.HTMLParser):
    """What a page refers to, its tables, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[dict[str, str | None]]] = []
        self.text = ""
        self.script = ""
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append({"text": "", **dict(attrs)})

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.script += data
            return
        self.text += data
        if self.rows and self.rows[-1]:
            cell = self.rows[-1][-1]
            cell["text"] = (cell["text"] or "") + data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(pages: Path, word: str) -> Path:
    (path,) = [p for p in (pages / "pages").rglob("*.html") if word in p.name]
    return path


def test_every_page_stands_alone(pages: Path) -> None:
    files = sorted(pages.rglob("*"))
    assert all(path.suffix == ".html" for path in files if path.is_file())
    for path in files:
        if not path.is_file():
            continue
        page = Page(path)
        assert not page.all("link")
        assert all("src" not in script for script in page.all("script"))
        assert not re.search(r"url\(|@import|https?:", page.script)
        for image in page.all("img"):
            assert (image["src"] or "").startswith("data:image/jpeg;base64,")
        for link in page.all("a"):
            assert (path.parent / unquote(link["href"] or "")).is_file()


def test_the_index_has_the_facts_of_the_sidecars(pages: Path, annotated: Path) -> None:
    index = Page(pages / "index.html")
    lines = {row[0]["text"]: row for row in index.rows if row}
    assert set(lines) == {NASTY, "sub/empty"}
    for name, row in lines.items():
        facts = json.loads((annotated / "rows" / f"{name}.json").read_text())
        assert int(row[2]["data-key"] or "") == facts["frames_read"]
        share = facts["frames_with_faces"] / facts["frames_read"]
        assert float(row[3]["data-key"] or "") == pytest.approx(share, abs=1e-5)
        assert (row[-1]["text"] or "").strip() == "the end"
    assert lines["sub/empty"][6]["data-key"] == "1"  # one stretch without a face: all of it
    assert lines["sub/empty"][8]["data-key"] == ""  # no confidence to tell


def test_a_page_has_pictures_with_faces_drawn_in(pages: Path, portrait_video: Path) -> None:
    page = Page(page_of(pages, "onerror"))
    images = page.all("img")
    assert len(images) >= 3
    first = base64.b64decode((images[0]["src"] or "").split(",")[1])
    picture = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape[1] <= 640
    frame = int((images[0]["alt"] or "").removeprefix("frame "))
    plain = cv2.VideoCapture(str(portrait_video))
    plain.set(cv2.CAP_PROP_POS_FRAMES, frame)
    original = cv2.resize(plain.read()[1], (picture.shape[1], picture.shape[0]))
    difference = np.abs(picture.astype(int) - original.astype(int)).max(axis=2)
    # The frame it says, but where lines and the panel are drawn.
    assert np.median(difference) < 8
    assert (difference > 60).mean() > 0.01
    empty = Page(page_of(pages, "empty"))
    assert len(empty.all("img")) == 1
    assert "no face for 0.5 s" in empty.text


def test_names_are_shown_and_never_run(pages: Path) -> None:
    for path in (pages / "index.html", page_of(pages, "onerror")):
        page = Page(path)
        assert NASTY in page.text
        assert not [image for image in page.all("img") if "onerror" in image]


def test_without_the_video_the_page_says_so(
    annotated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Report(annotated / "rows", out=tmp_path / "a").run() == 0
    assert "2 reported, 0 failed" in capsys.readouterr().out
    page = Page(page_of(tmp_path / "a", "onerror"))
    assert "--videos says where it lies" in page.text
    assert not page.all("img")
    # Another video of that name is not taken for it.
    (tmp_path / "other").mkdir()
    (video,) = (annotated / "videos").glob("*.mp4")
    shutil.copy(annotated / "videos/sub/empty.mp4", tmp_path / "other" / video.name)
    Report(annotated / "rows", out=tmp_path / "b", videos=(tmp_path / "other",)).run()
    assert "another size" in Page(page_of(tmp_path / "b", "onerror")).text


def test_the_video_is_found_where_the_tree_says_and_never_guessed(tmp_path: Path) -> None:
    for name in ("A/x.mp4", "B/x.mp4", "C/deep/y.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(source: str, name: str, *places: str) -> str:
        annotation = Annotation(tmp_path / "rows.parquet", name, None, {"source": source})
        finder = VideoFinder([tmp_path / place for place in places], tmp_path / "C/deep")
        path, why = finder.find(annotation)
        return why if path is None else path.relative_to(tmp_path).as_posix()

    assert found("x.mp4", "A/x", ".") == "A/x.mp4"
    assert found("x.mp4", "x", "A") == "A/x.mp4"
    assert found("x.mp4", "B/x", "A", "B") == "B/x.mp4"  # A/x.mp4 is not taken for it
    assert "2 files are called x.mp4" in found("x.mp4", "x", ".")
    assert "2 files are called x.mp4" in found("x.mp4", "x", "A", "B")
    assert found("y.mp4", "y", ".") == "C/deep/y.mp4"
    assert found("y.mp4", "y") == "C/deep/y.mp4"  # beside the rows
    assert found("", "y", "C") == "C/deep/y.mp4"  # rows that do not say their source
    assert found("x.mp4", "elsewhere", "B/x.mp4") == "B/x.mp4"
    assert "--videos says where" in found("z.mp4", "z", ".")


def test_two_runs_write_the_same_bytes(annotated: Path, pages: Path, tmp_path: Path) -> None:
    Report(annotated / "rows", out=tmp_path, videos=(annotated / "videos",)).run()
    for path in pages.rglob("*.html"):
        assert (tmp_path / path.relative_to(pages)).read_bytes() == path.read_bytes()


def test_damaged_rows_fail_alone(
    annotated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(annotated / "rows", tmp_path / "rows")
    (tmp_path / "rows/broken.parquet").write_bytes(b"PAR1 not quite")
    (tmp_path / "rows/boxes.csv").write_text("frame,x,y,w,h\n")  # another program's
    assert Report(tmp_path / "rows").run() == 1
    said = capsys.readouterr()
    assert "2 reported, 1 failed" in said.out
    assert "broken.parquet" in said.err
    assert len(said.err.splitlines()) == 1
    index = Page(tmp_path / "rows/report/index.html")
    assert [row[0]["text"] for row in index.rows if row and "broken" in (row[0]["text"] or "")]
    # A second run does not take its own pages for input.
    assert Report(tmp_path / "rows").run() == 1


def test_a_folder_without_annotations_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no annotation"):
        Report(tmp_path).run()
    with pytest.raises(InputError, match="no such folder; expected an --out of mien annotate"):
        Report(tmp_path / "none").run()


def test_rows_of_other_formats_are_reported_too(
    annotated: Path, tmp_path: Path, portrait_video: Path
) -> None:
    (rows,) = (annotated / "rows").glob("*.parquet")
    shutil.copy(rows.with_suffix(".json"), tmp_path / "portrait.json")
    picture = np.zeros((1, 1, 3), np.uint8)
    with JsonLinesSink(tmp_path / "portrait.jsonl") as sink:
        for row in read_observations(rows):
            sink.write(Frame(picture, row.frame), [row])
    assert Report(tmp_path, videos=(portrait_video,)).run() == 0
    page = Page(page_of(tmp_path / "report", "portrait"))
    assert len(page.all("img")) >= 3


# What the pages are made from.


@pytest.fixture(scope="session")
def a_row(annotated: Path) -> FaceObservation:
    (path,) = (annotated / "rows").glob("*.parquet")
    return next(iter(read_observations(path)))


def rows_of(
    a_row: FaceObservation, frames: int, blinks: set[int], lost: set[int], track: int = 0
) -> Iterator[FaceObservation]:
    """25 frames a second; eyes closed in some frames, no row in others."""
    for frame in range(frames):
        if frame in lost:
            continue
        assert a_row.blendshapes is not None
        values = a_row.blendshapes.copy()
        both = [BLENDSHAPE_INDEX[f"eyeBlink{side}"] for side in ("Left", "Right")]
        values[both] = 0.9 if frame in blinks else 0.1
        yield msgspec.structs.replace(
            a_row,
            frame=frame,
            t_media_ns=7_000_000_000 + frame * 40_000_000,
            track=track,
            observed=True,
            yaw=20.0 * np.sin(frame / 50).item(),
            confidence=0.5 if frame == 777 else 0.99,
            blendshapes=values,
        )


def test_a_long_film_keeps_its_blinks_and_its_gaps(a_row: FaceObservation) -> None:
    frames = 6000
    blinks = set(range(100, frames, 500))  # a frame each
    lost = set(range(1000, 1050)) | set(range(5990, 6000))
    facts = digest(
        rows_of(a_row, frames, blinks, lost), rate=25.0, frames=frames, seconds=240.0, bins=256
    )
    assert facts.width > 1
    assert sum(len(face.curves) for face in facts.faces.values()) <= 256
    assert (facts.seen, facts.frames) == (frames - len(lost), frames)
    assert facts.faces[0].blinks == len(blinks)
    assert facts.blinks_per_minute == pytest.approx(len(blinks) / (5940 / 25 / 60), rel=0.01)
    assert [(s.first, s.last) for s in facts.lost] == [(1000, 1049), (5990, 5999)]
    assert facts.lost[0].seconds == pytest.approx(2.0)
    assert facts.lost[0].begin_s == pytest.approx(40.0)
    assert facts.lost_s == pytest.approx(2.4)
    assert facts.worst_confidence == pytest.approx(0.5)
    assert facts.moments(1, 1.0, best=False)[0][0] == 777
    curves = facts.faces[0].curves
    for blink in blinks:
        (bin_,) = [b for b in curves if b.index == blink // facts.width]
        assert bin_.high[3] == pytest.approx(0.9)
        assert bin_.low[3] == pytest.approx(0.1)


def test_coarse_and_fine_bins_tell_the_same(a_row: FaceObservation) -> None:
    def facts(bins: int) -> Digest:
        rows = rows_of(a_row, 900, {50, 51, 52, 400}, {10, 300, 301})
        return digest(rows, rate=25.0, bins=bins)

    fine, coarse = facts(10_000), facts(64)
    assert (fine.width, coarse.width) == (1, 16)
    for name in ("frames", "seen", "n_lost", "lost", "worst_confidence", "seconds"):
        assert getattr(fine, name) == getattr(coarse, name)
    low = np.min([b.low for b in fine.faces[0].curves], axis=0)
    np.testing.assert_array_equal(low, np.min([b.low for b in coarse.faces[0].curves], axis=0))
    assert sum(b.seen for b in coarse.bins) == fine.seen
    assert [m[0] for m in coarse.moments(1, 0.1, best=False)] == [777]


def test_many_faces_are_several_curves(a_row: FaceObservation, tmp_path: Path) -> None:
    recording = Recording(source="two.mp4", rate=25.0, width=320, height=180)
    picture = np.zeros((1, 1, 3), np.uint8)
    with ParquetSink(tmp_path / "two.parquet", recording) as sink:
        films = [rows_of(a_row, 60, set(), set(), track) for track in (0, 3)]
        for index, rows in enumerate(zip(*films, strict=True)):
            sink.write(Frame(picture, index), rows)
    assert Report(tmp_path).run() == 0
    page = Page(page_of(tmp_path / "report", "two"))
    assert "face 0" in page.text
    assert "face 3" in page.text
    assert "There is no sidecar" in page.text


def test_long_closed_eyes_and_eyes_first_seen_closed_are_no_blinks(
    a_row: FaceObservation,
) -> None:
    closed = set(range(5)) | set(range(50, 100)) | {120, 121}
    facts = digest(rows_of(a_row, 150, closed, set()), rate=25.0)
    assert facts.faces[0].blinks == 1


# In a browser.


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """``browse(page, *options)``: the page's HTML after its scripts, and what Chromium said."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    program = CHROMIUM

    def run(page: Path, *options: str) -> tuple[str, str]:
        done = subprocess.run(
            [
                *(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}"),
                *("--enable-logging=stderr", "--hide-scrollbars", "--window-size=1200,1000"),
                *("--virtual-time-budget=2000", *options, page.as_uri()),
            ],
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        return done.stdout, done.stderr

    return run


def test_a_browser_draws_the_curves(
    browse: Callable[..., tuple[str, str]], pages: Path, tmp_path: Path
) -> None:
    path = page_of(pages, "onerror")
    dom, said = browse(path, "--dump-dom")
    assert "CONSOLE" not in said
    assert 'data-drawn="5"' in dom
    assert dom.count("<canvas") == 5
    _, said = browse(path, f"--screenshot={tmp_path / 'page.png'}")
    assert "CONSOLE" not in said
    shot = cv2.imread(str(tmp_path / "page.png"))
    assert shot is not None
    blue = np.abs(shot.astype(int) - np.array([0xA8, 0x65, 0x25])).max(axis=2) < 40
    columns = blue.any(axis=0)
    assert columns[120:1080].mean() > 0.9  # a curve from end to end
    assert shot.std() > 10


def test_the_index_can_be_sorted(
    browse: Callable[..., tuple[str, str]], pages: Path, tmp_path: Path
) -> None:
    text = (pages / "index.html").read_text(encoding="utf-8")
    clicks = "<script>document.querySelectorAll('th button')[3].click();</script></body>"
    for times, first in ((1, "empty"), (2, "onerror")):
        copy = tmp_path / f"{times}.html"
        copy.write_text(text.replace("</body>", clicks * times), encoding="utf-8")
        dom, said = browse(copy, "--dump-dom")
        assert "CONSOLE" not in said
        body = dom[dom.index("<tbody>") :]
        other = "empty" if first == "onerror" else "onerror"
        assert body.index(first) < body.index(other)
