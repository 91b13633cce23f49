"""Natural motion of a head and its face, as a function of time.

What people do before a camera, by numbers that are common knowledge of the field:

- Gaze shifts of the head are smooth, near minimum jerk (Flash & Hogan 1985). Their peak velocity
  grows with their amplitude (the main sequence of head movements: Zangemeister & Stark 1981;
  Guitton & Volle 1987): 4 to 6 per second times 3 to 60 degrees, no more than 300 to 400 degrees/s.
  The eyes go first, by up to 60 ms, and keep their direction in the world by turning back in the
  head (the vestibulo-ocular reflex).
- Between movements the head rests for 0.8 to 4 s. It sways, slowly: 0.15 to 0.3 degrees and 0.5 to
  1 mm of standard deviation, all of it between 0.08 and 0.9 Hz, more of it where it is slow.
- Nods: 2 to 4 cycles of 4 to 10 degrees at 2 to 4 Hz. Shakes: 8 to 24 degrees from side to side at
  1.5 to 3 Hz. Both grow weaker from cycle to cycle. Drifts: some degrees in 1 to 3 s. Leans: 20 to
  80 mm in 1 to 2 s. Half of the speech moves the head by a degree or so at 0.5 to 2.5 Hz. All turn
  the head about the neck.
- Blinks close in 60 to 100 ms, stay for up to 50 ms and open in 100 to 200 ms, both eyes within
  10 ms (VanderWerf et al. 2003). People blink every 3 to 5 s; here every 2 to 4 s, so that short
  films show some. One in eight is double, one in fourteen stays for 0.4 to 1 s, one in sixteen is a
  wink, and long turns of the head often come with one.
- Saccades every 0.3 to 2 s last 21 ms and 2.2 ms a degree (Bahill et al. 1975), 30 to 60 ms; the
  eye turns no farther than 25 degrees.
- Speech comes in stretches of 1 to 4 s with 3 to 6 syllables a second. Smiles rise in 0.3 to 0.6 s
  and lift the cheeks; flashes of the brows last 0.2 to 0.5 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from ..errors import InputError
from .motion_config import MotionConfig
from .motion_face import FaceMotion, speech_stretches
from .motion_head import HeadMotion

_BEATEN_SHARE = 0.5


@dataclass(frozen=True)
class MotionSamples:
    """A motion at T times.

    Attributes:
        angles_deg: (T, 3) yaw, pitch, roll of :mod:`..face.rotation`.
        translation_mm: (T, 3) of the head frame's origin, camera frame.
        blendshapes: (T, 52) in [0, 1].
        still: (T,) the head only sways, and has not moved otherwise for 0.3 s.
    """

    angles_deg: Float64[np.ndarray, "T 3"]
    translation_mm: Float64[np.ndarray, "T 3"]
    blendshapes: Float32[np.ndarray, "T 52"]
    still: Bool[np.ndarray, " T"]


class NaturalMotion:
    """One random motion; all chance is in its construction."""

    def __init__(
        self, rng: np.random.Generator, duration_s: float, config: MotionConfig | None = None
    ) -> None:
        """Draw a motion.

        Args:
            rng: what draws; head, face and speech each take a generator spawned from it.
            duration_s: how long something happens; what has begun by then ends after it.
            config: how often what happens; default: :class:`MotionConfig`.

        Raises:
            InputError: the duration is not a positive number.
        """
        if not 0 < duration_s < math.inf:
            raise InputError(f"motion: a duration of {duration_s} s, expected more than 0")
        config = config or MotionConfig()
        of_speech, of_head, of_face = rng.spawn(3)
        speech = speech_stretches(of_speech, duration_s, config.speech_pause_s)
        beaten = [stretch for stretch in speech if of_speech.random() < _BEATEN_SHARE]
        self._head = HeadMotion(of_head, duration_s, config, beaten)
        self._face = FaceMotion(of_face, duration_s, config, self._head, speech)

    def at(self, t_s: Float[np.ndarray, " T"]) -> MotionSamples:
        """The motion at times, seconds, in any order."""
        order = np.argsort(t_s, kind="stable")
        back = np.argsort(order, kind="stable")
        ascending = np.asarray(t_s, np.float64)[order]
        angles, translation, still = self._head(ascending)
        values = self._face(ascending, angles)
        return MotionSamples(angles[back], translation[back], values[back], still[back])
