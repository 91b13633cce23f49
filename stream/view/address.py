"""Where the web view may be served, and who may ask for it."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Final

from ...models.errors import InputError

_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})")
_HOST: Final = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<host>[^:\[\]]+))(?::\d{1,5})?")
_LAST_PORT: Final = 65535


@dataclass(frozen=True)
class ViewAddress:
    """A host and a port to serve at.

    Attributes:
        host: address or name to bind.
        port: 0 takes any.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, address: str, *, insecure: bool = False) -> ViewAddress:
        """Read ``[HOST]:PORT``; without a host it is 127.0.0.1.

        Raises:
            InputError: it is malformed, or other machines could reach it and ``insecure`` is not
                said.
        """
        match = _ADDRESS.fullmatch(address)
        if match is None or int(match["port"]) > _LAST_PORT:
            raise InputError(f"--view {address!r:.80}: expected an address such as :8080")
        parsed = cls(match["six"] or match["host"] or "127.0.0.1", int(match["port"]))
        if not insecure and not is_loopback(parsed.host):
            raise InputError(
                f"--view {address}: other machines could watch the faces there; "
                "serve at 127.0.0.1, or say --insecure"
            )
        return parsed

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    def url(self, port: int) -> str:
        """What to open in a browser, with the port that was bound."""
        return (
            f"http://{_bracketed(socket.gethostname() if self._everywhere else self.host)}:{port}/"
        )

    def admits(self, host_header: str | None) -> bool:
        """Whether a request for this host is one for us.

        A page of another site whose name was made to point here (DNS rebinding) asks for its own
        name, which is none of ours.
        """
        match = _HOST.fullmatch(host_header or "")
        if match is None:
            return False
        name = (match["six"] or match["host"]).lower()
        if is_loopback(self.host):
            return is_loopback(name)
        own = socket.gethostname().lower()
        return _is_number(name) or name in ("localhost", self.host.lower(), own, f"{own}.local")

    @property
    def _everywhere(self) -> bool:
        return _is_number(self.host) and ipaddress.ip_address(self.host).is_unspecified


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    if host.lower() == "localhost":
        return True
    return _is_number(host) and ipaddress.ip_address(host).is_loopback


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
