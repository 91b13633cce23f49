"""How a set of generated faces compares with true ones, in the features of mien's own regressor.

Distances after Heusel et al. 2017 (Frechet), coverage after Naeem et al. 2020. The features are
not those of published figures, nor are the numbers of pictures: only rows of one table compare.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, UInt8

from .perceptual import Features

_NEAREST: Final = 3
"""A true picture's neighbourhood reaches to so many others."""

Rows = Float[np.ndarray, "_ d"]


@torch.no_grad()
def picture_features(
    network: Features, picture: UInt8[np.ndarray, "S S 3"]
) -> Float32[np.ndarray, " d"]:
    """Features of the deepest layer, mean over the picture.

    Args:
        network: whose features.
        picture: BGR.
    """
    rgb = torch.from_numpy(np.ascontiguousarray(picture[..., ::-1]))
    pixels = rgb.permute(2, 0, 1)[None].float() / 255
    return network(pixels)[-1].mean((2, 3))[0].numpy()


def frechet(made: Rows, true: Rows) -> float:
    """Squared Frechet distance of the normal distributions nearest to two sets, each of 2 or more.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))
    """
    a, b = made.astype(np.float64), true.astype(np.float64)
    # Of (C1 C2)^(1/2) the trace is the sum of the singular values of A1 A2^T, where Ci = Ai^T Ai.
    first, second = _centred(a), _centred(b)
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    spread = np.square(first).sum() + np.square(second).sum() - 2 * shared
    return float(np.square(a.mean(0) - b.mean(0)).sum() + max(float(spread), 0.0))


def coverage(made: Rows, true: Rows) -> float:
    """Share of true ones with a generated one within their neighbourhood, 0 to 1."""
    between = _distances(true, true)
    np.fill_diagonal(between, np.inf)
    nearest = min(_NEAREST, len(true) - 1)
    reach = np.sort(between, axis=1)[:, nearest - 1]
    return float((_distances(true, made).min(axis=1) <= reach).mean())


def diversity(made: Rows) -> float:
    """Mean distance between two of a set."""
    count = len(made)
    return float(_distances(made, made).sum() / max(count * (count - 1), 1))


def generation_figures(made: Rows, true: Rows) -> dict[str, float]:
    """All of them; ``diversity`` is relative to that of the true ones.

    Args:
        made: features of generated pictures, 2 or more.
        true: of true ones, 2 or more.
    """
    return {
        "frechet": frechet(made, true),
        "coverage": coverage(made, true),
        "diversity": diversity(made) / max(diversity(true), 1e-12),
    }


def _centred(values: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Less the mean, so scaled that the product with itself is the covariance."""
    return (values - values.mean(0)) / np.sqrt(max(len(values) - 1, 1))


def _distances(a: Rows, b: Rows) -> Float64[np.ndarray, "n m"]:
    first, second = a.astype(np.float64), b.astype(np.float64)
    squares = np.square(first).sum(1)[:, None] + np.square(second).sum(1)[None]
    return np.sqrt(np.maximum(squares - 2 * first @ second.T, 0.0))
