"""Smooth curves of time of which motion is made: steps, pulses and bands of slow waves.

Each is built once and then sampled at any times; times that are asked for ascend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

PEAK_OF_MINIMUM_JERK: Final = 1.875
"""Peak velocity of a minimum-jerk movement over its mean velocity."""
Interval = tuple[float, float]


def minimum_jerk(u: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """From 0 at ``u <= 0`` to 1 at ``u >= 1`` with the least jerk (Flash & Hogan 1985)."""
    u = np.clip(u, 0.0, 1.0)
    return u**3 * (10.0 - 15.0 * u + 6.0 * u**2)


def log_uniform(rng: np.random.Generator, interval: Interval) -> float:
    """A number between two positive ones, its logarithm uniform."""
    return float(np.exp(rng.uniform(*np.log(interval))))


@dataclass(frozen=True)
class Step:
    """A minimum-jerk movement by ``delta`` (D,)."""

    start_s: float
    duration_s: float
    delta: Float[np.ndarray, " D"]


def sum_of_steps(
    steps: Sequence[Step], t_s: Float[np.ndarray, " T"], start: Float[np.ndarray, " D"]
) -> Float[np.ndarray, "T D"]:
    """Where steps lead from ``start``."""
    out = np.tile(np.asarray(start, np.float64), (len(t_s), 1))
    for step in steps:
        first, last = np.searchsorted(t_s, [step.start_s, step.start_s + step.duration_s])
        part = minimum_jerk((t_s[first:last] - step.start_s) / step.duration_s)
        out[first:last] += part[:, None] * step.delta
        out[last:] += step.delta
    return out


@dataclass(frozen=True)
class Pulse:
    """Rises to ``weights`` (D,), holds, falls back to 0; rise and fall have minimum jerk."""

    start_s: float
    rise_s: float
    hold_s: float
    fall_s: float
    weights: Float[np.ndarray, " D"]

    @property
    def end_s(self) -> float:
        """When it is 0 again."""
        return self.start_s + self.rise_s + self.hold_s + self.fall_s

    def envelope(self, t_s: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
        """0 to 1."""
        since = t_s - self.start_s
        fallen = minimum_jerk((since - self.rise_s - self.hold_s) / self.fall_s)
        return minimum_jerk(since / self.rise_s) * (1.0 - fallen)


def overlay(
    pulses: Sequence[Pulse], t_s: Float[np.ndarray, " T"], size: int, combine: np.ufunc = np.add
) -> Float[np.ndarray, "T D"]:
    """All pulses of ``size`` components together, added or, with ``np.maximum``, the largest."""
    out = np.zeros((len(t_s), size))
    for pulse in pulses:
        first, last = np.searchsorted(t_s, [pulse.start_s, pulse.end_s])
        if first < last:
            values = pulse.envelope(t_s[first:last])[:, None] * pulse.weights
            out[first:last] = combine(out[first:last], values)
    return out


class Waves:
    """Random sums of sines in a band of frequencies, independent in each of D components."""

    def __init__(
        self,
        rng: np.random.Generator,
        sd: Float[np.ndarray, " D"],
        band_hz: Interval,
        count: int = 9,
    ) -> None:
        """Draw them.

        Args:
            rng: what draws.
            sd: standard deviation over time of each component.
            band_hz: lowest and highest frequency; amplitudes fall as one over the frequency.
            count: sines a component.
        """
        # One sine in each part of the band, so that none of it is left out by chance.
        low, high = np.log(band_hz)
        edges = np.linspace(low, high, count + 1)[:, None]
        hz = np.exp(rng.uniform(edges[:-1], edges[1:], (count, len(sd))))
        amplitude = rng.uniform(0.6, 1.4, hz.shape) / hz
        self._amplitude = amplitude * sd / np.sqrt((amplitude**2).sum(0) / 2)
        self._omega = 2 * np.pi * hz
        self._phase = rng.uniform(0, 2 * np.pi, hz.shape)

    def __call__(self, t_s: Float[np.ndarray, " T"]) -> Float[np.ndarray, "T D"]:
        """The components at times."""
        out = np.zeros((len(t_s), self._phase.shape[1]))
        for amplitude, omega, phase in zip(self._amplitude, self._omega, self._phase, strict=True):
            out += amplitude * np.sin(t_s[:, None] * omega + phase)
        return out
