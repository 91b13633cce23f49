"""What every exporter is given, and folders that have their name only when they are complete."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, ClassVar, Final, Literal

import cv2
import numpy as np
from jaxtyping import UInt8

from ...models.errors import InputError, OutputError
from ...models.face.camera import Camera
from ...models.face.morphable import FaceModel
from ..episodes import CLOSES, LONGEST_BLINK_S, OPENS
from ..frame import Frame
from ..sinks.base import FileSink, Recording
from ..sinks.partial import PartialFile, PartialFolder
from .geometry import HeadGeometry

PictureFormat = Literal["jpg", "png"]
MeshFrame = Literal["head", "camera"]

_JPEG_QUALITY: Final = 95
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class ExportOptions:
    """What can be chosen about exports; each exporter reads what concerns it.

    Attributes:
        every: exports with pictures or meshes take each n-th frame of the source.
        frames: they take these frames only, by their index from 0; none named: by ``every``.
        picture_format: of whole frames; aligned crops are always PNG.
        mirror: EG3D: also write each crop mirrored.
        mesh_frame: OBJ and PLY: where the vertices are given.
        blink_closes: a blink begins where both ``eyeBlink`` reach this.
        blink_opens: and ends where one falls below this.
        blink_longest_ms: what lasts longer is called closed eyes.

    Raises:
        InputError: a value is out of range.
    """

    every: int = 1
    frames: tuple[int, ...] = ()
    picture_format: PictureFormat = "jpg"
    mirror: bool = False
    mesh_frame: MeshFrame = "head"
    blink_closes: float = CLOSES
    blink_opens: float = OPENS
    blink_longest_ms: int = round(1000 * LONGEST_BLINK_S)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"every is {self.every}, expected 1 or more")
        if any(index < 0 for index in self.frames):
            raise InputError("frames are counted from 0, a negative one was given")
        if not 0.0 < self.blink_opens <= self.blink_closes <= 1.0:
            raise InputError(
                f"blinks open at {self.blink_opens:g} and close at {self.blink_closes:g}, "
                "expected 0 < opens <= closes <= 1"
            )

    @cached_property
    def _named(self) -> frozenset[int]:
        return frozenset(self.frames)

    def takes(self, index: int) -> bool:
        """Whether pictures and meshes are made of the frame with this index."""
        return index in self._named if self.frames else index % self.every == 0


@dataclass(frozen=True)
class ExportContext:
    """What an exporter knows besides frames and rows.

    Attributes:
        recording: where the rows come from; its camera matrix is that of the published poses.
        face_model: of the bundle that made the rows.
        options: what was chosen.

    Raises:
        InputError: the recording names no camera matrix.
    """

    recording: Recording
    face_model: FaceModel
    options: ExportOptions = ExportOptions()

    def __post_init__(self) -> None:
        if self.recording.camera_matrix is None:
            raise InputError(f"{self.recording.source}: no camera matrix, which exports need")

    @cached_property
    def camera(self) -> Camera:
        """The camera that the published poses hold for."""
        matrix = np.array(self.recording.camera_matrix, dtype=np.float64)
        (fx, _, cx), (_, fy, cy), _ = matrix.tolist()
        return Camera(fx, fy, cx, cy, self.recording.width, self.recording.height)

    @cached_property
    def head(self) -> HeadGeometry:
        """What rows mean in millimetres."""
        return HeadGeometry(self.face_model, self.recording.options.get("ipd_mm"))

    def t_ns(self, frame: Frame) -> int:
        """Time of a frame, ns; by its number where the source tells no time."""
        if frame.t_media_ns is None and frame.t_capture_ns is None:
            return round(frame.index * 1e9 / (self.recording.rate or 25.0))
        return frame.t_ns


class Exporter(FileSink):
    """Base of the exporters: a sink that is made with a place and a context.

    Attributes:
        SUFFIX: added to the name of the input, for the place.
        FOLDER: whether the place is a folder.
        PICTURES: whether frames must carry their pixels. Others may come without, as
            :meth:`mien.stream.two_pass.TwoPass.frames` gives them.
    """

    SUFFIX: ClassVar[str]
    FOLDER: ClassVar[bool] = False
    PICTURES: ClassVar[bool] = False

    def __init__(self, path: str | os.PathLike[str], context: ExportContext) -> None:
        """Begin under a hidden name.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path)
        self._context = context


class FolderExporter(Exporter):
    """Base of the exporters that write a folder."""

    FOLDER = True

    def _begin(self, path: Path) -> PartialFile:
        return PartialFolder(path)

    @property
    def _folder(self) -> Path:
        """Where the contents are written until all is complete."""
        return self._file.path

    def _save_picture(self, name: str, picture_bgr: UInt8[np.ndarray, "H W 3"]) -> None:
        """Write a picture below the folder.

        Raises:
            OutputError: there is none (the frame came without pixels), or it cannot be encoded.
            OSError: it cannot be written.
        """
        if not picture_bgr.size:
            raise OutputError(f"{self.path}: needs the pictures, and was given frames without")
        place = self._folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if place.suffix == ".jpg" else []
        ok, data = cv2.imencode(place.suffix, picture_bgr, quality)
        if not ok:
            raise OutputError(f"{self.path}: {name} cannot be encoded")
        place.write_bytes(data.tobytes())

    def _frame_name(self, index: int) -> str:
        """Name of a whole frame below the folder."""
        return f"images/{index:06d}.{self._context.options.picture_format}"


class JsonList:
    """The elements of a JSON list, kept in an unnamed file until they are all known."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed below
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, element: Any) -> None:
        """One more element."""
        text = json.dumps(element, allow_nan=False, separators=(",", ":"))
        self._file.write((b",\n" if self._count else b"\n") + text.encode())
        self._count += 1

    def copy_to(self, stream: IO[bytes]) -> None:
        """Write the list, with its brackets."""
        stream.write(b"[")
        self._file.seek(0)
        shutil.copyfileobj(self._file, stream, _BLOCK)
        stream.write(b"\n]")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Records:
    """Records of one kind, with a field ``track``, kept in an unnamed file."""

    def __init__(self, kind: np.dtype, folder: Path) -> None:
        self._kind = kind
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed below
        self._count = 0
        self._spans: dict[int, tuple[int, int]] = {}  # of each track, from its first to after last

    def __len__(self) -> int:
        return self._count

    def add(self, track: int, **values: Any) -> None:
        """One more record."""
        record = np.zeros(1, self._kind)
        record["track"] = track
        for name, value in values.items():
            record[name] = value
        self._file.seek(0, os.SEEK_END)
        self._file.write(record.tobytes())
        first, _ = self._spans.get(track, (self._count, 0))
        self._count += 1
        self._spans[track] = first, self._count

    def of(self, track: int, size: int = 1024) -> Iterator[np.ndarray]:
        """The records of a track in order, in blocks of at most so many."""
        first, end = self._spans.get(track, (0, 0))
        for at in range(first, end, size):
            self._file.seek(at * self._kind.itemsize)
            count = min(size, end - at)
            block = np.frombuffer(self._file.read(count * self._kind.itemsize), self._kind)
            mine = block[block["track"] == track]
            if len(mine):
                yield mine

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def close_all(*held: JsonList | Records | IO[bytes] | IO[str]) -> None:
    """Close files, whatever became of them."""
    for one in held:
        with contextlib.suppress(OSError):
            one.close()


__all__ = [
    "ExportContext",
    "ExportOptions",
    "Exporter",
    "FolderExporter",
    "JsonList",
    "MeshFrame",
    "PictureFormat",
    "Records",
    "close_all",
]
