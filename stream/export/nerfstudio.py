"""nerfstudio and instant-ngp: ``transforms.json``, the head at rest and the camera about it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import IO, Any, Final

import msgspec
import numpy as np
from jaxtyping import Float64

from ...models.face.perspective import PerspectivePose
from ...models.face.rotation import FLIP
from ..frame import Frame
from ..observation import FaceObservation
from ..published_pose import camera_from_head_matrix, pose_of
from .base import ExportContext, FolderExporter, JsonList, Records, close_all

TRANSFORMS: Final = "transforms.json"
HALF_PIXEL: Final = 0.5
"""Added to mien's pixels: nerfstudio counts from the corner of the top-left pixel."""

_METRES = 1e-3
_SEEN = np.dtype([("frame", "i8"), ("track", "i4"), ("t_ns", "i8"), ("matrix", "f8", (4, 4))])


def world_from_camera(pose: PerspectivePose) -> Float64[np.ndarray, "4 4"]:
    """Camera to world, both with OpenGL's axes; metres.

    The world is the head: origin at the sellion, x to the right of who looks at the face, y up, z
    out of the face.
    """
    flip = np.eye(4)
    flip[:3, :3] = FLIP
    matrix = flip @ np.linalg.inv(camera_from_head_matrix(pose)) @ flip
    matrix[:3, 3] *= _METRES
    return matrix


class NerfstudioExporter(FolderExporter):
    """Writes the pictures in which a face was seen, and where the camera stood about its head.

    The track that was seen most is in ``transforms.json``, another track N in
    ``transforms_track_N.json``, which names the same pictures.
    """

    SUFFIX = ".nerfstudio"
    PICTURES = True

    def __init__(self, path: str | os.PathLike[str], context: ExportContext) -> None:
        """Begin the folder.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path, context)
        self._seen = Records(_SEEN, self._folder)
        self._counts: Counter[int] = Counter()

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        seen = [row for row in observations if row.observed]
        if not seen or not self._context.options.takes(frame.index):
            return
        self._save_picture(self._frame_name(frame.index), frame.image_bgr)
        for row in seen:
            self._seen.add(
                row.track,
                frame=frame.index,
                t_ns=self._context.t_ns(frame),
                matrix=world_from_camera(pose_of(row)),
            )
            self._counts[row.track] += 1

    def _finish(self) -> None:
        tracks = sorted(self._counts, key=lambda track: (-self._counts[track], track))
        for place, track in enumerate(tracks or [-1]):
            name = TRANSFORMS if place == 0 else f"transforms_track_{track}.json"
            with (self._folder / name).open("wb") as stream:
                self._transforms(stream, track)

    def _transforms(self, stream: IO[bytes], track: int) -> None:
        frames = JsonList(self._folder)
        try:
            for block in self._seen.of(track):
                for at in block:
                    frames.add(self._frame(at))
            head = msgspec.json.format(msgspec.json.encode(self._header(track)), indent=1)
            stream.write(head.rstrip(b"\n}") + b',\n "frames": ')
            frames.copy_to(stream)
            stream.write(b"\n}\n")
        finally:
            close_all(frames)

    def _frame(self, at: np.void) -> dict[str, Any]:
        index = int(at["frame"])
        return {
            "file_path": self._frame_name(index),
            "timestep_index": index,
            "time": int(at["t_ns"]) / 1e9,
            "transform_matrix": at["matrix"].tolist(),
        }

    def _header(self, track: int) -> dict[str, Any]:
        camera = self._context.camera
        return {
            "camera_model": "OPENCV",
            "fl_x": camera.fx,
            "fl_y": camera.fy,
            "cx": camera.cx + HALF_PIXEL,
            "cy": camera.cy + HALF_PIXEL,
            "w": camera.width,
            "h": camera.height,
            **dict.fromkeys(("k1", "k2", "p1", "p2"), 0.0),
            "source": self._context.recording.source,
            "bundle_hash": self._context.recording.bundle_hash,
            "track": track,
            "world": "head: origin at the sellion, x to the picture's right when frontal, y up, "
            "z out of the face; metres",
        }

    def _release(self) -> None:
        close_all(self._seen)
