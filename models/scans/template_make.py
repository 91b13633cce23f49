"""Makes the statistical closed head of sampled people."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float32, Int32

from ..synthetic.person import People
from .box import FaceBox
from .closed_head import SKIN, ClosedHead
from .template import HeadTemplate
from .truth import TruthGrids

_PEOPLE: Final = 600
_COMPONENTS: Final = 60
"""They leave 0.8 mm of a head, most of it at the ears and behind."""
_OTHERS: Final = 1_000_003
"""Seeds of these people's: none of them is in the data."""
_ON_SURFACE_MM: Final = 1.5


def make_template(
    people: People, closed: ClosedHead, units: Float32[np.ndarray, "52 V 3"]
) -> HeadTemplate:
    """The template of the people that are sampled; always the same one."""
    heads = []
    for number in range(_PEOPLE):
        heads.append(people.sample(np.random.default_rng([_OTHERS, number])).neutral.ravel())
    drawn = np.stack(heads).astype(np.float64)
    mean = drawn.mean(0)
    _, spread, across = np.linalg.svd(drawn - mean, full_matrices=False)
    deviations = spread[:_COMPONENTS] / np.sqrt(_PEOPLE - 1)
    shapes = across[:_COMPONENTS] * deviations[:, None]
    middle = mean.reshape(-1, 3).astype(np.float32)
    return HeadTemplate(
        mean=middle,
        shapes=shapes.reshape(_COMPONENTS, -1, 3).astype(np.float32),
        units=units.astype(np.float32),
        triangles=closed.triangles,
        kinds=closed.kinds,
        parts=np.array(closed.parts, np.int32),
        seen=_shown(closed, middle),
        placer=closed.placer,
    )


def _shown(closed: ClosedHead, mean: Float32[np.ndarray, "V 3"]) -> Int32[np.ndarray, " F"]:
    """Vertices of nothing but skin, in the box and on the head's outside."""
    box = FaceBox(32)
    skin = np.unique(closed.triangles[closed.kinds == SKIN])
    alone = np.setdiff1d(skin, np.unique(closed.triangles[closed.kinds != SKIN]))
    placed = closed.placer.placed(mean, mean)
    sdf, _, _ = TruthGrids(box, closed).distance(placed)
    inside = box.contains(placed[alone] + box.edges) & box.contains(placed[alone] - box.edges)
    alone = alone[inside]
    at = np.clip(np.rint(box.index_from_mm(placed[alone])), 0, box.cells - 1).astype(np.int64)
    i, j, k = at.T
    near = np.abs(sdf[i, j, k]) < _ON_SURFACE_MM + float(box.edges.max())
    return alone[near].astype(np.int32)
