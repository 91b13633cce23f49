"""Composed scenes: labels follow the pixels, what is hidden does not count, seeds decide."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.synthetic.scenes_bank import (
    SIZE,
    CutOut,
    CutOutFolder,
    CutOutShard,
    Kind,
    load_meta,
    save_meta,
    save_shard,
)
from mien.models.synthetic.scenes_compose import Composer
from mien.models.synthetic.scenes_ground import Grounds
from mien.models.synthetic.scenes_sheet import scenes_sheet


def painted_head(seed: int, kind: Kind = Kind.FACE) -> CutOut:
    """An orange disc whose 68 landmarks lie in it: what a head is to a composer."""
    rng = np.random.default_rng(seed)
    image = np.zeros((SIZE, SIZE, 4), np.uint8)
    cv2.circle(image, (120, 120), 60, (20, 120, 250, 255), -1, cv2.LINE_AA)
    angle = rng.uniform(0, 2 * np.pi, 68)
    radius = 50 * np.sqrt(rng.uniform(0.2, 1, 68))
    marks = np.stack([120 + radius * np.cos(angle), 120 + radius * np.sin(angle)], 1)
    return CutOut(image, marks.astype(np.float32), kind)


def shard_of(cut_outs: list[CutOut]) -> CutOutShard:
    return CutOutShard(
        0,
        np.stack([c.image for c in cut_outs]),
        np.stack([c.landmarks for c in cut_outs]),
        np.array([c.kind for c in cut_outs], np.int32),
    )


@pytest.fixture(scope="module")
def grounds() -> Grounds:
    return Grounds(3, count=4)


def test_a_scene_is_a_function_of_its_generator(grounds: Grounds) -> None:
    composer = Composer([shard_of([painted_head(i) for i in range(3)])], grounds)
    one, same, other = (composer.compose(np.random.default_rng(s), 96, 128) for s in (5, 5, 6))
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.boxes, same.boxes)
    assert (one.image != other.image).any()
    assert one.image.shape == (96, 128, 3)


def test_faces_that_count_are_where_the_boxes_say(grounds: Grounds) -> None:
    composer = Composer([shard_of([painted_head(1)])], grounds)
    shares: list[float] = []
    for seed in range(40):
        scene = composer.compose(np.random.default_rng(seed), 160, 160)
        for x, y, w, h in scene.boxes[scene.counted].tolist():
            assert 0 <= x + w / 2 < 160
            assert 0 <= y + h / 2 < 160
            assert max(w, h) >= 7
            low = np.maximum([x, y], 0).astype(int)
            high = np.minimum([x + w + 1, y + h + 1], 160).astype(int)
            inside = scene.image[low[1] : high[1], low[0] : high[0]].astype(int)
            orange = (inside[..., 2] > inside[..., 1]) & (inside[..., 1] > inside[..., 0])
            shares.append(float(orange.mean()))
    assert len(shares) > 30
    assert np.median(shares) > 0.6


@pytest.mark.parametrize("kind", [Kind.TURNED, Kind.BEHIND])
def test_heads_turned_away_do_not_count(grounds: Grounds, kind: Kind) -> None:
    composer = Composer([shard_of([painted_head(1, kind)])], grounds)
    scenes = [composer.compose(np.random.default_rng(seed), 128, 128) for seed in range(20)]
    assert not any(scene.counted.any() for scene in scenes)
    assert any(len(scene.boxes) for scene in scenes) == (kind is Kind.TURNED)


def test_a_folder_holds_out_its_first_shards(tmp_path: Path) -> None:
    save_meta(tmp_path, {"seed": 4})
    for number in range(3):
        save_shard(tmp_path, number, [painted_head(10 * number + i) for i in range(2)])
    folder = CutOutFolder(tmp_path, validation=1)
    assert [shard.number for shard in folder.validation] == [0]
    assert [shard.number for shard in folder.training] == [1, 2]
    again, first = folder.training[0][1], painted_head(11)
    np.testing.assert_array_equal(again.image, first.image)
    np.testing.assert_array_equal(again.landmarks, first.landmarks)
    assert again.kind is Kind.FACE
    assert load_meta(tmp_path) == {"seed": 4}
    assert scenes_sheet(tmp_path, count=8).shape == (224, 8 * 224, 3)
    with pytest.raises(InputError, match="held out"):
        CutOutFolder(tmp_path, validation=3)


def test_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cut-out folder"):
        CutOutFolder(tmp_path)
    save_meta(tmp_path, {})
    (tmp_path / "shard-00000.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a finished shard"):
        CutOutFolder(tmp_path)


def test_photographs_are_drawn_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture"):
        Grounds(0, tmp_path, count=1)
    red = np.zeros((300, 300, 3), np.uint8)
    red[..., 2] = 251
    cv2.imwrite(str(tmp_path / "red.png"), red)
    grounds = Grounds(0, tmp_path, count=1)
    pieces = [grounds.draw(np.random.default_rng(seed), 40, 50) for seed in range(40)]
    assert any((piece == (0, 0, 251)).all() for piece in pieces)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"bad\.jpg"):
        Grounds(0, tmp_path, count=1)
