"""The avatar's evaluation on ellipsoids: who is asked what, and what an oracle and a fool score."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("skimage")

import torch

from mien.models.avatar import contender as contender_module
from mien.models.avatar.avatar import Avatar, Grids, joined
from mien.models.avatar.cases import Case, held_out_cases
from mien.models.avatar.contender import Contender, Settings, same_autoencoder
from mien.models.avatar.dataset import ScanFolder
from mien.models.avatar.evaluation import Evaluated, Evaluator
from mien.models.avatar.evaluation_sheet import sheet
from mien.models.avatar.evaluation_summary import summarise
from mien.models.avatar.following import fit_calibration
from mien.models.avatar.looks import TILE, Watcher, changes, found_share
from mien.models.avatar.perceptual import Features
from mien.models.avatar.sample import NeutralScan
from mien.models.errors import InputError

MakeAvatar = Callable[..., Avatar]
PERSON = 5
"""The only one of six who is held out."""


def silhouette(picture: np.ndarray) -> np.ndarray | None:
    """Reads an ellipsoid's height and width as the first two blendshapes."""
    shown = np.abs(picture.astype(int) - picture[0, 0]).sum(axis=-1) > 30
    if not shown.any():
        return None
    row = np.zeros(52, np.float32)
    row[0], row[1] = (
        np.ptp(np.flatnonzero(shown.any(axis=1))),
        np.ptp(np.flatnonzero(shown.any(axis=0))),
    )
    return row / len(picture)


@pytest.fixture(scope="module")
def watcher() -> Watcher:
    torch.manual_seed(0)
    part = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 5, stride=4), torch.nn.ReLU())
    return Watcher(silhouette, Features([part], (0.5,) * 3, (0.5,) * 3, flipped=False), size=96)


@pytest.fixture(scope="module")
def folder(ellipsoid_scans: Path) -> ScanFolder:
    return ScanFolder(ellipsoid_scans)


@pytest.fixture(scope="module")
def case(folder: ScanFolder) -> Case:
    (found,) = held_out_cases(folder, 4, 3)
    return found


@pytest.fixture
def evaluate(folder: ScanFolder, case: Case, watcher: Watcher) -> Callable[..., Evaluated]:
    calibration = fit_calibration(folder, watcher, 9, 3)

    def run(*contenders: Contender, **options: Any) -> Evaluated:
        settings = Settings(**{"steps": 2, "seeds": 2, **options})
        return Evaluator(contenders, watcher, calibration, settings).case(case)

    return run


def test_only_held_out_persons_are_asked_for_what_moves_them(
    folder: ScanFolder, case: Case
) -> None:
    assert case.number == PERSON
    assert len(case.asked) == len(set(case.entries)) == 3
    assert 0 not in case.entries
    for asked in case.asked:
        before = case.person.vertices[0]
        after = case.person.vertices[asked.entry]
        far = np.linalg.norm(after - before, axis=1) > 2
        assert 10 <= len(asked.moved) <= far.sum()
        assert {tuple(p) for p in asked.moved} <= {tuple(p) for p in after[far]}
    (again,) = held_out_cases(folder, 4, 2)
    assert again.entries == case.entries[:2]
    (one,) = held_out_cases(folder, 1, 1, seed=3)
    assert len(one.asked) == 1


def test_what_a_torn_scan_lacks_is_where_it_saw_nothing(case: Case) -> None:
    (torn,) = case.torn
    assert torn.kind == "half"
    assert len(torn.missing) > 30
    # The half at negative x was not seen.
    assert torn.missing[:, 0].max() < 12
    assert case.scan.seen.all()


def test_persons_whom_nothing_moves_are_refused(
    tmp_path: Path, make_person: Callable[[int], dict[str, np.ndarray]]
) -> None:
    (tmp_path / "meta.json").write_text(json.dumps({"cells": 16}))
    for number in range(3):
        person = make_person(number)
        person["vertices"][1:] = person["vertices"][:1]
        np.savez(tmp_path / f"person-{number:05d}.npz", **person)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="moves the face"):
        list(held_out_cases(ScanFolder(tmp_path), 2, 2))


def test_an_oracle_is_as_good_as_the_true_grid(
    evaluate: Callable[..., Evaluated],
    case: Case,
    tiny_avatar: MakeAvatar,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def oracle(_: Avatar, __: NeutralScan, vectors: np.ndarray, **___: Any) -> Grids:
        places = [
            int(np.flatnonzero((case.person.blendshapes == row).all(axis=1))[0]) for row in vectors
        ]
        sdf = case.person.sdf[places].astype(np.float32)
        return joined([Grids(sdf, case.person.colour[places])])

    monkeypatch.setattr(contender_module, "generate", oracle)
    found = evaluate(Contender("diffusion", tiny_avatar())).figures["diffusion"]
    assert found["moved_mm"] == pytest.approx(found["grid_mm"])
    assert found["moved_mm"] < 1.5
    assert found["ceiling_mm"] > found["grid_mm"]  # never trained
    assert found["made_iou"] == 1
    assert found["made_chamfer_mm"] < 1e-2 < found["chamfer_mm"]
    assert found["half_made_mm"] == found["half_best_mm"] < 1.5
    assert max(found["half_spread_mm"], found["seed_spread_mm"]) < 1e-4
    assert found["truth_following"] > 0.8
    assert found["found"] == 1


def test_the_scores_of_networks_that_know_nothing(
    evaluate: Callable[..., Evaluated], tiny_avatar: MakeAvatar
) -> None:
    one = Contender("diffusion", tiny_avatar())
    other = Contender("regression", tiny_avatar(1, regression=True))
    twin = Contender("plain", tiny_avatar(robust=False))
    done = evaluate(one, other, twin, sweep=(3,))
    assert list(done.figures) == ["diffusion", "regression", "plain"]
    first, second, third = done.figures.values()
    assert all(np.isfinite(value) for value in first.values())
    assert "seed_spread_mm" not in second
    assert second["half_spread_mm"] == 0
    assert same_autoencoder(one.avatar, twin.avatar)
    assert not same_autoencoder(one.avatar, other.avatar)
    assert first["ceiling_mm"] == third["ceiling_mm"]
    assert first["truth_following"] == second["truth_following"]
    assert set(done.sweep) == {3}
    assert done.sweep[3].keys() <= first.keys()
    again = evaluate(one, other, twin, sweep=(3,))
    for name, figures in done.figures.items():
        for figure, value in figures.items():
            if figure != "seconds":
                assert again.figures[name][figure] == pytest.approx(value, nan_ok=True), figure
    moved = evaluate(one, seed=9).figures["diffusion"]
    assert moved["ceiling_mm"] == first["ceiling_mm"]


def test_weights_that_lack_a_part_get_the_rows_they_can(
    evaluate: Callable[..., Evaluated], tiny_avatar: MakeAvatar
) -> None:
    encoder = tiny_avatar()
    encoder.diffusion = None
    sets = (("shape", 40),)
    free = tiny_avatar(2, neutral=False, residual=False, token_sets=sets)
    ten = tiny_avatar(3, token_sets=(("expression", 10),))
    done = evaluate(Contender("encoder", encoder), Contender("free", free), Contender("ten", ten))
    assert "moved_mm" not in done.figures["encoder"]
    assert done.figures["encoder"]["ceiling_mm"] > 0
    assert done.sweep == {}
    assert "moved_mm" not in done.figures["free"]
    assert done.features["free"]["made"].shape == done.features["truth"]["made"].shape
    assert done.figures["ten"]["moved_mm"] > 0


def test_persons_are_put_together(
    evaluate: Callable[..., Evaluated], tiny_avatar: MakeAvatar
) -> None:
    done = evaluate(Contender("diffusion", tiny_avatar()), sweep=(3,))
    found = summarise([done, done])
    assert (found["persons"], found["expressions"]) == (2, 6)
    method = found["methods"]["diffusion"]
    spread = method["figures"]["moved_mm"]
    assert spread["mean"] == pytest.approx(done.figures["diffusion"]["moved_mm"])
    assert (spread["deviation"], spread["count"]) == (0, 2)
    own = done.figures["diffusion"]
    assert method["ratios"]["to_copy"] == pytest.approx(own["moved_mm"] / own["copy_mm"])
    assert set(method["generation"]) == {"made", "ceiling", "copy"}
    assert set(found["sweep"]) == {3}
    picture = sheet([done, done, done], 2)
    assert picture.shape == (4 * (TILE + 18), 2 * TILE, 3)


def test_a_face_that_is_not_found_has_not_moved(watcher: Watcher, case: Case) -> None:
    from mien.models.avatar.face_surface import FaceSurface

    face = FaceSurface(case.person.sdf[1], case.person.colour[1])
    nothing = FaceSurface(np.full((16, 16, 16), 9, np.float32), case.person.colour[1])
    seen, blind = watcher.looks([face, nothing])
    assert blind.blendshapes is None
    assert found_share([seen, blind]) == 0.5
    np.testing.assert_array_equal(changes([blind], seen), 0)
    np.testing.assert_array_equal(changes([seen], blind), 0)
    np.testing.assert_array_equal(changes([seen], seen), 0)
