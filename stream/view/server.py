"""The web view: a page with the face mesh and plots, served to browsers of this machine."""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import resources
from types import TracebackType
from typing import TYPE_CHECKING, Final

from ...models.errors import InputError, OutputError, how_to_install
from ...models.face.morphable import FaceModel
from ..frame import Frame
from ..health import Health
from ..messages import check_stream_name
from ..observation import FaceObservation
from ..sinks.base import Recording
from .address import ViewAddress
from .clients import Client, registry
from .encoding import Snapshot, hello_message, model_message, status_message

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

_SECOND_NS: Final = 1_000_000_000
_BEAT_S: Final = 1.0
_MOST_CLIENTS: Final = 16
_LONGEST_MESSAGE: Final = 1024  # a client says no more than that it is ready
_CLOSING_S: Final = 0.3  # what a client may take to say goodbye
_SOCKET: Final = "/socket"
_PAGES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/face.js": ("face.js", "text/javascript; charset=utf-8"),
    "/mesh.js": ("mesh.js", "text/javascript; charset=utf-8"),
    "/plots.js": ("plots.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class WebView:
    """Serves the page and its WebSocket in a thread of its own.

    Where nobody looks, a frame costs a comparison. Each browser gets the newest frame when it is
    ready for one; a slow one gets fewer, and slows nobody.
    """

    def __init__(
        self,
        address: str,
        *,
        insecure: bool = False,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Bind the port and start the thread.

        Args:
            address: ``[HOST]:PORT``; without a host 127.0.0.1; port 0 takes any.
            insecure: allow addresses that other machines reach, unencrypted, for everyone there.
            clock: nanoseconds, monotonic: that of ``t_capture_ns``.

        Raises:
            InputError: the address is not accepted, or the package ``websockets`` is missing.
            OutputError: the port cannot be bound.
        """
        self._address = ViewAddress.parse(address, insecure=insecure)
        try:
            import websockets.asyncio.server  # noqa: F401 - here, so that its absence is told now
        except ImportError as error:
            raise InputError(f"--view needs websockets: {how_to_install('view')}") from error
        self._clock = clock
        self._begin_ns = clock()
        self._socket = _bind(self._address)
        self.url = self._address.url(self._socket.getsockname()[1])
        self._lock = threading.Lock()
        self._streams: list[WebStream] = []
        self._models: list[FaceModel] = []
        self._fresh: dict[int, Snapshot] = {}
        self._clients: set[Client] = set()
        self._encoded: dict[int, bytes] = {}
        self._watched = False
        self._closed = False
        self._failure: Exception | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="mien-view", daemon=True)
        self._thread.start()

    def add(
        self,
        stream: str,
        recording: Recording,
        face_model: FaceModel,
        probe: Callable[[], Health] | None = None,
    ) -> WebStream:
        """A further stream that the page shows.

        Args:
            stream: its name, unlike the others'.
            recording: what is said of its source and camera.
            face_model: what the coefficients of its rows belong to.
            probe: asked once a second, by the view's thread, while somebody looks.

        Raises:
            InputError: the name is not accepted or taken.
            OutputError: the view is closed.
        """
        check_stream_name(stream)
        with self._lock:
            self._check()
            if any(other.name == stream for other in self._streams):
                raise InputError(f"{stream}: the web view has a stream of this name")
            model = next((i for i, m in enumerate(self._models) if m is face_model), None)
            if model is None:
                model = len(self._models)
                self._models.append(face_model)
            added = WebStream(self, len(self._streams), stream, recording, model, probe)
            self._streams.append(added)
            self._loop.call_soon_threadsafe(self._greet_all)
        return added

    def close(self) -> None:
        """Say goodbye to the browsers and let go of the port. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._watched = False
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> WebView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def post(self, stream: int, frame: Frame, rows: Sequence[FaceObservation]) -> None:
        """Hand the newest frame of a stream to whoever looks.

        Raises:
            OutputError: the view is closed, or has failed.
        """
        if not self._watched:
            if self._closed or self._failure is not None:
                self._check()
            return
        now_ns = self._clock()
        captured_ns = frame.t_capture_ns
        latency_ms = math.nan if captured_ns is None else (now_ns - captured_ns) * 1e-6
        t_s = (now_ns - self._begin_ns) * 1e-9
        snapshot = Snapshot(stream, frame.index, t_s, latency_ms, tuple(rows))
        with self._lock:
            self._check()
            wake = not self._fresh
            self._fresh[stream] = snapshot
            if wake:
                self._loop.call_soon_threadsafe(self._distribute)

    def _check(self) -> None:
        if self._closed or self._failure is not None:
            why = "is closed" if self._failure is None else str(self._failure)
            raise OutputError(f"{self.url}: cannot be served: {why}")

    # What follows runs in the thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:  # noqa: BLE001 - told by the next write
            self._failure = error
        finally:
            self._watched = False
            self._socket.close()

    async def _serve(self) -> None:
        from websockets.asyncio.server import serve

        connections, connection_kind = registry()
        quiet = logging.getLogger("mien.view")  # strangers' garbage is no news
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        async with serve(
            self._attend,
            sock=self._socket,
            process_request=self._answer,
            create_connection=connection_kind,
            compression=None,
            max_size=_LONGEST_MESSAGE,
            max_queue=4,
            open_timeout=5,
            close_timeout=_CLOSING_S,
            logger=quiet,
            server_header=None,
        ) as server:
            while not self._stop.is_set() and self._failure is None:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), _BEAT_S)
                for stream in self._streams:
                    stream.beat(self._clock())
                    if self._clients:
                        self._spread(f"status {stream.index}", stream.status())
            # Browsers connect ahead and say nothing: their handshakes would be waited for.
            server.close()
            await asyncio.sleep(0)
            for connection in connections - {client.connection for client in self._clients}:
                connection.transport.abort()
        if self._failure is not None:
            raise self._failure

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A page, a refusal, or None: the WebSocket handshake goes on."""
        host = request.headers.get_all("Host")
        if len(host) != 1 or not self._address.admits(host[0]):
            return connection.respond(421, "This is not the host that was asked for.\n")
        path = request.path.partition("?")[0]
        if path == _SOCKET:
            # Browsers always say which page asks; pages of others may not listen.
            origin = request.headers.get_all("Origin")
            if origin not in ([], [f"http://{host[0]}"], [f"https://{host[0]}"]):
                return connection.respond(403, "Only this view's own page may connect.\n")
            if len(self._clients) >= _MOST_CLIENTS:
                return connection.respond(503, "Too many viewers.\n")
            return None
        if path not in _PAGES:
            return connection.respond(404, "There is no such page.\n")
        name, kind = _PAGES[path]
        response = connection.respond(200, _page(name))
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = kind
        for key, value in _HEADERS.items():
            response.headers[key] = value
        return response

    async def _attend(self, connection: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        client = Client(connection)
        self._clients.add(client)
        self._watched = not self._closed
        self._greet(client)
        try:
            with suppress(ConnectionClosed):
                await client.attend()
        except Exception as error:  # noqa: BLE001 - ours, not the client's: told by the next write
            self._failure = error
        finally:
            self._clients.discard(client)
            self._watched = bool(self._clients) and not self._closed

    def _greet(self, client: Client) -> None:
        streams = list(self._streams)
        client.put("hello", hello_message([(s.name, s.recording, s.model) for s in streams]))
        for stream in streams:
            client.put(f"status {stream.index}", stream.status())
        for index, model in enumerate(self._models):
            if index in client.models:
                continue
            client.models.add(index)
            client.put(f"model {index}", functools.partial(self._model_message, index, model))

    def _greet_all(self) -> None:
        for client in self._clients:
            self._greet(client)

    def _model_message(self, index: int, model: FaceModel) -> bytes:
        if index not in self._encoded:
            self._encoded[index] = model_message(index, model)
        return self._encoded[index]

    def _distribute(self) -> None:
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        for stream, snapshot in fresh.items():
            self._spread(f"frame {stream}", snapshot)

    def _spread(self, key: str, message: str | Snapshot) -> None:
        for client in self._clients:
            client.put(key, message)


class WebStream:
    """One stream of a :class:`WebView`: a sink that its tracking thread writes to."""

    def __init__(
        self,
        view: WebView,
        index: int,
        name: str,
        recording: Recording,
        model: int,
        probe: Callable[[], Health] | None,
    ) -> None:
        """Made by :meth:`WebView.add`."""
        self.index, self.name, self.recording, self.model = index, name, recording, model
        self._view, self._probe = view, probe
        self._written = 0
        self._counted, self._counted_ns = 0, 0
        self._rate = 0.0
        self._end = ""

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """Show a frame's faces.

        Raises:
            OutputError: the stream or the view is closed, or the view has failed.
        """
        if self._end:
            raise OutputError(f"{self._view.url}: stream {self.name} is closed")
        self._written += 1
        self._view.post(self.index, frame, observations)

    def close(self) -> None:
        """Say that the source has ended; the view goes on."""
        self._end = self._end or "ended"

    def abort(self) -> None:
        """Say that the source has failed; the view goes on."""
        self._end = self._end or "failed"

    def __enter__(self) -> WebStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def beat(self, now_ns: int) -> None:
        """Count the frames since the last beat."""
        written, span_ns = self._written, now_ns - self._counted_ns
        if self._counted_ns and span_ns > 0:
            self._rate = (written - self._counted) * _SECOND_NS / span_ns
        self._counted, self._counted_ns = written, now_ns

    def status(self) -> str:
        """The status message."""
        health = Health() if self._probe is None or self._end else self._probe()
        running = self._rate > 0 or self._written != self._counted
        state = self._end or health.state or ("running" if running else "stalled")
        return status_message(self.index, 0.0 if self._end else self._rate, state, health)


@functools.cache
def _page(name: str) -> str:
    return (resources.files(__name__.rpartition(".")[0]) / "page" / name).read_text("utf-8")


def _bind(address: ViewAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = "the port is in use by another program; choose another with --view"
        else:
            why = f"cannot be bound: {error.strerror or error}"
        raise OutputError(f"{address}: {why}") from error
