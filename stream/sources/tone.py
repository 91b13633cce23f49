"""High dynamic range shown on an ordinary screen: PQ and HLG become 8 bits.

Diffuse white (203 cd/m2, as ITU-R BT.2408 has it) becomes nearly white, highlights roll off into
it, and below light stays as it is, so that faces look as in an ordinary recording. It is the same
in every frame: nothing is adapted to the picture.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float64, UInt8, UInt16

PQ: Final = 16
"""``color_trc`` of SMPTE ST 2084."""
HLG: Final = 18
"""``color_trc`` of ARIB STD-B67."""
BT2020: Final = 9
"""``color_primaries`` of ITU-R BT.2020."""

_DEEP_LUT: Final = int(cv2.__version__.partition(".")[0]) >= 5
_WHITE_NITS: Final = 203.0
_KNEE: Final = 0.8  # of white: below, light stays as it is
_DISPLAY_GAMMA: Final = 2.4
_HLG_PEAK_NITS: Final = 1000.0
# Linear RGB of BT.2020 to BT.709, turned to BGR. Applied to what the table gives, it is exact for
# greys and to first order near them, which is where skin lies.
_BGR_709_FROM_2020: Final = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)[::-1, ::-1]


def to_sdr(
    image: UInt16[np.ndarray, "H W 3"], transfer: int, primaries: int
) -> UInt8[np.ndarray, "H W 3"]:
    """BGR of 16 bits as an ordinary picture.

    Args:
        image: code values over the whole range.
        transfer: :data:`PQ` or :data:`HLG`.
        primaries: FFmpeg's number.
    """
    table = _table(transfer)
    # OpenCV looks 16 bits up five times as fast, from version 5 on.
    mapped = cv2.LUT(image, table) if _DEEP_LUT else np.take(table, image)
    if primaries == BT2020:
        mapped = cv2.transform(mapped, _BGR_709_FROM_2020)
    return np.asarray(mapped, dtype=np.uint8)


@lru_cache(maxsize=2)
def _table(transfer: int) -> UInt8[np.ndarray, " 65536"]:
    code = np.arange(65536) / 65535.0
    light = (_pq_nits(code) if transfer == PQ else _hlg_nits(code)) / _WHITE_NITS
    room = 1.0 - _KNEE
    above = 1.0 - room * np.exp(-np.maximum(light - _KNEE, 0.0) / room)
    shown = np.where(light < _KNEE, light, above)
    return np.rint(255.0 * shown ** (1.0 / _DISPLAY_GAMMA)).astype(np.uint8)


def _pq_nits(code: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """SMPTE ST 2084: light of a code value, cd/m2."""
    m1, m2 = 2610.0 / 16384.0, 2523.0 / 4096.0 * 128.0
    c1, c2, c3 = 3424.0 / 4096.0, 2413.0 / 4096.0 * 32.0, 2392.0 / 4096.0 * 32.0
    root = code ** (1.0 / m2)
    return 10_000.0 * (np.maximum(root - c1, 0.0) / (c2 - c3 * root)) ** (1.0 / m1)


def _hlg_nits(code: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """ARIB STD-B67 on a display of 1000 cd/m2 (system gamma 1.2), a channel at a time."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(code <= 0.5, code**2 / 3.0, (np.exp((code - c) / a) + b) / 12.0)
    return _HLG_PEAK_NITS * scene**1.2
