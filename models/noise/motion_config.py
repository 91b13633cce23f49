"""How often a natural motion does what."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import InputError
from .motion_curves import Interval


@dataclass(frozen=True)
class MotionConfig:
    """Rates of a natural motion; intervals are (shortest, longest) in seconds, None for never.

    Attributes:
        shift: how often, relative to the others, the head turns to something else; all five 0: the
            head only rests.
        nod: relative.
        shake: relative.
        drift: relative; slow turns.
        lean: relative; slow moves of the trunk.
        rest_s: between movements.
        chained: share of movements that another one follows at once.
        sway_deg: least and greatest standard deviation of a resting head's angles.
        sway_mm: the same of its place.
        blink_interval_s: between blinks.
        saccade_interval_s: between saccades.
        speech_pause_s: between stretches of speech.
        smile_interval_s: between smiles.
        brow_interval_s: between movements of the brows.
        grimace_interval_s: between other expressions.
    """

    shift: float = 0.55
    nod: float = 0.12
    shake: float = 0.08
    drift: float = 0.12
    lean: float = 0.13
    rest_s: Interval = (0.8, 4.0)
    chained: float = 0.3
    sway_deg: Interval = (0.15, 0.3)
    sway_mm: Interval = (0.5, 1.0)
    blink_interval_s: Interval | None = (2.0, 4.0)
    saccade_interval_s: Interval | None = (0.3, 2.0)
    speech_pause_s: Interval | None = (1.0, 5.0)
    smile_interval_s: Interval | None = (3.5, 12.0)
    brow_interval_s: Interval | None = (2.0, 6.0)
    grimace_interval_s: Interval | None = (3.0, 10.0)

    def __post_init__(self) -> None:
        weights = (self.shift, self.nod, self.shake, self.drift, self.lean)
        if not all(0 <= weight < math.inf for weight in weights) or not 0 <= self.chained <= 1:
            raise InputError("motion: shares of movements must be 0 or more, chained 0 to 1")
        for low, high in (self.sway_deg, self.sway_mm):
            if not 0 <= low <= high < math.inf:
                raise InputError(f"motion: sway of {low} to {high} is not a range from 0 up")
        for interval in (
            self.rest_s,
            self.blink_interval_s,
            self.saccade_interval_s,
            self.speech_pause_s,
            self.smile_interval_s,
            self.brow_interval_s,
            self.grimace_interval_s,
        ):
            if interval is not None and not 0 < interval[0] <= interval[1] < math.inf:
                raise InputError(f"motion: {interval} s is not an interval longer than 0")
