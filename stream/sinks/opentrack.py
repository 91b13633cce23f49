"""OpenTrack's input "UDP over network": six doubles a frame."""

from __future__ import annotations

import struct
from typing import ClassVar, Final

from ..frame import Frame
from ..neutral import HeadPose
from ..observation import FaceObservation
from .udp import UdpHeadSink

DEFAULT_ADDRESS: Final = ("127.0.0.1", 4242)
_PACKET: Final = struct.Struct("<6d")


class OpenTrackSink(UdpHeadSink):
    """Sends TX, TY, TZ in cm, then yaw, pitch and roll in degrees: 48 bytes, little-endian.

    Relative to the neutral pose, with the signs of OpenTrack's own webcam tracker:

    - TX > 0: to the right of the camera's picture (the user moves to their left),
    - TY > 0: up,
    - TZ > 0: away from the camera,
    - yaw > 0: the user turns to their right,
    - pitch > 0: looks up,
    - roll > 0: tilts to their left shoulder.

    Yaw turns about the vertical first, then pitch, then roll, as OpenTrack takes them. A number
    that is not finite is never sent.
    """

    OPTION: ClassVar[str] = "--opentrack"

    def _packet(self, frame: Frame, row: FaceObservation, pose: HeadPose) -> bytes:
        x, y, z = pose.translation_mm.tolist()
        return _PACKET.pack(0.1 * x, -0.1 * y, 0.1 * z, *pose.yaw_pitch_roll_deg)
