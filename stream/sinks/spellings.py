"""The 52 ARKit blendshapes as other programs spell them.

One table: ARKit's own spelling, Perfect Sync's and iFacialMocap's; and the order of Live Link Face.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ...models.face.names import BLENDSHAPE_NAMES


class Spelling(NamedTuple):
    """One blendshape's names.

    Attributes:
        arkit: as ARKit and mien write it, ``mouthSmileRight``.
        perfect_sync: as the clips of a Perfect Sync avatar (VRM) and Live Link Face write it:
            ``MouthSmileRight``.
        ifacialmocap: as iFacialMocap writes it: ``mouthSmile_R``.
    """

    arkit: str
    perfect_sync: str
    ifacialmocap: str


# In these, left and right are directions, not sides, and iFacialMocap keeps ARKit's spelling.
_DIRECTIONS: Final = ("jawLeft", "jawRight", "mouthLeft", "mouthRight")


def _spelling(name: str) -> Spelling:
    short = name
    if name not in _DIRECTIONS:
        for side, letter in (("Left", "_L"), ("Right", "_R")):
            if name.endswith(side):
                short = name.removesuffix(side) + letter
    return Spelling(name, name[0].upper() + name[1:], short)


SPELLINGS: Final[tuple[Spelling, ...]] = tuple(map(_spelling, BLENDSHAPE_NAMES))
"""In the order of a row's blendshapes."""

_SIDES = ("Left", "Right")
LIVE_LINK_ORDER: Final[tuple[str, ...]] = (
    *(
        f"Eye{what}{side}"
        for side in _SIDES
        for what in ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
    ),
    *("JawForward", "JawRight", "JawLeft", "JawOpen"),
    *("MouthClose", "MouthFunnel", "MouthPucker", "MouthRight", "MouthLeft"),
    *(f"Mouth{what}{side}" for what in ("Smile", "Frown", "Dimple", "Stretch") for side in _SIDES),
    *("MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper"),
    *(f"Mouth{what}{side}" for what in ("Press", "LowerDown", "UpperUp") for side in _SIDES),
    *("BrowDownLeft", "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight"),
    *("CheekPuff", "CheekSquintLeft", "CheekSquintRight", "NoseSneerLeft", "NoseSneerRight"),
    "TongueOut",
)
"""The order of Live Link Face's columns, in its spelling."""
