"""Where an auto-decoder's codes begin: people who look alike begin beside each other.

Codes drawn by chance must first be sorted by the training, which is most of its work while a
person is seen some twenty times only; then also what the network learns of one serves another.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32

from .dataset import Portraits

_SIDE: Final = 16
"""Side to which pictures are brought, px."""
_DEVIATION: Final = 0.5
"""Of the codes' entries, as a whole."""


def first_codes(portraits: Portraits, width: int) -> Float32[np.ndarray, "P width"]:
    """A code a person: principal components of the mean of all pictures of them.

    The components are brought to the fourth root of their variance: the first ones, which are
    hair, skin and size, lead without being all.

    Args:
        portraits: looks of at least two persons.
        width: numbers of a code; those beyond the number of persons are 0.

    Returns:
        In the order of the persons' numbers, mean 0, deviation 0.5 as a whole.
    """
    means = []
    for person in np.unique(portraits.person):
        own = portraits.person == person
        pictures = portraits.images[own].reshape(-1, *portraits.images.shape[2:])
        masks = portraits.mask[own].reshape(-1, *portraits.mask.shape[2:])
        picture = cv2.resize(
            pictures.astype(np.float32).mean(0), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA
        )
        mask = cv2.resize(
            masks.astype(np.float32).mean(0), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA
        )
        means.append(np.concatenate([picture.ravel(), mask.ravel()]))
    table = np.stack(means).astype(np.float64)
    table -= table.mean(0)
    persons, sizes, _ = np.linalg.svd(table, full_matrices=False)
    kept = min(width, int((sizes > sizes[0] * 1e-6).sum()))
    codes = np.zeros((len(table), width))
    codes[:, :kept] = persons[:, :kept] * np.sqrt(sizes[:kept])
    return (codes * (_DEVIATION / codes.std())).astype(np.float32)
