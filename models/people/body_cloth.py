"""Clothes that are geometry of their own: tubes around the legs, and fitted CC0 suits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int32
from scipy import sparse
from scipy.sparse import csgraph

from ..documents import one_line
from ..errors import InputError
from ..makehuman.head import HeadTopology, triangulate
from ..makehuman.source import MakeHumanData
from ..synthetic.fitted import FittedMesh, meshes_below, read_fitted_mesh
from .fields import Mesh
from .outfits import Skirt, fabric
from .skinning import Rig

Points = Float32[np.ndarray, "V 3"]


class SkirtMaker:
    """Makes closed tubes of the base mesh's skirt helper."""

    def __init__(self, data: MakeHumanData, rig: Rig) -> None:
        base = data.base
        quads = base.quads[np.array(base.groups) == "helper-skirt"]
        self.ids, numbers = np.unique(quads, return_inverse=True)
        self._quads = numbers.reshape(-1, 4).astype(np.int32)
        joints = dict(zip(rig.names, rig.joints(base.vertices), strict=True))
        hip, knee, ankle = (float(joints[f"{b}_l"][1]) for b in ("thigh", "calf", "foot"))
        self._height = base.vertices[self.ids, 1].astype(np.float64)
        self._along = np.interp(-self._height, (-hip - 1, -hip, -knee, -ankle), (-0.25, 0, 1, 2))

    def tube(self, posed: Points, skirt: Skirt, rng: np.random.Generator) -> Mesh:
        """A skirt on a posed body, closed above and below.

        Args:
            posed: the helper's vertices (``ids``), subject axes, mm.
            skirt: its cut.
            rng: source of chance.
        """
        kept = (self._along[self._quads] <= skirt.length).all(1)
        used, numbers = np.unique(self._quads[kept], return_inverse=True)
        triangles = triangulate(numbers.reshape(-1, 4).astype(np.int32))
        points = posed[used].astype(np.float64)
        # Rings about the middle of what lies at the same height.
        height = np.round(self._height[used], 1)
        _, ring = np.unique(height, return_inverse=True)
        size = np.bincount(ring)
        centre = np.stack([np.bincount(ring, points[:, k]) / size for k in range(3)], 1)[ring]
        out = points - centre
        out[:, 1] = 0
        out /= np.linalg.norm(out, axis=1, keepdims=True) + 1e-6
        azimuth = np.arctan2(out[:, 0], out[:, 2])
        low = np.clip(self._along[used] / max(skirt.length, 0.3), 0, 1)
        waves = np.sin(skirt.count * azimuth + rng.uniform(0, 6.3) + 1.5 * low)
        waves += 0.5 * np.sin((skirt.count // 2 + 1) * azimuth + rng.uniform(0, 6.3))
        lift = skirt.off + low * (skirt.flare + skirt.folds * waves)
        points += lift[:, None] * out
        return _closed(points.astype(np.float32), triangles)


def _closed(points: Points, triangles: Int32[np.ndarray, "M 3"]) -> Mesh:
    """Fans over all holes."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    n = len(points)
    forward = edges[:, 0].astype(np.int64) * n + edges[:, 1]
    backward = edges[:, 1].astype(np.int64) * n + edges[:, 0]
    rim = edges[~np.isin(forward, backward)]
    graph = sparse.csr_array((np.ones(len(rim)), (rim[:, 0], rim[:, 1])), (n, n))
    _, label = csgraph.connected_components(graph, directed=False)
    loops, which = np.unique(label[rim[:, 0]], return_inverse=True)
    middles = [points[rim[which == k, 0]].mean(0) for k in range(len(loops))]
    fans = np.stack([rim[:, 1], rim[:, 0], n + which], 1)
    return (
        np.concatenate([points, np.asarray(middles, np.float32).reshape(-1, 3)]),
        np.ascontiguousarray(np.concatenate([triangles, fans]), np.int32),
    )


@dataclass(frozen=True)
class Suit:
    """A fitted suit.

    Attributes:
        mesh: how it rests on the body.
        weights: (K, B) sparse, of the skeleton's bones.
        parts: (K,) number of the piece that each vertex belongs to.
        hidden: (V,) base vertices that it covers.
    """

    mesh: FittedMesh
    weights: sparse.csr_array
    parts: Int32[np.ndarray, " K"]
    hidden: Bool[np.ndarray, " V"]

    def colours(self, rng: np.random.Generator) -> Float32[np.ndarray, "K 3"]:
        """A colour for each piece, linear RGB; small pieces share one."""
        sizes = np.bincount(self.parts)
        shared = fabric(rng)
        table = np.stack([fabric(rng) if size > 150 else shared for size in sizes])
        # Left and right pieces of the same size, as shoes are, match.
        for size in np.unique(sizes):
            table[sizes == size] = table[np.flatnonzero(sizes == size)[0]]
        shade = np.exp(rng.normal(0, 0.05, len(self.parts)))[:, None]
        return (table[self.parts] * shade).astype(np.float32)


def read_suits(assets: Path, data: MakeHumanData, rig: Rig) -> list[Suit]:
    """The whole suits below a folder of CC0 clothes.

    Raises:
        InputError: there are none, or one is not readable.
    """
    files = meshes_below(assets, "clothes/*suit*/*.mhclo", "suits")
    whole = HeadTopology(data, np.arange(len(data.base.vertices), dtype=np.int32), {})
    suits: list[Suit] = []
    for file in files:
        mesh = read_fitted_mesh(file, whole)
        if mesh is None:
            raise InputError(f"{file}: rests on vertices that the base mesh does not have")
        count = len(mesh.anchors)
        share = np.clip(mesh.weights, 0.01, None)
        share = share / share.sum(1, keepdims=True)
        rests = sparse.csr_array(
            (share.ravel(), (np.repeat(np.arange(count), 3), mesh.anchors.ravel())),
            (count, len(data.base.vertices)),
        )
        t = mesh.triangles
        ends = (np.concatenate([t[:, 0], t[:, 1]]), np.concatenate([t[:, 1], t[:, 2]]))
        graph = sparse.csr_array((np.ones(2 * len(t)), ends), (count, count))
        _, parts = csgraph.connected_components(graph, directed=False)
        hidden = _hidden(file, len(data.base.vertices))
        suits.append(
            Suit(mesh, sparse.csr_array(rests @ rig.weights), parts.astype(np.int32), hidden)
        )
    return suits


def _hidden(path: Path, count: int) -> Bool[np.ndarray, " V"]:
    """Vertices that a fitting file deletes: lines of ids and of ranges ``a - b``."""
    hidden = np.zeros(count, bool)
    words: list[str] = []
    try:
        lines = iter(path.read_text().splitlines())
        for line in lines:
            if line.startswith("delete_verts"):
                words = " ".join(lines).split()
        for place, word in enumerate(words):
            if word == "-":
                hidden[int(words[place - 1]) : int(words[place + 1]) + 1] = True
            else:
                hidden[int(word)] = True
    except (OSError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{path}: not a MakeHuman fitting file: {one_line(error)}") from error
    return hidden
