"""Who it is does not change: the 40 shape components as nearly constant."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from .config import SmoothingConfig

Shape = Float64[np.ndarray, " S"]


class IdentityFilter:
    """Independent Kalman filters of constants, one a shape component.

    Each component begins at the population's N(0, 1), so that a first uncertain look is drawn to
    the mean, and a doubtful frame (large variance) weighs little.
    """

    def __init__(self, config: SmoothingConfig, components: int) -> None:
        self._config = config
        self.shape: Shape = np.zeros(components)
        self.variance: Shape = np.ones(components)

    def predict(self, dt_s: float) -> None:
        """Move on by ``dt_s`` >= 0 seconds; the variance never exceeds the population's."""
        self.variance = np.minimum(self.variance + self._config.identity_process * dt_s, 1.0)

    def update(self, shape: Shape, variance: Shape) -> None:
        """Take in one frame's shape and its variance, in standard deviations."""
        gain = self.variance / (self.variance + variance)
        self.shape = self.shape + gain * (shape - self.shape)
        self.variance = (1.0 - gain) * self.variance
