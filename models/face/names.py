"""Names and index groups that the field has fixed: ARKit blendshapes and iBUG landmarks."""

from __future__ import annotations

from typing import Final

BLENDSHAPE_NAMES: Final[tuple[str, ...]] = (
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
)
"""The 52 ARKit blendshapes in ARKit's spelling; left and right are the subject's."""

BLENDSHAPE_INDEX: Final[dict[str, int]] = {name: i for i, name in enumerate(BLENDSHAPE_NAMES)}

GAZE_DEG: Final = 30.0
"""Rotation of mien's eyeballs where an ``eyeLook*`` is 1; ARKit itself names no angle."""

N_LANDMARKS: Final = 68
N_SHAPE: Final = 40
N_EXPRESSION: Final = 10
N_BLENDSHAPES: Final = 52
N_POSE: Final = 12
N_PARAMS: Final = N_POSE + N_SHAPE + N_EXPRESSION

LANDMARK_GROUPS: Final[dict[str, slice]] = {
    "jaw": slice(0, 17),
    "right_brow": slice(17, 22),
    "left_brow": slice(22, 27),
    "nose_bridge": slice(27, 31),
    "nose_base": slice(31, 36),
    "right_eye": slice(36, 42),
    "left_eye": slice(42, 48),
    "outer_lips": slice(48, 60),
    "inner_lips": slice(60, 68),
}
"""iBUG/300-W order; the picture's left half is the subject's right."""

LANDMARK_MIRROR: Final[tuple[int, ...]] = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30),
    *(35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46),
    *(39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)
"""``landmarks[LANDMARK_MIRROR]`` relabels the points of a mirrored picture."""


def _mirrored(name: str) -> str:
    if name.endswith("Left"):
        return name.removesuffix("Left") + "Right"
    if name.endswith("Right"):
        return name.removesuffix("Right") + "Left"
    return name


BLENDSHAPE_MIRROR: Final[tuple[int, ...]] = tuple(
    BLENDSHAPE_INDEX[{"jawLeft": "jawRight", "jawRight": "jawLeft"}.get(name, _mirrored(name))]
    for name in BLENDSHAPE_NAMES
)
"""``values[BLENDSHAPE_MIRROR]`` are the blendshapes of a mirrored face."""
