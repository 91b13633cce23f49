"""What happened in a film, from its rows in order: blinks, and stretches without a face."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..models.face.names import BLENDSHAPE_INDEX
from .observation import FaceObservation

CLOSES: Final = 0.5
"""Mean of both ``eyeBlink`` from which the eyes count as closed; lids that touch have 1."""
OPENS: Final = 0.35
"""Below it they count as open again."""
LONGEST_BLINK_S: Final = 0.8
"""Eyes that stay closed for longer are not blinking."""

_LEFT: Final = BLENDSHAPE_INDEX["eyeBlinkLeft"]
_RIGHT: Final = BLENDSHAPE_INDEX["eyeBlinkRight"]


@dataclass(frozen=True)
class Stretch:
    """Frames in a row, the last one included.

    Attributes:
        first: frame.
        last: frame.
        begin_s: time of the first frame, from the first frame of the film.
        end_s: when the last frame ends.
    """

    first: int
    last: int
    begin_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end_s - self.begin_s


def blinking(row: FaceObservation) -> tuple[float, float] | None:
    """How far the left and the right eye are closed, 0 to 1; None where the rows do not say."""
    if row.blendshapes is None:
        return None
    return float(row.blendshapes[_LEFT]), float(row.blendshapes[_RIGHT])


@dataclass
class BlinkDetector:
    """Finds the blinks of one face; give it every row of one track, in order.

    A blink that began is reported when the eyes open, with the time of the frame in which they do.
    One in progress where the face is lost, or at the end, is none: nobody saw the eyes open.
    """

    _since: tuple[int, float] | None = field(default=None, init=False)
    _open: bool = field(default=False, init=False)
    _last_frame: int = field(default=-1, init=False)

    def add(self, row: FaceObservation, t_s: float) -> Stretch | None:
        """Take the next row, seen at a time; the blink that ended with it, if one did."""
        values = blinking(row)
        follows = self._last_frame == row.frame - 1
        self._last_frame = row.frame
        if not follows or values is None or not row.observed:
            self._since, self._open = None, False
        if values is None or not row.observed:
            return None
        closed = (values[0] + values[1]) / 2.0
        if self._since is not None:
            if closed >= OPENS:
                return None
            (first, begin_s), self._since = self._since, None
            self._open = True
            blink = Stretch(first, row.frame - 1, begin_s, t_s)
            return blink if blink.seconds <= LONGEST_BLINK_S else None
        if closed < CLOSES:
            self._open = True
        elif self._open:  # eyes that were closed from the start were not seen to close
            self._since, self._open = (row.frame, t_s), False
        return None


@dataclass
class LostStretches:
    """Finds the stretches in which no face was seen; give it every frame with an observed face.

    Frames in which a face is only predicted count as lost.

    Attributes:
        frame_s: how long a frame lasts, where times do not tell.
    """

    frame_s: float = 0.04
    _last_frame: int = field(default=-1, init=False)
    _last_s: float = field(default=0.0, init=False)

    def seen(self, frame: int, t_s: float) -> Stretch | None:
        """A face was observed; the stretch before it, if there was one. May be called twice."""
        lost = None
        if frame > self._last_frame + 1:
            # The frame before the stretch has lasted for its share of the time that has passed.
            begin_s = 0.0
            if self._last_frame >= 0:
                begin_s = self._last_s + (t_s - self._last_s) / (frame - self._last_frame)
            lost = Stretch(self._last_frame + 1, frame - 1, begin_s, t_s)
        self._last_frame, self._last_s = frame, t_s
        return lost

    def end(self, frames: int, end_s: float) -> Stretch | None:
        """The film is over after so many frames; the stretch before its end, if there is one."""
        if frames <= self._last_frame + 1:
            return None
        begin_s = self._last_s + self.frame_s if self._last_frame >= 0 else 0.0
        begin_s = min(begin_s, end_s)
        return Stretch(self._last_frame + 1, frames - 1, begin_s, end_s)
