"""CURVE: who may read a publisher that other machines reach, and proof that it is the right one.

Each side has a pair of keys. A client knows the server's public key; the server has a list of the
public keys that it lets in. CURVE alone admits any client that knows the server's public key: the
list is kept by ZAP, ZeroMQ's authentication, which :class:`Doorkeeper` answers.

Key files are those of ZeroMQ's certificates (``zmq.auth``, czmq), text with a ``curve`` section.
Public keys are 40 characters of Z85. An allow list has a line for each client, its public key and
then, where wanted, a name; lines that begin with ``# `` are remarks (a key may begin with ``#``).
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import Any, Final

import zmq
import zmq.auth
from zmq.utils import z85

from ..models.errors import InputError, OutputError

_KEY: Final = re.compile(rb"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")
_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
_DOMAIN: Final = b"mien"


def make_keys(path: Path) -> str:
    """Make a pair of keys: ``path`` with both, for its owner only, and ``<stem>.pub``.

    Returns:
        The public key, Z85.

    Raises:
        InputError: the name is that of a public key file, or libzmq lacks CURVE.
        OutputError: one of the files exists, or cannot be written.
    """
    _check_library()
    if path.suffix == ".pub":
        raise InputError(f"{path}: .pub is for the public half; name the pair, such as client.key")
    public, secret = (key.decode("ascii") for key in zmq.curve_keypair())
    begin = "metadata\ncurve\n"
    half = f'    public-key = "{public}"\n'
    head = "#   A key of mien. {}\n\n"
    secret_text = head.format("SECRET: for its owner only.") + begin + half
    _write(path, f'{secret_text}    secret-key = "{secret}"\n', 0o600)
    try:
        _write(path.with_suffix(".pub"), head.format("Public: may be given away.") + begin + half)
    except OutputError:
        path.unlink()
        raise
    return public


def public_key(key: str | os.PathLike[str]) -> str:
    """A public key, given itself (40 characters of Z85) or in a key file of either kind.

    Raises:
        InputError: it is neither.
    """
    if isinstance(key, str) and _KEY.fullmatch(key.encode("utf-8")):
        return key
    return _load(Path(key))[0].decode("ascii")


def allow(allowed: Path, key: str, name: str = "") -> bool:
    """Add a public key to an allow list, which is made where there is none.

    Returns:
        Whether it was added: False where the list has it already.

    Raises:
        InputError: the list is damaged, or the name has line ends or control characters in it
            (what ends a line for one reader would be another key to the next).
        OutputError: the list cannot be written.
    """
    if len(f"{name}.".splitlines()) > 1 or any(unicodedata.category(c) == "Cc" for c in name):
        raise InputError(f"{name!r:.80}: expected a name of one line, without control characters")
    try:
        text = _list_text(allowed) if allowed.exists() else ""
        if key.encode("ascii") in parse_allow_list(text, allowed):
            return False
        line = f"{key} {name}".rstrip() + "\n"
        with allowed.open("a", encoding="utf-8") as file:
            file.write(line if not text or text.endswith("\n") else f"\n{line}")
    except OSError as error:
        raise OutputError(f"{allowed}: cannot be written: {error.strerror}") from error
    return True


def parse_allow_list(text: str, path: Path) -> frozenset[bytes]:
    """The public keys of an allow list.

    Raises:
        InputError: a line does not begin with a key.
    """
    keys = set()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("# ") or line.strip() == "#":
            continue
        key = line.split(maxsplit=1)[0].encode("utf-8")
        if not _KEY.fullmatch(key):
            raise InputError(
                f"{path}, line {number}: expected a public key of 40 characters, then a name"
            )
        keys.add(key)
    return frozenset(keys)


class AllowList:
    """The clients that are let in: a file, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            InputError: it is not there, or is damaged.
        """
        self.path = path
        self._stamp: tuple[int, ...] = ()
        self._keys: frozenset[bytes] = frozenset()
        self._refresh()

    def admits(self, key: bytes) -> bool:
        """Whether a client with this public key (32 bytes) is let in.

        Nobody is while the file is missing or damaged.
        """
        try:
            self._refresh()
        except InputError:
            return False
        return z85.encode(key) in self._keys

    def _refresh(self) -> None:
        try:
            status = self.path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._keys = parse_allow_list(_list_text(self.path), self.path)
                self._stamp = stamp
        except OSError as error:
            self._stamp = ()
            raise InputError(f"{self.path}: not an allow list: {_reason(error)}") from error


class CurveServer:
    """The keys of a publisher, and whom it lets in.

    Attributes:
        public_key: what clients must know, Z85.
        allowed: the clients.
    """

    def __init__(self, secret_key_file: str | os.PathLike[str], allowed: Path) -> None:
        """Read both files.

        Raises:
            InputError: a file is missing or damaged, or others may read the secret key.
        """
        _check_library()
        public, self._secret = _load_secret(Path(secret_key_file))
        self.public_key = public.decode("ascii")
        self.allowed = AllowList(allowed)

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket refuse whoever is not on the list; before it is bound."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
        # Without this a context that lost its doorkeeper would let everybody in.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


class CurveClient:
    """The keys of a subscriber, and the publisher's public key.

    Attributes:
        public_key: what the publisher's allow list must have, Z85.
        server_key: the publisher's, Z85.
    """

    def __init__(
        self, secret_key_file: str | os.PathLike[str], server_key: str | os.PathLike[str]
    ) -> None:
        """Read the keys; the publisher's is given itself or as a file.

        Raises:
            InputError: a file is missing or damaged, or others may read the secret key.
        """
        _check_library()
        public, self._secret = _load_secret(Path(secret_key_file))
        self.public_key = public.decode("ascii")
        self.server_key = public_key(server_key)

    def secure(self, socket: zmq.Socket[Any]) -> None:
        """Make a socket prove itself, and demand the same; before it connects."""
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.public_key.encode("ascii"))
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret)
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.server_key.encode("ascii"))


class Doorkeeper:
    """Answers ZAP, ZeroMQ's question whether a client may come in, for one context.

    It has no thread: poll :attr:`socket`, and call :meth:`answer`. Make it before binding.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], server: CurveServer) -> None:
        self._allowed = server.allowed
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(_ZAP_ENDPOINT)

    def answer(self) -> None:
        """Answer one question, if one is there."""
        try:
            question = self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        # Version, request, domain, address, identity, mechanism, then CURVE's client key.
        request = question[1] if len(question) > 1 else b""
        admitted = (
            len(question) == 7
            and question[0] == b"1.0"
            and question[2] == _DOMAIN
            and question[5] == b"CURVE"
            and len(question[6]) == 32
            and self._allowed.admits(question[6])
        )
        status, text = (b"200", b"OK") if admitted else (b"400", b"not on the allow list")
        self.socket.send_multipart((b"1.0", request, status, text, b"", b""))


def _check_library() -> None:
    if not zmq.has("curve"):
        raise InputError(
            "this libzmq was built without CURVE; pip install --force-reinstall pyzmq brings one "
            "that has it"
        )


def _load_secret(path: Path) -> tuple[bytes, bytes]:
    """Public and secret key of a file that only its owner may read."""
    public, secret = _load(path)
    if secret is None:
        raise InputError(f"{path}: has no secret key; give the file of the pair, not the public")
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise InputError(
            f"{path}: others may read this secret key (mode {mode:04o}); chmod 600 {path}"
        )
    return public, secret


def _load(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path}: not a key file: {_reason(error)}") from error
    for key in (public, secret):
        if key is not None and not _KEY.fullmatch(key):
            raise InputError(f"{path}: not a key file: a key is not 40 characters of Z85")
    return public, secret


def _list_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not an allow list: it is not text") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "no such file"  # that of zmq.auth has no number
    return "it has no public key"


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    """A new file, never with more rights than asked for, not even for a moment."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise OutputError(f"{path}: exists; a key is never overwritten") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(text)
