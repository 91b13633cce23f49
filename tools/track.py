"""``mien track``: faces followed live, shown, recorded, published."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional

from ..models.errors import InputError, SourceError
from ..stream.detector_names import DEFAULT_DETECTOR
from .options import BundleOption, CameraOption, DetectorOption, SmoothingOption, load_bundle

if TYPE_CHECKING:
    from ..stream.observation import FaceObservation
    from ..stream.sinks.base import Recording, Sink
    from ..stream.sinks.zeromq import ZeroMQPublisher
    from .following import FollowingOptions
    from .live import Session


@dataclass(frozen=True)
class Track:
    """Follow faces live: show, record or publish their poses; a status line gives rate and latency.

    SOURCE is a webcam (0, /dev/video0, a device name), rtsp://, http://, a file, or - for standard
    input. Poses are printed where nothing else is asked for.

    Attributes:
        source: what to read; --list says which cameras there are.
        realtime: play a file at its own pace, as though it were a camera.
        publish: ZeroMQ endpoint to bind, such as tcp://127.0.0.1:5570.
        echo: ZeroMQ endpoint of the clock echo; default: the port after that of --publish.
        insecure: allow endpoints that other machines can reach, unencrypted.
        stream: name in the published topics: letters, digits, _ and -.
        record: file that takes every row: .parquet, .csv or .jsonl.
        preview: show the picture with the faces drawn in; Escape or q ends.
        list: print the cameras of this machine and end.
        bundle: folder of a model bundle; default: the one that mien ships.
        smoothing: preset or TOML file; raw publishes what the regressor says.
        detector: what finds faces: own (the bundle's, trained on rendered scenes only) or
            centerface.
        camera: camera file (TOML or JSON: fx, fy, cx, cy, width, height in pixels), or field of
            view across the longer side in degrees.
        max_faces: at most so many faces at once.
        ipd_mm: distance between the pupils in mm, where it is known; it fixes the distance.
        threads: threads of the networks.
    """

    source: Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE")]] = ""
    realtime: bool = False
    publish: Annotated[str | None, tyro.conf.arg(metavar="ENDPOINT")] = None
    echo: Annotated[str | None, tyro.conf.arg(metavar="ENDPOINT")] = None
    insecure: bool = False
    stream: str = "main"
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

    def run(self) -> int:
        """Follow until the source ends, and return the exit status."""
        if self.list:
            return _list_cameras()
        if not self.source:
            raise InputError("track: no SOURCE; give a webcam (0), an address or a file, or --list")
        if self.echo is not None and self.publish is None:
            raise InputError("track: --echo is for subscribers; it needs --publish")
        from .files import check_row_place
        from .following import FollowingOptions

        check_row_place(self.record)
        following = FollowingOptions(
            smoothing=self.smoothing,
            detector=self.detector,
            camera=self.camera,
            max_faces=self.max_faces,
            ipd_mm=self.ipd_mm,
            threads=self.threads,
        )
        status = 0
        with ExitStack() as stack:
            session = self._session(following, stack)
            try:
                session.run()
            except SourceError as error:
                # What came before is good: the sinks are closed, not aborted.
                print(f"mien: {error}", file=sys.stderr)
                session.failed()
                status = 1
            except KeyboardInterrupt:
                status = 130
        print(session.summary(), file=sys.stderr)
        return status

    def _session(self, following: FollowingOptions, stack: ExitStack) -> Session:
        """Everything opened that the session needs; closed with the stack."""
        from ..stream.sources.opening import SourceOptions, open_source
        from .following import Follower
        from .live import Session

        source = stack.enter_context(
            open_source(self.source, SourceOptions(realtime=self.realtime))
        )
        for note in source.info.notes:
            print(f"mien: {note}", file=sys.stderr)
        follower = Follower(load_bundle(self.bundle), following, source.info)
        recording = follower.recording(source.info, following.plain())
        sinks: list[Sink] = []
        if self.record is not None:
            from .files import row_sink

            sinks.append(stack.enter_context(row_sink(self.record, recording)))
        publisher = None
        if self.publish is not None:
            publisher = stack.enter_context(self._publisher(self.publish, recording))
            sinks.append(publisher)
        show = None
        if self.preview:
            from .preview import Preview

            show = stack.enter_context(Preview(follower.annotator())).show
        quiet = sinks or self.preview
        return Session(source, follower, sinks, publisher, show, None if quiet else _print_row)

    def _publisher(self, endpoint: str, recording: Recording) -> ZeroMQPublisher:
        from ..stream.sinks.zeromq import ZeroMQPublisher

        publisher = ZeroMQPublisher(
            recording, endpoint, stream=self.stream, echo=self.echo, insecure=self.insecure
        )
        print(
            f"publishing {self.stream} on {publisher.endpoint}, echo {publisher.echo_endpoint}",
            file=sys.stderr,
        )
        return publisher


def _print_row(row: FaceObservation) -> None:
    from .listen import pose_line

    print(pose_line(row))


def _list_cameras() -> int:
    from ..stream.sources.cameras import list_cameras

    cameras = list_cameras()
    for camera in cameras:
        print(f"{camera.name}  {camera.description}")
    if not cameras:
        print("no camera is connected", file=sys.stderr)
    return 0
