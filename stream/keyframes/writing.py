"""Writes a folder of key frames; its name appears when it is complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import cv2
import msgspec
import numpy as np
from jaxtyping import Float, UInt8

from ...models.errors import OutputError
from ...models.face.morphable import FaceModel
from ..export.mesh import obj_text
from ..observation import FaceObservation
from ..published_pose import camera_from_head_of
from ..schema import plain_row
from ..sinks.partial import PartialFolder
from .alignment import cut, image_from_crop, share_inside
from .folder import FACTS, SHEET, CropFacts, FolderFacts, Keyframe
from .selection import Choice
from .sheet import contact_sheet, tile

_AXES: Final = "head frame of mien, mm: x to the picture's right, y down, z into the head"


class KeyframeWriter:
    """Writes the files of key frames one by one, then the list of them.

    A context manager. Everything is written into a hidden folder beside the final one, which takes
    the final name in :meth:`finish`; what was not finished is removed.
    """

    def __init__(
        self,
        path: Path,
        camera_matrix: Float[np.ndarray, "3 3"],
        model: FaceModel | None,
        side: int,
    ) -> None:
        """Begin the folder.

        Args:
            path: of the folder; replaced where it is one of key frames.
            camera_matrix: that the poses hold for, px.
            model: the face model of the rows; None: no meshes are written.
            side: of the crops, px.

        Raises:
            OutputError: it cannot be written.
        """
        self.path = path
        self._camera = camera_matrix
        self._model = model
        self._side = side
        self._tiles: dict[int, np.ndarray] = {}
        if path.exists() and not (path.is_dir() and (path / FACTS).is_file()):
            raise OutputError(f"{path}: is in the way, and no folder of key frames")
        self._part = PartialFolder(path)
        try:
            for name in ("frames", "crops", "fits"):
                (self._part.path / name).mkdir()
        except OSError as error:
            self._part.discard()
            raise OutputError(f"{path}: cannot be made: {error.strerror}") from error

    def __enter__(self) -> KeyframeWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._part.discard()  # gone already where it was finished

    def write(
        self, image_bgr: UInt8[np.ndarray, "H W 3"], row: FaceObservation, choice: Choice, rank: int
    ) -> Keyframe:
        """Write the files of one key frame.

        Args:
            image_bgr: the whole picture.
            row: of the face.
            choice: why it was chosen.
            rank: its place among those chosen, from 0.

        Raises:
            OutputError: a file cannot be written.
        """
        matrix = image_from_crop(row.landmarks_px, self._side)
        height, width = image_bgr.shape[:2]
        (a, b, x), (c, d, y) = matrix.tolist()
        keyframe = Keyframe(
            frame=row.frame,
            t_media_ns=row.t_media_ns,
            track=row.track,
            score=round(choice.score, 6),
            parts={name: round(float(value), 6) for name, value in choice.parts.items()},
            blur_px=round(choice.candidate.blur_px, 4),
            crop=CropFacts(
                side=self._side,
                image_from_crop=((a, b, x), (c, d, y)),
                inside=round(share_inside(matrix, self._side, width, height), 6),
            ),
            mesh=self._model is not None,
            row=row,
        )
        crop = cut(image_bgr, matrix, self._side)
        try:
            self._png(f"frames/{keyframe.stem}.png", image_bgr)
            self._png(f"crops/{keyframe.stem}.png", crop)
            self._fit(keyframe)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._tiles[rank] = tile(crop, keyframe, rank)
        return keyframe

    def finish(self, facts: FolderFacts) -> None:
        """Write the list and the contact sheet, and give the folder its name.

        Raises:
            OutputError: it cannot be written.
        """
        plain = msgspec.to_builtins(
            msgspec.structs.replace(facts, keyframes=()), builtin_types=(bytes,)
        )
        plain["keyframes"] = [_plain(keyframe) for keyframe in facts.keyframes]
        text = msgspec.json.format(msgspec.json.encode(plain), indent=1)
        try:
            (self._part.path / FACTS).write_bytes(text + b"\n")
            tiles = [self._tiles[rank] for rank in sorted(self._tiles)]
            self._png(SHEET, contact_sheet(tiles, facts))
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._part.commit()

    def _png(self, name: str, image_bgr: UInt8[np.ndarray, "H W 3"]) -> None:
        (self._part.path / name).write_bytes(cv2.imencode(".png", image_bgr)[1].tobytes())

    def _fit(self, keyframe: Keyframe) -> None:
        row = keyframe.row
        stem = self._part.path / "fits" / keyframe.stem
        text = msgspec.json.format(msgspec.json.encode(plain_row(row)), indent=1)
        stem.with_suffix(".json").write_bytes(text + b"\n")
        arrays: dict[str, np.ndarray | None] = {
            "camera_from_head": camera_from_head_of(row),
            "camera_matrix": np.asarray(self._camera, dtype=np.float64),
            "shape": row.shape,
            "expression": row.expression,
            "blendshapes": row.blendshapes,
            "landmarks_px": row.landmarks_px,
            "pose_variance": row.pose_variance,
        }
        if self._model is not None:
            vertices = self._model.decode_seen(row.shape, row.expression, row.blendshapes)
            vertices = vertices.astype(np.float32)
            uv = self._model.uv if len(self._model.uv) else None
            arrays |= {"vertices_mm": vertices, "triangles": self._model.triangles, "uv": uv}
            points = vertices.astype(np.float64)
            text = obj_text(points, self._model.triangles, self._model.uv, [_AXES])
            stem.with_suffix(".obj").write_text(text, encoding="ascii")
        present = {name: array for name, array in arrays.items() if array is not None}
        np.savez_compressed(stem.with_suffix(".npz"), allow_pickle=False, **present)


def _plain(keyframe: Keyframe) -> dict[str, Any]:
    fields = msgspec.structs.asdict(keyframe)
    fields["crop"] = msgspec.to_builtins(keyframe.crop)
    fields["row"] = plain_row(keyframe.row)
    return fields
