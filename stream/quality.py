"""What of a crop tells how far its measurement can be trusted: noise, sharpness, size, turn."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, UInt8

from ..models.face.crop import CROP_SIZE


def conditions(
    crop_bgr: UInt8[np.ndarray, "S S 3"], side_px: float, facing: float
) -> Float64[np.ndarray, " 4"]:
    """The conditions of a measurement, in the order of the smoother's ``CONDITIONS``.

    Args:
        crop_bgr: as the network sees it.
        side_px: of the crop in the picture.
        facing: cosine between the line of sight and where the face looks, 1 in a frontal view.

    Returns:
        Logarithms of the noise (grey levels, Immerkaer 1996, on a quarter of the pixels), of the
        sharpness (mean step between neighbouring 2x2 blocks, over the contrast) and of the crop's
        side over the network's; and ``1 - facing``.
    """
    from . import _quality_kernel

    return _quality_kernel.conditions(crop_bgr, side_px, CROP_SIZE, facing)
