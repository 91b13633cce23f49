"""The latency account: how long the stages of a frame took, over the last frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from .frame import Frame

WINDOW: Final = 300
"""Frames that medians are taken of: ten seconds of a usual camera."""
_MS: Final = 1e-6
_SECOND_NS: Final = 1_000_000_000


class LatencyMeter:
    """Durations by stage and the rate of a stream; one thread writes, others may read.

    Attributes:
        frames: counted so far.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._stages: dict[str, np.ndarray] = {}
        self._counts: dict[str, int] = {}
        self._done_ns = np.zeros(1024, np.int64)
        self._begin_ns: int | None = None

    def take(self, frame: Frame, taken_ns: int, spent_ns: Mapping[str, int], done_ns: int) -> None:
        """Count a frame.

        Args:
            frame: with the times of its capture, arrival and decoding where it has them.
            taken_ns: when work on it began.
            spent_ns: by stage of that work.
            done_ns: when it was published.
        """
        if frame.t_capture_ns is not None:
            self._add("total", done_ns - frame.t_capture_ns)
            if frame.t_arrival_ns is not None and frame.t_ready_ns is not None:
                self._add("capture", frame.t_arrival_ns - frame.t_capture_ns)
                self._add("decode", frame.t_ready_ns - frame.t_arrival_ns)
                self._add("wait", taken_ns - frame.t_ready_ns)
        else:
            self._add("total", done_ns - taken_ns)
        for stage, took_ns in spent_ns.items():
            self._add(stage, took_ns)
        if self._begin_ns is None:
            self._begin_ns = done_ns
        self._done_ns[self.frames % len(self._done_ns)] = done_ns
        self.frames += 1

    def latency_ms(self, quantile: float = 0.5) -> dict[str, float]:
        """By stage over the last frames, ms."""
        found = {}
        for stage, ring in list(self._stages.items()):
            values = ring[: min(self._counts[stage], WINDOW)]
            found[stage] = round(float(np.quantile(values, quantile)) * _MS, 3)
        return found

    def rate(self, now_ns: int) -> float:
        """Frames in the last second."""
        recent = self._done_ns[: min(self.frames, len(self._done_ns))]
        return float(np.count_nonzero(now_ns - recent <= _SECOND_NS))

    def mean_rate(self) -> float:
        """Frames per second from the first to the last."""
        if self.frames < 2 or self._begin_ns is None:
            return 0.0
        span_ns = int(self._done_ns[(self.frames - 1) % len(self._done_ns)]) - self._begin_ns
        return (self.frames - 1) * 1e9 / span_ns if span_ns > 0 else 0.0

    def _add(self, stage: str, took_ns: int) -> None:
        ring = self._stages.get(stage)
        if ring is None:
            self._counts[stage] = 0
            ring = self._stages[stage] = np.zeros(WINDOW, np.int64)
        ring[self._counts[stage] % WINDOW] = took_ns
        self._counts[stage] += 1
