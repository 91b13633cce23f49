"""Frames of anything FFmpeg opens: files, images, pipes, devices, network streams."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.container
import av.error
import av.video.stream

from ...models.errors import SourceError, TruncatedError
from ...models.picture_size import size_fault
from ..frame import Frame
from .base import Clock, SourceInfo, SourceKind, SourceStats
from .capture_clock import CaptureClock
from .picture import PictureConverter, nanoseconds, rational
from .truncation import missing_bytes

_log = logging.getLogger(__name__)
_FALLBACK_RATE = Fraction(25)
_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS
_PENDING = 64  # packets whose arrival is remembered until their pictures come


class ContainerSource:
    """Decodes the first video stream of an open container.

    The first picture is decoded when the source is made, so that size and readability are known
    before anything is promised. Packets that cannot be decoded are counted and skipped. A picture
    without a time stamp gets that of the one before plus its duration, and is counted.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        name: str,
        *,
        kind: SourceKind,
        live: bool,
        path: Path | None = None,
        decode_threads: int = 0,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        """Take over a container.

        Args:
            container: closed with the source, or at once where the source cannot be made.
            name: for messages.
            kind: what the container is.
            live: stamp frames with their time of capture.
            path: of the file, where it is one: its length is checked at the end.
            decode_threads: 0 lets FFmpeg choose.
            clock: nanoseconds, monotonic; read twice a live frame.

        Raises:
            SourceError: there is no video stream, or no picture in it.
            TruncatedError: there is none because the file was cut short.
        """
        self._container = container
        self._name = name
        self._path = path
        self._missing = missing_bytes(path) if path is not None else 0
        self._live = live
        form = container.format
        # FFmpeg makes their time stamps up, at 25 a second.
        self._untimed = live and bool(form.flags & _NO_TIMESTAMPS or is_image_format(form.name))
        self._clock = clock
        self._capture = CaptureClock(may_be_ours=form.name != "dshow")
        self._converter = PictureConverter()
        self._arrivals: dict[int, int] = {}
        self._arrival_ns = 0
        self._whole = 0  # pictures that the decoder calls undamaged
        self._next_index = 0
        self._next_media_ns = 0
        self._closed = False
        self.stats = SourceStats()
        try:
            self._stream = self._video_stream()
            context = self._stream.codec_context
            self._check_size(context.width, context.height)
            # Frame threads hold several pictures back: good for files, not for the live.
            context.thread_type = "SLICE" if live else "AUTO"
            context.thread_count = decode_threads
            self._rate = self._nominal_rate()
            self._frames = self._read()
            self._begun = self._beginning()
        except BaseException:
            self.close()
            raise
        height, width = self._begun[0].image_bgr.shape[:2]
        self.info = SourceInfo(
            name=name,
            kind=kind,
            live=live,
            width=width,
            height=height,
            rate=None if kind == "image" or self._untimed else float(self._rate),
            codec=context.name,
            frames=self._expected_frames(kind),
        )

    def __iter__(self) -> Iterator[Frame]:
        while self._begun:
            yield self._begun.pop(0)
        yield from self._frames

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the decoder's pixel format."""
        return self._stream.codec_context.pix_fmt or "unknown"

    def close(self) -> None:
        """Close the container; may be called twice."""
        if not self._closed:
            self._closed = True
            self._container.close()

    def __enter__(self) -> ContainerSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _video_stream(self) -> av.video.stream.VideoStream:
        if self._container.format.name == "tty":  # FFmpeg would render any text as a film
            raise SourceError(f"{self._name}: is a text, not a video or an image")
        for stream in self._container.streams.video:
            if stream.codec_context is not None:
                return stream
        raise SourceError(f"{self._name}: holds no video stream")

    def _check_size(self, width: int, height: int) -> None:
        """Refuse a small file that says it is very large."""
        if self._path is None:
            return
        fault = size_fault(width, height, self._path.stat().st_size)
        if fault:
            raise SourceError(f"{self._name}: {fault}")

    def _beginning(self) -> list[Frame]:
        """The first picture; with the next one where a file's first is damaged.

        Of a film that breaks off within its first picture decoders make one, of headers alone, and
        call it damaged; formats that do not say their length say nothing of it.

        Raises:
            SourceError: there is no picture, or no other than a damaged one.
        """
        begun = list(islice(self._frames, 1))
        if not begun:
            raise SourceError(f"{self._name}: holds no picture that can be decoded")
        if not (self._whole or self._live or self._missing or self._is_image()):
            begun += islice(self._frames, 1)
            if len(begun) == 1:
                raise SourceError(
                    f"{self._name}: holds one picture only, and that is damaged: the file seems to "
                    "be cut off within it"
                )
        return begun

    def _nominal_rate(self) -> Fraction:
        stream = self._stream
        rates = map(rational, (stream.average_rate, stream.guessed_rate, stream.base_rate))
        return next((rate for rate in rates if rate), _FALLBACK_RATE)

    def _expected_frames(self, kind: SourceKind) -> int | None:
        if kind == "image":
            return 1
        if self._live:
            return None
        if self._stream.frames:
            return self._stream.frames
        time_base = rational(self._stream.time_base)
        if self._stream.duration and time_base:
            return round(self._stream.duration * time_base * self._rate)
        if self._container.duration:
            return round(self._container.duration * self._rate / 1_000_000)
        return None

    def _read(self) -> Iterator[Frame]:
        try:
            for packet in self._packets():
                if self._missing and packet.is_corrupt:
                    # Cut off in the middle; frame threads would lose good pictures over it.
                    self.stats.decode_errors += 1
                    continue
                if self._live:
                    self._note_arrival(packet.pts)
                for picture in self._decoded(packet):
                    yield self._frame(picture)
        except av.error.ExitError as error:
            raise SourceError(f"{self._name}: no data within the time limit") from error
        except (av.error.FFmpegError, OSError) as error:
            # MienError is no FFmpegError, and an OSError here is the operating system's.
            if self.stats.frames == 0:
                raise SourceError(f"{self._name}: cannot be read: {reason(error)}") from error
            raise TruncatedError(
                f"{self._name}: broke off after {self.stats.frames} frames: {reason(error)}"
            ) from error
        self._check_complete()

    def _packets(self) -> Iterator[Any]:
        while True:
            try:
                yield from self._container.demux(self._stream)
                return
            except av.error.BlockingIOError:  # AVFoundation, when the next frame is not there yet
                time.sleep(0.001)

    def _decoded(self, packet: Any) -> list[av.VideoFrame]:
        """The pictures that a packet completes; none where it is damaged."""
        try:
            pictures = packet.decode()
        except (av.error.InvalidDataError, av.error.PatchWelcomeError) as error:
            self.stats.decode_errors += 1
            _log.debug("%s: packet at %s: %s", self._name, packet.pts, error)
            return []
        return [picture for picture in pictures if isinstance(picture, av.VideoFrame)]

    def _note_arrival(self, pts: int | None) -> None:
        """Remember when a packet came: decoders that reorder give its picture with a later one."""
        self._arrival_ns = self._clock()
        if pts is not None:
            self._arrivals[pts] = self._arrival_ns
            if len(self._arrivals) > _PENDING:
                del self._arrivals[next(iter(self._arrivals))]

    def _frame(self, picture: av.VideoFrame) -> Frame:
        self.stats.frames += 1
        damaged = bool(picture.is_corrupt)
        self.stats.decode_errors += damaged
        self._whole += not damaged
        time_base = rational(picture.time_base)
        if picture.pts is not None and time_base and not self._untimed:
            t_media_ns = nanoseconds(picture.pts, time_base)
            source_ns: int | None = t_media_ns
        else:
            self.stats.guessed_times += 1
            t_media_ns, source_ns = self._next_media_ns, None
        self._next_media_ns = t_media_ns + round(1_000_000_000 / self._rate)
        index, self._next_index = self._next_index, self._next_index + 1
        image = self._converter.upright_bgr(picture, self._path if self._is_image() else None)
        if not self._live:
            return Frame(image, index, None if self._is_image() else t_media_ns, source=self._name)
        arrival_ns = self._arrival_ns
        if picture.pts is not None:
            arrival_ns = self._arrivals.pop(picture.pts, arrival_ns)
        capture_ns = self._capture.stamp(source_ns, arrival_ns)
        return Frame(
            image,
            index,
            t_capture_ns=capture_ns,
            source=self._name,
            t_arrival_ns=max(arrival_ns, capture_ns),  # which pictures out of order may undercut
            t_ready_ns=self._clock(),
        )

    def _is_image(self) -> bool:
        return is_image_format(self._container.format.name)

    def _check_complete(self) -> None:
        if self._missing:
            raise TruncatedError(
                f"{self._name}: broke off after {self.stats.frames} frames: "
                f"the file ends {self._missing} bytes early"
            )


def is_image_format(name: str) -> bool:
    """Whether FFmpeg's demultiplexer is one for single images."""
    return name == "image2" or name.endswith("_pipe")


def reason(error: Exception) -> str:
    """The error's own words, without the number and the file that FFmpeg adds."""
    return str(getattr(error, "strerror", None) or error)
