"""What a crop tells of how far its measurement can be trusted."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from mien.models.face.crop import CROP_SIZE
from mien.stream.quality import conditions

SHAPE = (CROP_SIZE, CROP_SIZE)


def noise_of(crop: np.ndarray) -> float:
    """Grey levels."""
    return math.exp(conditions(crop, CROP_SIZE, 1.0)[0]) - 0.5


def sharpness_of(crop: np.ndarray) -> float:
    return conditions(crop, CROP_SIZE, 1.0)[1]


def grey(values: np.ndarray) -> np.ndarray:
    """A BGR picture of one value a pixel."""
    return np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """Discs of several sizes on a slope: edges, corners, plain parts; as a lens leaves them."""
    rng = np.random.default_rng(0)
    picture = np.add.outer(0.3 * np.arange(CROP_SIZE), 0.4 * np.arange(CROP_SIZE)) + 60.0
    for _ in range(25):
        x, y, radius = rng.uniform(0, CROP_SIZE, 2).tolist() + [rng.uniform(4, 16)]
        cv2.circle(picture, (int(x), int(y)), int(radius), rng.uniform(30, 220), -1)
    return cv2.GaussianBlur(picture, (0, 0), 1.0)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0, 25.0])
def test_of_noise_alone_the_estimate_is_its_deviation(sigma: float) -> None:
    rng = np.random.default_rng(1)
    crop = grey(128.0 + sigma * rng.normal(size=SHAPE))
    assert noise_of(crop) == pytest.approx(sigma, rel=0.06)


def test_slopes_and_flat_pictures_have_no_noise() -> None:
    slope = np.add.outer(np.arange(CROP_SIZE), np.arange(CROP_SIZE))
    assert noise_of(grey(slope)) == pytest.approx(0.0, abs=1e-9)
    for level in (0, 77, 255):
        flat = conditions(np.full((*SHAPE, 3), level, np.uint8), CROP_SIZE, 1.0)
        assert np.isfinite(flat).all()
        assert math.exp(flat[0]) == pytest.approx(0.5)


def test_noise_that_is_added_shows(scene: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(size=SHAPE)
    found = [noise_of(grey(scene + sigma * noise)) for sigma in (0.0, 4.0, 8.0, 16.0)]
    assert (np.diff(found) > 1.0).all()
    assert found[0] < 2.0
    assert found[-1] == pytest.approx(16.0, rel=0.2)


def test_sharpness_falls_as_the_blur_grows(scene: np.ndarray) -> None:
    found = [sharpness_of(grey(cv2.GaussianBlur(scene, (0, 0), s))) for s in (0.5, 3.0, 6.0, 12.0)]
    assert (np.diff(found) < -0.05).all()


def test_contrast_is_not_sharpness(scene: np.ndarray) -> None:
    halved = 128.0 + 0.5 * (scene - 128.0)
    assert sharpness_of(grey(halved)) == pytest.approx(sharpness_of(grey(scene)), abs=0.1)


def test_size_and_turn_are_told_as_they_are_given() -> None:
    crop = np.zeros((*SHAPE, 3), np.uint8)
    for side_px, facing in ((CROP_SIZE, 1.0), (2.0 * CROP_SIZE, 0.0), (30.0, -0.5)):
        found = conditions(crop, side_px, facing)
        assert found.shape == (4,)
        assert found[2] == pytest.approx(math.log(side_px / CROP_SIZE))
        assert found[3] == pytest.approx(1.0 - facing)
