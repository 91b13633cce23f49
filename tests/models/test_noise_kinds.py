"""Kinds of noise by name: graded, and still."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from mien.models.noise.kinds import NOISE_KINDS
from mien.models.noise.video import degraded, short_video


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """(96, 128, 3): texture of several scales, none of it black or white."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.uniform(60, 200, (12, 16, 3)), (128, 96))
    return np.clip(coarse + rng.normal(0, 12, (96, 128, 3)), 20, 235).astype(np.uint8)


def damage(picture: np.ndarray, name: str, strength: float) -> float:
    noise = NOISE_KINDS[name].scaled(degradation=strength)
    after = degraded(picture, noise, np.random.default_rng(1))
    return float(np.abs(after.astype(float) - picture).mean())


@pytest.mark.parametrize("name", sorted(set(NOISE_KINDS) - {"clean"}))
def test_each_kind_grows_with_its_strength(picture: np.ndarray, name: str) -> None:
    damages = [damage(picture, name, strength) for strength in (0.0, 0.5, 1.0, 1.5)]
    assert damages[0] == 0.0
    assert all(after > before + 0.1 for before, after in pairwise(damages))


def test_clean_leaves_the_picture_as_it_is(picture: np.ndarray) -> None:
    np.testing.assert_array_equal(
        degraded(picture, NOISE_KINDS["clean"], np.random.default_rng(0)), picture
    )


@pytest.mark.parametrize("name", sorted(NOISE_KINDS))
def test_no_kind_moves_the_picture(picture: np.ndarray, name: str) -> None:
    frames = short_video(picture, None, NOISE_KINDS[name], np.random.default_rng(0))
    for frame in frames:
        np.testing.assert_array_equal(frame.affine, np.eye(2, 3))


def test_a_webcams_noise_is_the_sensors_after_the_blur() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    noise = NOISE_KINDS["webcam"].scaled(degradation=1.0)
    assert not noise.noise_before_blur
    alone = NOISE_KINDS["gaussian"]
    sd = np.std(degraded(grey, alone, np.random.default_rng(0)).astype(float))
    assert sd == pytest.approx(alone.gaussian_sigma, rel=0.05)
