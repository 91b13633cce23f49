"""OpenFace 2 CSV: the columns, units and signs of OpenFace's ``FeatureExtraction``."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence
from typing import Final

from ...models.face.names import BLENDSHAPE_INDEX, N_LANDMARKS
from ...models.face.rotation import matrix_from_quaternion
from ..frame import Frame
from ..gaze import eye_angles
from ..observation import FaceObservation
from ..published_pose import pose_of
from .base import ExportContext, Exporter

OPENFACE_HEADER: Final[tuple[str, ...]] = (
    *("frame", "face_id", "timestamp", "confidence", "success"),
    *(f"gaze_{eye}_{axis}" for eye in range(2) for axis in "xyz"),
    *("gaze_angle_x", "gaze_angle_y"),
    *("pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz"),
    *(f"{axis}_{i}" for axis in "xyXYZ" for i in range(N_LANDMARKS)),
    *("AU45_r", "AU45_c"),
)
"""OpenFace's names and order, without what mien cannot fill."""

AU45_FULL: Final = 5.0
"""OpenFace's intensities run from 0 to 5."""

_BLINK = BLENDSHAPE_INDEX["eyeBlinkLeft"], BLENDSHAPE_INDEX["eyeBlinkRight"]


class OpenFaceExporter(Exporter):
    """Writes one row a face a frame, and one row with ``success`` 0 where there is none."""

    SUFFIX = ".openface.csv"

    def __init__(self, path: str | os.PathLike[str], context: ExportContext) -> None:
        """Begin the file.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path, context)
        self._stream = self._file.path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(OPENFACE_HEADER)

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        seconds = f"{self._context.t_ns(frame) / 1e9:.6f}"
        if not observations:
            missing = [frame.index + 1, 0, seconds, "0.0000", 0]
            self._writer.writerow(missing + [""] * (len(OPENFACE_HEADER) - len(missing)))
        for row in observations:
            self._writer.writerow(self._cells(frame, seconds, row))

    def _cells(self, frame: Frame, seconds: str, row: FaceObservation) -> Iterator[object]:
        yield frame.index + 1
        yield row.track
        yield seconds
        yield "" if row.confidence is None else f"{row.confidence:.4f}"
        yield int(row.observed)
        yield from _gaze(row)
        yield from (f"{value:.4f}" for value in (row.tx, row.ty, row.tz))
        angles = (-row.pitch, row.yaw, row.roll)
        yield from (f"{math.radians(angle):.6f}" for angle in angles)
        yield from (f"{value:.3f}" for value in row.landmarks_px.T.ravel().tolist())
        placed = pose_of(row).apply(self._context.head.landmarks_mm(row))
        yield from (f"{value:.3f}" for value in placed.T.ravel().tolist())
        yield from _blink(row, self._context.options.blink_closes)

    def _release(self) -> None:
        self._stream.close()


def _gaze(row: FaceObservation) -> list[str]:
    """Directions of both eyes in the camera frame, and their mean's angles; empty where unsaid.

    Eye 0 is the subject's right, the left one in the picture.
    """
    if row.blendshapes is None:
        return [""] * 8
    rotation = matrix_from_quaternion(pose_of(row).quat_wxyz)
    left, right = (rotation @ eye.direction() for eye in eye_angles(row.blendshapes))
    x, y, z = ((left + right) / 2.0).tolist()
    angles = math.atan2(x, -z), math.atan2(y, -z)
    return [f"{value:.6f}" for value in (*right.tolist(), *left.tolist(), *angles)]


def _blink(row: FaceObservation, closes: float) -> tuple[str, str]:
    """AU45's intensity and presence; empty where the network says nothing of it."""
    if row.blendshapes is None:
        return "", ""
    left, right = (float(row.blendshapes[i]) for i in _BLINK)
    mean = (left + right) / 2.0
    return f"{AU45_FULL * mean:.3f}", f"{float(mean >= closes):.1f}"
