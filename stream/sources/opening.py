"""``open_source``: from what a user writes to frames."""

from __future__ import annotations

import errno
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Literal, get_args

import av
import av.container
import av.error

from ...models.documents import is_file
from ...models.errors import InputError, SourceError, TruncatedError
from .addresses import SCHEMES, is_endless, is_network, without_secrets
from .base import Clock, Source
from .cameras import capture_format, describe, find_camera, is_camera_number, list_cameras
from .container import ContainerSource, is_image_format, reason
from .latest import LatestSource
from .pacing import PacedSource
from .reconnecting import Backoff, ReconnectingSource
from .truncation import missing_bytes

RtspTransport = Literal["tcp", "udp"]

_UNSIZED = ("mpjpeg", "hls", "dash")  # what the server says of their length is not the stream's
_LIVE_SETTINGS = {
    "analyzeduration": "1000000",  # us; FFmpeg waits 5 s for streams that may never come
    "fpsprobesize": "8",  # frames, of 20, that the nominal rate is told from
}
# Not "nobuffer": it throws away what was read to find the streams, the first key frame too.

_REFUSED = {
    "avfoundation": "; may this program use the camera (System Settings, Privacy & Security, "
    "Camera)? mien track --list says which there are",
    "dshow": "; another program may be using it, mien track --list says what it can be asked for",
}
"""What a camera that only fails may mean, by FFmpeg's interface."""
_LIST_STARTS = (b"#EXTM3U", b"ffconcat", b"v=0")
_LISTS = frozenset(
    ("avisynth", "concat", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "vapoursynth")
)
"""Formats that say what to read elsewhere, or to run: of a live one FFmpeg waits for ever."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How a source is opened.

    Attributes:
        realtime: play a file at its own pace, as though it were a camera.
        live: take standard input, or an address that looks like a file's, for a live source.
        latest: read live sources in a thread, give only the newest frame, and open cameras and
            network streams anew when they are lost.
        decode_threads: threads of the decoder; 0 lets FFmpeg choose.
        size: width and height to ask of a camera, px; None: its default.
        rate: frames per second to ask of a camera; None: its default.
        input_format: pixel format or codec to ask of a camera, such as ``mjpeg``.
        rtsp_transport: how RTSP sends its packets; udp loses some and is never late.
        open_timeout_s: how long a network source may take to open.
        read_timeout_s: how long a live source may be silent before it counts as lost.
        give_up_s: how long to try to open a lost live source anew; 0: not at all.
        backoff: the waits between attempts.
        seed: of the jitter of these waits; None: by the system.
        max_age_s: a live frame that has waited for longer is not given out.
    """

    realtime: bool = False
    live: bool = False
    latest: bool = True
    decode_threads: int = 0
    size: tuple[int, int] | None = None
    rate: float | None = None
    input_format: str | None = None
    rtsp_transport: RtspTransport = "tcp"
    open_timeout_s: float = 10.0
    read_timeout_s: float = 10.0
    give_up_s: float = 3600.0
    backoff: Backoff = field(default_factory=Backoff)
    seed: int | None = None
    max_age_s: float = 0.5

    def __post_init__(self) -> None:
        if self.decode_threads < 0:
            raise InputError(f"decode_threads is {self.decode_threads}, expected 0 or more")
        if self.size is not None and min(self.size) <= 0:
            raise InputError(f"size is {self.size}, expected two positive numbers of pixels")
        # Written so that what is not a number is refused, too.
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise InputError(f"rate is {self.rate}, expected frames per second above 0")
        limits_s = (self.open_timeout_s, self.read_timeout_s, self.max_age_s)
        if not all(0 < limit_s < math.inf for limit_s in limits_s):
            raise InputError("time limits must be above 0 seconds")
        if not self.give_up_s >= 0:
            raise InputError(f"give_up_s is {self.give_up_s:g}, expected 0 seconds or more")
        if self.rtsp_transport not in get_args(RtspTransport):
            raise InputError(f"rtsp_transport is {self.rtsp_transport}, expected tcp or udp")
        if self.live and self.realtime:
            raise InputError("a source is live, or a file that is played in real time; not both")


def open_source(
    spec: str | os.PathLike[str],
    options: SourceOptions | None = None,
    clock: Clock = time.perf_counter_ns,
) -> Source:
    """Open a file, an image, standard input, a camera, a network stream or a test pattern.

    Args:
        spec: a path; ``-`` for standard input; a camera as ``0``, ``/dev/video0`` or its name;
            ``rtsp://``, ``http://`` and the like; or ``lavfi:`` and a filter graph, such as
            ``lavfi:testsrc2=size=640x480:rate=30,realtime`` (live where it says ``realtime``).
        options: None for the defaults.
        clock: nanoseconds, monotonic; stamps live frames and paces files.

    Returns:
        A source, open and with its first picture decoded. Close it, or use it as a context manager.
        Cameras and network streams are opened anew when they fail, end or fall silent.

    Raises:
        SourceError: it cannot be opened, or holds no picture that can be decoded.
        TruncatedError: the file was cut off before the first picture.
    """
    chosen = options or SourceOptions()
    spec = os.fspath(spec)
    source = _open(spec, chosen, clock)
    if source.info.kind != "camera" and (chosen.size or chosen.rate or chosen.input_format):
        note = "only cameras can be asked for a size, a rate or a format"
        source.info = replace(source.info, notes=(*source.info.notes, note))
    if not source.info.live:
        return PacedSource(source, clock) if chosen.realtime else source
    if not chosen.latest:
        return source
    max_age_ns = round(chosen.max_age_s * 1e9)
    if source.info.kind not in ("camera", "stream") or not chosen.give_up_s:
        return LatestSource(source, max_age_ns, chosen.read_timeout_s, clock)
    return ReconnectingSource(
        source,
        _reopening(spec, chosen, clock),
        max_age_ns=max_age_ns,
        read_timeout_s=chosen.read_timeout_s,
        give_up_s=chosen.give_up_s,
        backoff=chosen.backoff,
        rng=Random(chosen.seed),
        clock=clock,
    )


def _reopening(spec: str, options: SourceOptions, clock: Clock) -> Callable[[], Source]:
    def reopen() -> Source:
        source = _open(spec, options, clock)
        if not source.info.live:
            source.close()
            raise SourceError(f"{source.info.name}: is a file now, not a live stream")
        return source

    return reopen


def _open(spec: str, options: SourceOptions, clock: Clock) -> ContainerSource:
    threads = options.decode_threads
    if spec == "-":
        settings = {"format_whitelist": _formats_by_themselves()}
        settings |= _LIVE_SETTINGS if options.live else {}
        container = _open_container("pipe:0", "standard input", settings, options)
        return ContainerSource(
            container, "-", kind="video", live=options.live, decode_threads=threads, clock=clock
        )
    if spec.startswith("lavfi:"):
        graph, name = spec.removeprefix("lavfi:"), without_secrets(spec)
        container = _open_container(graph, name, {}, options, "lavfi")
        live = re.search(r"\brealtime\b", graph) is not None
        return ContainerSource(container, name, kind="pattern", live=live, clock=clock)
    if is_network(spec):
        return _open_network(spec, options, clock)
    path = Path(spec)
    if is_camera_number(spec) or not path.exists():
        device = find_camera(spec)
        if device is not None:
            return _open_camera(spec, device, options, clock)
        if is_camera_number(spec):
            raise SourceError(f"camera {spec}: there is none; {describe(list_cameras())}")
        if "://" in spec:
            shown = without_secrets(spec)
            raise SourceError(f"{shown}: no such file, and no address of {SCHEMES}")
        raise SourceError(f"{spec}: no such file, and no camera of that name")
    return _open_file(path, options)


def _file_settings() -> dict[str, str]:
    """FFmpeg's settings for a file: as it is named, and by itself, not as a list of others."""
    return {"pattern_type": "none", "format_whitelist": _formats_by_themselves()}


@cache
def _formats_by_themselves() -> str:
    return ",".join(sorted(av.formats_available - _LISTS))


def _open_file(path: Path, options: SourceOptions) -> ContainerSource:
    name = str(path)
    if path.is_dir():
        raise SourceError(f"{name}: is a folder; expected a video or an image")
    regular = path.is_file()  # not a pipe, whose bytes can be read only once
    try:
        if regular and path.stat().st_size == 0:
            raise SourceError(f"{name}: is empty")
        # "file:" keeps FFmpeg from reading a colon in the name as a protocol.
        container = _open_container(f"file:{path}", name, _file_settings(), options)
        return ContainerSource(
            container,
            name,
            kind="image" if is_image_format(container.format.name) else "video",
            live=False,
            path=path if regular else None,
            decode_threads=options.decode_threads,
        )
    except SourceError as error:
        lacking = missing_bytes(path) if regular and path.is_file() else 0
        if lacking and not isinstance(error, TruncatedError):
            raise TruncatedError(
                f"{name}: broke off before its first picture: the file ends {lacking} bytes early"
            ) from error
        raise
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {reason(error)}") from error


def _open_network(url: str, options: SourceOptions, clock: Clock) -> ContainerSource:
    name = without_secrets(url)
    scheme = url.partition(":")[0].lower()
    settings = dict(_LIVE_SETTINGS) if options.live or is_endless(url) else {}
    if scheme.startswith("rtsp"):
        settings["rtsp_transport"] = options.rtsp_transport
    if scheme == "udp":
        settings["overrun_nonfatal"] = "1"
    container = _open_container(url, name, settings, options)
    image = is_image_format(container.format.name)
    finite = bool(container.duration) or (
        container.format.name.split(",")[0] not in _UNSIZED and (container.size or 0) > 0
    )
    live = options.live or is_endless(url) or not finite
    return ContainerSource(
        container,
        name,
        kind="image" if image and not live else "stream",
        live=live,
        decode_threads=options.decode_threads,
        clock=clock,
    )


def _open_camera(spec: str, device: str, options: SourceOptions, clock: Clock) -> ContainerSource:
    interface = capture_format()
    settings: dict[str, str] = {}
    if options.size is not None:
        settings["video_size"] = f"{options.size[0]}x{options.size[1]}"
    if options.rate is not None:
        settings["framerate"] = f"{options.rate:g}"
    elif interface == "avfoundation":  # its default of 29.97 fails on built-in cameras
        settings["framerate"] = "30"
    if options.input_format is not None:
        codec = not _is_pixel_format(options.input_format)
        if codec and interface in ("dshow", "avfoundation"):
            raise InputError(
                f"camera {spec}: {options.input_format} is no pixel format, and {interface} can be "
                "asked for nothing else"
            )
        settings["input_format" if interface == "v4l2" else "pixel_format"] = options.input_format
    container = _open_container(device, f"camera {spec}", settings, options, interface)
    threads = options.decode_threads
    source = ContainerSource(
        container, spec, kind="camera", live=True, decode_threads=threads, clock=clock
    )
    source.info = replace(source.info, notes=_differences(source, options))
    return source


def _is_pixel_format(name: str) -> bool:
    try:
        av.VideoFormat(name)
    except ValueError:
        return False
    return True


def _differences(source: ContainerSource, options: SourceOptions) -> tuple[str, ...]:
    """What a camera gives that was not asked for: FFmpeg accepts any option in silence."""
    info, notes = source.info, []
    if options.size is not None and options.size != (info.width, info.height):
        wanted = "{}x{}".format(*options.size)
        notes.append(f"asked for {wanted}, the camera gives {info.width}x{info.height}")
    if options.rate is not None and info.rate is not None and abs(options.rate - info.rate) > 0.5:
        notes.append(f"asked for {options.rate:g} frames a second, the camera says {info.rate:g}")
    wanted_format = options.input_format
    if wanted_format is not None and wanted_format not in (info.codec, source.pixel_format):
        notes.append(
            f"asked for {wanted_format}, the camera gives {info.codec} ({source.pixel_format})"
        )
    return tuple(notes)


def _open_container(
    target: str,
    name: str,
    settings: dict[str, str],
    options: SourceOptions,
    interface: str | None = None,
) -> av.container.InputContainer:
    limits = (options.open_timeout_s, options.read_timeout_s) if is_network(target) else None
    try:
        return av.open(target, format=interface, options=settings, timeout=limits)
    except av.error.InvalidDataError as error:
        raise SourceError(f"{name}: not a video or an image that can be read") from error
    except av.error.FileNotFoundError as error:
        what = f"no such device; {describe(list_cameras())}" if interface else "no such file"
        raise SourceError(f"{name}: {what}") from error
    except av.error.ExitError as error:
        raise SourceError(f"{name}: no answer within {options.open_timeout_s:g} s") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        refused = getattr(error, "errno", None) == errno.EINVAL
        hint = ""
        if refused and interface == capture_format():
            hint = "; mien track --list says what it can be asked for"
        elif getattr(error, "errno", None) == errno.EIO and interface in _REFUSED:
            hint = _REFUSED[interface]
        elif refused and _begins_a_list(target.removeprefix("file:")):
            hint = "; lists of other files (.m3u8, .sdp, ffconcat) are not followed"
        raise SourceError(f"{name}: cannot be opened: {reason(error)}{hint}") from error


def _begins_a_list(path: str) -> bool:
    """Whether a file begins as one that names others."""
    if not is_file(path):
        return False
    with open(path, "rb") as file:
        return file.read(16).startswith(_LIST_STARTS)
