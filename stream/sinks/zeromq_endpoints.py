"""The endpoints that a publisher binds: which are accepted, and the default of the echo."""

from __future__ import annotations

import re

from ...models.errors import InputError
from ..messages import DEFAULT_ENDPOINT, LAST_PORT

_LOOPBACK = re.compile(r"tcp://(127(\.\d+){3}|localhost|\[::1\]):(\d{1,9}|\*)")
_TCP = re.compile(r"tcp://(.+):(\d{1,9}|\*)")


def next_endpoint(endpoint: str) -> str:
    """The default of the clock echo: the next TCP port, or the same path with ``-echo``.

    Raises:
        InputError: there is no next port.
    """
    tcp = _TCP.fullmatch(endpoint)
    if tcp is None:
        return f"{endpoint}-echo"
    host, port = tcp.groups()
    if port == str(LAST_PORT):
        raise InputError(f"{endpoint}: no port follows for the clock echo; choose one with --echo")
    return f"tcp://{host}:{'*' if port in ('*', '0') else int(port) + 1}"


def check_endpoint(endpoint: str, *, public: bool, option: str = "endpoint") -> None:
    """Accept what can be bound safely.

    Args:
        endpoint: to bind.
        public: whether other machines may reach it.
        option: what messages call it.

    Raises:
        InputError: the endpoint is malformed, or other machines could reach it and must not.
    """
    if re.match(r"(ipc|inproc)://.", endpoint):
        return
    tcp = _TCP.fullmatch(endpoint)
    if tcp is None:
        raise InputError(
            f"{option} {endpoint!r:.80}: expected an endpoint such as {DEFAULT_ENDPOINT}"
        )
    if tcp[2] != "*" and int(tcp[2]) > LAST_PORT:
        raise InputError(f"{option} {endpoint}: expected a port up to {LAST_PORT}")
    if not public and not _LOOPBACK.fullmatch(endpoint):
        raise InputError(
            f"{option} {endpoint}: other machines could read the poses there; bind 127.0.0.1, "
            "give --curve and --allow (mien keys makes the files), or say --insecure"
        )
