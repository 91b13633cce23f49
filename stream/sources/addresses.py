"""What the address of a network stream says by itself, and how it may be shown."""

from __future__ import annotations

import re

_NETWORK = re.compile(r"(rtsps?|rtmps?|https?|udp|rtp|tcp|srt)://", re.IGNORECASE)
_ENDLESS = re.compile(r"(rtsps?|rtmps?|udp|rtp|tcp|srt)://", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/?#]*@")
_SECRET = re.compile(
    r"([?&][^=&#]*(?:pass|pwd|token|secret|key|auth|sig)[^=&#]*=)[^&#]*", re.IGNORECASE
)


def is_network(spec: str) -> bool:
    """Whether it is the address of something that FFmpeg reads over a network."""
    return _NETWORK.match(spec) is not None


def is_endless(url: str) -> bool:
    """Whether what comes from there is live whatever it says of itself."""
    return _ENDLESS.match(url) is not None


def without_secrets(url: str) -> str:
    """The address without user, password, and the values of keys that look like secrets."""
    return _SECRET.sub(r"\1***", _USER.sub("", url))
