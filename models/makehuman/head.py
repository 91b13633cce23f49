"""The part of the base mesh that a head is made of, and how to put it into the head frame.

Head frame as everywhere in mien: origin at the sellion of the mean face, millimetres, x to the
image's right, y down, z into the head.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import numpy as np
from jaxtyping import Float, Float32, Int32

from ..face.names import BLENDSHAPE_NAMES
from .source import MakeHumanData

_LOWEST_Y_DM = 5.2
_HELPERS = (
    "helper-l-eye", "helper-r-eye", "helper-upper-teeth", "helper-lower-teeth", "helper-tongue",
    "helper-l-eyelashes-1", "helper-l-eyelashes-2", "helper-r-eyelashes-1", "helper-r-eyelashes-2",
)  # fmt: skip


def landmark_base_vertices() -> Int32[np.ndarray, " 68"]:
    """Base-mesh vertex of each iBUG landmark."""
    text = (files("mien.models.makehuman") / "landmarks68_base_mesh_vertices.json").read_text()
    return np.asarray(json.loads(text), np.int32)


def triangulate(quads: Int32[np.ndarray, "F 4"]) -> Int32[np.ndarray, "M 3"]:
    """Two triangles a quad; a quad whose last vertex is repeated is one triangle."""
    first = quads[:, [0, 1, 2]]
    second = quads[:, [0, 2, 3]]
    second = second[second[:, 1] != second[:, 2]]
    return np.concatenate([first, second]).astype(np.int32)


@dataclass(frozen=True)
class HeadTopology:
    """Head, neck and shoulders of the base mesh, with eyes, teeth, tongue and lashes.

    Attributes:
        data: where it came from.
        vertex_ids: (V,) base-mesh id of each vertex kept.
        parts: part name (``skin`` or a helper group) to its (F, 4) quads in kept numbering.
    """

    data: MakeHumanData
    vertex_ids: Int32[np.ndarray, " V"]
    parts: dict[str, Int32[np.ndarray, "F 4"]]

    @classmethod
    def from_data(cls, data: MakeHumanData) -> HeadTopology:
        """Keep what lies above the shoulders."""
        base = data.base
        names = ("body", *_HELPERS)
        groups = np.array(base.groups)
        low = base.vertices[base.quads][..., 1].min(1) < _LOWEST_Y_DM
        kept = {name: np.flatnonzero((groups == name) & ~low) for name in names}
        ids = np.unique(np.concatenate([base.quads[faces].ravel() for faces in kept.values()]))
        place = np.full(len(base.vertices), -1, np.int32)
        place[ids] = np.arange(len(ids), dtype=np.int32)
        label = {"body": "skin"}
        return cls(
            data=data,
            vertex_ids=ids.astype(np.int32),
            parts={label.get(n, n): place[base.quads[f]] for n, f in kept.items()},
        )

    def place(self, base_ids: Int32[np.ndarray, "*K"]) -> Int32[np.ndarray, "*K"]:
        """Kept numbering of base-mesh vertices (all must have been kept)."""
        return np.searchsorted(self.vertex_ids, base_ids).astype(np.int32)

    @cached_property
    def landmarks(self) -> Int32[np.ndarray, " 68"]:
        """Kept vertex of each iBUG landmark."""
        return self.place(landmark_base_vertices())

    @cached_property
    def face_units(self) -> Float32[np.ndarray, "52 V 3"]:
        """Displacement of the kept vertices by each ARKit unit as the source has it, decimetres."""
        units = np.zeros((len(BLENDSHAPE_NAMES), len(self.vertex_ids), 3), np.float32)
        place = np.full(len(self.data.base.vertices), -1, np.int64)
        place[self.vertex_ids] = np.arange(len(self.vertex_ids))
        for row, name in zip(units, BLENDSHAPE_NAMES, strict=True):
            ids, offsets = self.data.face_unit(name)
            inside = place[ids] >= 0
            row[place[ids[inside]]] = offsets[inside]
        return units


def cylinder_uv(topology: HeadTopology) -> Float32[np.ndarray, "V 2"]:
    """Texture coordinates from a cylinder around the base head; the seam runs down its back.

    u runs once round the head with the face's middle at 0.5; v runs up 36 cm from below the chin.
    The atlas of the source cuts through the neck and the mouth; this one is whole over the face.
    """
    p = topology.data.base.vertices[topology.vertex_ids]
    u = 0.5 + np.arctan2(p[:, 0], p[:, 2] - 0.45) / (2 * np.pi)
    v = (p[:, 1] - 5.0) / 3.6
    return np.stack([u, v], 1).astype(np.float32)


@dataclass(frozen=True)
class Similarity:
    """``x -> scale R x + t``; maps (V, 3) points of one frame to another."""

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, " 3"]

    def apply(self, points: Float[np.ndarray, "*B 3"]) -> Float32[np.ndarray, "*B 3"]:
        """Map points."""
        moved = self.scale * points @ self.rotation.T + self.translation
        return moved.astype(np.float32)

    def apply_vector(self, vectors: Float[np.ndarray, "*B 3"]) -> Float32[np.ndarray, "*B 3"]:
        """Map displacements: without the translation."""
        return (self.scale * vectors @ self.rotation.T).astype(np.float32)


def align(source: Float[np.ndarray, "K 3"], target: Float[np.ndarray, "K 3"]) -> Similarity:
    """Least-squares similarity from ``source`` onto ``target`` (Umeyama 1991)."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    centred = source - mean_s
    u, d, vt = np.linalg.svd((target - mean_t).T @ centred)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((d * sign).sum() / (centred**2).sum())
    return Similarity(scale, rotation, mean_t - scale * rotation @ mean_s)
