"""The head as a solid: eyes fill their openings, and the mouth is a cavity where it is open.

The base mesh has a socket behind each pair of lids and a bag of 10 cm behind the lips. Here the
socket's skin is spanned over the front of the eyeball, and the bag shrinks to a membrane between
closed lips and grows into a cavity as they part, with teeth and tongue in it: what cannot be seen
is solid. The topology is shared by all people and expressions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from ..makehuman.head import HeadTopology, triangulate
from .box import HIGH_MM, LOW_MM
from .edge_loops import QuadMesh, membrane_weights

SKIN, MOUTH, LEFT_EYE, RIGHT_EYE, GUM_AND_TEETH, TONGUE = range(6)
"""Kinds of triangles."""
_BALL_SHARE: Final = 0.985
_CLOSED_MM, _OPEN_MM = 1.6, 7.0
"""Gaps of the lips between which the cavity opens; the closed lips of the mesh are 1.2 mm apart."""
_SHALLOWEST_MM, _DEEPEST_MM, _DEPTH_PER_GAP = 10.0, 55.0, 1.5
"""Depth of the cavity behind the lips: what can be seen through a narrow gap is not deep."""
_INTO_GUM_MM: Final = 3.0
_WIDTH_SHARE: Final = 0.92
_MARGIN_MM: Final = 40.0


@dataclass(frozen=True)
class _Membrane:
    """Vertices that a loop carries."""

    loop: Int32[np.ndarray, " L"]
    inner: Int32[np.ndarray, " K"]
    weights: Float32[np.ndarray, "K L"]

    def spanned(self, vertices: Float32[np.ndarray, "V 3"]) -> Float32[np.ndarray, "K 3"]:
        return self.weights @ vertices[self.loop]


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
    """The front of the head, closed: places its vertices for any expression.

    Attributes:
        triangles: (M, 3) counter-clockwise seen from outside, in the numbering of the head.
        kinds: (M,) what each triangle is, :data:`SKIN` to :data:`TONGUE`.
        parts: ranges of triangles of the solids whose union the head is; the first is the skin.
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
            membranes.append(_Membrane(loop, *membrane_weights(quads[faces], loop)))
        self._right_eye, self._left_eye, self._mouth = membranes
        self._balls = [np.unique(topology.parts[f"helper-{side}-eye"]) for side in "rl"]
        self._lips = topology.landmarks[[61, 62, 63, 67, 66, 65]]
        teeth = [topology.parts[f"helper-{row}-teeth"] for row in ("upper", "lower")]
        self._gums = [
            self._gum(q, reference, up) for q, up in zip(teeth, (True, False), strict=True)
        ]
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

    def opening_mm(self, vertices: Float32[np.ndarray, "V 3"]) -> float:
        """Largest gap between the lips at three places, mm."""
        upper, lower = vertices[self._lips[:3]], vertices[self._lips[3:]]
        return float((lower - upper)[:, 1].max())

    def placed(
        self, moved: Float32[np.ndarray, "V 3"], neutral: Float32[np.ndarray, "V 3"]
    ) -> Float32[np.ndarray, "V 3"]:
        """Vertices of the closed head.

        Args:
            moved: (V, 3) the head with an expression, head frame, mm.
            neutral: (V, 3) the same head without, which holds the eyeballs.
        """
        vertices = moved.copy()
        for eye, ball in zip(
            (self._right_eye, self._left_eye), self.eyeballs(neutral), strict=True
        ):
            centre, radius = ball
            away = eye.spanned(moved) - centre
            length = np.linalg.norm(away, axis=1, keepdims=True)
            vertices[eye.inner] = centre + away * np.maximum(radius / np.maximum(length, 1e-6), 1)
        vertices[self._mouth.inner] = self._cavity(moved)
        return vertices

    def eyeballs(
        self, neutral: Float32[np.ndarray, "V 3"]
    ) -> list[tuple[Float32[np.ndarray, " 3"], float]]:
        """Centre and radius of the right and the left eyeball, mm."""
        found = []
        for ball in self._balls:
            points = neutral[ball]
            centre = (points.max(0) + points.min(0)) / 2
            radius = float(np.linalg.norm(points - centre, axis=1).max())
            found.append((centre, _BALL_SHARE * radius))
        return found

    def _cavity(self, moved: Float32[np.ndarray, "V 3"]) -> Float32[np.ndarray, "K 3"]:
        """The bag behind the lips: flat between closed ones, up to the gums behind open ones."""
        flat = self._mouth.spanned(moved)
        gap = self.opening_mm(moved)
        share = np.clip((gap - _CLOSED_MM) / (_OPEN_MM - _CLOSED_MM), 0, 1)
        if share == 0:
            return flat
        share = share * share * (3 - 2 * share)
        bag = moved[self._mouth.inner].copy()
        roof = moved[self._gums[0], 1].mean() + _INTO_GUM_MM
        floor = moved[self._gums[1], 1].mean() - _INTO_GUM_MM
        bag[:, 1] = np.clip(bag[:, 1], roof, max(floor, roof + 1.0))
        # No wider than the lips, and measured from them: it must not pierce the cheeks.
        wide = moved[self._mouth.loop, 0]
        middle = (wide.max() + wide.min()) / 2
        reach = _WIDTH_SHARE * (wide.max() - wide.min()) / 2
        bag[:, 0] = np.clip(bag[:, 0], middle - reach, middle + reach)
        depth = min(_SHALLOWEST_MM + _DEPTH_PER_GAP * gap, _DEEPEST_MM)
        deep = np.maximum(bag[:, 2] - flat[:, 2], 0)
        bag[:, 2] = np.minimum(bag[:, 2], flat[:, 2]) + depth * np.tanh(deep / depth)
        return flat + np.float32(share) * (bag - flat)
