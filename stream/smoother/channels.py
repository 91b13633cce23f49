"""What a face's filter follows: 68 channels in groups that move, and err, alike."""

from __future__ import annotations

from typing import Final

from ...models.face.names import BLENDSHAPE_NAMES, N_BLENDSHAPES, N_EXPRESSION, N_SHAPE

ROTATION: Final = slice(0, 3)
"""Rotation vector about the camera's axes from a reference, rad."""
DIRECTION: Final = slice(3, 5)
"""x / z and y / z of the head's origin."""
DEPTH: Final = 5
"""Logarithm of its z."""
POSE: Final = slice(0, 6)
EXPRESSION: Final = slice(6, 6 + N_EXPRESSION)
"""Expression components, standard deviations."""
BLENDSHAPES: Final = slice(EXPRESSION.stop, EXPRESSION.stop + N_BLENDSHAPES)
"""ARKit blendshapes, 0 to 1."""
N_CHANNELS: Final = BLENDSHAPES.stop

GROUPS: Final = (
    "rotation",
    "direction",
    "depth",
    "expression",
    "lids_left",
    "lids_right",
    "gaze",
    "brows",
    "mouth",
)
"""Channels of one group err and move alike."""

POSE_GROUPS: Final = GROUPS[:3]

MODES_OF: Final = {
    "rotation": "head",
    "direction": "head",
    "depth": "head",
    "expression": "expression",
    "lids_left": "lids",
    "lids_right": "lids",
    "gaze": "gaze",
    "brows": "brows",
    "mouth": "mouth",
    "shape": "shape",
}
"""Groups with one name here are at rest, or on the move, together: a head that turns about its neck
moves sideways too, which shows sooner; lids blink in pairs."""

LIDS: Final = ("lids_left", "lids_right")

INDEPENDENT: Final = frozenset({"expression", "mouth"})
"""Groups whose channels move each for itself: of a speaking mouth most shapes rest."""

SHAPE_GROUPS: Final = ("shape",)
"""The identity's 40 components are filtered apart: who it is does not move."""

_LIDS: Final = ("eyeBlink", "eyeSquint", "eyeWide")


def _group_of(name: str) -> str:
    """The group of a blendshape."""
    for side in ("Left", "Right"):
        if name in {lid + side for lid in _LIDS}:
            return f"lids_{side.lower()}"
    if name.startswith("eyeLook"):
        return "gaze"
    return "brows" if name.startswith("brow") else "mouth"


CHANNEL_GROUPS: Final[tuple[str, ...]] = (
    *("rotation",) * 3,
    *("direction",) * 2,
    "depth",
    *("expression",) * N_EXPRESSION,
    *map(_group_of, BLENDSHAPE_NAMES),
)
"""Group of each channel."""

SHAPE_CHANNEL_GROUPS: Final = ("shape",) * N_SHAPE
