"""Rendered close-ups: labels that follow the pixels, the same for a seed, resumable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import OutputError
from mien.models.face.crop import CROP_SIZE, Crop
from mien.models.face.names import BLENDSHAPE_NAMES
from mien.models.face.views import MOUTH, ViewPlaces
from mien.models.synthetic.closeup_shards import CLOSEUP_HEIGHT, CLOSEUP_WIDTH, load_shards
from mien.models.synthetic.closeups import Closeup, shoot_closeup
from mien.models.synthetic.scene import Studio
from mien.tools.synthesize.closeups import SynthesizeCloseups

from .view_drawings import BLINK, IN, JAW, OUT

MIDDLE = (CROP_SIZE - 1) / 2
WHOLE = Crop(MIDDLE, MIDDLE, CROP_SIZE)


@pytest.fixture(scope="module")
def pictures(studio: Studio) -> list[Closeup]:
    rng = np.random.default_rng(11)
    looks = [studio.sample_look(rng) for _ in range(6)]
    return [shoot_closeup(studio, look, rng) for look in looks for _ in range(15)]


def test_the_head_is_about_upright_and_the_middles_of_all_views_are_in_the_picture(
    studio: Studio, pictures: list[Closeup]
) -> None:
    places = ViewPlaces.of(studio.head.model)
    tilts = []
    for picture in pictures:
        assert picture.image.shape == (CLOSEUP_HEIGHT, CLOSEUP_WIDTH, 3)
        tilts.append(abs(np.degrees(np.arctan2(picture.pose[0, 1], picture.pose[1, 1]))))
        where = places.mean + np.tensordot(picture.shape, places.basis, 1)
        at = where @ picture.pose[:2, :3].T + picture.pose[:2, 3]
        assert np.all((at > 12) & (at < [CLOSEUP_WIDTH - 13, CLOSEUP_HEIGHT - 13])), at
    # Where perspective leans: far from the camera's axis, and nodding.
    assert np.median(tilts) < 4
    assert max(tilts) < 40


def test_an_iris_lies_to_the_side_of_the_gaze(studio: Studio, pictures: list[Closeup]) -> None:
    """In views of open eyes seen from the front: dark pixels are outward where the eye looks so."""
    places = ViewPlaces.of(studio.head.model)
    sides, gazes = [], []
    for picture in pictures:
        views = places.views(picture.image, WHOLE, picture.pose, picture.shape)
        if np.abs(views.facing).max() > 0.35:
            continue
        units = picture.blendshapes
        for view, lid, out, into in zip(views.pixels[:MOUTH], BLINK, OUT, IN, strict=True):
            if units[lid] > 0.3:
                continue
            grey = view[24:40, 12:52].astype(float).mean(-1)  # below the brow
            dark = np.clip(np.quantile(grey, 0.2) - grey, 0, None)
            sides.append((dark.sum(0) @ np.arange(40)) / max(dark.sum(), 1e-9) - 19.5)
            gazes.append(units[out] - units[into])
    assert len(gazes) >= 15
    assert np.corrcoef(sides, gazes)[0, 1] > 0.4


def test_an_open_mouth_is_dark_in_the_middle_of_its_view(
    studio: Studio, pictures: list[Closeup]
) -> None:
    places = ViewPlaces.of(studio.head.model)
    darker, jaws = [], []
    for picture in pictures:
        views = places.views(picture.image, WHOLE, picture.pose, picture.shape)
        if np.abs(views.facing).max() < 0.5:
            grey = views.pixels[MOUTH].astype(float).mean(-1)
            darker.append(np.quantile(grey, 0.3) - grey[16:34, 20:44].min())
            jaws.append(picture.blendshapes[JAW])
    assert len(jaws) >= 20
    assert np.corrcoef(darker, jaws)[0, 1] > 0.3


def test_winks_are_among_them(pictures: list[Closeup]) -> None:
    lids = np.array([picture.blendshapes[BLINK] for picture in pictures])
    winks = (lids.max(1) >= 0.6) & (lids.min(1) <= 0.3)
    assert 0.03 < winks.mean() < 0.4


def test_accented_mouths_neither_tear_nor_show_a_tongue_through_shut_lips(
    pictures: list[Closeup],
) -> None:
    values = np.array([picture.blendshapes for picture in pictures])
    mouth = [i for i, name in enumerate(BLENDSHAPE_NAMES) if name.startswith("mouth")]
    assert values[:, mouth].sum(1).max() < 3.2 + 1e-3
    assert not values[values[:, JAW] <= 0.3, BLENDSHAPE_NAMES.index("tongueOut")].any()
    assert (values[:, BLENDSHAPE_NAMES.index("mouthClose")] <= values[:, JAW] + 1e-6).all()
    assert values.min() >= 0
    assert values.max() <= 1


def test_the_tool_resumes_and_refuses_another_seed(tmp_path: Path, studio: Studio) -> None:
    folder, sheet = tmp_path / "closeups", tmp_path / "sheet.png"
    tool = SynthesizeCloseups(out=folder, count=4, shard_size=4, workers=1, sheet=sheet)
    assert tool.run() == 0
    first = load_shards(folder)
    assert [len(shard) for shard in first] == [4]
    pixels = first[0].images.copy()
    (folder / "shard-00000.npz").unlink()
    assert tool.run() == 0
    np.testing.assert_array_equal(load_shards(folder)[0].images, pixels)
    assert sheet.stat().st_size > 1000
    with pytest.raises(OutputError, match=r"^[^:]*: holds shards of other settings"):
        SynthesizeCloseups(out=folder, count=4, shard_size=4, seed=1, workers=1).run()
