"""How a stream is doing: what its status message and its status line say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

StreamState = Literal["running", "reconnecting"]


@dataclass(frozen=True)
class Health:
    """A moment of a stream.

    Attributes:
        latency_ms: median by stage over the last frames, ms: ``capture`` (until the data reach this
            process), ``decode``, ``wait`` (for the frame before), ``detect`` (work that found
            faces cost this frame; the search itself runs beside), ``regress``, ``fit``, ``smooth``,
            ``publish``, ``total`` (capture to published).
        latency_99_ms: 99th percentile of the same.
        drops: frames lost so far, by place.
        state: of the source; None where it is not known beyond the frames that come.
        detail: why it is reconnecting, one line.
    """

    latency_ms: Mapping[str, float] = field(default_factory=dict)
    latency_99_ms: Mapping[str, float] = field(default_factory=dict)
    drops: Mapping[str, int] = field(default_factory=dict)
    state: StreamState | None = None
    detail: str = ""
