"""How restless the measurements themselves are: what noise there is that no picture shows."""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from typing import Final

import numpy as np
from jaxtyping import Float64

from .pose import PoseMeasurement, view_coordinates

_WINDOW: Final = 15  # frames
_LEAST: Final = 4
_LONGEST_S: Final = 0.25  # between frames that are compared
_TINY: Final = 1e-6


class Unrest:
    """Running median of the pose's second differences, over the variance that the network states.

    A steady motion has none, and a sudden one lasts for less than half of the window: what stays is
    the noise of this picture, by whatever makes it: sensor, compression, flicker of the light.
    """

    def __init__(self) -> None:
        from . import _kernel

        self._kernel = _kernel
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._sorted: list[float] = []
        self._quat: Float64[np.ndarray, " 4"] = np.array([1.0, 0.0, 0.0, 0.0])
        self._view: Float64[np.ndarray, " 3"] = np.zeros(3)
        self._step: Float64[np.ndarray, " 6"] = np.zeros(6)
        self._dt_s = 0.0
        self._known = 0

    def update(self, measured: PoseMeasurement, dt_s: float) -> float:
        """Take in a frame's pose, ``dt_s`` after the last one that was measured.

        Returns:
            The logarithm of the unrest: about 0 where errors are as the network states them and
            new in every frame; NaN while too little is known.
        """
        if dt_s <= 0.0 and self._known:  # the time stands still: nothing can be said of a velocity
            return self.log
        view = view_coordinates(measured.pose.translation_mm)
        ratio = dt_s / self._dt_s if self._dt_s > 0.0 else 1.0
        value = self._kernel.restlessness(
            measured.pose.quat_wxyz, view, self._quat, self._view, self._step, measured.variance,
            ratio,
        )  # fmt: skip
        self._dt_s = dt_s
        self._known = min(self._known + 1, 3) if dt_s <= _LONGEST_S else 1
        if self._known == 3:  # poses in a row
            self._take(value)
        return self.log

    @property
    def log(self) -> float:
        """The present value, as :meth:`update` returns it."""
        count = len(self._sorted)
        if count < _LEAST:
            return math.nan
        return math.log(self._sorted[count // 2] + _TINY)

    def _take(self, value: float) -> None:
        if len(self._recent) == _WINDOW:
            self._sorted.remove(self._recent[0])
        self._recent.append(value)
        insort(self._sorted, value)
