"""Outputs in the formats of other programs: their options, and how they are opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from ...models.errors import InputError
from ..files import check_place
from ..options import choices, of_option

if TYPE_CHECKING:
    from ...models.face.morphable import FaceModel
    from ...stream.neutral import Neutral
    from ...stream.sinks.base import Recording, Sink

Address: TypeAlias = tuple[str, int]
"""Host and port."""


def _place(metavar: str) -> PrimitiveConstructorSpec[str | tuple[()] | None]:
    """How an option is read whose value may be left out."""

    def read(words: list[str]) -> str | tuple[()]:
        if len(words) > 1:
            raise ValueError(f"one value at most, not {', '.join(words)}; sources go before it")
        return words[0] if words else ()

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: value is None or value == () or isinstance(value, str),
        str_from_instance=lambda value: [] if value == () else [str(value)],
    )


AddressOption: TypeAlias = Annotated[str | tuple[()] | None, _place("[HOST:PORT]")]
"""``--option`` alone is ``()``, the default address; ``--option HOST:PORT`` is that text.

The option takes all words up to the next option, so sources are written before it.
"""

RerunOption: TypeAlias = Annotated[str | tuple[()] | None, _place("[FILE.rrd|HOST:PORT]")]
LiveLinkOption: TypeAlias = Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")]
InvertOption: TypeAlias = Annotated[str, tyro.conf.arg(metavar="AXIS,...")]

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/\[\]]*)):(\d{1,5})")


@dataclass(frozen=True)
class OutputOptions:
    """What goes to which program.

    Those for one head follow one face: the lowest track that was observed, until it is lost.

    Attributes:
        opentrack: send the head to OpenTrack's input "UDP over network"; alone: 127.0.0.1:4242.
        vmc: send the head and 52 blendshapes by the VMC protocol; alone: 127.0.0.1:39540.
        vmc_role: assistant (a tracker and blendshapes, for a performer) or performer (the bone
            Head and blendshapes, for programs that take bones).
        vmc_names: spelling of the blendshapes: perfect-sync (BrowInnerUp) or arkit (browInnerUp).
        ifacialmocap: send as the app iFacialMocap does; alone: 127.0.0.1:49983.
        livelink: file that takes a recording in the format of Live Link Face.
        lsl: open outlets of the Lab Streaming Layer (needs mien[lsl]).
        rerun: log to a Rerun file or viewer (needs mien[rerun]); alone: a viewer at
            127.0.0.1:9876.
        mirror: give OpenTrack, VMC, iFacialMocap and Live Link what a mirror shows.
        invert: axes to turn round for the same four: some of x, y, z, yaw, pitch, roll.
    """

    opentrack: AddressOption = None
    vmc: AddressOption = None
    vmc_role: Literal["assistant", "performer"] = "assistant"
    vmc_names: Literal["perfect-sync", "arkit"] = "perfect-sync"
    ifacialmocap: AddressOption = None
    livelink: LiveLinkOption = None
    lsl: bool = False
    rerun: RerunOption = None
    mirror: bool = False
    invert: InvertOption = ""

    @property
    def wanted(self) -> bool:
        """Whether anything is to be sent or written."""
        places = (self.opentrack, self.vmc, self.ifacialmocap, self.livelink, self.rerun)
        return self.lsl or any(place is not None for place in places)

    def neutral(self) -> Neutral:
        """The neutral pose that the outputs of one stream share.

        Raises:
            InputError: ``invert`` names something else than axes.
        """
        from ...stream.neutral import AXES, Neutral

        axes = choices(self.invert, AXES, "--invert") if self.invert else ()
        return Neutral(mirror=self.mirror, invert=axes)


def parse_address(text: str | tuple[()], default: Address, option: str) -> Address:
    """Host and port of ``HOST:PORT``, ``:PORT`` (this machine), ``[IPV6]:PORT``, or the default.

    Raises:
        InputError: the text is none of these.
    """
    if text == ():
        return default
    found = _ADDRESS.fullmatch(str(text))
    if found is None or not 0 < int(found[3]) <= 65535:
        raise InputError(
            f"{option} {text}: expected HOST:PORT, such as {default[0]}:{default[1]}, or nothing "
            "for that (sources go before the option)"
        )
    return found[1] or found[2] or default[0], int(found[3])


def open_outputs(
    options: OutputOptions,
    recording: Recording,
    neutral: Neutral,
    stream: str,
    *,
    face_model: FaceModel | None = None,
) -> list[Sink]:
    """Open what was asked for; where one cannot be opened, the others are given up.

    Args:
        options: what was asked for.
        recording: what the outputs say about the source.
        neutral: what the outputs for one head are relative to.
        stream: name of the stream.
        face_model: lets Rerun show the landmarks in space.

    Raises:
        InputError: an address is malformed, or a package is not installed.
        OutputError: a place cannot be written to, a host is unknown, a viewer does not answer.
    """
    with ExitStack() as opened:
        sinks: list[Sink] = []

        def keep(sink: Sink) -> None:
            opened.callback(sink.abort)
            sinks.append(sink)

        _open_head(options, neutral, keep)
        if options.lsl:
            from ...stream.sinks.lsl import LslSink

            keep(LslSink(recording, stream))
        if options.rerun is not None:
            from ...stream.sinks import rerun

            target = _rerun_target(options.rerun, rerun.DEFAULT_ADDRESS)
            keep(rerun.RerunSink(target, recording, stream, face_model=face_model))
        opened.pop_all()
    return sinks


def _open_head(options: OutputOptions, neutral: Neutral, keep: Callable[[Sink], None]) -> None:
    """Open the outputs for one head."""
    if options.opentrack is not None:
        from ...stream.sinks import opentrack

        address = parse_address(options.opentrack, opentrack.DEFAULT_ADDRESS, "--opentrack")
        keep(opentrack.OpenTrackSink(address, neutral))
    if options.vmc is not None:
        from ...stream.sinks import vmc

        address = parse_address(options.vmc, vmc.DEFAULT_ADDRESS, "--vmc")
        role, names = options.vmc_role, options.vmc_names
        keep(vmc.VmcSink(address, neutral, role=role, names=names))
    if options.ifacialmocap is not None:
        from ...stream.sinks import ifacialmocap as mocap

        address = parse_address(options.ifacialmocap, mocap.DEFAULT_ADDRESS, "--ifacialmocap")
        keep(mocap.IFacialMocapSink(address, neutral))
    if options.livelink is not None:
        from ...stream.sinks.livelink import LiveLinkSink

        if options.livelink.suffix.lower() != ".csv":
            raise InputError(f"--livelink {options.livelink}: expected a name that ends .csv")
        with of_option("--livelink"):
            check_place(options.livelink)
        keep(LiveLinkSink(options.livelink, neutral, salvage=True))


def _rerun_target(text: str | tuple[()], default: Address) -> Path | Address:
    if str(text).lower().endswith(".rrd"):
        with of_option("--rerun"):
            check_place(Path(str(text)))
        return Path(str(text))
    try:
        return parse_address(text, default, "--rerun")
    except InputError as error:
        raise InputError(
            f"--rerun {text}: expected a file that ends .rrd, or HOST:PORT of a viewer, such as "
            f"{default[0]}:{default[1]}, or nothing for that"
        ) from error
