"""One picture of a source, with its times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture as a source delivers it.

    Attributes:
        image_bgr: (H, W, 3) uint8, contiguous; upright (rotation metadata is applied).
        index: position in the source, from 0; frames that a live reader dropped are counted.
        t_media_ns: presentation time, pts x time base; None where the source has none (images).
        t_capture_ns: time of capture on the machine's monotonic clock; None for files.
        source: name of the source, for messages and metadata.
        t_arrival_ns: when its undecoded data were here, same clock; None for files.
        t_ready_ns: when the picture was decoded and converted; None for files.
    """

    image_bgr: UInt8[np.ndarray, "H W 3"]
    index: int
    t_media_ns: int | None = None
    t_capture_ns: int | None = None
    source: str = ""
    t_arrival_ns: int | None = None
    t_ready_ns: int | None = None

    @property
    def t_ns(self) -> int:
        """Time for filters, ns: of capture where there is one, else of the medium, else 0."""
        if self.t_capture_ns is not None:
            return self.t_capture_ns
        return 0 if self.t_media_ns is None else self.t_media_ns
