"""Laying one premultiplied layer over a picture, and noting who is seen where."""

from __future__ import annotations

from typing import Any, no_type_check

from numba import njit


@njit(cache=True, nogil=True)
@no_type_check
def lay_over(picture: Any, owner: Any, layer: Any, number: int) -> None:
    """Blend ``layer`` (h, w, 4) over ``picture`` (h, w, 3); where it hides, it owns the pixel."""
    for y in range(layer.shape[0]):
        for x in range(layer.shape[1]):
            opacity = layer[y, x, 3]
            if opacity == 0:
                continue
            rest = 255 - opacity
            for c in range(3):
                value = layer[y, x, c] + (picture[y, x, c] * rest + 127) // 255
                picture[y, x, c] = min(value, 255)
            if opacity > 127:
                owner[y, x] = number
