"""Random expressions as 52 ARKit values, distributed somewhat like people's.

A face is drawn as one of a few prototypes (neutral, smile, laugh, speech, ...) at random strength,
plus sparse single units, left-right differences, gaze, and lids that follow gaze and blink.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float32

from ..face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES, GAZE_DEG

_PROTOTYPES: Final[tuple[tuple[float, dict[str, float]], ...]] = (
    (0.22, {}),
    (0.15, {"mouthSmile": 0.9, "cheekSquint": 0.6, "mouthDimple": 0.3}),
    (
        0.10,
        {"mouthSmile": 0.9, "cheekSquint": 0.8, "mouthUpperUp": 0.5, "mouthLowerDown": 0.4,
         "jawOpen": 0.35, "eyeSquint": 0.5},
    ),
    (
        0.12,
        {"mouthSmile": 0.85, "cheekSquint": 0.5, "mouthUpperUp": 0.55, "mouthLowerDown": 0.45,
         "mouthStretch": 0.3, "jawOpen": 0.06},
    ),
    (
        0.10,
        {"mouthSmile": 1.0, "cheekSquint": 0.9, "mouthUpperUp": 0.5, "mouthLowerDown": 0.5,
         "jawOpen": 0.55, "eyeSquint": 0.7, "mouthStretch": 0.25},
    ),
    (
        0.03,
        {"jawOpen": 0.75, "mouthStretch": 0.6, "mouthLowerDown": 0.6, "browDown": 0.6,
         "eyeSquint": 0.8, "noseSneer": 0.4},
    ),
    (0.03, {"mouthLeft": 0.8, "mouthPucker": 0.3, "cheekSquint": 0.3}),
    (0.03, {"mouthRight": 0.8, "mouthSmile": 0.3, "browDown": 0.3}),
    (0.02, {"jawOpen": 0.6, "tongueOut": 0.9, "mouthLowerDown": 0.3}),
    (0.06, {"browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.8, "jawOpen": 0.5}),
    (0.05, {"browDown": 0.9, "eyeSquint": 0.5, "noseSneer": 0.5, "mouthPress": 0.5}),
    (0.05, {"mouthFrown": 0.9, "browInnerUp": 0.6, "mouthShrugLower": 0.5}),
    (0.04, {"noseSneer": 0.9, "mouthUpperUp": 0.6, "browDown": 0.5, "cheekSquint": 0.4}),
    (0.05, {"mouthPucker": 0.9, "mouthFunnel": 0.2}),
    (0.06, {"mouthFunnel": 0.7, "jawOpen": 0.3, "mouthPucker": 0.3}),
    (0.08, {"jawOpen": 0.5, "mouthLowerDown": 0.4, "mouthUpperUp": 0.2}),
    (0.06, {"jawOpen": 1.0, "mouthStretch": 0.3, "browOuterUp": 0.3}),
    (0.03, {"mouthRollLower": 0.8, "mouthRollUpper": 0.8, "mouthPress": 0.4}),
    (0.03, {"cheekPuff": 0.9, "mouthPress": 0.3}),
)  # fmt: skip
_MOUTH: Final = tuple(i for i, name in enumerate(BLENDSHAPE_NAMES) if name.startswith("mouth"))
_MOST_MOUTH: Final = 3.2
"""Sum of the mouth's units: a face has only one mouth's worth of muscle."""
_TONGUE_SHOWS: Final = 0.3
"""``jawOpen`` above which it does."""
_LEFT_RIGHT: Final = tuple(
    (i, BLENDSHAPE_INDEX[name.removesuffix("Left") + "Right"])
    for i, name in enumerate(BLENDSHAPE_NAMES)
    if name.endswith("Left") and name not in ("jawLeft", "mouthLeft")
)


def _put(values: Float32[np.ndarray, " 52"], stem: str, value: float) -> None:
    for name in (stem, stem + "Left", stem + "Right"):
        if name in BLENDSHAPE_INDEX and not (name == stem and stem + "Left" in BLENDSHAPE_INDEX):
            values[BLENDSHAPE_INDEX[name]] = value


def sample_expression(rng: np.random.Generator) -> Float32[np.ndarray, " 52"]:
    """Draw one expression; values in [0, 1] in ARKit order, left and right the subject's."""
    values = np.zeros(len(BLENDSHAPE_NAMES), np.float32)
    chances = np.array([chance for chance, _ in _PROTOTYPES])
    prototype = _PROTOTYPES[rng.choice(len(_PROTOTYPES), p=chances / chances.sum())][1]
    strength = rng.uniform(0.25, 1.1)
    for stem, value in prototype.items():
        _put(values, stem, value * strength * rng.uniform(0.6, 1.2))
    sparse = rng.random(values.size) < rng.choice((0.0, 0.05, 0.15))
    values[sparse] += rng.beta(1.0, 2.0, sparse.sum()).astype(np.float32)
    _differ_left_right(values, rng)
    limit_mouth(values)
    jaw = BLENDSHAPE_INDEX["jawOpen"]
    if rng.random() < 0.12:
        values[jaw] = rng.beta(1.2, 1.5)
    close = BLENDSHAPE_INDEX["mouthClose"]
    values[close] = min(values[close], values[jaw]) if rng.random() < 0.9 else values[jaw]
    keep_tongue_in(values)
    _eyes(values, rng)
    return np.clip(values, 0.0, 1.0)


def limit_mouth(values: Float32[np.ndarray, " 52"]) -> None:
    """Weaken the mouth's units, in place: many at once tear the lips."""
    excess = values[list(_MOUTH)].sum() / _MOST_MOUTH
    if excess > 1:
        values[list(_MOUTH)] /= excess


def keep_tongue_in(values: Float32[np.ndarray, " 52"]) -> None:
    """Take the tongue back, in place, where the mouth is not open enough to show it."""
    if values[BLENDSHAPE_INDEX["jawOpen"]] <= _TONGUE_SHOWS:
        values[BLENDSHAPE_INDEX["tongueOut"]] = 0.0


def _differ_left_right(values: Float32[np.ndarray, " 52"], rng: np.random.Generator) -> None:
    one_sided = rng.random() < 0.15
    for left, right in _LEFT_RIGHT:
        if one_sided:
            values[left if rng.random() < 0.5 else right] *= rng.uniform(0, 1)
        else:
            values[left] *= rng.uniform(0.85, 1.15)


def _eyes(values: Float32[np.ndarray, " 52"], rng: np.random.Generator) -> None:
    """Gaze of both eyes, lids that follow it, blinks, winks."""
    index = BLENDSHAPE_INDEX
    horizontal = rng.normal(0, 11) if rng.random() < 0.8 else rng.uniform(-30, 30)
    vertical = rng.normal(-3, 7) if rng.random() < 0.85 else rng.uniform(-28, 22)
    vergence = abs(rng.normal(0, 1.5))
    # horizontal > 0 looks to the subject's left: left eye out, right eye in.
    for side, toward_out in (("Left", horizontal - vergence), ("Right", -horizontal - vergence)):
        values[index["eyeLookOut" + side]] = max(toward_out, 0) / GAZE_DEG
        values[index["eyeLookIn" + side]] = max(-toward_out, 0) / GAZE_DEG
        values[index["eyeLookUp" + side]] = max(vertical, 0) / GAZE_DEG
        values[index["eyeLookDown" + side]] = max(-vertical, 0) / GAZE_DEG
    kind = rng.random()
    lids = rng.beta(1.2, 8, 1).repeat(2) + max(-vertical, 0) / 90
    if kind < 0.12:
        lids = rng.uniform(0.85, 1.0, 1).repeat(2) + rng.normal(0, 0.02, 2)
    elif kind < 0.27:
        lids = rng.uniform(0.1, 0.9, 1).repeat(2) + rng.normal(0, 0.04, 2)
    elif kind < 0.34:
        open_eye, closed_eye = rng.uniform(0, 0.3), rng.uniform(0.6, 1.0)
        lids = np.array([open_eye, closed_eye])[rng.permutation(2)]
    for side, lid in zip(("Left", "Right"), lids, strict=True):
        closure = float(np.clip(lid, 0, 1))
        # Squint and blink move the same lids: together they must not cross.
        for other in ("eyeSquint", "eyeWide"):
            values[index[other + side]] *= 1 - closure
        values[index["eyeBlink" + side]] = closure * (1 - 0.3 * values[index["eyeSquint" + side]])


def gaze_degrees(values: Float32[np.ndarray, " 52"], side: str) -> tuple[float, float]:
    """Rotation of one eyeball (``Left`` or ``Right``): degrees to the subject's left, and up."""
    index = BLENDSHAPE_INDEX
    out = float(values[index["eyeLookOut" + side]] - values[index["eyeLookIn" + side]])
    up = float(values[index["eyeLookUp" + side]] - values[index["eyeLookDown" + side]])
    to_left = out if side == "Left" else -out
    return to_left * GAZE_DEG, up * GAZE_DEG
