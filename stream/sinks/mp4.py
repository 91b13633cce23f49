"""MP4 files, written picture by picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final

import av
import av.error
import av.video.stream
import numpy as np
from jaxtyping import UInt8

from ...models.errors import OutputError

_TIME_BASE: Final = Fraction(1, 60_000)  # MPEG-4 part 2 allows no finer one
_SECOND_NS: Final = 1_000_000_000


class Mp4Writer:
    """Writes pictures with their times: H.264, or MPEG-4 part 2 where FFmpeg lacks x264.

    The encoder is opened with the first picture. A context manager: the film is finished where the
    block ends, and closed in any case.
    """

    def __init__(
        self, place: Path, rate: float | Fraction, *, said: Path | None = None, crf: int = 20
    ) -> None:
        """Begin the file.

        Args:
            place: of the file.
            rate: nominal frames per second.
            said: what messages call the file; default: the place.
            crf: quality of H.264: the less, the better.

        Raises:
            OutputError: it cannot be written.
        """
        self._said = place if said is None else said
        self._rate = Fraction(rate).limit_denominator(1001)
        self._codecs = {
            "libx264": {"crf": f"{crf}", "preset": "veryfast"},
            "mpeg4": {"qscale": "3"},
        }
        self._stream: av.video.stream.VideoStream | None = None
        self._last = -1
        with self._explained():
            self._container = av.open(str(place), "w", format="mp4")

    def add(self, picture: UInt8[np.ndarray, "H W 3"], t_ns: int) -> None:
        """Write the next picture.

        Args:
            picture: BGR, of the first one's size, which is even.
            t_ns: its time; one that is not later than the last is moved behind it.

        Raises:
            OutputError: it cannot be written.
        """
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
        ticks = round(t_ns * _TIME_BASE.denominator / _SECOND_NS)
        self._last = max(ticks, self._last + 1)
        frame.pts, frame.time_base = self._last, _TIME_BASE
        with self._explained():
            if self._stream is None:
                self._stream = self._begun(picture)
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder holds back.

        Raises:
            OutputError: it cannot be written.
        """
        if self._stream is not None:
            with self._explained():
                self._container.mux(self._stream.encode(None))

    def close(self) -> None:
        """Close the file; may be called twice.

        Raises:
            OutputError: its end cannot be written.
        """
        with self._explained():
            self._container.close()

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            with suppress(OutputError):  # what went wrong before says more
                self.close()
            return
        try:
            self.finish()
        finally:
            self.close()

    def _begun(self, picture: UInt8[np.ndarray, "H W 3"]) -> av.video.stream.VideoStream:
        codec = next((name for name in self._codecs if name in av.codecs_available), "mpeg4")
        stream = self._container.add_stream(codec, rate=self._rate, options=self._codecs[codec])
        if not isinstance(stream, av.video.stream.VideoStream):
            raise OutputError(f"{self._said}: this build of FFmpeg cannot encode video")
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _TIME_BASE
        stream.codec_context.thread_count = 0  # the encoder chooses
        return stream

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except av.error.FFmpegError as error:
            raise OutputError(f"{self._said}: cannot be written: {error.strerror}") from error
