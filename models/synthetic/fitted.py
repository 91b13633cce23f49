"""MakeHuman clothes meshes (hair, hats): read, and laid on any head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32

from ..errors import InputError
from ..makehuman.head import HeadTopology, triangulate
from ..makehuman.source import read_obj

Vertices = Float32[np.ndarray, "V 3"]


@dataclass(frozen=True)
class FittedMesh:
    """A MakeHuman clothes mesh: each vertex rests on three vertices of the base mesh.

    Attributes:
        anchors: (K, 3) kept vertices of the head topology.
        weights: (K, 3) their barycentric weights.
        offsets: (K, 3) further offset, base-mesh axes, before scaling.
        scales: for x, y, z: two kept vertices and the distance at which the offset has scale 1.
        triangles: (M, 3).
        uv: (M, 3, 2).
    """

    name: str
    anchors: Int32[np.ndarray, "K 3"]
    weights: Float32[np.ndarray, "K 3"]
    offsets: Float32[np.ndarray, "K 3"]
    scales: tuple[tuple[int, int, float], ...]
    triangles: Int32[np.ndarray, "M 3"]
    uv: Float32[np.ndarray, "M 3 2"]

    def fit(self, head: Vertices) -> Float32[np.ndarray, "K 3"]:
        """Vertices on a head given in the head frame (y down, z in), mm."""
        placed = (head[self.anchors] * self.weights[..., None]).sum(1)
        # Base axes are x, -y, -z of the head frame; their small tilt does not matter to hair.
        scale = [
            abs(head[a, axis] - head[b, axis]) / d for axis, (a, b, d) in enumerate(self.scales)
        ]
        flip = np.array([1, -1, -1], np.float32)
        return (placed + self.offsets * np.asarray(scale, np.float32) * flip).astype(np.float32)


def read_fitted_mesh(path: Path, topology: HeadTopology) -> FittedMesh | None:
    """Read a ``.mhclo`` and the OBJ it names; None if it rests on more than the head.

    Raises:
        InputError: the file is not such a fitting.
    """
    anchors: list[list[int]] = []
    weights: list[list[float]] = []
    offsets: list[list[float]] = []
    scales: dict[str, tuple[int, int, float]] = {}
    obj = ""
    reading = False
    try:
        for line in path.read_text().splitlines():
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] == "obj_file":
                obj = words[1]
            elif words[0] in ("x_scale", "y_scale", "z_scale"):
                scales[words[0]] = (int(words[1]), int(words[2]), float(words[3]))
            elif words[0] == "verts":
                reading = True
            elif words[0] == "delete_verts":
                reading = False
            elif reading and words[0].lstrip("-").isdigit():
                # Lines such as "material ..." may stand between the vertices.
                if len(words) == 1:
                    anchors.append([int(words[0])] * 3)
                    weights.append([1.0, 0.0, 0.0])
                    offsets.append([0.0, 0.0, 0.0])
                else:
                    anchors.append([int(x) for x in words[:3]])
                    weights.append([float(x) for x in words[3:6]])
                    offsets.append([float(x) for x in words[6:9]])
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path}: not a MakeHuman fitting file: {error}") from error
    mesh = read_obj(path.parent / obj)
    ids = np.asarray(anchors, np.int32)
    if len(ids) != len(mesh.vertices) or len(scales) != 3:
        raise InputError(f"{path}: {len(ids)} fitted vertices, its OBJ has {len(mesh.vertices)}")
    ends = np.array([scales[axis + "_scale"][:2] for axis in "xyz"], np.int32)
    if not (np.isin(ids, topology.vertex_ids).all() and np.isin(ends, topology.vertex_ids).all()):
        return None
    placed = topology.place(ends)
    return FittedMesh(
        path.stem,
        topology.place(ids),
        np.asarray(weights, np.float32),
        np.asarray(offsets, np.float32),
        tuple(
            (int(a), int(b), scales[axis + "_scale"][2])
            for (a, b), axis in zip(placed, "xyz", strict=True)
        ),
        triangulate(mesh.quads),
        mesh.uv[_triangulate_uv(mesh.quads, mesh.quad_uvs)],
    )


def _triangulate_uv(
    quads: Int32[np.ndarray, "F 4"], quad_uvs: Int32[np.ndarray, "F 4"]
) -> Int32[np.ndarray, "M 3"]:
    """Texture ids in the order in which ``triangulate`` puts the triangles of ``quads``."""
    second = quads[:, 2] != quads[:, 3]
    return np.concatenate([quad_uvs[:, [0, 1, 2]], quad_uvs[second][:, [0, 2, 3]]])
