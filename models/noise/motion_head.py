"""Natural motion of a head: a timeline of rests, shifts, nods, shakes, drifts and leans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from ..face.rotation import matrix_from_yaw_pitch_roll
from .motion_config import MotionConfig
from .motion_curves import (
    PEAK_OF_MINIMUM_JERK,
    Pulse,
    Step,
    Waves,
    log_uniform,
    minimum_jerk,
    sum_of_steps,
)

SETTLED_S: Final = 0.3
"""How long after a movement the head counts as still."""
TARGET_LIMITS_DEG: Final = np.array([58.0, 22.0, 17.0])
"""Of yaw, pitch and roll between movements; nods, beats and sway go a little beyond."""
_NECK_PIVOT_MM: Final = np.array([0.0, 135.0, 95.0])
"""What the head turns about, head frame, mm: where the neck meets the trunk, so shoulders rest."""
_NEAREST_MM, _FARTHEST_MM = 475.0, 815.0
_SHORTEST_DEG, _LONGEST_DEG = 3.0, 60.0
_SWAY_BAND_HZ: Final = (0.08, 0.9)
_BEAT_BAND_HZ: Final = (0.5, 2.5)


@dataclass(frozen=True)
class _Swing:
    """A nod or a shake: cycles about where the head is.

    Attributes:
        start_s: of the first cycle.
        cycles: of them.
        hz: cycles a second.
        extent_deg: (3,) from one end to the other, yaw, pitch, roll.
        one_sided: away from where the head is and back (nod), else to both sides (shake).
    """

    start_s: float
    cycles: int
    hz: float
    extent_deg: Float[np.ndarray, " 3"]
    one_sided: bool

    @property
    def end_s(self) -> float:
        return self.start_s + self.cycles / self.hz

    def add(self, out: Float[np.ndarray, "T 3"], t_s: Float[np.ndarray, " T"]) -> None:
        first, last = np.searchsorted(t_s, [self.start_s, self.end_s])
        phase = (t_s[first:last] - self.start_s) * self.hz
        wave = np.sin(2 * np.pi * phase) / 2
        if self.one_sided:
            wave = (1 - np.cos(2 * np.pi * phase)) / 2
        # From rest to the full extent in half a cycle, weaker with time, back to rest.
        fade = 1 - minimum_jerk((phase - self.cycles) / 0.75 + 1)
        wave = wave * minimum_jerk(phase / 0.5) * fade * (1 - 0.4 * phase / self.cycles)
        out[first:last] += wave[:, None] * self.extent_deg


class HeadMotion:
    """Where a head is at any time."""

    def __init__(
        self,
        rng: np.random.Generator,
        duration_s: float,
        config: MotionConfig,
        speech: Sequence[Pulse],
    ) -> None:
        """Draw the timeline.

        Args:
            rng: what draws.
            duration_s: length of the timeline; the head rests after it.
            config: rates.
            speech: stretches of speech that the head beats time to.
        """
        self._start = rng.normal(0, [12.0, 5.0, 3.0]).clip(-TARGET_LIMITS_DEG, TARGET_LIMITS_DEG)
        depth = log_uniform(rng, (_NEAREST_MM, _FARTHEST_MM))
        self._home = depth * np.array([rng.normal(0, 0.05), rng.uniform(-0.07, 0.01), 1.0])
        self.turns: list[Step] = []
        self.shifts: list[Step] = []
        self._moves: list[Step] = []
        self._swings: list[_Swing] = []
        self._busy = [(pulse.start_s, pulse.end_s) for pulse in speech]
        sway_deg = rng.uniform(*config.sway_deg, 3)
        sway_mm = rng.uniform(*config.sway_mm, 3)
        self._sway = Waves(rng, np.concatenate([sway_deg, sway_mm]), _SWAY_BAND_HZ)
        self._beats = [
            (pulse, Waves(rng, rng.uniform(0.4, 1.0) * np.array([1.0, 1.3, 0.8]), _BEAT_BAND_HZ))
            for pulse in speech
        ]
        self._draw(rng, duration_s, config)

    def _draw(self, rng: np.random.Generator, duration_s: float, config: MotionConfig) -> None:
        kinds = {
            self._shift: config.shift,
            self._nod: config.nod,
            self._shake: config.shake,
            self._drift: config.drift,
            self._lean: config.lean,
        }
        chances = np.array(list(kinds.values()))
        if not chances.any():
            return
        aim, place = self._start.copy(), self._home.copy()
        t = rng.uniform(0, 1) * log_uniform(rng, config.rest_s)
        while t < duration_s:
            kind = list(kinds)[rng.choice(len(kinds), p=chances / chances.sum())]
            end, turn, move = kind(rng, t, aim, place)
            self._busy.append((t, end))
            aim, place = aim + turn, place + move
            chained = rng.random() < config.chained
            t = end + (rng.uniform(0.05, 0.3) if chained else log_uniform(rng, config.rest_s))

    def _go(
        self, t: float, seconds: float, aim: np.ndarray, target: np.ndarray, place: np.ndarray,
        move: np.ndarray,
    ) -> tuple[float, np.ndarray, np.ndarray]:  # fmt: skip
        """Turn to a target and move, within the limits: the end, the turn, the move."""
        turn = target.clip(-TARGET_LIMITS_DEG, TARGET_LIMITS_DEG) - aim
        reach = np.array([0.1 * place[2], 0.08 * place[2], 0.0])
        low = np.array([-reach[0], -reach[1], _NEAREST_MM])
        high = np.array([reach[0], 0.25 * reach[1], _FARTHEST_MM])
        moved = (place + move).clip(np.minimum(low, place), np.maximum(high, place)) - place
        self.turns.append(Step(t, seconds, turn))
        self._moves.append(Step(t, seconds, moved))
        return t + seconds, turn, moved

    def _shift(
        self, rng: np.random.Generator, t: float, aim: np.ndarray, place: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        turn = np.zeros(3)
        for _ in range(20):  # until it is one worth the name
            kind = rng.random()
            yaw, pitch = aim[0] + rng.normal(0, 14), aim[1] + rng.normal(0, 5)
            if kind < 0.25:  # back to who films
                yaw, pitch = rng.normal(0, 4, 2)
            elif kind < 0.65:
                yaw, pitch = rng.normal(0, 30), rng.normal(-2, 10)
            # A head that turns tilts a little, one way or the other.
            target = np.array([yaw, pitch, rng.normal(0.08 * yaw, 4)])
            turn = target.clip(-TARGET_LIMITS_DEG, TARGET_LIMITS_DEG) - aim
            if np.linalg.norm(turn) >= _SHORTEST_DEG:
                break
        turn *= min(1.0, _LONGEST_DEG / max(float(np.linalg.norm(turn)), 1e-9))
        # The main sequence: peak velocity grows with amplitude, up to what a neck can do.
        amplitude = max(float(np.linalg.norm(turn)), _SHORTEST_DEG)
        peak = min(amplitude * rng.uniform(4.0, 6.0), rng.uniform(300.0, 400.0))
        seconds = PEAK_OF_MINIMUM_JERK * amplitude / peak
        went = self._go(t, seconds, aim, aim + turn, place, rng.normal(0, 5, 3))
        self.shifts.append(self.turns[-1])
        return went

    def _nod(
        self, rng: np.random.Generator, t: float, aim: np.ndarray, place: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        del place
        down = rng.random() < 0.75
        down = (down or aim[1] > 12) and aim[1] > -12
        pitch = rng.uniform(4, 10) * (-1 if down else 1)
        extent = np.array([rng.normal(0, 0.06), 1.0, rng.normal(0, 0.06)]) * pitch
        swing = _Swing(t, int(rng.integers(2, 5)), rng.uniform(2.0, 4.0), extent, True)
        self._swings.append(swing)
        return swing.end_s, np.zeros(3), np.zeros(3)

    def _shake(
        self, rng: np.random.Generator, t: float, aim: np.ndarray, place: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        del place
        room = 2 * (TARGET_LIMITS_DEG[0] + 2 - abs(aim[0]))
        yaw = min(rng.uniform(8, 24), room) * rng.choice([-1, 1])
        extent = np.array([1.0, rng.normal(0, 0.05), rng.normal(0, 0.1)]) * yaw
        swing = _Swing(t, int(rng.integers(2, 5)), rng.uniform(1.5, 3.0), extent, False)
        self._swings.append(swing)
        return swing.end_s, np.zeros(3), np.zeros(3)

    def _drift(
        self, rng: np.random.Generator, t: float, aim: np.ndarray, place: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        target = aim + rng.normal(0, [7.0, 4.0, 3.0])
        return self._go(t, rng.uniform(1, 3), aim, target, place, rng.normal(0, 8, 3))

    def _lean(
        self, rng: np.random.Generator, t: float, aim: np.ndarray, place: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        direction = rng.normal(0, [0.6, 0.25, 1.0])
        move = direction / np.linalg.norm(direction) * rng.uniform(20, 80)
        target = aim + np.array([0.0, 0.06 * move[2], 0.08 * move[0]]) + rng.normal(0, 1.5, 3)
        return self._go(t, rng.uniform(1, 2), aim, target, place, move)

    def aim_deg(self, t_s: float) -> Float[np.ndarray, " 3"]:
        """Where the head is about to face: the end of the turn in progress."""
        return self._start + sum(
            (turn.delta for turn in self.turns if turn.start_s <= t_s), np.zeros(3)
        )

    def __call__(
        self, t_s: Float[np.ndarray, " T"]
    ) -> tuple[Float[np.ndarray, "T 3"], Float[np.ndarray, "T 3"], Bool[np.ndarray, " T"]]:
        """Angles (degrees), translation (mm) and stillness at ascending times."""
        sway = self._sway(t_s)
        angles = sum_of_steps(self.turns, t_s, self._start) + sway[:, :3]
        for swing in self._swings:
            swing.add(angles, t_s)
        for pulse, waves in self._beats:
            first, last = np.searchsorted(t_s, [pulse.start_s, pulse.end_s])
            part = t_s[first:last]
            angles[first:last] += pulse.envelope(part)[:, None] * waves(part)
        still = np.ones(len(t_s), bool)
        for start, end in self._busy:
            first, last = np.searchsorted(t_s, [start, end + SETTLED_S])
            still[first:last] = False
        pivot = _NECK_PIVOT_MM - matrix_from_yaw_pitch_roll(angles) @ _NECK_PIVOT_MM
        return angles, sum_of_steps(self._moves, t_s, self._home) + sway[:, 3:] + pivot, still
