"""The VMC protocol (OSC by UDP): the head and the 52 blendshapes of Perfect Sync.

OSC is small enough to be written here: nothing needs to be installed.
"""

from __future__ import annotations

import struct
from typing import ClassVar, Final, Literal

import numpy as np

from ..frame import Frame
from ..neutral import HeadPose, Neutral
from ..observation import FaceObservation
from .spellings import SPELLINGS
from .udp import UdpHeadSink

DEFAULT_ADDRESS: Final = ("127.0.0.1", 39540)

VmcRole = Literal["assistant", "performer"]
VmcNames = Literal["perfect-sync", "arkit"]

TRACKER: Final = "mien"
"""Serial of the tracker that an assistant sends."""

_IMMEDIATELY: Final = struct.pack(">Q", 1)
_POSE: Final = (0.0,) * 6 + (1.0,)


class VmcSink(UdpHeadSink):
    """Sends one OSC bundle a frame, in Unity's frame: left-handed, metres, x right, y up, z ahead.

    As an *assistant*, to a performer: the head as the tracker ``/VMC/Ext/Tra/Pos "mien"``, then the
    blendshapes. As a *performer*, to a marionette that takes bones: ``/VMC/Ext/OK 1``,
    ``/VMC/Ext/T``, ``/VMC/Ext/Root/Pos`` and the head as ``/VMC/Ext/Bone/Pos "Head"``, which turns
    and does not move.

    Positions and turns are relative to the neutral pose, as the subject makes them: an avatar that
    looks along z turns its head to its left when the subject does. mien's axes (the subject's left,
    down, into the head) are exactly opposite to Unity's for that avatar, so positions change their
    sign and quaternions keep their numbers.

    Blendshapes are ``/VMC/Ext/Blend/Val`` by name, then ``/VMC/Ext/Blend/Apply``. Names are case
    sensitive; ``perfect-sync`` writes ``BrowInnerUp``, as the clips of Perfect Sync avatars and the
    programs that made it known do, ``arkit`` writes ``browInnerUp``. A row without blendshapes
    sends the head alone.
    """

    OPTION: ClassVar[str] = "--vmc"

    def __init__(
        self,
        address: tuple[str, int],
        neutral: Neutral | None = None,
        *,
        role: VmcRole = "assistant",
        names: VmcNames = "perfect-sync",
    ) -> None:
        """See :class:`UdpHeadSink`.

        Args:
            address: host and port.
            neutral: what poses are relative to; its own where not given.
            role: what the receiver takes mien for.
            names: spelling of the blendshapes.

        Raises:
            InputError: the port is none.
            OutputError: the host is unknown or cannot be reached.
        """
        super().__init__(address, neutral)
        self._performer = role == "performer"
        head: tuple[_Message, ...] = (("/VMC/Ext/Tra/Pos", (TRACKER, *_POSE)),)
        if self._performer:
            head = (
                ("/VMC/Ext/OK", (1,)),
                ("/VMC/Ext/T", (0.0,)),
                ("/VMC/Ext/Root/Pos", ("root", *_POSE)),
                ("/VMC/Ext/Bone/Pos", ("Head", *_POSE)),
            )
        spelt = [s.perfect_sync if names == "perfect-sync" else s.arkit for s in SPELLINGS]
        values: tuple[_Message, ...] = tuple(("/VMC/Ext/Blend/Val", (n, 0.0)) for n in spelt)
        self._head = _Bundle(head)
        self._all = _Bundle((*head, *values, ("/VMC/Ext/Blend/Apply", ())))
        self._begin_ns: int | None = None

    def _packet(self, frame: Frame, row: FaceObservation, pose: HeadPose) -> bytes:
        w, *xyz = pose.quat_wxyz.tolist()
        if self._performer:
            self._begin_ns = frame.t_ns if self._begin_ns is None else self._begin_ns
            since_s = 1e-9 * (frame.t_ns - self._begin_ns)
            head = [since_s, *_POSE, 0.0, 0.0, 0.0, *xyz, w]
        else:
            head = [*(-0.001 * pose.translation_mm).tolist(), *xyz, w]
        values = self._neutral.blendshapes(row)
        if values is None:
            return self._head.filled(head)
        return self._all.filled([*head, *values.tolist()])


_Message = tuple[str, tuple[str | int | float, ...]]


class _Bundle:
    """An OSC bundle whose floats are put in anew for every frame."""

    def __init__(self, messages: tuple[_Message, ...]) -> None:
        data = bytearray(_string("#bundle") + _IMMEDIATELY)
        places: list[int] = []
        for address, arguments in messages:
            tags = "".join({str: "s", int: "i", float: "f"}[type(one)] for one in arguments)
            body = bytearray(_string(address) + _string(f",{tags}"))
            start = len(data) + 4
            for one in arguments:
                if isinstance(one, float):
                    places.append(start + len(body))
                body += _argument(one)
            data += struct.pack(">i", len(body)) + body
        # All fields of OSC are whole words of 4 bytes.
        self._words = np.frombuffer(bytes(data), dtype=">u4").copy()
        self._places = np.array(places) // 4

    def filled(self, values: list[float]) -> bytes:
        """The datagram with these floats, in the order of the messages."""
        self._words[self._places] = np.array(values, dtype=">f4").view(">u4")
        return self._words.tobytes()


def _string(text: str) -> bytes:
    data = text.encode("ascii") + b"\0"
    return data + bytes(-len(data) % 4)


def _argument(value: str | int | float) -> bytes:
    if isinstance(value, str):
        return _string(value)
    return struct.pack(">f" if isinstance(value, float) else ">i", value)
