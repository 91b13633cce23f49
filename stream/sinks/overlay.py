"""Overlay: the source's pictures with the faces drawn on them, as MP4 or as one image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

import av
import av.error
import av.video.stream
import cv2
import numpy as np
from jaxtyping import UInt8

from ...models.errors import InputError, OutputError
from ..frame import Frame
from ..observation import FaceObservation
from .base import FileSink
from .drawing import Annotator, magnification

_TIME_BASE = Fraction(1, 60_000)  # MPEG-4 part 2 allows no finer one
_CODECS = {"libx264": {"crf": "20", "preset": "veryfast"}, "mpeg4": {"qscale": "3"}}


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
        threads: int = 0,
    ) -> None:
        """Begin the file; the encoder is opened with the first frame.

        Args:
            path: of the video.
            annotator: how faces are drawn; its magnification is chosen by the first frame.
            rate: nominal frames per second, where the frames carry no times.
            threads: of the encoder; 0 lets it choose.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path)
        self._annotator = annotator or Annotator()
        self._rate = Fraction(rate or 25).limit_denominator(1001)
        self._threads = threads
        self._first_ns: int | None = None
        self._last_pts = -1
        self._size = (0, 0)
        self._stream: av.video.stream.VideoStream | None = None
        self._container = av.open(str(self._file.path), "w", format="mp4")

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        if self._stream is None:
            height, width = frame.image_bgr.shape[:2]
            self._annotator = replace(self._annotator, magnify=magnification(height, width))
        canvas = self._annotator.draw(frame.image_bgr, observations)
        if self._stream is None:
            self._stream = self._open_stream(canvas)
        picture = av.VideoFrame.from_ndarray(_fit(canvas, self._size), format="bgr24")
        picture.pts, picture.time_base = self._pts(frame), _TIME_BASE
        with self._explained():
            self._container.mux(self._stream.encode(picture))

    def _open_stream(self, canvas: UInt8[np.ndarray, "H W 3"]) -> av.video.stream.VideoStream:
        height, width = canvas.shape[:2]
        self._size = (width + width % 2, height + height % 2)
        codec = next((name for name in _CODECS if name in av.codecs_available), "mpeg4")
        stream = self._container.add_stream(codec, rate=self._rate, options=_CODECS[codec])
        if not isinstance(stream, av.video.stream.VideoStream):
            raise OutputError(f"{self.path}: this build of FFmpeg cannot encode video")
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _TIME_BASE
        stream.codec_context.thread_count = self._threads
        return stream

    def _pts(self, frame: Frame) -> int:
        t_ns = frame.t_media_ns if frame.t_media_ns is not None else frame.t_capture_ns
        if t_ns is None:
            t_ns = round(frame.index * 1_000_000_000 / self._rate)
        self._first_ns = t_ns if self._first_ns is None else self._first_ns
        ticks = round((t_ns - self._first_ns) * _TIME_BASE.denominator / 1_000_000_000)
        self._last_pts = max(ticks, self._last_pts + 1)
        return self._last_pts

    def _finish(self) -> None:
        if self._stream is not None:
            with self._explained():
                self._container.mux(self._stream.encode(None))

    def _release(self) -> None:
        with self._explained():
            self._container.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except av.error.FFmpegError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error


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
