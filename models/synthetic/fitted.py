"""MakeHuman clothes meshes (hair, hats): read, and laid on any head."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, Int32

from ..documents import one_line
from ..errors import InputError
from ..makehuman.head import HeadTopology, triangulate
from ..makehuman.source import read_obj

Vertices = Float32[np.ndarray, "V 3"]
_SCALES: Final = ("x_scale", "y_scale", "z_scale")


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


def meshes_below(assets: Path, pattern: str, what: str) -> list[Path]:
    """Fitting files in a folder of MakeHuman's assets or below it, in order.

    Args:
        assets: the folder.
        pattern: of the end of their paths, such as ``hair/*/*.mhclo``.
        what: they are, for the message.

    Raises:
        InputError: there is no such folder, or there are none in it.
    """
    files = sorted(assets.glob(f"**/{pattern}"))
    if not files:
        fault = f"no {pattern} below it" if assets.is_dir() else "no such folder"
        raise InputError(f"{assets}: {fault}; expected MakeHuman's CC0 {what}")
    return files


def read_fitted_mesh(path: Path, topology: HeadTopology) -> FittedMesh | None:
    """Read a ``.mhclo`` and the OBJ it names; None if it rests on more than the head.

    Raises:
        InputError: the file is not such a fitting.
    """
    try:
        lines = _read_lines(path)
        ids = np.asarray(lines.anchors, np.int32).reshape(-1, 3)
        weights = np.asarray(lines.weights, np.float32).reshape(-1, 3)
        offsets = np.asarray(lines.offsets, np.float32).reshape(-1, 3)
        ends = np.array([lines.scales[axis][:2] for axis in _SCALES], np.int32)
        distances = [lines.scales[axis][2] for axis in _SCALES]
        if not len(ids) == len(weights) == len(offsets):
            raise ValueError("a line is not three vertices, three weights and an offset")
        if not min(distances) > 0:
            raise ValueError("a scale is not above 0")
    except KeyError as error:
        raise InputError(f"{path}: not a MakeHuman fitting file: it has no {error}") from error
    except (OSError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{path}: not a MakeHuman fitting file: {one_line(error)}") from error
    mesh = read_obj(path.parent / lines.obj)
    if len(ids) != len(mesh.vertices):
        raise InputError(f"{path}: {len(ids)} fitted vertices, its OBJ has {len(mesh.vertices)}")
    if not len(mesh.uv):
        raise InputError(f"{path}: its OBJ has no texture coordinates")
    if not (np.isin(ids, topology.vertex_ids).all() and np.isin(ends, topology.vertex_ids).all()):
        return None
    placed = topology.place(ends)
    return FittedMesh(
        path.stem,
        topology.place(ids),
        weights,
        offsets,
        tuple((int(a), int(b), d) for (a, b), d in zip(placed, distances, strict=True)),
        triangulate(mesh.quads),
        mesh.uv[_triangulate_uv(mesh.quads, mesh.quad_uvs)],
    )


@dataclass
class _Lines:
    """What stands in a ``.mhclo``."""

    obj: str = ""
    anchors: list[list[int]] = field(default_factory=list)
    weights: list[list[float]] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    scales: dict[str, tuple[int, int, float]] = field(default_factory=dict)


def _read_lines(path: Path) -> _Lines:
    found = _Lines()
    reading = False
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "obj_file":
            found.obj = words[1]
        elif words[0] in _SCALES:
            found.scales[words[0]] = (int(words[1]), int(words[2]), float(words[3]))
        elif words[0] == "verts":
            reading = True
        elif words[0] == "delete_verts":
            reading = False
        elif reading and words[0].lstrip("-").isdigit():
            # Lines such as "material ..." may stand between the vertices.
            alone = len(words) == 1
            found.anchors.append([int(x) for x in (words * 3 if alone else words[:3])])
            found.weights.append([1.0, 0.0, 0.0] if alone else [float(x) for x in words[3:6]])
            found.offsets.append([0.0, 0.0, 0.0] if alone else [float(x) for x in words[6:9]])
    return found


def _triangulate_uv(
    quads: Int32[np.ndarray, "F 4"], quad_uvs: Int32[np.ndarray, "F 4"]
) -> Int32[np.ndarray, "M 3"]:
    """Texture ids in the order in which ``triangulate`` puts the triangles of ``quads``."""
    second = quads[:, 2] != quads[:, 3]
    return np.concatenate([quad_uvs[:, [0, 1, 2]], quad_uvs[second][:, [0, 2, 3]]])
