"""When a face counts as found, followed, lost or known again."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..models.errors import InputError


@dataclass(frozen=True)
class TrackerConfig:
    """Settings of the life of a track.

    Attributes:
        find_presence: presence from which what a detector points at is taken for a face. Of the
            198 faces on the even lines of helen, pointing04 and dlib none has less than 0.97.
        hint_presence: the same where the detector itself is not sure; find_presence, if that is
            more.
        regain_presence: presence from which a face in a box that is given is taken to be there, and
            a followed face that was missed (for no longer than max_gap_s) to be back.
        lose_presence: presence below which a followed face is taken to be gone; between the two
            nothing changes.
        max_gap_s: for so long a face that is not seen is predicted, then it is lost.
        memory_s: for so long a lost face may come back under its old number.
        detect_interval_s: time between searches for further faces while some are followed.
        search_interval_s: time between searches while a face is missing.
        verify_interval_s: time between searches while all faces are followed; they find out where a
            track has slid off its face.
        duplicate_overlap: intersection over union of two faces' boxes from which they may be one.
    """

    find_presence: float = 0.95
    hint_presence: float = 0.997
    regain_presence: float = 0.6
    lose_presence: float = 0.35
    max_gap_s: float = 0.5
    memory_s: float = 2.0
    detect_interval_s: float = 0.5
    search_interval_s: float = 0.1
    verify_interval_s: float = 2.0
    duplicate_overlap: float = 0.4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0.0):
                raise InputError(f"tracker: {field.name} must be 0 or more, got {value}")
        if not self.lose_presence <= self.regain_presence <= self.find_presence <= 1.0:
            raise InputError(
                f"tracker: expected lose_presence <= regain_presence <= find_presence <= 1, got "
                f"{self.lose_presence}, {self.regain_presence}, {self.find_presence}"
            )
        if self.hint_presence > 1.0:
            raise InputError(f"tracker: hint_presence must be 1 or less, got {self.hint_presence}")
