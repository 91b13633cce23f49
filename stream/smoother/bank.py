"""Many independent constant-velocity Kalman filters in one compiled step."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64

Channels = Float64[np.ndarray, " N"]

_VELOCITY_VARIANCE = 4.0  # at birth, unit^2/s^2


class ChannelBank:
    """A filter for each of n channels, which share nothing but the time.

    Args:
        density: (n,) process noise of each channel, unit^2/s^3.
        first: (n,) values to begin with.
        variance: (n,) variance of these.
        gate: normalised innovation squared from which a channel is taken to have moved; infinity
            leaves plain Kalman filters.
    """

    def __init__(
        self, density: Channels, first: Channels, variance: Channels, gate: float = math.inf
    ) -> None:
        from . import _bank_kernel

        self._kernel = _bank_kernel
        self._density = np.ascontiguousarray(density, np.float64)
        self._gate = gate
        n = len(self._density)
        self._x = np.zeros((n, 2))
        self._P = np.zeros((n, 3))
        self._x[:, 0] = first
        self._P[:, 0] = variance
        self._P[:, 2] = _VELOCITY_VARIANCE

    def predict(self, dt_s: float) -> None:
        """Move on by ``dt_s`` >= 0 seconds."""
        self._kernel.predict_channels(self._x, self._P, self._density, dt_s)

    def update(self, measured: Channels, variance: Channels) -> None:
        """Correct every channel by its measurement and that one's variance."""
        self._kernel.update_channels(self._x, self._P, measured, variance, self._gate)

    def hold(self) -> None:
        """Nothing was seen: stay where it is."""
        self._x[:, 1] = 0.0

    @property
    def values(self) -> Channels:
        """The present estimates; a copy."""
        return self._x[:, 0].copy()

    @property
    def variances(self) -> Channels:
        """Of the estimates; a copy."""
        return self._P[:, 0].copy()
