"""``mien synthesize heads`` and ``bodies``: resumable folders that describe themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.mesh.marching import surface_of_grid
from mien.models.people import generate
from mien.models.people.body_generate import BodiesConfig
from mien.models.people.generate import HeadsConfig
from mien.models.people.points import sample_points
from mien.models.people.record import Meta, Subject, subject_path
from mien.models.people.views import View
from mien.tools.synthesize.people import SynthesizeBodies, SynthesizeHeads

META = Meta("heads", 32, 420.0, seed=1, count=4, views=2, assets=False, command="")


def test_a_folder_grows_and_keeps_its_settings(tmp_path: Path) -> None:
    META.begin(tmp_path)
    replace(META, count=2).begin(tmp_path)
    assert Meta.load(tmp_path).count == 4
    replace(META, count=9).begin(tmp_path)
    assert Meta.load(tmp_path).count == 9
    with pytest.raises(OutputError, match="other settings"):
        replace(META, seed=2).begin(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(InputError, match=r"meta\.json"):
        Meta.load(tmp_path)


@pytest.mark.parametrize("tool", [SynthesizeHeads, SynthesizeBodies])
def test_wrong_numbers_are_refused(
    tool: type[SynthesizeHeads | SynthesizeBodies], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--workers"):
        tool(out=tmp_path, workers=0).run()
    with pytest.raises(InputError, match="count, views and size"):
        tool(out=tmp_path, views=0).run()


def _cube(config: HeadsConfig, number: int) -> Subject:
    """A cube in place of a person: what matters here is where it is written."""
    mesh = surface_of_grid(np.ones((4, 4, 4), np.float32), 0.5, (-9, -9, -9), (9, 9, 9), True)
    rng = np.random.default_rng([config.seed, number])
    place = np.c_[np.eye(3) / 20, np.zeros(3)].astype(np.float32)
    size = config.size
    normals = np.zeros((size, size, 3), np.int8)
    mask = np.full((size, size), 255, np.uint8)
    view = View(np.zeros((size, size, 3), np.uint8), mask, normals, normals, place)
    points = sample_points(mesh, place[None], 18.0, rng, (5, 5, 5, 5))
    return Subject(mesh, points, [view] * config.views, 18.0, number)


def _inline(
    make: Callable[[tuple[HeadsConfig, int]], int],
    tasks: list[tuple[HeadsConfig, int]],
    _workers: int,
    prepare: Callable[[HeadsConfig], None],
    config: HeadsConfig,
) -> Iterator[int]:
    """Processes' work, done in this one."""
    prepare(config)
    return (make(task) for task in tasks)


@pytest.mark.parametrize("kind", ["heads", "bodies"])
def test_only_what_is_missing_is_made(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage")
    for made in (HeadsConfig, BodiesConfig):
        monkeypatch.setattr(made, "maker", lambda config: partial(_cube, config))
    monkeypatch.setattr(generate, "share_out", _inline)
    folder, sheet = tmp_path / kind, tmp_path / "sheet.png"
    maker = {"heads": SynthesizeHeads, "bodies": SynthesizeBodies}[kind]
    tool = maker(out=folder, count=2, first=2, views=2, size=32, sheet=sheet)
    assert tool.run() == 0
    kept = subject_path(folder, 2).read_bytes()
    again = subject_path(folder, 3)
    before = again.read_bytes()
    again.unlink()
    assert tool.run() == 0
    assert again.read_bytes() == before
    assert subject_path(folder, 2).read_bytes() == kept
    said = capsys.readouterr().out
    assert f"made 2 {kind}" in said
    assert f"made 1 {kind}" in said
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["kind"], meta["count"], meta["views"]) == (kind, 4, 2)
    assert sheet.is_file()
    with pytest.raises(OutputError, match="other settings"):
        replace(tool, size=64).run()
