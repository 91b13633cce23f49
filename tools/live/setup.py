"""What ``mien track`` opens: sources, trackers, sinks, views; closed together."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from types import TracebackType
from typing import TYPE_CHECKING

from ...models.errors import InputError
from ...stream.messages import check_stream_name
from ...stream.sources.together import open_together
from ...stream.stopwatch import Stopwatch
from ..following import Follower, FollowingOptions
from ..options import camera_for, load_bundle, of_option
from .group import LiveGroup
from .interruption import Interruption
from .options import LiveOptions
from .outputs import open_outputs
from .recorder import RecordSwitch
from .session import Session

if TYPE_CHECKING:
    from ...models.face.camera import Camera
    from ...models.face.morphable import FaceModel
    from ...stream.neutral import Neutral
    from ...stream.observation import FaceObservation
    from ...stream.sinks.base import Recording
    from ...stream.sinks.drawing import Annotator
    from ...stream.sinks.zeromq import ZeroMQPublisher
    from ...stream.view import WebView
    from .preview import Preview


class LiveSetup:
    """Everything that a command opened, for as long as the context lasts.

    Attributes:
        sessions: one a source.
    """

    def __init__(self, command: LiveOptions, following: FollowingOptions) -> None:
        """Open everything.

        Args:
            command: what was asked for.
            following: how faces are followed.

        Raises:
            InputError: an option is impossible.
            SourceError: a source cannot be opened.
            OutputError: an output cannot be.
        """
        self.sessions: list[Session] = []
        self._command = command
        self._neutrals: dict[str, Neutral] = {}
        self._switches: dict[str, RecordSwitch] = {}
        self._previews: list[tuple[Session, Preview, Callable[[int, int], Annotator]]] = []
        given = command.names()
        with of_option("--stream:"):
            names = [check_stream_name(name) for name in given]
        options = command.capture.source_options(command.realtime)
        with ExitStack() as opened:
            self._interruption = opened.enter_context(Interruption())
            sources = open_together(command.source, options)
            unowned = opened.enter_context(ExitStack())
            for source in reversed(sources):
                unowned.callback(source.close)
            bundle = load_bundle(command.bundle)
            publisher = self._publisher(opened)
            view = self._view(opened)
            for name, source in zip(names, sources, strict=True):
                for note in source.info.notes:
                    print(f"mien: {note}", file=sys.stderr)
                watch = Stopwatch(time.perf_counter_ns)
                beside = source.info.live or command.realtime
                with self._interruption.insisting():  # the first time it compiles, for long
                    follower = Follower(
                        bundle, following, source.info, search_beside=beside, stopwatch=watch
                    )
                session = Session(name, source, follower, watch)
                opened.callback(session.give_up)
                self.sessions.append(session)
                recording = follower.recording(source.info, following.plain(bundle))
                if publisher is not None:
                    session.add(publisher.add(name, recording, session.health))
                if view is not None:
                    model = bundle.face_model
                    session.add(view.add(name, recording, model, session.health))
                self._add_outputs(session, recording, bundle.face_model)
                self._add_recorder(session, recording)
                if command.preview:
                    annotator_of = partial(_annotator, following.lens, bundle.face_model)
                    self._add_preview(session, follower, annotator_of, opened)
            unowned.pop_all()  # each session closes its own, in the thread that reads it
            self._things = opened.pop_all()
        if not (publisher or view or command.outputs.wanted or self._previews or command.record):
            for session in self.sessions:
                session.print_with(partial(_print_row, session.name if len(names) > 1 else ""))

    def group(self) -> LiveGroup:
        """The sessions as one."""
        return LiveGroup(
            self.sessions,
            self._show if self._previews else None,
            interruption=self._interruption,
        )

    def center(self, stream: str | None = None) -> str:
        """Let the next pose be neutral, of one stream or all; a line that says so.

        Raises:
            InputError: there is no such stream, or none with a neutral pose.
        """
        if stream is not None and stream not in [session.name for session in self.sessions]:
            raise InputError(f"no stream {stream!r} here")
        wanted = [name for name in self._neutrals if stream in (None, name)]
        if not wanted:
            raise InputError("no output here is relative to a neutral pose")
        for name in wanted:
            self._neutrals[name].center()
        return f"centred {', '.join(wanted)}"

    def __enter__(self) -> LiveSetup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._things.close()

    def _publisher(self, opened: ExitStack) -> ZeroMQPublisher | None:
        wanted = self._command.publishing
        if wanted.publish is None:
            return None
        from ...stream.sinks.zeromq import ZeroMQPublisher
        from .keys import server_keys

        publisher = ZeroMQPublisher(
            wanted.publish,
            echo=wanted.echo,
            insecure=wanted.insecure,
            curve=server_keys(wanted.curve, wanted.allow),
            requests={"center": self.center},
        )
        opened.enter_context(publisher)
        print(
            f"publishing {', '.join(self._command.names())} on {publisher.endpoint}, "
            f"echo {publisher.echo_endpoint}",
            file=sys.stderr,
        )
        return publisher

    def _view(self, opened: ExitStack) -> WebView | None:
        wanted = self._command.publishing
        if wanted.view is None:
            return None
        from ...stream.view import WebView

        view = opened.enter_context(WebView(wanted.view, insecure=wanted.insecure))
        print(f"view: {view.url}", file=sys.stderr)
        return view

    def _add_outputs(self, session: Session, recording: Recording, model: FaceModel) -> None:
        """Those of other programs expect one head: that of the first source."""
        options = self._command.outputs
        if not options.wanted or session is not self.sessions[0]:
            return
        neutral = options.neutral()
        self._neutrals[session.name] = neutral
        for sink in open_outputs(options, recording, neutral, session.name, face_model=model):
            session.add(sink)

    def _add_recorder(self, session: Session, recording: Recording) -> None:
        path, several = self._command.record, len(self._command.source) > 1
        if path is None and not self._command.preview:
            return
        if path is not None and several:
            path = path.with_stem(f"{path.stem}-{session.name}")
        switch = RecordSwitch(path, session.name, recording, on=path is not None)
        self._switches[session.name] = switch
        session.add(switch)

    def _add_preview(
        self,
        session: Session,
        follower: Follower,
        annotator_of: Callable[[int, int], Annotator],
        opened: ExitStack,
    ) -> None:
        from .preview import open_preview

        if self._previews or session is self.sessions[0]:  # without a display it is told once
            actions: dict[str, Callable[[], str]] = {"r": self._switches[session.name].toggle}
            if session.name in self._neutrals:
                actions["c"] = partial(self.center, session.name)
            preview = open_preview(f"mien {session.name}", follower.annotator(), actions)
            if preview is not None:
                opened.enter_context(preview)
                self._previews.append((session, preview, cache(annotator_of)))
                session.watched = True

    def _show(self) -> bool:
        """Draw the newest frames; False where the user wants to end."""
        now_ns = time.perf_counter_ns()
        for session, preview, annotator_of in self._previews:
            stats, line = session.source.stats, session.line(now_ns)
            lost = f"reconnecting: {stats.detail}" if stats.state == "reconnecting" else ""
            recording = self._switches[session.name].on
            if session.newest is None:
                going_on = preview.refresh(line, recording=recording, warning=lost)
            else:
                frame, rows = session.newest
                height, width = frame.image_bgr.shape[:2]
                going_on = preview.show(
                    *(frame, rows, line),
                    recording=recording,
                    warning=lost,
                    annotator=annotator_of(width, height),
                )
            if not going_on:
                return False
        return True


def _annotator(lens: Camera | float, model: FaceModel, width: int, height: int) -> Annotator:
    """What draws faces into pictures of a size, which may change in mid-stream."""
    from ...stream.sinks.drawing import Annotator

    return Annotator(camera_for(lens, width, height).matrix, model)


def _print_row(stream: str, row: FaceObservation) -> None:
    from .listen import pose_line

    # In one piece, since other sources print from other threads.
    sys.stdout.write(pose_line(row, stream) + "\n")
    sys.stdout.flush()  # whoever reads it from a pipe follows live
