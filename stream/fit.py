"""From what the network says of a crop to points in the image and a measured pose."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64, UInt8

from ..models.errors import InputError
from ..models.face.camera import Camera
from ..models.face.crop import CROP_SIZE, Crop, extract
from ..models.face.morphable import FaceModel, LinearPoints
from ..models.face.names import N_LANDMARKS, N_PARAMS, N_POSE
from ..models.face.perspective import (
    PerspectivePose,
    apply_orthography,
)
from ..models.face.quadrature import Quadrature
from .blendshapes import BlendshapeReader
from .candidate import Candidate
from .displacement import Alignment, DisplacementMeter
from .regression import RegressedFace, Regressor, RegressorLike
from .smoother import FaceMeasurement, FaceState, PoseMeasurement
from .stopwatch import Stopwatch

if TYPE_CHECKING:
    from ..models.face.bundle import Bundle

_LEFT_EYE, _RIGHT_EYE = (42, 45), (36, 39)  # outer and inner corners of the subject's eyes
_NEAREST_MM = 60.0  # no face is nearer to a camera that sees all of it


class FaceFitter:
    """Reads crops with the network, and poses its faces in front of a camera.

    Args:
        model: the face model that the network's parameters mean.
        regressor: the network.
        ipd_mm: distance between this subject's pupils, which fixes the size of the head; None
            leaves the model's size, which is uncertain.
        watch: told how long reading and fitting take.
        blendshapes: reads these from nearer views, where there is such a network.
    """

    def __init__(
        self,
        model: FaceModel,
        regressor: RegressorLike,
        ipd_mm: float | None = None,
        watch: Stopwatch | None = None,
        blendshapes: BlendshapeReader | None = None,
    ) -> None:
        if ipd_mm is not None and not 30.0 <= ipd_mm <= 90.0:
            raise InputError(f"ipd_mm must be 30 to 90 mm between the pupils, got {ipd_mm}")
        self.model = model
        self.watch = watch or Stopwatch()
        self._regressor = regressor
        self._blendshapes = blendshapes
        self._ipd_mm = ipd_mm
        from . import _fit_kernels  # numba is slow to import

        self._kernels: ModuleType = _fit_kernels
        quadrature = Quadrature.of(model)
        self._weights = quadrature.weights
        self._points = _join(model.landmarks(), quadrature.points)
        self._n_values = self._points.mean.size
        points = self._points
        self._alignment = Alignment(model)
        self._by_expression = points.mean, points.shape_basis, points.expression_basis
        self._by_blendshapes = points.mean, points.shape_basis, points.blendshape_basis

    @classmethod
    def of_bundle(
        cls,
        bundle: Bundle,
        threads: int = 1,
        ipd_mm: float | None = None,
        watch: Stopwatch | None = None,
    ) -> FaceFitter:
        """The fitter of a bundle, with all of its networks that read faces.

        Raises:
            InputError: a setting is impossible.
            BundleError: a network cannot be used.
        """
        regressor = Regressor(bundle.regressor_path, threads)
        path, model = bundle.blendshapes_path, bundle.face_model
        reader = None if path is None else BlendshapeReader(path, model, threads)
        return cls(model, regressor, ipd_mm, watch, reader)

    def look(
        self, image_bgr: UInt8[np.ndarray, "H W 3"], crops: Sequence[Crop]
    ) -> list[Candidate | None]:
        """Read crops in one batch; None where the network's answer is no face at all."""
        if not crops:
            return []
        image_bgr = np.ascontiguousarray(image_bgr)  # once, for crops and views
        pixels = np.empty((len(crops), CROP_SIZE, CROP_SIZE, 3), np.uint8)
        for i, crop in enumerate(crops):
            extract(image_bgr, crop, out=pixels[i])
        said = self._regressor.run(pixels)
        if self._blendshapes is not None:
            said = self._blendshapes.read(image_bgr, crops, said)
        self.watch.lap("regress")
        found = [self._candidate(crop, pixels[i], said.one(i)) for i, crop in enumerate(crops)]
        self.watch.lap("fit")
        return found

    def look_twice(
        self, image_bgr: UInt8[np.ndarray, "H W 3"], crops: Sequence[Crop]
    ) -> list[Candidate | None]:
        """Read crops, then those that the landmarks found there ask for: a box is only a hint."""
        first = self.look(image_bgr, crops)
        again = [look.next_crop if look else crop for look, crop in zip(first, crops, strict=True)]
        return self.look(image_bgr, again)

    def measure(
        self, seen: Candidate, shape: Float64[np.ndarray, " 40"], camera: Camera
    ) -> FaceMeasurement | None:
        """The face with this (filtered) shape that looks as the candidate says, in perspective.

        Where the filtered shape differs from the candidate's own, the orthography is first fitted
        anew, so that the points stay where the network saw them.

        Returns:
            None where no such face can stand before the camera.
        """
        crop = seen.crop
        out = np.empty(13)
        self._kernels.stand(
            seen.orthography, seen.orthography_variance, seen.points_mm, seen.shape, shape,
            *self._linear(seen.expression, seen.blendshapes),
            self._weights, (crop.cx, crop.cy, crop.side), CROP_SIZE,
            (camera.fx, camera.fy, camera.cx, camera.cy), out,
        )  # fmt: skip
        quat, translation, variance = out[:4], out[4:7], out[7:]
        if self._ipd_mm is not None:
            translation = translation * self.head_scale(shape)
        if translation[2] < _NEAREST_MM:
            return None
        pose = PerspectivePose(quat, translation)
        return FaceMeasurement(
            pose=PoseMeasurement(pose, variance),
            expression=seen.expression,
            expression_variance=seen.expression_variance,
            blendshapes=seen.blendshapes,
            conditions=seen.conditions,
        )

    def displacement_meter(self) -> DisplacementMeter:
        """What compares each frame of a face with the one before; one for each face."""
        return DisplacementMeter(self._alignment)

    def average_face(self) -> Candidate:
        """The neutral mean face, frontal, as a network would see it in a crop of its own."""
        mean = self.model.mean[self.model.landmark_vertices].mean(axis=0)
        scale = 0.6  # px per mm
        params = np.zeros(N_PARAMS, np.float32)
        params[[0, 5, 10]] = scale
        params[[3, 7]] = (CROP_SIZE - 1) / 2.0 - scale * mean[:2]
        middle = (CROP_SIZE - 1) / 2.0
        crop = Crop(middle, middle, float(CROP_SIZE))
        grey = np.full((CROP_SIZE, CROP_SIZE, 3), 127, np.uint8)
        candidate = self._candidate(crop, grey, RegressedFace(params))
        if candidate is None:
            raise InputError("the face model has no finite mean face")
        return candidate

    def head_scale(self, shape: Float64[np.ndarray, " 40"]) -> float:
        """Size of this head over the model's of the same shape; 1 where no ``ipd_mm`` says it."""
        if self._ipd_mm is None:
            return 1.0
        marks = self._points.decode(shape.astype(np.float32))
        eyes = marks[list(_LEFT_EYE)].mean(axis=0) - marks[list(_RIGHT_EYE)].mean(axis=0)
        return self._ipd_mm / float(np.linalg.norm(eyes))

    @property
    def head_size_known(self) -> bool:
        """Whether ``ipd_mm`` was given."""
        return self._ipd_mm is not None

    def landmarks_px(self, state: FaceState, camera: Camera) -> Float64[np.ndarray, "68 2"]:
        """The 68 landmarks of a face in the image.

        They lie under the scaled orthography of the pose, as the network was trained to place them:
        no error of an assumed focal length reaches them, as it would in true perspective.
        """
        face = state.shape, state.expression, state.blendshapes
        return self._place(state.pose, *face, camera)[0]

    def mesh_px(
        self,
        pose: PerspectivePose,
        shape: Float[np.ndarray, " 40"],
        expression: Float[np.ndarray, " 10"],
        blendshapes: Float[np.ndarray, " 52"] | None,
        camera: Camera,
    ) -> Float64[np.ndarray, "N 2"]:
        """All vertices of a face in the image, under the same orthography as its landmarks."""
        face = (
            shape.astype(np.float32),
            expression.astype(np.float32),
            None if blendshapes is None else blendshapes.astype(np.float32),
        )
        told = None if blendshapes is None else blendshapes.astype(np.float64)
        own = shape.astype(np.float64), expression.astype(np.float64), told
        _, orthography = self._place(pose, *own, camera)
        return apply_orthography(orthography, self.model.decode_seen(*face))

    def _place(
        self,
        pose: PerspectivePose,
        shape: Float64[np.ndarray, " 40"],
        expression: Float64[np.ndarray, " 10"],
        blendshapes: Float64[np.ndarray, " 52"] | None,
        camera: Camera,
    ) -> tuple[Float64[np.ndarray, "68 2"], Float64[np.ndarray, "3 4"]]:
        """Landmarks in the image, and the orthography nearest to the pose, image px per mm."""
        out = np.empty(12 + 2 * N_LANDMARKS)
        orthography, marks = out[:12].reshape(3, 4), out[12:].reshape(-1, 2)
        self._kernels.place(
            pose.quat_wxyz, pose.translation_mm, self.head_scale(shape), shape,
            *self._linear(expression, blendshapes), self._weights,
            (camera.fx, camera.fy, camera.cx, camera.cy), marks, orthography,
        )  # fmt: skip
        return marks, orthography

    def _linear(
        self, expression: np.ndarray, blendshapes: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What besides shape moves the points, and the linear model for that."""
        if blendshapes is None or not len(self._points.blendshape_basis):
            return expression, *self._by_expression
        return blendshapes, *self._by_blendshapes

    def _candidate(
        self, crop: Crop, pixels: UInt8[np.ndarray, "S S 3"], said: RegressedFace
    ) -> Candidate | None:
        params = said.params
        other, *linear = self._linear(params[-10:], said.blendshapes)
        log_variance = said.log_variance
        out = np.empty(82 + 2 * N_LANDMARKS + self._n_values)
        orthography = out[:12].reshape(3, 4)
        box, seen, variance = out[12:16], out[16:20], out[20:82]
        landmarks_px = out[82 : 82 + 2 * N_LANDMARKS].reshape(-1, 2)
        points = out[82 + 2 * N_LANDMARKS :].reshape(-1, 3)
        good = self._kernels.read(
            params, params if log_variance is None else log_variance, other, pixels,
            (crop.cx, crop.cy, crop.side), *linear, self._weights,
            points, orthography, landmarks_px, box, variance, seen,
        )  # fmt: skip
        if not good:
            return None
        if log_variance is None:
            variance = said.variance
        x, y, w, h = box.tolist()
        exact = params.astype(np.float64)
        shape, expression = exact[N_POSE:-10], exact[-10:]
        blendshapes = None if said.blendshapes is None else said.blendshapes.astype(np.float64)
        return Candidate(
            crop=crop,
            presence=said.presence,
            orthography=orthography,
            orthography_variance=variance[:N_POSE].reshape(3, 4),
            shape=shape,
            shape_variance=variance[N_POSE:-10],
            expression=expression,
            expression_variance=variance[-10:],
            blendshapes=None
            if blendshapes is None
            else np.minimum(np.maximum(blendshapes, 0.0), 1.0),
            landmarks_px=landmarks_px,
            points_mm=points,
            conditions=seen,
            box_xywh_px=(x, y, w, h),
            pixels=pixels,
            variance_stated=said.log_variance is not None,
        )


def _join(first: LinearPoints, second: LinearPoints) -> LinearPoints:
    """Two sets of points as one, decoded in one go."""
    return LinearPoints(
        mean=np.concatenate([first.mean, second.mean]),
        shape_basis=np.concatenate([first.shape_basis, second.shape_basis], axis=1),
        expression_basis=np.concatenate([first.expression_basis, second.expression_basis], axis=1),
        blendshape_basis=np.concatenate([first.blendshape_basis, second.blendshape_basis], axis=1),
    )
