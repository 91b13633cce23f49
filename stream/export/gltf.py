"""glTF 2.0, binary: each face as a mesh with morph targets and an animation, before a camera."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, Float64

from ...models.face.names import BLENDSHAPE_NAMES, N_BLENDSHAPES, N_EXPRESSION, N_SHAPE
from ...models.face.rotation import FLIP
from ..frame import Frame
from ..observation import FaceObservation
from ..published_pose import pose_of
from .base import ExportContext, Exporter, Records, close_all
from .geometry import vertex_normals
from .glb import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, UNSIGNED_INT, UNSIGNED_SHORT, GlbBuilder

METRES: Final = 1e-3

_MATERIAL = {
    "name": "face",
    "pbrMetallicRoughness": {
        "baseColorFactor": [0.8, 0.65, 0.55, 1.0],
        "metallicFactor": 0.0,
        "roughnessFactor": 0.7,
    },
    "doubleSided": True,
}
_SEEN = np.dtype(
    [
        ("track", "i4"),
        ("t_s", "f4"),
        ("quat_wxyz", "f8", 4),
        ("translation_mm", "f8", 3),
        ("shape", "f4", N_SHAPE),
        ("weights", "f4", N_BLENDSHAPES),
    ]
)


@dataclass
class _Track:
    """What must be known of a track before its first number is written.

    Attributes:
        frames: rows of it.
        shape: sum of its shapes.
        first_s: time of its first row.
        last_s: and of its last.
        quat_wxyz: of its last row, with the sign that it was written with.
    """

    frames: int
    shape: Float64[np.ndarray, " 40"]
    first_s: float
    last_s: float
    quat_wxyz: Float64[np.ndarray, " 4"]

    @property
    def mean_shape(self) -> Float32[np.ndarray, " 40"]:
        """The shape that the mesh is made of."""
        return (self.shape / self.frames).astype(np.float32)


class GltfExporter(Exporter):
    """Writes one ``.glb``: a node, a mesh and three animation channels a track.

    The mesh is the mean face with the track's mean shape; the morph targets are the 52 blendshapes,
    or the 10 expression components where the network says no blendshapes.
    """

    SUFFIX = ".glb"

    def __init__(self, path: str | os.PathLike[str], context: ExportContext) -> None:
        """Begin the file.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path, context)
        self._seen = Records(_SEEN, self._file.path.parent)
        self._tracks: dict[int, _Track] = {}
        self._first_ns: int | None = None
        self._blendshapes = bool(len(context.face_model.blendshape_basis))

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        t_ns = self._context.t_ns(frame)
        self._first_ns = t_ns if self._first_ns is None else self._first_ns
        for row in observations:
            self._take((t_ns - self._first_ns) / 1e9, row)

    def _take(self, t_s: float, row: FaceObservation) -> None:
        if row.blendshapes is None:
            self._blendshapes = False  # a network says them of every face, or of none
        pose = pose_of(row)
        time = np.float32(t_s)
        track = self._tracks.get(row.track)
        if track is None:
            track = _Track(0, np.zeros(N_SHAPE), float(time), -math.inf, pose.quat_wxyz)
            self._tracks[row.track] = track
        # Times must grow, also where float32 tells two frames apart no more.
        time = max(time, np.nextafter(np.float32(track.last_s), np.float32(np.inf)))
        quat = pose.quat_wxyz * (-1.0 if pose.quat_wxyz @ track.quat_wxyz < 0.0 else 1.0)
        track.frames, track.last_s, track.quat_wxyz = track.frames + 1, float(time), quat
        track.shape += row.shape
        weights = np.zeros(N_BLENDSHAPES, np.float32)
        said = row.blendshapes if self._blendshapes else row.expression
        if said is not None:
            weights[: len(said)] = said
        self._seen.add(
            row.track,
            t_s=time,
            quat_wxyz=quat,
            translation_mm=pose.translation_mm,
            shape=row.shape,
            weights=weights,
        )

    def _finish(self) -> None:
        glb = GlbBuilder(self._asset())
        camera = self._context.camera
        lens = {
            "yfov": 2.0 * math.atan(camera.height / (2.0 * camera.fy)),
            "aspectRatio": camera.width / camera.height * camera.fy / camera.fx,
            "znear": 0.01,
        }
        nodes: list[dict[str, Any]] = [{"name": "camera", "camera": 0}]
        glb.document["cameras"] = [{"type": "perspective", "perspective": lens}]
        if self._tracks:
            self._add_faces(glb, nodes)
        glb.document["nodes"] = nodes
        glb.document["scenes"] = [{"nodes": list(range(len(nodes)))}]
        glb.document["scene"] = 0
        with self._file.path.open("wb") as stream:
            glb.write(stream)

    def _asset(self) -> dict[str, Any]:
        recording = self._context.recording
        return {
            "generator": "mien",
            "extras": {"source": recording.source, "bundle_hash": recording.bundle_hash},
        }

    def _add_faces(self, glb: GlbBuilder, nodes: list[dict[str, Any]]) -> None:
        model = self._context.face_model
        basis = model.blendshape_basis if self._blendshapes else model.expression_basis
        names = BLENDSHAPE_NAMES if self._blendshapes else range(N_EXPRESSION)
        index = glb.add_array(
            "SCALAR",
            model.triangles,
            component=UNSIGNED_SHORT if len(model.mean) < 0xFFFF else UNSIGNED_INT,
            target=ELEMENT_ARRAY_BUFFER,
        )
        attributes = {}
        if len(model.uv):
            uv = np.column_stack([model.uv[:, 0], 1.0 - model.uv[:, 1]])  # v runs down
            attributes["TEXCOORD_0"] = glb.add_array("VEC2", uv, target=ARRAY_BUFFER)
        targets = [
            {"POSITION": glb.add_array("VEC3", _shown(one), target=ARRAY_BUFFER, bounded=True)}
            for one in basis
        ]
        glb.document["meshes"] = []
        glb.document["materials"] = [_MATERIAL]
        animation: dict[str, list[dict[str, Any]]] = {"channels": [], "samplers": []}
        glb.document["animations"] = [{"name": "tracked", **animation}]
        for number, track in sorted(self._tracks.items()):
            shown = _shown(model.mean + np.tensordot(track.mean_shape, model.shape_basis, axes=1))
            own = {
                "POSITION": glb.add_array("VEC3", shown, target=ARRAY_BUFFER, bounded=True),
                "NORMAL": glb.add_array(
                    "VEC3", vertex_normals(shown, model.triangles), target=ARRAY_BUFFER
                ),
            }
            glb.document["meshes"].append(
                {
                    "name": f"face {number}",
                    "primitives": [
                        {
                            "attributes": own | attributes,
                            "indices": index,
                            "material": 0,
                            "targets": targets,
                        }
                    ],
                    "weights": [0.0] * len(targets),
                    "extras": {"targetNames": [_target_name(name) for name in names]},
                }
            )
            scale = self._context.head.scale(track.mean_shape)
            nodes.append(
                {
                    "name": f"face {number}",
                    "mesh": len(glb.document["meshes"]) - 1,
                    "scale": [scale] * 3,
                    "extras": self._deviation(number, track, scale),
                }
            )
            self._animate(glb, animation, len(nodes) - 1, number, track, len(targets))

    def _animate(
        self,
        glb: GlbBuilder,
        animation: dict[str, list[dict[str, Any]]],
        node: int,
        number: int,
        track: _Track,
        n_targets: int,
    ) -> None:
        def column(name: str) -> Iterator[np.ndarray]:
            return (block[name] for block in self._seen.of(number))

        def translations() -> Iterator[np.ndarray]:
            return (mm @ FLIP * METRES for mm in column("translation_mm"))

        def rotations() -> Iterator[np.ndarray]:
            # Flipping y and z on both sides turns the axis likewise; glTF's order is x, y, z, w.
            return (
                np.column_stack([wxyz[:, 1:] @ FLIP, wxyz[:, 0]]) for wxyz in column("quat_wxyz")
            )

        def weights() -> Iterator[np.ndarray]:
            return (values[:, :n_targets] for values in column("weights"))

        times = glb.add(
            "SCALAR",
            track.frames,
            lambda: column("t_s"),
            bounds=([track.first_s], [track.last_s]),
        )
        outputs = {
            "translation": glb.add("VEC3", track.frames, translations),
            "rotation": glb.add("VEC4", track.frames, rotations),
            "weights": glb.add("SCALAR", track.frames * n_targets, weights),
        }
        for path, output in outputs.items():
            animation["channels"].append(
                {"sampler": len(animation["samplers"]), "target": {"node": node, "path": path}}
            )
            animation["samplers"].append(
                {"input": times, "output": output, "interpolation": "LINEAR"}
            )

    def _deviation(self, number: int, track: _Track, scale: float) -> dict[str, Any]:
        """How far vertices lie from the published mesh, as the shape of the track has one value."""
        basis = self._context.face_model.shape_basis.reshape(N_SHAPE, -1)
        worst, total = 0.0, 0.0
        for block in self._seen.of(number, size=64):  # all vertices of all these at once
            off = ((block["shape"] - track.mean_shape) @ basis).reshape(len(block), -1, 3)
            distance = np.linalg.norm(off, axis=2) * scale
            worst = max(worst, float(distance.max()))
            total += float(distance.mean(axis=1).sum())
        return {
            "track": number,
            "shape_deviation_mm": {
                "mean": round(total / track.frames, 4),
                "max": round(worst, 4),
            },
        }

    def _release(self) -> None:
        close_all(self._seen)


def _shown(points_mm: np.ndarray) -> Float32[np.ndarray, "N 3"]:
    """Points of the head frame in glTF's axes, metres."""
    return (points_mm @ FLIP * METRES).astype(np.float32)


def _target_name(name: str | int) -> str:
    return name if isinstance(name, str) else f"expression_{name}"
