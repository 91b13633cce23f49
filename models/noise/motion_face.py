"""Natural motion of a face: lids, gaze, speech and expressions as blendshapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from jaxtyping import Float, Float32

from ..face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES, GAZE_DEG, N_BLENDSHAPES
from .motion_config import MotionConfig
from .motion_curves import Interval, Pulse, Step, log_uniform, overlay, sum_of_steps
from .motion_head import HeadMotion

_FARTHEST_GAZE_DEG: Final = 25.0
_EVOKING_DEG: Final = 25.0
"""Turns of the head longer than this often come with a blink."""
_SIDES: Final = ("Left", "Right")
_MOUTH: Final = [i for i, name in enumerate(BLENDSHAPE_NAMES) if name.startswith("mouth")]
_GRIMACES: Final[tuple[dict[str, float], ...]] = (
    {"mouthPress": 0.8, "mouthRollLower": 0.4},
    {"mouthFrown": 0.8, "mouthShrugLower": 0.5, "browInnerUp": 0.3},
    {"noseSneer": 0.8, "mouthUpperUp": 0.5, "browDown": 0.4},
    {"mouthPucker": 0.9},
    {"jawOpen": 0.8, "browInnerUp": 0.5, "eyeWide": 0.6},
    {"mouthLeft": 0.7},
    {"mouthRight": 0.7},
    {"jawLeft": 0.5},
    {"jawRight": 0.5},
    {"cheekPuff": 0.8, "mouthPress": 0.3},
    {"eyeSquint": 0.8, "cheekSquint": 0.4, "browDown": 0.4},
)


def weights(values: Mapping[str, float]) -> Float[np.ndarray, " 52"]:
    """Blendshapes by name; a name that lacks its side means both sides."""
    row = np.zeros(N_BLENDSHAPES)
    for stem, value in values.items():
        for name in (stem, stem + "Left", stem + "Right"):
            if name in BLENDSHAPE_INDEX:
                row[BLENDSHAPE_INDEX[name]] = value
    return row


def moments(
    rng: np.random.Generator, duration_s: float, interval: Interval | None
) -> Iterator[float]:
    """Times from about 0 on with random intervals; none for None."""
    t = 0.0 if interval is None else rng.uniform(0, interval[1])
    while interval is not None and t < duration_s:
        yield t
        t += log_uniform(rng, interval)


def speech_stretches(
    rng: np.random.Generator, duration_s: float, pause_s: Interval | None
) -> list[Pulse]:
    """Stretches of speech of 1 to 4 s, as pulses of loudness (1,)."""
    stretches = []
    t = 0.0 if pause_s is None else rng.uniform(-2, pause_s[1])
    while pause_s is not None and t < duration_s:
        pulse = Pulse(t, 0.3, rng.uniform(0.5, 3.5), 0.3, np.ones(1))
        stretches.append(pulse)
        t = pulse.end_s + log_uniform(rng, pause_s)
    return stretches


class FaceMotion:
    """The blendshapes of a face at any time."""

    def __init__(
        self,
        rng: np.random.Generator,
        duration_s: float,
        config: MotionConfig,
        head: HeadMotion,
        speech: list[Pulse],
    ) -> None:
        """Draw all events.

        Args:
            rng: what draws.
            duration_s: how long there are events.
            config: rates.
            head: the motion of the head, which gaze leads and then makes up for.
            speech: stretches of speech.
        """
        self._droop = rng.uniform(0.0, 0.1)
        self._lids: list[Pulse] = []
        self._pulses: list[Pulse] = []
        self._saccades: list[Step] = []
        self._gaze_start = head.aim_deg(0.0)[:2] + rng.normal(0, 3, 2)
        self._draw_blinks(rng, duration_s, config, head)
        self._draw_gaze(rng, duration_s, config, head)
        for stretch in speech:
            self._speak(rng, stretch)
        for t in moments(rng, duration_s, config.smile_interval_s):
            self._smile(rng, t)
        for t in moments(rng, duration_s, config.brow_interval_s):
            self._brow(rng, t)
        for t in moments(rng, duration_s, config.grimace_interval_s):
            shape = _GRIMACES[rng.integers(len(_GRIMACES))]
            self._add(
                t, rng.uniform(0.2, 0.5), rng.uniform(0, 1), rng.uniform(0.25, 0.6),
                {name: value * rng.uniform(0.4, 1.0) for name, value in shape.items()},
            )  # fmt: skip

    def _add(
        self, t: float, rise: float, hold: float, fall: float, values: Mapping[str, float]
    ) -> None:
        self._pulses.append(Pulse(t, rise, hold, fall, weights(values)))

    def _draw_blinks(
        self, rng: np.random.Generator, duration_s: float, config: MotionConfig, head: HeadMotion
    ) -> None:
        if config.blink_interval_s is None:
            return
        spontaneous = list(moments(rng, duration_s, config.blink_interval_s))
        evoked = [
            shift.start_s + rng.uniform(0, 0.1)
            for shift in head.shifts
            if np.linalg.norm(shift.delta) > _EVOKING_DEG and rng.random() < 0.4
        ]
        free = 0.0
        for t in sorted(spontaneous + evoked):
            if t < free:  # the lids are still busy
                continue
            kind = rng.random()
            if kind < 0.06:
                end = self._wink(rng, t)
            elif kind < 0.13:
                end = self._close(rng, t, rng.uniform(0.4, 1.0))
            else:
                end = self._close(rng, t, rng.uniform(0.0, 0.05))
                if kind > 0.87:
                    end = self._close(rng, end + rng.uniform(0.1, 0.25), rng.uniform(0.0, 0.05))
            free = end + 0.4

    def _close(self, rng: np.random.Generator, t: float, hold: float) -> float:
        """One blink of both eyes; gives its end."""
        rise, fall, depth = rng.uniform(0.06, 0.1), rng.uniform(0.1, 0.2), rng.uniform(0.85, 1.0)
        later = rng.normal(0, 0.003, 2).clip(-0.005, 0.005)
        for eye in range(2):
            amplitude = np.zeros(2)
            amplitude[eye] = np.clip(depth + rng.normal(0, 0.015), 0.85, 1.0)
            self._lids.append(Pulse(t + later[eye], rise, hold, fall, amplitude))
        return t + rise + hold + fall

    def _wink(self, rng: np.random.Generator, t: float) -> float:
        """One eye shuts, its cheek with it; the other hardly moves. Gives its end."""
        eye = int(rng.integers(2))
        amplitude = np.full(2, rng.uniform(0.05, 0.25))
        amplitude[eye] = rng.uniform(0.85, 1.0)
        rise, hold, fall = rng.uniform(0.08, 0.12), rng.uniform(0.1, 0.3), rng.uniform(0.15, 0.25)
        self._lids.append(Pulse(t, rise, hold, fall, amplitude))
        cheek = rng.uniform(0.4, 0.8)
        side = _SIDES[eye]
        self._add(
            t - 0.05, rise + 0.05, hold, fall + 0.1,
            {"cheekSquint" + side: cheek, "mouthSmile" + side: 0.4 * cheek},
        )  # fmt: skip
        return t + rise + hold + fall

    def _draw_gaze(
        self, rng: np.random.Generator, duration_s: float, config: MotionConfig, head: HeadMotion
    ) -> None:
        """Saccades between directions in the world, in the angles of the head."""
        # The eyes go first and the head follows; where they rest, they make up for its motion.
        times = [(shift.start_s, shift.start_s - rng.uniform(0, 0.06)) for shift in head.shifts]
        times += [(t, t) for t in moments(rng, duration_s, config.saccade_interval_s)]
        gaze = self._gaze_start
        for of_head, t in sorted(times, key=lambda pair: pair[1]):
            aim = head.aim_deg(of_head)[:2]
            kind = rng.random()
            if kind < 0.2 and np.linalg.norm(aim) < _FARTHEST_GAZE_DEG:
                target = rng.normal(0, 1, 2)  # at who films
            elif kind < 0.5:
                target = aim + rng.normal(0, 3, 2)
            elif kind < 0.88:
                target = aim + rng.normal(0, [9.0, 6.0])
            else:
                turned = rng.uniform(0, 2 * np.pi)
                far = np.array([np.cos(turned), 0.7 * np.sin(turned)])
                target = aim + rng.uniform(15, _FARTHEST_GAZE_DEG) * far
            amplitude = float(np.linalg.norm(target - gaze))
            seconds = float(np.clip(0.021 + 0.0022 * amplitude, 0.03, 0.06))
            self._saccades.append(Step(t, seconds, target - gaze))
            gaze = target

    def _speak(self, rng: np.random.Generator, stretch: Pulse) -> None:
        t, loudness = stretch.start_s, rng.uniform(0.6, 1.3)
        while t < stretch.end_s:
            period = 1 / rng.uniform(3.0, 6.0)
            kind, amount = rng.random(), loudness * rng.uniform(0.4, 1.0)
            if kind < 0.45:  # open vowels
                jaw = 0.5 * amount
                mouth = {"mouthLowerDown": 0.6 * jaw, "mouthUpperUp": 0.25 * jaw}
            elif kind < 0.7:  # round ones
                jaw = 0.2 * amount
                mouth = {"mouthFunnel": 0.5 * amount, "mouthPucker": rng.uniform(0, 0.6) * amount}
            elif kind < 0.87:  # lips that meet
                jaw = 0.15 * amount
                mouth = {"mouthClose": jaw, "mouthPress": 0.3 * amount, "mouthRollLower": 0.15}
            else:  # spread ones
                jaw = 0.22 * amount
                mouth = {"mouthStretch": 0.35 * amount, "mouthSmile": 0.2 * amount}
            half = 0.6 * period
            self._add(t - half, half, 0.0, half, {"jawOpen": jaw, **mouth})
            t += period

    def _smile(self, rng: np.random.Generator, t: float) -> None:
        strength = rng.uniform(0.3, 0.9)
        values = {"mouthSmile": strength, "cheekSquint": 0.65 * strength}
        values["mouthDimple"] = rng.uniform(0, 0.3) * strength
        if rng.random() < 0.4:  # with teeth
            values |= {"mouthUpperUp": 0.4 * strength, "eyeSquint": 0.5 * strength}
        row = weights(values)
        for side in _SIDES:
            row[[BLENDSHAPE_INDEX[stem + side] for stem in ("mouthSmile", "cheekSquint")]] *= (
                rng.uniform(0.85, 1.0)
            )
        self._pulses.append(
            Pulse(t, rng.uniform(0.3, 0.6), rng.uniform(0.4, 2.5), rng.uniform(0.4, 0.9), row)
        )

    def _brow(self, rng: np.random.Generator, t: float) -> None:
        strength = rng.uniform(0.4, 0.9)
        if rng.random() < 0.7:  # a flash
            values = {"browInnerUp": strength, "browOuterUp": strength, "eyeWide": 0.3 * strength}
            rise, fall = rng.uniform(0.08, 0.16, 2)
            self._add(t, rise, rng.uniform(0.04, 0.18), fall, values)
        else:
            values = {"browDown": strength, "eyeSquint": 0.4 * strength}
            self._add(t, rng.uniform(0.2, 0.4), rng.uniform(0.3, 1.5), 0.4, values)

    def __call__(
        self, t_s: Float[np.ndarray, " T"], angles_deg: Float[np.ndarray, "T 3"]
    ) -> Float32[np.ndarray, "T 52"]:
        """Values in [0, 1] at ascending times, at which the head has these angles."""
        index = BLENDSHAPE_INDEX
        values = overlay(self._pulses, t_s, N_BLENDSHAPES).clip(0.0, 1.0)
        # Many mouth units at once tear the lips; a face has only one mouth's worth of muscle.
        values[:, _MOUTH] /= np.maximum(values[:, _MOUTH].sum(1, keepdims=True) / 3.2, 1.0)
        close, jaw = index["mouthClose"], index["jawOpen"]
        values[:, close] = np.minimum(values[:, close], values[:, jaw])
        eye = sum_of_steps(self._saccades, t_s, self._gaze_start) - angles_deg[:, :2]
        eye /= (1 + (np.abs(eye) / _FARTHEST_GAZE_DEG) ** 4) ** 0.25  # it cannot turn farther
        closed = overlay(self._lids, t_s, 2, np.maximum)
        # Lids follow a gaze that sinks.
        droop = self._droop + np.maximum(-eye[:, 1], 0) / 90
        for k, side in enumerate(_SIDES):
            # Yaw is towards the subject's right, which is inwards for the left eye.
            inwards = eye[:, 0] * (1 if side == "Left" else -1) / GAZE_DEG
            values[:, index["eyeLookIn" + side]] = np.maximum(inwards, 0)
            values[:, index["eyeLookOut" + side]] = np.maximum(-inwards, 0)
            values[:, index["eyeLookUp" + side]] = np.maximum(eye[:, 1], 0) / GAZE_DEG
            values[:, index["eyeLookDown" + side]] = np.maximum(-eye[:, 1], 0) / GAZE_DEG
            # Squint and blink move the same lids: together they must not cross.
            squint, wide = index["eyeSquint" + side], index["eyeWide" + side]
            values[:, [squint, wide]] *= 1 - closed[:, k, None]
            lid = 1 - (1 - droop) * (1 - closed[:, k])
            values[:, index["eyeBlink" + side]] = lid * (1 - 0.3 * values[:, squint])
        return values.clip(0.0, 1.0).astype(np.float32)
