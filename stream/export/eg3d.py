"""EG3D: ``dataset.json`` with a camera label for each aligned 512 px crop.

EG3D's world is a face of standard size: origin inside the head, x to the right of who looks at it,
y up, z out of the face, one unit 370 mm. Its labels force one focal length and one distance on all
pictures. So each picture is first fitted with a camera of the forced focal length whose axis goes
through the middle of the crop; then that camera is moved along its ray to the forced distance.
What this costs is written beside each label.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64

from ...models.errors import InputError, OutputError
from ...models.face.camera import Camera
from ...models.face.crop import CROP_SIZE, Crop, extract
from ...models.face.eg3d_camera import (
    FOCAL,
    RADIUS,
    StandardFace,
    label_of,
    mirrored_label,
    project,
)
from ...models.face.perspective import PerspectivePose, fit_perspective, nearest_scaled_orthography
from ...models.face.quadrature import Quadrature
from ...models.face.rotation import FLIP
from ..frame import Frame
from ..observation import FaceObservation
from ..published_pose import pose_of
from .base import ExportContext, FolderExporter, JsonList, close_all

SIZE: Final = 512
RESIDUALS: Final = "residuals.csv"
RESIDUALS_HEADER: Final = (
    *("file", "frame", "track", "crop_x", "crop_y", "crop_side", "focal_published"),
    *("radius_published", "radius_fitted", "residual_fitted_px", "residual_px"),
)


@dataclass(frozen=True)
class AlignedFace:
    """A face as EG3D wants it.

    Attributes:
        crop: the aligned square, image px.
        label: (25,) camera to world, 4x4, OpenCV's axes, then the 3x3 intrinsics in crop sides.
        radius_fitted: distance of the camera from the world's origin before it was forced.
        radius_published: distance of the true camera, by the published pose.
        residual_fitted_px: root mean square over the 68 landmarks, px of the 512 px crop, between
            where they are published and where the fitted camera sees them.
        residual_px: the same of the label's camera.
    """

    crop: Crop
    label: Float64[np.ndarray, " 25"]
    radius_fitted: float
    radius_published: float
    residual_fitted_px: float
    residual_px: float


class Aligner:
    """Finds crop and label of a row."""

    def __init__(self, context: ExportContext) -> None:
        model = context.face_model
        self._camera = context.camera
        self._head = context.head
        self._quadrature = Quadrature.of(model)
        self._marks = model.landmarks()
        self._standard = StandardFace.of(model)

    def align(self, row: FaceObservation) -> AlignedFace:
        """The crop and the label of a face.

        Raises:
            InputError: the landmarks lie on one line.
        """
        crop = self._standard.crop(row.landmarks_px)
        virtual = Camera(
            FOCAL * crop.side, FOCAL * crop.side, crop.cx, crop.cy, self._camera.width,
            self._camera.height,
        )  # fmt: skip
        fitted = self._refit(row, crop, virtual)
        scale = self._head.scale(row.shape)
        published = pose_of(row)
        published = PerspectivePose(published.quat_wxyz, published.translation_mm / scale)
        rotation = FLIP @ fitted.rotation.T
        place = self._camera_place(fitted)
        forced = place / np.linalg.norm(place) * RADIUS
        marks = self._marks.decode_seen(row.shape, row.expression, row.blendshapes)
        world = self._standard.world_from_head(marks)
        target = crop.from_image(row.landmarks_px.astype(np.float64), SIZE)
        label = label_of(rotation, forced)
        return AlignedFace(
            crop=crop,
            label=label,
            radius_fitted=float(np.linalg.norm(place)),
            radius_published=float(np.linalg.norm(self._camera_place(published))),
            residual_fitted_px=_rms(project(label_of(rotation, place), world, SIZE) - target),
            residual_px=_rms(project(label, world, SIZE) - target),
        )

    def _camera_place(self, pose: PerspectivePose) -> Float64[np.ndarray, " 3"]:
        """Where the camera stands in EG3D's world."""
        eye = -pose.rotation.T @ pose.translation_mm
        return self._standard.world_from_head(eye[None])[0]

    def _refit(self, row: FaceObservation, crop: Crop, virtual: Camera) -> PerspectivePose:
        """The pose that looks through another camera as the published one does; model mm."""
        points = self._quadrature.points.decode_seen(row.shape, row.expression, row.blendshapes)
        points = points.astype(np.float64)
        weights = self._quadrature.weights
        placed = pose_of(row).apply(points * self._head.scale(row.shape))
        orthography = nearest_scaled_orthography(points, self._camera.project(placed), weights)
        in_crop = orthography * (CROP_SIZE / crop.side)
        in_crop[:2, 3] = crop.from_image(orthography[:2, 3])
        return fit_perspective(in_crop, crop, virtual, points, weights)


class Eg3dExporter(FolderExporter):
    """Writes aligned crops, ``dataset.json`` and ``residuals.csv``."""

    SUFFIX = ".eg3d"
    PICTURES = True

    def __init__(self, path: str | os.PathLike[str], context: ExportContext) -> None:
        """Begin the folder.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path, context)
        self._aligner = Aligner(context)
        self._labels = JsonList(self._folder)
        self._stream = (self._folder / RESIDUALS).open("w", encoding="utf-8", newline="")
        self._residuals = csv.writer(self._stream, lineterminator="\n")
        self._residuals.writerow(RESIDUALS_HEADER)

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        if not self._context.options.takes(frame.index):
            return
        for row in observations:
            if not row.observed:
                continue
            try:
                face = self._aligner.align(row)
            except InputError as error:
                raise OutputError(f"{self.path}: frame {frame.index}: {error}") from error
            stem = f"{frame.index // 1000:05d}/img{frame.index:08d}_{row.track}"
            picture = frame.image_bgr
            if picture.size:  # else the saving says what is wrong
                picture = extract(picture, face.crop, SIZE)
            self._save(f"{stem}.png", picture, face.label, frame, row, face)
            if self._context.options.mirror:
                mirrored = np.ascontiguousarray(picture[:, ::-1])
                label = mirrored_label(face.label)
                self._save(f"{stem}_mirror.png", mirrored, label, frame, row, face)

    def _save(
        self,
        name: str,
        picture: np.ndarray,
        label: Float64[np.ndarray, " 25"],
        frame: Frame,
        row: FaceObservation,
        face: AlignedFace,
    ) -> None:
        self._save_picture(name, picture)
        self._labels.add([name, label.tolist()])
        crop = face.crop
        numbers = (
            *(crop.cx, crop.cy, crop.side, self._context.camera.fx / crop.side),
            *(face.radius_published, face.radius_fitted),
            *(face.residual_fitted_px, face.residual_px),
        )
        self._residuals.writerow([name, frame.index, row.track, *(f"{v:.4f}" for v in numbers)])

    def _finish(self) -> None:
        with (self._folder / "dataset.json").open("wb") as stream:
            stream.write(b'{"labels": ')
            self._labels.copy_to(stream)
            stream.write(b"}\n")

    def _release(self) -> None:
        close_all(self._labels, self._stream)


def _rms(offsets: Float64[np.ndarray, "N 2"]) -> float:
    return float(np.sqrt((offsets**2).sum(axis=1).mean()))
