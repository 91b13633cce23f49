"""The options of ``mien track``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional

from ...models.errors import InputError
from ...stream.detector_names import DEFAULT_DETECTOR
from ..options import BundleOption, CameraOption, DetectorOption, SmoothingOption
from .capture import CaptureOptions
from .outputs import OutputOptions

if TYPE_CHECKING:
    from ..following import FollowingOptions


@dataclass(frozen=True)
class PublishingOptions:
    """Who hears of the faces, through mien's own protocol (PROTOCOL.md) and its web page.

    Attributes:
        publish: ZeroMQ endpoint to bind, such as tcp://127.0.0.1:5570.
        echo: ZeroMQ endpoint of the clock echo; default: the port after that of --publish.
        curve: the publisher's key file (mien keys makes it): encrypt, and admit only --allow.
        allow: list of the clients' public keys.
        view: serve a web page that shows the faces, at [HOST]:PORT, such as :8080.
        insecure: allow endpoints that other machines can reach, unencrypted.
    """

    publish: Annotated[str | None, tyro.conf.arg(metavar="ENDPOINT")] = None
    echo: Annotated[str | None, tyro.conf.arg(metavar="ENDPOINT")] = None
    curve: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    allow: Annotated[Path | None, tyro.conf.arg(metavar="LIST")] = None
    view: Annotated[str | None, tyro.conf.arg(metavar="[HOST]:PORT")] = None
    insecure: bool = False

    def check(self) -> None:
        """See that the options go together.

        Raises:
            InputError: something for subscribers is given, but nothing is published.
        """
        for name in ("echo", "curve", "allow"):
            if getattr(self, name) is not None and self.publish is None:
                raise InputError(f"track: --{name} is for subscribers; it needs --publish")


@dataclass(frozen=True)
class LiveOptions:
    """What is followed live, how, and what becomes of it.

    Attributes:
        source: what to read; --list says which cameras there are.
        realtime: play files at their own pace, as though they were cameras.
        stream: name in the published topics: letters, digits, _ and -; of several sources a name
            each, separated by commas, or one that gets a number. Default: main.
        record: file that takes every row: .parquet, .csv or .jsonl; with several sources the name
            of each stream is added. A recording of that name is replaced.
        preview: show the picture with the faces drawn in; keys: q ends, c centres, r records,
            m mirrors, h helps.
        list: print the cameras of this machine with their sizes and rates, and end.
        bundle: folder of a model bundle; default: the one that mien ships.
        smoothing: preset or TOML file; raw publishes what the regressor says.
        detector: what finds faces: own or centerface.
        camera: camera file (TOML or JSON: fx, fy, cx, cy, width, height in pixels; or YAML or XML
            of OpenCV's calibration or ROS), or field of view across the longer side in degrees.
        max_faces: at most so many faces at once, in each source.
        ipd_mm: distance between the pupils in mm, where it is known; it fixes the distance.
        threads: threads of the networks, for each source; one core is enough.
        capture: how sources are opened.
        publishing: who hears of the faces.
        outputs: what goes to other programs; the first source's faces where there are several.
    """

    source: Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="SOURCE")]] = ()
    realtime: bool = False
    stream: Annotated[str, tyro.conf.arg(metavar="NAME")] = "main"
    record: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    preview: bool = False
    list: bool = False
    bundle: BundleOption = None
    smoothing: SmoothingOption = "responsive"
    detector: DetectorOption = DEFAULT_DETECTOR
    camera: CameraOption = "60"
    max_faces: int = 1
    ipd_mm: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    threads: int = 1
    capture: CaptureOptions = field(default_factory=CaptureOptions)
    publishing: PublishingOptions = field(default_factory=PublishingOptions)
    outputs: OutputOptions = field(default_factory=OutputOptions)

    def names(self) -> tuple[str, ...]:
        """The name of each source's stream.

        Raises:
            InputError: there are several, but not one for each source.
        """
        given, count = tuple(self.stream.split(",")), len(self.source)
        if count > 1 and len(given) == 1:
            return tuple(f"{given[0]}-{number}" for number in range(count))
        if len(given) != count:
            raise InputError(f"--stream gives {len(given)} names for {count} sources")
        if len(set(given)) < count:
            raise InputError(f"--stream {self.stream}: two streams of one name")
        return given

    def following(self) -> FollowingOptions:
        """How faces are followed.

        Raises:
            InputError: an option is impossible.
        """
        from ..following import FollowingOptions

        return FollowingOptions(
            smoothing=self.smoothing,
            detector=self.detector,
            camera=self.camera,
            max_faces=self.max_faces,
            ipd_mm=self.ipd_mm,
            threads=self.threads,
        )
