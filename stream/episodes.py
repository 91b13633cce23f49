"""What happened in a film, from its rows in order: blinks, and stretches without a face."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..models.face.names import BLENDSHAPE_INDEX
from .observation import FaceObservation

CLOSES: Final = 0.5
"""Both ``eyeBlink`` reach it where the eyes close; lids that touch have 1."""
OPENS: Final = 0.3
"""One falls below it where they open again."""
LONGEST_BLINK_S: Final = 0.5
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


@dataclass(frozen=True)
class Closure(Stretch):
    """Both eyes closed; it ends with the frame in which one of them is open.

    Attributes:
        whole: the eyes were seen to close and to open.
    """

    whole: bool

    def is_blink(self, longest_s: float = LONGEST_BLINK_S) -> bool:
        """Whether it lasted no longer than a blink."""
        return self.seconds <= longest_s


def blinking(row: FaceObservation) -> tuple[float, float] | None:
    """How far the left and the right eye are closed, 0 to 1; None where the rows do not say."""
    if row.blendshapes is None:
        return None
    return float(row.blendshapes[_LEFT]), float(row.blendshapes[_RIGHT])


@dataclass
class BlinkDetector:
    """Finds when one face has both eyes closed; give it every row of one track, in order.

    A wink is none: the eye that is more open counts. Two thresholds, so that noise near one does
    not cut a blink in two.

    Attributes:
        closes: both ``eyeBlink`` reach it where the eyes close.
        opens: one falls below it where they open.
    """

    closes: float = CLOSES
    opens: float = OPENS
    _since: tuple[int, float] | None = field(default=None, init=False)
    _seen_open: bool = field(default=False, init=False)
    _last_frame: int = field(default=-1, init=False)

    def add(self, row: FaceObservation, t_s: float) -> Closure | None:
        """Take the next row, seen at a time; the closure that ended with it, if one did.

        A gap in the frames, a predicted row and one without blendshapes end a closure unseen:
        call :meth:`lose` first where that is wanted.
        """
        values = blinking(row)
        if self._last_frame != row.frame - 1 or values is None or not row.observed:
            self._since, self._seen_open = None, False
        self._last_frame = row.frame
        if values is None or not row.observed:
            return None
        closed = min(values)
        if self._since is None:
            if closed >= self.closes:
                self._since = row.frame, t_s
            else:
                self._seen_open = True
            return None
        return self._end(t_s, seen=True) if closed < self.opens else None

    def lose(self, t_s: float) -> Closure | None:
        """The face is gone, or the film over; the closure that nobody saw the end of, if any."""
        return self._end(t_s, seen=False)

    def _end(self, t_s: float, *, seen: bool) -> Closure | None:
        if self._since is None:
            return None
        (first, begin_s), self._since = self._since, None
        whole, self._seen_open = seen and self._seen_open, seen
        return Closure(first, self._last_frame - seen, begin_s, t_s, whole)


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
