"""What the echo socket answers: the clock, and requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ...models.errors import MienError
from ..messages import EchoReply, EchoRequest, encode
from ..schema import DAMAGE

Requests = Mapping[str, Callable[[str | None], str]]
"""By name: called with the stream (None: all), returns a line for the user."""

_REQUEST = msgspec.msgpack.Decoder(EchoRequest)


def answer(payload: bytes, requests: Requests, clock: Callable[[], int]) -> bytes:
    """The reply to a message: the time, whatever it was; for a known request what came of it."""
    arrived_ns = clock()
    request = _request(payload)
    if request is None or request.request not in requests:
        return encode(EchoReply(t_ns=arrived_ns))
    try:
        reply = requests[request.request](request.stream)
    except MienError as error:  # such as a stream that is not there: for who asked, not for us
        return encode(EchoReply(t_ns=arrived_ns, error=str(error)))
    return encode(EchoReply(t_ns=arrived_ns, reply=reply))


def _request(payload: bytes) -> EchoRequest | None:
    try:
        return _REQUEST.decode(payload)
    except DAMAGE:
        return None  # any bytes will do to ask for the time
