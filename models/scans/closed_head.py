"""The head as a solid: eyes fill their openings, and the mouth is a cavity where it is open.

The base mesh has a socket behind each pair of lids and a bag of 10 cm behind the lips. Here the
socket's skin is spanned over the front of the eyeball, and the bag shrinks to a membrane between
closed lips and grows into a cavity as they part, with teeth and tongue in it: what cannot be seen
is solid. The topology is shared by all people and expressions.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from ..makehuman.head import HeadTopology, triangulate
from .box import HIGH_MM, LOW_MM
from .edge_loops import QuadMesh, membrane_weights
from .placing import HeadPlacer, Membrane

SKIN, MOUTH, LEFT_EYE, RIGHT_EYE, GUM_AND_TEETH, TONGUE = range(6)
"""Kinds of triangles."""
_MARGIN_MM: Final = 40.0


def _zip(ring: list[int]) -> list[tuple[int, int, int]]:
    """A ribbon of triangles over a ring, from its first edge to the opposite one."""
    left, right = 0, len(ring) - 1
    lid = []
    while right - left > 1:
        lid.append((ring[left], ring[left + 1], ring[right]))
        left += 1
        if right - left > 1:
            lid.append((ring[left], ring[right - 1], ring[right]))
            right -= 1
    return lid


def _turned_by_shape(ring: list[int], reference: Float32[np.ndarray, "V 3"]) -> list[int]:
    """The ring from the leftmost vertex on, so that a ribbon runs along the arch."""
    first = int(np.argmin(reference[ring, 0]))
    return ring[first:] + ring[:first]


class ClosedHead:
    """The front of the head, closed.

    Attributes:
        triangles: (M, 3) counter-clockwise seen from outside, in the numbering of the head.
        kinds: (M,) what each triangle is, :data:`SKIN` to :data:`TONGUE`.
        parts: ranges of triangles of the solids whose union the head is; the first is the skin.
        placer: places its vertices for any expression.
    """

    def __init__(self, topology: HeadTopology, reference: Float32[np.ndarray, "V 3"]) -> None:
        """Find the loops of lids and lips.

        Args:
            topology: of the head.
            reference: (V, 3) an average neutral head in the head frame, mm.
        """
        quads = topology.parts["skin"]
        mesh = QuadMesh(quads)
        chin = int(topology.landmarks[8])
        kinds = np.full(len(quads), SKIN, np.uint8)
        membranes = []
        # Landmark 36 is at the subject's right eye; 62 is the middle of the upper lip, inside.
        for landmark, kind in ((36, RIGHT_EYE), (45, LEFT_EYE), (62, MOUTH)):
            loop = mesh.loop_through(int(topology.landmarks[landmark]))
            faces = mesh.enclosed(loop, chin)
            kinds[faces] = kind
            membranes.append(Membrane(loop, *membrane_weights(quads[faces], loop)))
        right_eye, left_eye, mouth = membranes
        teeth = [topology.parts[f"helper-{row}-teeth"] for row in ("upper", "lower")]
        upper, lower = (
            self._gum(q, reference, up) for q, up in zip(teeth, (True, False), strict=True)
        )
        right, left = (
            np.unique(topology.parts[f"helper-{side}-eye"]).astype(np.int32) for side in "rl"
        )
        lips = topology.landmarks[[61, 62, 63, 67, 66, 65]].astype(np.int32)
        self.placer = HeadPlacer(right_eye, left_eye, mouth, (right, left), lips, (upper, lower))
        skin, kinds = self._near(quads, kinds, reference)
        wedges = [self._wedge(q, reference) for q in teeth]
        tongue = triangulate(topology.parts["helper-tongue"])
        solids = [skin, *wedges, tongue]
        self.triangles: Int32[np.ndarray, "M 3"] = np.concatenate(solids).astype(np.int32)
        more = [np.full(len(w), GUM_AND_TEETH, np.uint8) for w in wedges]
        more.append(np.full(len(tongue), TONGUE, np.uint8))
        self.kinds: UInt8[np.ndarray, " M"] = np.concatenate([kinds, *more])
        ends = np.cumsum([0, *(len(solid) for solid in solids)]).tolist()
        self.parts: tuple[tuple[int, int], ...] = tuple(pairwise(ends))

    @staticmethod
    def _near(
        quads: Int32[np.ndarray, "F 4"],
        kinds: UInt8[np.ndarray, " F"],
        reference: Float32[np.ndarray, "V 3"],
    ) -> tuple[Int32[np.ndarray, "M 3"], UInt8[np.ndarray, " M"]]:
        """Triangles of the box and around it, and their kinds.

        Nothing is left out before the box or beside it: a ray along z meets all that it would.
        """
        triangles = triangulate(quads)
        both = np.concatenate([kinds, kinds[quads[:, 2] != quads[:, 3]]])
        corners = reference[triangles]
        low, high = np.array(LOW_MM) - _MARGIN_MM, np.array(HIGH_MM) + _MARGIN_MM
        near = (corners.max(1)[:, :2] > low[:2]).all(1) & (corners.min(1) < high).all(1)
        near |= both != SKIN
        return triangles[near], both[near]

    @staticmethod
    def _wedge(
        quads: Int32[np.ndarray, "F 4"], reference: Float32[np.ndarray, "V 3"]
    ) -> Int32[np.ndarray, "M 3"]:
        """A row of teeth as a solid, its outside out."""
        triangles = triangulate(quads)
        sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        known = {tuple(side) for side in sides.tolist()}
        after = {b: a for a, b in known if (b, a) not in known}
        ring = [min(after)]
        while after[ring[-1]] != ring[0]:
            ring.append(after[ring[-1]])
        lid = np.array(_zip(_turned_by_shape(ring, reference)), np.int32)
        solid = np.concatenate([triangles, lid])
        a, b, c = (reference[solid[:, k]].astype(np.float64) for k in range(3))
        volume = (a * np.cross(b, c)).sum()
        return solid if volume > 0 else solid[:, ::-1].copy()

    @staticmethod
    def _gum(
        quads: Int32[np.ndarray, "F 4"], reference: Float32[np.ndarray, "V 3"], upper: bool
    ) -> Int32[np.ndarray, " K"]:
        """Vertices of the front edge of a strip of teeth at the gum."""
        used = np.unique(quads)
        y = reference[used, 1] if upper else -reference[used, 1]
        return used[y < y.min() + 4].astype(np.int32)
