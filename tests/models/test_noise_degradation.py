"""The noise of a camera: each kind does what its strength says, and nothing at strength zero."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.noise.degradation import (
    compression,
    defocus_blur,
    disc_kernel,
    gaussian_noise,
    line_kernel,
    low_resolution,
    motion_blur,
)

LENGTHS = st.floats(0.0, 12.0)
ANGLES = st.floats(-10.0, 10.0)


def textured(size: int = 96, seed: int = 0) -> np.ndarray:
    """A smooth picture away from black and white."""
    coarse = np.random.default_rng(seed).integers(70, 180, (12, 12, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def moments(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and covariance (x, y) of a kernel, px, from its middle."""
    rows, columns = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - (kernel.shape[0] - 1) / 2
    places = np.stack([columns.ravel(), rows.ravel()], 1)
    weights = kernel.ravel().astype(np.float64)
    centre = weights @ places
    return centre, (places - centre).T @ ((places - centre) * weights[:, None])


@pytest.mark.parametrize("sigma", [1.0, 3.0, 10.0])
def test_gaussian_noise_has_the_deviation_that_was_asked(sigma: float) -> None:
    image = np.full((200, 200, 3), 128, np.uint8)
    noise = gaussian_noise(image, sigma, np.random.default_rng(1)).astype(np.float64) - 128
    # Rounding to bytes adds 1/12 to the variance.
    assert noise.std() == pytest.approx(np.sqrt(sigma**2 + 1 / 12), rel=0.02)
    assert abs(noise.mean()) < 0.02 * sigma + 0.01
    flat = noise.reshape(200, -1)
    neighbours = np.corrcoef(flat[:, :-3].ravel(), flat[:, 3:].ravel())[0, 1]
    channels = np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]
    assert abs(neighbours) < 0.02
    assert abs(channels) < 0.02


def test_noise_saturates_and_does_not_wrap() -> None:
    black = gaussian_noise(np.zeros((64, 64, 3), np.uint8), 20.0, np.random.default_rng(0))
    white = gaussian_noise(np.full((64, 64, 3), 255, np.uint8), 20.0, np.random.default_rng(0))
    assert np.median(black) < 30
    assert np.median(white) > 225
    assert (black == 0).mean() == pytest.approx(0.5, abs=0.05)
    assert (white == 255).mean() == pytest.approx(0.5, abs=0.05)


@settings(max_examples=50, deadline=None)
@given(length=LENGTHS, angle=ANGLES)
def test_a_line_kernel_is_normalised_centred_and_along_its_direction(
    length: float, angle: float
) -> None:
    kernel = line_kernel(length, angle)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
    assert kernel.min() >= 0.0
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    assert len(kernel) <= max(1, np.ceil(length) + 1)
    _, spread = moments(kernel)
    along = np.array([np.cos(angle), np.sin(angle)])
    steps = max(1, int(np.ceil(length - 1e-9)))
    wanted = np.linspace(-1, 1, steps).var() * (max(0.0, length - 1) / 2) ** 2
    # Spreading over neighbouring pixels adds at most a quarter along each axis.
    assert wanted - 1e-4 <= along @ spread @ along <= wanted + 0.5 + 1e-4
    across = np.array([-along[1], along[0]])
    assert across @ spread @ across <= 0.5 + 1e-4


def test_the_paper_s_line_is_five_equal_pixels() -> None:
    np.testing.assert_allclose(line_kernel(5.0, 0.0)[2], 0.2, atol=1e-6)
    np.testing.assert_allclose(line_kernel(5.0, np.pi / 2)[:, 2], 0.2, atol=1e-6)
    assert line_kernel(5.0, 0.7).shape == (5, 5)


@settings(max_examples=50, deadline=None)
@given(radius=st.floats(0.0, 8.0))
def test_a_disc_kernel_is_normalised_and_round(radius: float) -> None:
    kernel = disc_kernel(radius)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-7)
    np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-7)
    if radius > 2:
        _, spread = moments(kernel)
        assert spread[0, 0] == pytest.approx(radius**2 / 4, rel=0.25)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: motion_blur(image, 7.0, 0.6),
        lambda image: defocus_blur(image, 2.5),
        lambda image: low_resolution(image, 2.0),
        lambda image: compression(image, 40.0),
    ],
)
def test_blurs_keep_the_mean_and_move_nothing(change: Callable[[np.ndarray], np.ndarray]) -> None:
    image = textured()
    changed = change(image)
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert (changed != image).any()
    assert abs(float(changed.mean()) - float(image.mean())) < 0.6
    rows, columns = np.mgrid[:96, :96]
    dot = 150 * np.exp(-((columns - 46.3) ** 2 + (rows - 50.8) ** 2) / (2 * 6.0**2))
    level = change(np.repeat(np.rint(50 + dot)[..., None], 3, 2).astype(np.uint8))[..., 1] - 50.0
    middle = np.array([(level * columns).sum(), (level * rows).sum()]) / level.sum()
    np.testing.assert_allclose(middle, [46.3, 50.8], atol=0.1)


def test_stronger_noise_takes_more_detail() -> None:
    image = textured()
    for change in (
        lambda k: motion_blur(image, k, 0.3),
        lambda k: defocus_blur(image, k),
        lambda k: low_resolution(image, 1 + k / 2),
        lambda k: compression(image, min(99.0, 33.0 * k)),
    ):
        lost = [float(np.abs(change(k).astype(int) - image).mean()) for k in (1.0, 2.0, 3.0)]
        assert lost == sorted(lost)
        assert lost[-1] > 0.3


def test_zero_strength_is_identity() -> None:
    image = textured()
    rng = np.random.default_rng(0)
    for changed in (
        gaussian_noise(image, 0.0, rng),
        motion_blur(image, 0.0, 1.0),
        motion_blur(image, 1.0, 1.0),
        defocus_blur(image, 0.0),
        low_resolution(image, 1.0),
        compression(image, 0.0),
    ):
        np.testing.assert_array_equal(changed, image)
    assert line_kernel(0.0, 2.0).tolist() == [[1.0]]
    assert disc_kernel(0.0).tolist() == [[1.0]]


def test_an_impossible_strength_is_refused() -> None:
    image = textured()
    rng = np.random.default_rng(0)
    for wrong in (
        lambda: gaussian_noise(image, -1.0, rng),
        lambda: motion_blur(image, float("nan"), 0.0),
        lambda: defocus_blur(image, -0.1),
        lambda: low_resolution(image, 0.5),
        lambda: compression(image, 100.0),
    ):
        with pytest.raises(InputError):
            wrong()
