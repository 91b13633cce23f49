"""iFacialMocap's text by UDP: 52 values, the head and the eyes."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from ..frame import Frame
from ..gaze import eye_angles
from ..neutral import HeadPose
from ..observation import FaceObservation
from .spellings import SPELLINGS
from .udp import UdpHeadSink

DEFAULT_ADDRESS: Final = ("127.0.0.1", 49983)
_VALUES: Final = "|".join(f"{spelling.ifacialmocap}-%d" for spelling in SPELLINGS)


class IFacialMocapSink(UdpHeadSink):
    """Sends ``name-value|...|=head#ex,ey,ez,px,py,pz|rightEye#ex,ey,ez|leftEye#ex,ey,ez|``.

    Values are whole numbers from 0 to 100; angles are degrees and positions metres, relative to the
    neutral pose, in ARKit's right-handed axes (x to the subject's left, y up, z out of the face):
    ex > 0 looks down, ey > 0 turns to the subject's left, ez > 0 tilts to their right shoulder; px
    > 0 is to the subject's left, py > 0 up, pz > 0 towards the camera. Turns are about y first,
    then x, then z, as receivers in Unity compose them. The eyes follow from the ``eyeLook``
    blendshapes. A row without blendshapes sends the head alone.
    """

    OPTION: ClassVar[str] = "--ifacialmocap"

    def _packet(self, frame: Frame, row: FaceObservation, pose: HeadPose) -> bytes:
        yaw, pitch, roll = pose.yaw_pitch_roll_deg
        x, y, z = (0.001 * pose.translation_mm).tolist()
        head = f"=head#{-pitch:.4f},{-yaw:.4f},{-roll:.4f},{x:.5f},{-y:.5f},{-z:.5f}|"
        values = self._neutral.blendshapes(row)
        if values is None:
            return head.encode("ascii")
        left, right = eye_angles(values)
        text = (
            f"{_VALUES % tuple(np.rint(100.0 * values).astype(int).tolist())}|{head}"
            f"rightEye#{-right.up:.4f},{-right.right:.4f},0.0000|"
            f"leftEye#{-left.up:.4f},{-left.right:.4f},0.0000|"
        )
        return text.encode("ascii")
