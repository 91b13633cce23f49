"""COCO-WholeBody: faces as ``face_box`` and 68 ``face_kpts``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from ..frame import Frame
from ..observation import FaceObservation
from .base import ExportContext, FolderExporter, JsonList, close_all

ANNOTATIONS: Final = "annotations.json"
VISIBLE: Final = 2
NOT_VISIBLE: Final = 1

_BODY = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder"),
    *("right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip"),
    *("right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
_CATEGORY = {
    "id": 1,
    "name": "person",
    "supercategory": "person",
    "keypoints": list(_BODY),
    "skeleton": [],
}
_NO_BODY = {
    "keypoints": [0] * 51,
    "num_keypoints": 0,
    "foot_kpts": [0] * 18,
    "lefthand_kpts": [0] * 63,
    "righthand_kpts": [0] * 63,
    "lefthand_box": [0] * 4,
    "righthand_box": [0] * 4,
    "foot_valid": False,
    "lefthand_valid": False,
    "righthand_valid": False,
}


class CocoExporter(FolderExporter):
    """Writes the pictures in which a face was seen, and one annotation a face."""

    SUFFIX = ".coco"
    PICTURES = True

    def __init__(self, path: str | os.PathLike[str], context: ExportContext) -> None:
        """Begin the folder.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path, context)
        self._images = JsonList(self._folder)
        self._annotations = JsonList(self._folder)

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        seen = [row for row in observations if row.observed]
        if not seen or not self._context.options.takes(frame.index):
            return
        name = self._frame_name(frame.index)
        self._save_picture(name, frame.image_bgr)
        height, width = frame.image_bgr.shape[:2]
        self._images.add({"id": frame.index, "file_name": name, "width": width, "height": height})
        for row in seen:
            self._annotations.add(self._annotation(row, frame.index, width, height))

    def _annotation(
        self, row: FaceObservation, image: int, width: int, height: int
    ) -> dict[str, Any]:
        points = row.landmarks_px.astype(np.float64)
        # The picture's pixels reach half a pixel beyond their centres.
        inside = np.all((points >= -0.5) & (points < (width - 0.5, height - 0.5)), axis=1)
        flags = np.where(inside, VISIBLE, NOT_VISIBLE)
        kpts: list[float | int] = []
        for (x, y), flag in zip(points.tolist(), flags.tolist(), strict=True):
            kpts += [round(x, 3), round(y, 3), flag]
        box = [round(float(v), 3) for v in (row.box_x, row.box_y, row.box_w, row.box_h)]
        return {
            "id": len(self._annotations) + 1,
            "image_id": image,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": box,
            "area": round(box[2] * box[3], 3),
            "track_id": row.track,
            "score": None if row.confidence is None else round(float(row.confidence), 6),
            "face_box": box,
            "face_kpts": kpts,
            "face_valid": True,
            **_NO_BODY,
        }

    def _finish(self) -> None:
        info = {
            "description": f"faces in {self._context.recording.source}",
            "bundle_hash": self._context.recording.bundle_hash,
        }
        with (self._folder / ANNOTATIONS).open("wb") as stream:
            stream.write(b'{"info": ' + msgspec.json.encode(info) + b',\n"licenses": [],\n')
            stream.write(b'"categories": [' + msgspec.json.encode(_CATEGORY) + b'],\n"images": ')
            self._images.copy_to(stream)
            stream.write(b',\n"annotations": ')
            self._annotations.copy_to(stream)
            stream.write(b"}\n")

    def _release(self) -> None:
        close_all(self._images, self._annotations)
