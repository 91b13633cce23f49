"""``mien keys``: pairs of CURVE keys, and the list of clients that a publisher lets in."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import tyro
from tyro.conf import Positional

from ...models.errors import InputError

if TYPE_CHECKING:
    from ...stream.curve import CurveClient, CurveServer

KeyOption: TypeAlias = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
ServerKeyOption: TypeAlias = Annotated[str | None, tyro.conf.arg(metavar="KEY")]


def client_keys(key: Path | None, server_key: str | None) -> CurveClient | None:
    """What ``--key`` and ``--server-key`` say; None: neither is given.

    Raises:
        InputError: only one of them is given, or a file is not what it should be.
    """
    if key is None and server_key is None:
        return None
    if key is None or server_key is None:
        raise InputError(
            "--key (your own key file) and --server-key (the publisher's public key) belong "
            "together; see mien keys"
        )
    from ...stream.curve import CurveClient

    return CurveClient(key, server_key)


def server_keys(curve: Path | None, allow: Path | None) -> CurveServer | None:
    """What ``--curve`` and ``--allow`` say; None: neither is given.

    Raises:
        InputError: only one of them is given, or a file is not what it should be.
    """
    if curve is None and allow is None:
        return None
    if curve is None or allow is None:
        raise InputError(
            "--curve (the publisher's key file) and --allow (the clients' public keys) belong "
            "together; see mien keys"
        )
    from ...stream.curve import CurveServer

    return CurveServer(curve, allow)


@dataclass(frozen=True)
class Keys:
    """Make a pair of keys, for a publisher or a subscriber, and print its public key.

    FILE takes both keys, for its owner only; FILE with the ending .pub the public one, to give
    away. Where FILE exists nothing is made: its public key is printed.

    A publisher that other machines reach: "mien keys server.key" there and "mien keys client.key"
    on the subscriber's machine; bring client.pub to the publisher and server.pub to the subscriber;
    "mien keys client.pub --allow clients.txt"; then "mien track 0 --publish tcp://0.0.0.0:5570
    --curve server.key --allow clients.txt" and "mien listen tcp://HOST:5570 --key client.key
    --server-key server.pub".

    Attributes:
        file: of the pair, such as client.key; or a .pub file that somebody sent.
        allow: allow list that the public key is added to; a running publisher sees it at once.
        name: whose key it is, a remark in the allow list; default: the name of FILE.
    """

    file: Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    allow: Annotated[Path | None, tyro.conf.arg(metavar="LIST")] = None
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None

    def run(self) -> int:
        """Make, print, allow; the exit status."""
        if self.name is not None and self.allow is None:
            raise InputError("keys: --name is a remark in the allow list; it needs --allow LIST")
        from ...stream.curve import allow, make_keys, public_key

        if self.file.exists() or self.file.suffix == ".pub":
            key = public_key(self.file)
        else:
            key = make_keys(self.file)
            print(
                f"made {self.file} (secret, mode 0600) and {self.file.with_suffix('.pub')} "
                "(public, to give away)",
                file=sys.stderr,
            )
        print(key)
        if self.allow is not None:
            name = self.file.stem if self.name is None else self.name
            added = allow(self.allow, key, name)
            words = f"let in by {self.allow} now" if added else f"was in {self.allow} already"
            print(f"{name}: {words}", file=sys.stderr)
        return 0
