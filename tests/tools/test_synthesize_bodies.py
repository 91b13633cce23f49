"""``mien synthesize bodies``: resumable folders that describe themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.mesh.marching import surface_of_grid
from mien.models.people import body_generate, generate
from mien.models.people.body_generate import BodiesConfig
from mien.models.people.points import sample_points
from mien.models.people.record import Subject, subject_path
from mien.models.people.views import View
from mien.tools.synthesize.people import SynthesizeBodies


def test_wrong_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--workers"):
        SynthesizeBodies(out=tmp_path, workers=0).run()
    with pytest.raises(InputError, match="count, views and size"):
        SynthesizeBodies(out=tmp_path, views=0).run()


def _cube(_dresser: object, config: BodiesConfig, number: int) -> Subject:
    """A cube in place of a body: what matters here is where it is written."""
    mesh = surface_of_grid(np.ones((4, 4, 4), np.float32), 0.5, (-9, -9, -9), (9, 9, 9), True)
    place = np.c_[np.eye(3) / 20, np.zeros(3)].astype(np.float32)
    size = config.size
    normals = np.zeros((size, size, 3), np.int8)
    mask = np.full((size, size), 255, np.uint8)
    view = View(np.zeros((size, size, 3), np.uint8), mask, normals, normals, place)
    rng = np.random.default_rng([config.seed, number])
    points = sample_points(mesh, place[None], 18.0, rng, (5, 5, 5, 5))
    return Subject(mesh, points, [view] * config.views, 18.0, number)


def _inline(
    make: Callable[[tuple[BodiesConfig, int]], int],
    tasks: list[tuple[BodiesConfig, int]],
    _workers: int,
    prepare: Callable[[BodiesConfig], None],
    config: BodiesConfig,
) -> Iterator[int]:
    """Processes' work, done in this one."""
    prepare(config)
    return (make(task) for task in tasks)


def test_only_what_is_missing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage")
    monkeypatch.setattr(body_generate, "make_body_dresser", lambda _: object())
    monkeypatch.setattr(body_generate, "body_subject", _cube)
    monkeypatch.setattr(generate, "share_out", _inline)
    folder, sheet = tmp_path / "bodies", tmp_path / "sheet.png"
    tool = SynthesizeBodies(out=folder, count=2, first=2, views=2, size=32, sheet=sheet)
    assert tool.run() == 0
    again = subject_path(folder, 3)
    before = again.read_bytes()
    again.unlink()
    assert tool.run() == 0
    assert again.read_bytes() == before
    said = capsys.readouterr().out
    assert "made 2 bodies" in said
    assert "made 1 bodies" in said
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["kind"], meta["count"], meta["views"]) == ("bodies", 4, 2)
    assert sheet.is_file()
    with pytest.raises(OutputError, match="other settings"):
        SynthesizeBodies(out=folder, count=2, first=2, views=2, size=64).run()
