"""How a camera or a stream is opened: the options of ``mien track``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ...models.errors import InputError

if TYPE_CHECKING:
    from ...stream.sources.opening import SourceOptions

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


@dataclass(frozen=True)
class CaptureOptions:
    """How cameras and network streams are opened, and what happens when one is lost.

    Attributes:
        size: width and height to ask of a camera, such as 1280x720; default: its own choice.
        rate: frames a second to ask of a camera.
        input_format: pixel format or codec to ask of a camera, such as mjpeg.
        rtsp_transport: how RTSP sends: tcp loses nothing, udp is never late.
        live: take standard input, or an address that looks like a file's, for a live source.
        read_timeout: seconds without a frame after which a live source counts as lost.
        give_up: seconds for which a lost live source is opened anew, 0: not at all.
    """

    size: Annotated[str | None, tyro.conf.arg(metavar="WxH")] = None
    rate: Annotated[float | None, tyro.conf.arg(metavar="FPS")] = None
    input_format: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    live: bool = False
    read_timeout: Annotated[float, tyro.conf.arg(metavar="S")] = 10.0
    give_up: Annotated[float, tyro.conf.arg(metavar="S")] = 3600.0

    def source_options(self, realtime: bool) -> SourceOptions:
        """The same as values.

        Args:
            realtime: play files at their own pace.

        Raises:
            InputError: a value is impossible.
        """
        from ...stream.sources.opening import SourceOptions

        self._check(realtime)
        return SourceOptions(
            realtime=realtime,
            live=self.live,
            size=None if self.size is None else _parse_size(self.size),
            rate=self.rate,
            input_format=self.input_format,
            rtsp_transport=self.rtsp_transport,
            read_timeout_s=self.read_timeout,
            give_up_s=self.give_up,
        )

    def _check(self, realtime: bool) -> None:
        """Refuse values that are out of range; what is not a number, too."""
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise InputError(f"--rate is {self.rate:g}, expected frames a second above 0")
        if not 0 < self.read_timeout < math.inf:
            raise InputError(f"--read-timeout is {self.read_timeout:g}, expected seconds above 0")
        if not self.give_up >= 0:
            raise InputError(f"--give-up is {self.give_up:g}, expected 0 seconds or more")
        if self.live and realtime:
            raise InputError("--live and --realtime: expected one of them; --realtime is for files")


def _parse_size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text.strip().lower())
    width, height = (0, 0) if match is None else (int(match[1]), int(match[2]))
    if min(width, height) < 1:
        raise InputError(f"--size is {text!r}, expected width and height in pixels, as 1280x720")
    return width, height
