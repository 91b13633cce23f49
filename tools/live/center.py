"""``mien center``: the present pose of a running session becomes the neutral one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from tyro.conf import Positional

from ...models.errors import SourceError
from ...stream.messages import DEFAULT_ECHO, EchoRequest, encode
from .keys import KeyOption, ServerKeyOption, client_keys

_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Center:
    """Have a running "mien track --publish" take the present pose as neutral.

    It holds for the outputs that are relative to a neutral pose (OpenTrack, VMC, iFacialMocap,
    Live Link Face); what is published on ZeroMQ stays as it is.

    Attributes:
        echo: endpoint of the publisher's clock echo.
        stream: only the stream of this name; default: all.
        key: this client's key file, where the publisher has --curve; see "mien keys".
        server_key: the publisher's public key, or a file that has it.
    """

    echo: Positional[Annotated[str, tyro.conf.arg(metavar="ECHO_ENDPOINT")]] = DEFAULT_ECHO
    stream: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    key: KeyOption = None
    server_key: ServerKeyOption = None

    def run(self) -> int:
        """Ask, and print the answer; the exit status."""
        from ...stream.echo import EchoClient

        curve = client_keys(self.key, self.server_key)
        with EchoClient(self.echo, curve=curve, timeout_s=_TIMEOUT_S) as client:
            answer = client.ask(encode(EchoRequest(request="center", stream=self.stream)))
        if answer.error:
            raise SourceError(f"{self.echo}: {answer.error}")
        if not answer.reply:
            raise SourceError(f"{self.echo}: this publisher has no neutral pose to set")
        print(answer.reply)
        return 0
