"""OBJ and PLY: the mesh of chosen frames, a file a face."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Integer

from ..frame import Frame
from ..observation import FaceObservation
from ..published_pose import pose_of
from .base import FolderExporter

_AXES = {
    "head": "head frame: origin at the sellion, x to the picture's right, y down, z into the head, "
    "axes parallel to the camera's when the face looks straight into it; mm",
    "camera": "camera frame (OpenCV): x right, y down, z forward; mm",
}


class MeshExporter(FolderExporter):
    """Base: decodes the mesh of each observed face, in the frame that the options name."""

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        if not self._context.options.takes(frame.index):
            return
        for row in observations:
            if not row.observed:
                continue
            vertices = self._context.head.vertices_mm(row)
            if self._context.options.mesh_frame == "camera":
                vertices = pose_of(row).apply(vertices)
            stem = f"{frame.index:06d}_track{row.track}"
            self._write_mesh(self._folder / stem, vertices, self._comments(row))

    def _comments(self, row: FaceObservation) -> list[str]:
        recording = self._context.recording
        return [
            f"mien {recording.source.encode('ascii', 'replace').decode()}",
            f"frame {row.frame} track {row.track}",
            _AXES[self._context.options.mesh_frame],
        ]

    @abstractmethod
    def _write_mesh(
        self, stem: Path, vertices: Float64[np.ndarray, "N 3"], comments: Sequence[str]
    ) -> None:
        """Write one mesh to ``stem`` with this format's ending."""


class ObjExporter(MeshExporter):
    """Wavefront OBJ: text, with texture coordinates where the model has them."""

    SUFFIX = ".obj_frames"

    def _write_mesh(
        self, stem: Path, vertices: Float64[np.ndarray, "N 3"], comments: Sequence[str]
    ) -> None:
        model = self._context.face_model
        text = obj_text(vertices, model.triangles, model.uv, comments)
        stem.with_suffix(".obj").write_text(text, encoding="ascii")


class PlyExporter(MeshExporter):
    """PLY, binary, little-endian."""

    SUFFIX = ".ply_frames"

    def _write_mesh(
        self, stem: Path, vertices: Float64[np.ndarray, "N 3"], comments: Sequence[str]
    ) -> None:
        triangles = self._context.face_model.triangles
        header = [
            "ply",
            "format binary_little_endian 1.0",
            *(f"comment {line}" for line in comments),
            f"element vertex {len(vertices)}",
            *(f"property float {axis}" for axis in "xyz"),
            f"element face {len(triangles)}",
            "property list uchar int vertex_indices",
            "end_header",
        ]
        faces = np.empty(len(triangles), [("count", "u1"), ("corners", "<i4", 3)])
        faces["count"], faces["corners"] = 3, triangles
        with stem.with_suffix(".ply").open("wb") as stream:
            stream.write(("\n".join(header) + "\n").encode("ascii"))
            stream.write(vertices.astype("<f4").tobytes())
            stream.write(faces.tobytes())


def obj_text(
    vertices_mm: Float[np.ndarray, "N 3"],
    triangles: Integer[np.ndarray, "T 3"],
    uv: Float[np.ndarray, "_ 2"],
    comments: Sequence[str],
) -> str:
    """A mesh as Wavefront OBJ, its corners in the order of the triangles.

    Args:
        vertices_mm: mm.
        triangles: from 0.
        uv: of each vertex; none: (0, 2).
        comments: lines, ASCII.
    """
    lines = [f"# {line}" for line in comments]
    lines += [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in vertices_mm.tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in uv.tolist()]
    corner = "{0}/{0}" if len(uv) else "{0}"
    lines += [
        "f " + " ".join(corner.format(vertex) for vertex in triangle)
        for triangle in (triangles + 1).tolist()
    ]
    return "\n".join([*lines, ""])
