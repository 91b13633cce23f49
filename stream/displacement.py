"""By how much a followed face moved from one frame to the next, seen in the pictures themselves.

A network that reads each frame by itself errs anew in each; the skin's own texture says how far a
face went in between, several times as well. Points of the mesh that do not take part in expressions
are looked up in both crops, and the pose is sought under which they look alike (Gauss-Newton on
grey levels, as Lucas and Kanade 1981 align patches, here by the six numbers of a rigid head).
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

import msgspec
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt8

from ..models.face.camera import Camera
from ..models.face.crop import Crop
from ..models.face.morphable import FaceModel
from ..models.face.perspective import PerspectivePose
from .candidate import Candidate
from .smoother import FaceMeasurement
from .smoother.pose import Displacement

_POINTS: Final = 440
_EYES: Final = (range(36, 42), range(42, 48))


class _Sight(msgspec.Struct, frozen=True, eq=False):
    """A face as one frame shows it, to compare the next one with."""

    grey: Float32[np.ndarray, "S S"]
    crop: Crop
    camera: Camera
    measured: PerspectivePose
    believed: PerspectivePose


class Alignment:
    """Aligns two crops of one face.

    Args:
        model: whose mesh faces have.
    """

    def __init__(self, model: FaceModel) -> None:
        from . import _alignment_kernel

        self._kernel: ModuleType = _alignment_kernel
        vertices, normals = firm_points(model)
        points = model.subset(vertices)
        self._mean = points.mean.reshape(-1)
        self._basis = points.shape_basis.reshape(len(points.shape_basis), -1)
        self._normals = np.ascontiguousarray(normals, np.float64)

    def grey(self, pixels: UInt8[np.ndarray, "S S 3"]) -> Float32[np.ndarray, "S S"]:
        """Of a crop, softened as far as noise asks for."""
        out = np.empty(pixels.shape[:2], np.float32)
        self._kernel.soften(pixels, out)
        return out

    def displacement(
        self,
        last: _Sight,
        grey: Float32[np.ndarray, "S S"],
        crop: Crop,
        measured: PerspectivePose,
        shape: Float64[np.ndarray, " 40"],
        head_scale: float,
        camera: Camera,
    ) -> Displacement | None:
        """From the last frame's pose to the one under which this frame looks most like it.

        Args:
            last: the frame before.
            grey: of this frame's crop.
            crop: where that is.
            measured: this frame's pose as the network saw it; the search begins with the motion
                between the two measurements.
            shape: (40,) standard deviations.
            head_scale: size of this head over the model's.
            camera: of both pictures.

        Returns:
            None where too little of the face is in sight in both.
        """
        points = (self._mean + shape.astype(np.float32) @ self._basis).reshape(-1, 3)
        out = np.empty(12)
        seen = self._kernel.align(
            last.grey, (last.crop.cx, last.crop.cy, last.crop.side),
            grey, (crop.cx, crop.cy, crop.side),
            points * np.float64(head_scale), self._normals,
            last.believed.quat_wxyz, last.believed.translation_mm,
            last.measured.quat_wxyz, last.measured.translation_mm,
            measured.quat_wxyz, measured.translation_mm,
            (camera.fx, camera.fy, camera.cx, camera.cy), out,
        )  # fmt: skip
        return Displacement(out[:6], out[6:]) if seen else None


class DisplacementMeter:
    """Compares each frame of one face with the one before.

    A frame goes: :meth:`compare`, then the filter takes the measurement in, then :meth:`believe`.

    Args:
        alignment: of the faces' model.
    """

    def __init__(self, alignment: Alignment) -> None:
        self._alignment = alignment
        self._last: _Sight | None = None
        self._now: tuple[Float32[np.ndarray, "S S"], Crop, Camera, PerspectivePose] | None = None

    def compare(
        self,
        seen: Candidate,
        measured: FaceMeasurement,
        shape: Float64[np.ndarray, " 40"],
        head_scale: float,
        camera: Camera,
    ) -> FaceMeasurement:
        """The measurement with its displacement since the last frame, where that can be seen.

        Where the camera changed in between, poses before and after have no common frame.

        Args:
            seen: what was measured.
            measured: its pose.
            shape: (40,) that it was measured with, standard deviations.
            head_scale: size of this head over the model's.
            camera: of the picture.
        """
        grey, pose = self._alignment.grey(seen.pixels), measured.pose.pose
        self._now = grey, seen.crop, camera, pose
        if self._last is None or self._last.camera != camera:
            return measured
        found = self._alignment.displacement(
            self._last, grey, seen.crop, pose, shape, head_scale, camera
        )
        return msgspec.structs.replace(measured, displacement=found)

    def believe(self, pose: PerspectivePose) -> None:
        """Where the filter has the face of the frame compared last."""
        self._last = None if self._now is None else _Sight(*self._now, pose)

    def forget(self) -> None:
        """The frame shows no face: the next one has nothing to be compared with."""
        self._last = self._now = None


def firm_points(
    model: FaceModel,
) -> tuple[Int32[np.ndarray, " K"], Float64[np.ndarray, "K 3"]]:
    """Vertices of nose, cheeks and forehead, spread evenly, and the mean face's normals there.

    Eyes, mouth and jaw, which move by themselves, and the sides, where hair hangs, are left out.
    """
    from ..models.render.raster import vertex_normals  # numba is slow to import

    mean = model.mean.astype(np.float64)
    marks = mean[model.landmark_vertices]
    normals = vertex_normals(model.mean, model.triangles).astype(np.float64)
    pupils = float(np.linalg.norm(marks[36] - marks[45]))
    ahead = marks[30] - marks[[0, 16]].mean(axis=0)
    up = marks[27] - marks[33]
    height = (mean - marks[33]) @ up / (up @ up)  # 0 under the nose, 1 between the eyes
    firm: Bool[np.ndarray, " N"] = np.zeros(len(mean), bool)
    firm[np.unique(model.triangles)] = True
    firm &= np.abs(mean[:, 0] - marks[27:31, 0].mean()) < 0.95 * pupils
    firm &= normals @ ahead > 0.1 * np.linalg.norm(ahead)
    firm &= (height > -0.15) & (height < 2.6)
    for eye in _EYES:
        middle = marks[list(eye)].mean(axis=0)
        width = np.linalg.norm(marks[eye[0]] - marks[eye[3]])
        firm &= np.linalg.norm(mean - middle, axis=1) > 0.62 * width
    candidates = np.flatnonzero(firm)
    chosen = candidates[_spread(mean[candidates], _POINTS)]
    return chosen.astype(np.int32), normals[chosen]


def _spread(points: Float64[np.ndarray, "N 3"], count: int) -> Int64[np.ndarray, " K"]:
    """Numbers of points far from each other: each next one is the farthest from all before."""
    distance = np.full(len(points), np.inf)
    chosen = np.zeros(min(count, len(points)), np.int64)
    for k in range(len(chosen)):
        chosen[k] = distance.argmax()
        nearer = np.linalg.norm(points - points[chosen[k]], axis=1)
        distance = np.minimum(distance, nearer)
    return chosen
