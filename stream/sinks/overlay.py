"""Overlay: the source's pictures with the faces drawn on them, as MP4 or as one image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
from jaxtyping import UInt8

from ...models.errors import InputError, OutputError
from ..frame import Frame
from ..observation import FaceObservation
from .base import FileSink
from .drawing import Annotator, magnification
from .mp4 import Mp4Writer


class OverlaySink(FileSink):
    """Writes an MP4 video with H.264 (MPEG-4 part 2 where the build of FFmpeg lacks x264).

    The times of the pictures are those of the source, so that variable frame rates stay in step.
    Small sources are enlarged by a whole number; sound is left out.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        annotator: Annotator | None = None,
        *,
        rate: float | None = None,
    ) -> None:
        """Begin the file; the encoder is opened with the first frame.

        Args:
            path: of the video.
            annotator: how faces are drawn; its magnification is chosen by the first frame.
            rate: nominal frames per second, where the frames carry no times.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path)
        self._annotator = annotator or Annotator()
        self._rate = Fraction(rate or 25).limit_denominator(1001)
        self._first_ns: int | None = None
        self._size: tuple[int, int] | None = None
        self._film = Mp4Writer(self._file.path, self._rate, said=self.path)

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        if self._size is None:
            height, width = frame.image_bgr.shape[:2]
            self._annotator = replace(self._annotator, magnify=magnification(height, width))
        canvas = self._annotator.draw(frame.image_bgr, observations)
        if self._size is None:
            height, width = canvas.shape[:2]
            self._size = (width + width % 2, height + height % 2)
        self._film.add(_fit(canvas, self._size), self._since_first_ns(frame))

    def _since_first_ns(self, frame: Frame) -> int:
        t_ns = frame.t_media_ns if frame.t_media_ns is not None else frame.t_capture_ns
        if t_ns is None:
            t_ns = round(frame.index * 1_000_000_000 / self._rate)
        self._first_ns = t_ns if self._first_ns is None else self._first_ns
        return t_ns - self._first_ns

    def _finish(self) -> None:
        self._film.finish()

    def _release(self) -> None:
        self._film.close()


class StillOverlaySink(FileSink):
    """Writes the first frame, with its faces, as an image; the name's ending says which kind."""

    def __init__(self, path: str | os.PathLike[str], annotator: Annotator | None = None) -> None:
        """Begin the file.

        Raises:
            InputError: OpenCV writes no images with that ending.
            OutputError: the place cannot be written to.
        """
        suffix = os.path.splitext(path)[1]
        if not suffix or not cv2.haveImageWriter(f"x{suffix}"):
            raise InputError(f"{path}: expected a name that ends with .png or .jpg")
        super().__init__(path)
        self._suffix = suffix
        self._annotator = annotator or Annotator()
        self._done = False

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        if self._done:
            return
        self._done = True
        height, width = frame.image_bgr.shape[:2]
        annotator = replace(self._annotator, magnify=magnification(height, width))
        ok, data = cv2.imencode(self._suffix, annotator.draw(frame.image_bgr, observations))
        if not ok:
            raise OutputError(f"{self.path}: the image cannot be encoded")
        self._file.path.write_bytes(data.tobytes())


def _fit(canvas: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """The picture in the encoder's size: padded to even numbers, or scaled where it changed."""
    height, width = canvas.shape[:2]
    right, below = size[0] - width, size[1] - height
    if (right, below) == (0, 0):
        return canvas
    if right in (0, 1) and below in (0, 1):
        padded = cv2.copyMakeBorder(canvas, 0, below, 0, right, cv2.BORDER_REPLICATE)
        return np.asarray(padded, dtype=np.uint8)
    return np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
