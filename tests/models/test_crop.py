"""The crop's mapping, its borders, and that large faces are not aliased."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.crop import (
    LANDMARK_BOX,
    Crop,
    crop_from_box,
    crop_from_landmarks,
    extract,
    tight_box,
)


def blob(
    centre: tuple[float, float], sigma: float, size: tuple[int, int] = (480, 640)
) -> np.ndarray:
    """A bright Gaussian spot at a sub-pixel place on black, (H, W, 3) uint8."""
    y, x = np.mgrid[: size[0], : size[1]]
    value = 255.0 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    return np.repeat(value.round().astype(np.uint8)[..., None], 3, axis=2)


def centroid(crop: np.ndarray) -> np.ndarray:
    weight = crop[..., 0].astype(float)
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@settings(max_examples=30, deadline=None)
@given(
    st.floats(280, 360), st.floats(200, 280), st.floats(60, 470), st.sampled_from([112, 120, 144])
)
def test_a_spot_lands_where_the_mapping_says(x: float, y: float, side: float, size: int) -> None:
    crop = Crop(320.3, 240.7, side)
    image = blob((x, y), sigma=max(3.0, side / 40))
    place = crop.from_image(np.array([x, y]), size)
    if np.any(place < 0.2 * size) or np.any(place > 0.8 * size):
        return
    found = centroid(extract(image, crop, size))
    np.testing.assert_allclose(found, place, atol=0.06)


def test_the_mapping_of_the_design() -> None:
    crop = Crop(100.0, 50.0, 240.0)
    np.testing.assert_allclose(crop.to_image(np.array([59.5, 59.5])), [100.0, 50.0])
    np.testing.assert_allclose(
        crop.to_image(np.array([0.0, 119.0])), [100 - 59.5 * 2, 50 + 59.5 * 2]
    )


@settings(deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(1.0, 2e3), st.integers(0, 99))
def test_mapping_round_trip(cx: float, cy: float, side: float, seed: int) -> None:
    crop = Crop(cx, cy, side)
    points = np.random.default_rng(seed).normal(size=(5, 2)) * 100
    np.testing.assert_allclose(crop.from_image(crop.to_image(points)), points, atol=1e-6)


def test_a_crop_of_the_same_scale_is_a_copy() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    crop = Crop(100 + 59.5, 40 + 59.5, 120.0)
    np.testing.assert_array_equal(extract(image, crop), image[40:160, 100:220])


@pytest.mark.parametrize("side", [120.0, 600.0])
def test_outside_of_the_frame_is_zero(side: float) -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    edge = extract(image, Crop(0.0, 50.0, side))
    assert edge.shape == (120, 120, 3)
    assert np.all(edge[:, :55] == 0)
    assert edge[60, 65, 0] == 200
    assert not extract(image, Crop(5000.0, -5000.0, side)).any()


def test_a_large_face_is_not_aliased() -> None:
    stripes = np.zeros((960, 960, 3), np.uint8)
    stripes[:, ::2] = 255  # one-pixel stripes: any subsampling shows them as black or white
    crop = extract(stripes, Crop(480.0, 480.0, 800.0))
    assert np.abs(crop[10:-10, 10:-10].astype(int) - 127).max() < 25


def test_crops_of_landmarks_and_boxes() -> None:
    points = np.random.default_rng(1).uniform(50, 90, size=(68, 2))
    x, y, w, h = tight_box(points)
    crop = crop_from_landmarks(points)
    assert (crop.cx, crop.cy) == pytest.approx((x + w / 2, y + h / 2))
    assert crop.side == pytest.approx(1.414 * max(w, h))
    moved = crop_from_landmarks(points * 2.0 + 7.0)
    assert (moved.cx, moved.side) == pytest.approx((crop.cx * 2 + 7, crop.side * 2))
    box_crop = crop_from_box(np.array([10.0, 20.0, 30.0, 40.0, 0.9], np.float32))
    assert box_crop.cx == pytest.approx(25.0)
    assert crop_from_box(np.array(tight_box(points)), LANDMARK_BOX) == crop
    with pytest.raises(InputError, match="side"):
        crop_from_landmarks(np.ones((68, 2)))
    with pytest.raises(InputError, match="finite"):
        crop_from_box(np.array([np.nan, 0.0, 1.0, 1.0]))


def plainly_extracted(image: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """What :func:`extract` makes of a face less than three times the crop's size, spelled out."""
    step = crop.side / size
    left, top = crop.cx - step * (size - 1) / 2, crop.cy - step * (size - 1) / 2
    source = image.astype(np.int64)
    if step >= 2.0:
        height, width = image.shape[:2]
        reach = crop.side / 2.0 + 4.0
        x0, x1 = max(0, math.floor(crop.cx - reach)), min(width, math.ceil(crop.cx + reach))
        y0, y1 = max(0, math.floor(crop.cy - reach)), min(height, math.ceil(crop.cy + reach))
        if x1 <= x0 or y1 <= y0:
            return np.zeros((size, size, 3), np.uint8)
        part = source[y0:y1, x0:x1]
        part = np.pad(part, ((0, (y1 - y0) % 2), (0, (x1 - x0) % 2), (0, 0)))
        source = (part[::2, ::2] + part[1::2, ::2] + part[::2, 1::2] + part[1::2, 1::2] + 2) >> 2
        left, top, step = (left - x0 - 0.5) / 2, (top - y0 - 0.5) / 2, step / 2
    at = np.arange(size) * step
    x, y = np.floor(left + at).astype(int), np.floor(top + at).astype(int)
    right = np.floor((left + at - x) * 2048 + 0.5).astype(np.int64)[None, :, None]
    below = np.floor((top + at - y) * 2048 + 0.5).astype(np.int64)[:, None, None]

    def seen(dy: int, dx: int) -> np.ndarray:
        rows, columns = (y + dy)[:, None], (x + dx)[None]
        height, width = source.shape[:2]
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        value = source[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
        return value * inside[..., None]

    upper = (2048 - right) * seen(0, 0) + right * seen(0, 1)
    lower = (2048 - right) * seen(1, 0) + right * seen(1, 1)
    return (((2048 - below) * upper + below * lower + (1 << 21)) >> 22).astype(np.uint8)


@pytest.mark.parametrize("times", [(0.05, 1.0), (1.0, 2.0), (2.0, 3.0)])
def test_the_kernel_computes_what_it_says(times: tuple[float, float]) -> None:
    rng = np.random.default_rng(7)
    some = 0
    for case in range(120):
        height, width = rng.integers(1, 60, 2) if case % 4 == 0 else rng.integers(60, 500, 2)
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        size = int(rng.choice([120, 17, 2]))
        side = size * min(rng.uniform(*times), np.nextafter(times[1], 0.0))
        crop = Crop(rng.uniform(-0.3, 1.3) * width, rng.uniform(-0.3, 1.3) * height, side)
        found = extract(image, crop, size)
        np.testing.assert_array_equal(found, plainly_extracted(image, crop, size))
        some += bool(found.any())
    assert some > 60
