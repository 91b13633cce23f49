"""What the address of a network stream says by itself, and how it may be shown."""

from __future__ import annotations

import re
from urllib.parse import unquote

SCHEMES = "rtsp, rtmp, http, udp, rtp, tcp or srt"
_NETWORK = re.compile(r"(rtsps?|rtmps?|https?|udp|rtp|tcp|srt)://", re.IGNORECASE)
_ENDLESS = re.compile(r"(rtsps?|rtmps?|udp|rtp|tcp|srt)://", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/?#]*@")
_ODD_USER = re.compile(r"(?!\[)[^/?#@:]*:(?!\d*(?:[/?#]|$)).*@", re.DOTALL)
"""With a password that has / ? or # in it, as none should: else a port would stand there."""
_SECRET = re.compile("pas|pw|psw|token|secret|key|auth|sig|cred|streamid", re.IGNORECASE)
_RTMP = re.compile(r"(rtmp\w*+://[^/?#\s]*+/*+[^/?#\s]*+).+", re.IGNORECASE | re.DOTALL)
_UNCODED = re.compile("([^=%]*=?).*", re.DOTALL)
_MOST_CODED = 4
"""Times that a part may be percent-encoded before it is hidden as it stands."""


def is_network(spec: str) -> bool:
    """Whether it is the address of something that FFmpeg reads over a network."""
    return _NETWORK.match(spec) is not None


def is_endless(url: str) -> bool:
    """Whether what comes from there is live whatever it says of itself."""
    return _ENDLESS.match(url) is not None


def without_secrets(url: str) -> str:
    """The address without user, password, and the values of keys that look like secrets.

    Of RTMP the path's first part is left, as the next is what a stream is published with. What is
    no address stays as it is.
    """
    scheme, mark, rest = _USER.sub("", url).partition("://")
    if not mark:
        return url
    odd = _ODD_USER.match(rest)
    shown = scheme + mark + (rest if odd is None else rest[odd.end() :])
    shown = _RTMP.sub(r"\1/***", shown)
    return "".join(map(_without_secret, re.split(r"([&#])", shown)))


def _without_secret(part: str) -> str:
    """A parameter, or all before the second, without what follows a secret's key."""
    if key := _secret_key(part):
        return f"{key}***"
    plain = part
    for _ in range(_MOST_CODED):
        plain, coded = unquote(plain), plain
        if plain == coded:
            return part
        if _secret_key(plain) or _USER.search(plain):
            break
    # Coded themselves, its places cannot be told: no more is shown than stands before any code.
    return _UNCODED.sub(r"\1***", part, count=1)


def _secret_key(text: str) -> str:
    """The text up to the first value that a key like a secret's has, else ""."""
    pieces = text.split("=")
    for k, piece in enumerate(pieces[:-1], 1):
        if _SECRET.search(piece.rpartition("/")[2]):
            return "=".join(pieces[:k]) + "="
    return ""
