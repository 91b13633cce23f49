"""The picture of the preview's window: the frame with its faces, a side panel, a status strip.

Nothing is written over the picture but what is drawn on the faces; panel and strip stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from ...models.face.names import BLENDSHAPE_INDEX
from ..observation import FaceObservation
from ..sinks.drawing import TRACK_COLORS, Annotator, Color, magnification

_GROUND: Final[Color] = (20, 17, 14)
_PANEL: Final[Color] = (31, 26, 21)
_EDGE: Final[Color] = (52, 44, 37)
_TRACK: Final[Color] = (54, 46, 39)
_TEXT: Final[Color] = (234, 228, 221)
_QUIET: Final[Color] = (166, 154, 142)
_LEFT: Final[Color] = (90, 185, 232)
_RIGHT: Final[Color] = (248, 155, 185)
_BOTH: Final[Color] = (180, 209, 90)
_RECORDING: Final[Color] = (90, 90, 245)
_WARNING: Final[Color] = (90, 179, 240)
_ANGLES: Final = (
    ("Yaw", "yaw", (143, 207, 111)),
    ("Pitch", "pitch", (120, 138, 255)),
    ("Roll", "roll", (255, 174, 106)),
)
_FULL_ANGLE: Final = 45.0  # degrees at the end of an angle's bar
_BARS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Blink", ("eyeBlinkLeft", "eyeBlinkRight")),
    ("Squint", ("eyeSquintLeft", "eyeSquintRight")),
    ("Eyes wide", ("eyeWideLeft", "eyeWideRight")),
    ("Brow down", ("browDownLeft", "browDownRight")),
    ("Brow up", ("browInnerUp",)),
    ("Jaw open", ("jawOpen",)),
    ("Smile", ("mouthSmileLeft", "mouthSmileRight")),
    ("Frown", ("mouthFrownLeft", "mouthFrownRight")),
    ("Pucker", ("mouthPucker",)),
    ("Funnel", ("mouthFunnel",)),
    ("Mouth side", ("mouthLeft", "mouthRight")),
    ("Upper lip", ("mouthUpperUpLeft", "mouthUpperUpRight")),
    ("Sneer", ("noseSneerLeft", "noseSneerRight")),
    ("Cheek puff", ("cheekPuff",)),
)
_TALLEST: Final = 1080  # px of picture; larger ones are shown smaller


@dataclass(frozen=True)
class Surroundings:
    """What stands around the picture.

    Attributes:
        line: of the status strip: rate, latency, drops.
        recording: whether a red dot says so.
        warning: why no frames come, one line.
        notice: what was just done, one line, over the picture.
        keys: name and meaning of each key, shown as help; empty: no help.
        mirrored: show the picture as a mirror would; words stay as they are.
    """

    line: str = ""
    recording: bool = False
    warning: str = ""
    notice: str = ""
    keys: Sequence[tuple[str, str]] = ()
    mirrored: bool = False


def compose(
    image_bgr: UInt8[np.ndarray, "H W 3"],
    rows: Sequence[FaceObservation],
    annotator: Annotator,
    around: Surroundings | None = None,
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """The whole picture of the window, new.

    Args:
        image_bgr: the frame; small ones are enlarged, ones taller than 1080 px are reduced.
        rows: its faces; the panel tells of the largest.
        annotator: how faces are drawn; the outline of the mesh is left out, which would cost more
            than all the rest.
        around: what else is shown.
    """
    around = around or Surroundings()
    magnify = magnification(*image_bgr.shape[:2])
    plain = replace(annotator, model=None, magnify=magnify, panels=False)
    picture = plain.draw(image_bgr, rows)
    scale = float(magnify)
    if picture.shape[0] > _TALLEST:
        shrink = _TALLEST / picture.shape[0]
        size = (round(picture.shape[1] * shrink), _TALLEST)
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        scale *= shrink
    if around.mirrored:
        picture = np.asarray(cv2.flip(picture, 1), np.uint8)
    height, width = picture.shape[:2]
    pen = _Pen(float(np.clip(height / 560, 0.9, 1.9)))
    side, strip = pen(212), pen(30)
    canvas = np.empty((height + strip, width + side, 3), np.uint8)
    canvas[:height, :width] = picture
    _box(canvas, (0, height, width + side, height + strip), _GROUND)
    _box(canvas, (width, 0, width + side, height), _PANEL)
    for row in rows if len(rows) > 1 else ():
        _tag(canvas[:height, :width], row, scale, around.mirrored, pen)
    panel = canvas[:height, width:]
    main = max(rows, key=lambda row: row.box_w * row.box_h, default=None)
    _face_panel(panel, main, around.mirrored, pen)
    _status_strip(canvas[height:], around, pen)
    cv2.line(canvas, (0, height), (width + side, height), _EDGE, 1)
    cv2.line(canvas, (width, 0), (width, height), _EDGE, 1)
    if around.keys:
        _help(canvas[:height, :width], around.keys, pen)
    if around.notice:
        _notice(canvas[:height, :width], around.notice, pen)
    return canvas


class _Pen:
    """Sizes and words at the scale of the window; lengths are px of a picture 560 px high."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, length: float) -> int:
        return round(length * self.scale)

    def width(self, words: str, size: float = 1.0) -> int:
        return _text_width(words, self._font(size))

    def write(
        self,
        canvas: np.ndarray,
        words: str,
        at: tuple[int, int],
        color: Color = _TEXT,
        *,
        size: float = 1.0,
        right: bool = False,
    ) -> None:
        """Words that begin, or end, at the base line's place."""
        x = at[0] - (self.width(words, size) if right else 0)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(canvas, words, (x, at[1]), font, self._font(size), color, 1, cv2.LINE_AA)

    def fitted(self, words: str, room: int, size: float = 1.0) -> str:
        """The words, cut where they need more room."""
        if self.width(words, size) <= room:
            return words
        while words and self.width(f"{words}...", size) > room:
            words = words[:-1]
        return f"{words.rstrip()}..."

    def _font(self, size: float) -> float:
        return 0.42 * self.scale * size


@lru_cache(maxsize=512)
def _text_width(words: str, font: float) -> int:
    (width, _), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, font, 1)
    return width


def _face_panel(panel: np.ndarray, row: FaceObservation | None, mirrored: bool, pen: _Pen) -> None:
    left, right = pen(14), panel.shape[1] - pen(14)
    y = pen(26)
    if row is None:
        pen.write(panel, "no face", (left, y), _QUIET)
    else:
        cv2.circle(panel, (left + pen(4), y - pen(5)), pen(4), _color(row), -1, cv2.LINE_AA)
        said = "" if row.confidence is None else f"{100 * row.confidence:.0f} %"
        state = said if row.observed else "predicted"
        pen.write(panel, f"face {row.track}", (left + pen(15), y))
        pen.write(panel, state, (right, y), _QUIET, right=True)
    y += pen(12)
    for label, name, color in _ANGLES:
        y += pen(20)
        value = None if row is None else float(getattr(row, name))
        _angle(panel, (label, value, color), (left, y, right), pen)
    y += pen(20)
    pen.write(panel, "Distance", (left, y), _QUIET)
    distance = "-" if row is None else f"{row.tz / 10:.0f} cm"
    pen.write(panel, distance, (right, y), right=True)
    y += pen(14)
    cv2.line(panel, (left, y), (right, y), _EDGE, 1)
    # The wings of a pair stand as the sides of the face do in the picture.
    sides = (("L", _LEFT), ("R", _RIGHT)) if mirrored else (("R", _RIGHT), ("L", _LEFT))
    begin, y = left + pen(86), y + pen(18)
    pen.write(panel, sides[0][0], (begin, y), sides[0][1])
    pen.write(panel, sides[1][0], (right, y), sides[1][1], right=True)
    values = None if row is None else row.blendshapes
    for label, names in _BARS:
        y += pen(20)
        if y > panel.shape[0] - pen(6):
            break
        pen.write(panel, label, (left, y), _QUIET)
        parts = [
            None if values is None else float(np.clip(values[BLENDSHAPE_INDEX[name]], 0.0, 1.0))
            for name in names
        ]
        _blendshape(panel, parts, (begin, y - pen(9), right, y - pen(1)), mirrored)


def _angle(
    panel: np.ndarray,
    angle: tuple[str, float | None, Color],
    place: tuple[int, int, int],
    pen: _Pen,
) -> None:
    (label, value, color), (left, y, right) = angle, place
    pen.write(panel, label, (left, y), _QUIET)
    if value is None:
        pen.write(panel, "-", (right, y), right=True)
        return
    pen.write(panel, f"{value:+z.1f}", (right, y), right=True)
    begin, end = left + pen(48), right - pen(52)
    middle, top, bottom = (begin + end) / 2, y - pen(8), y - pen(2)
    _box(panel, (begin, top, end, bottom), _TRACK)
    reach = float(np.clip(value / _FULL_ANGLE, -1.0, 1.0)) * (end - begin) / 2
    _box(panel, (min(middle, middle + reach), top, max(middle, middle + reach), bottom), color)
    _box(panel, (middle - 0.5, top - 2, middle + 0.5, bottom + 2), _QUIET)


def _blendshape(
    panel: np.ndarray,
    values: Sequence[float | None],
    place: tuple[int, int, int, int],
    mirrored: bool,
) -> None:
    begin, top, end, bottom = place
    if len(values) == 1:
        _box(panel, place, _TRACK)
        _box(panel, (begin, top, begin + (values[0] or 0.0) * (end - begin), bottom), _BOTH)
        return
    middle = (begin + end) / 2
    left, right = (value or 0.0 for value in values)
    wings = ((left, _LEFT), (right, _RIGHT)) if mirrored else ((right, _RIGHT), (left, _LEFT))
    span = (end - begin) / 2 - 1
    for (value, color), (base, sign) in zip(
        wings, ((middle - 1, -1), (middle + 1, 1)), strict=True
    ):
        ends = sorted((base, base + sign * span))
        _box(panel, (ends[0], top, ends[1], bottom), _TRACK)
        ends = sorted((base, base + sign * span * value))
        _box(panel, (ends[0], top, ends[1], bottom), color)


def _status_strip(strip: np.ndarray, around: Surroundings, pen: _Pen) -> None:
    y, x, right = pen(20), pen(12), strip.shape[1] - pen(12)
    hint = "h  help"
    pen.write(strip, hint, (right, y), _QUIET, right=True)
    right -= pen.width(hint) + pen(16)
    if around.recording:
        cv2.circle(strip, (x + pen(4), y - pen(5)), pen(4.5), _RECORDING, -1, cv2.LINE_AA)
        pen.write(strip, "REC", (x + pen(14), y), _RECORDING)
        x += pen(52)
    words, color = (around.warning, _WARNING) if around.warning else (around.line, _TEXT)
    pen.write(strip, pen.fitted(words, right - x), (x, y), color)


def _tag(
    picture: np.ndarray, row: FaceObservation, scale: float, mirrored: bool, pen: _Pen
) -> None:
    """The face's name, above its head."""
    height, width = picture.shape[:2]
    words = f"face {row.track}" + ("" if row.observed else "  predicted")
    x = row.box_x + row.box_w / 2
    x = (width - 1 - x * scale) if mirrored else x * scale
    wide, high = pen.width(words, 0.9) + pen(12), pen(18)
    left = int(np.clip(x - wide / 2, 0, max(0, width - wide)))
    top = int(np.clip((row.box_y - 0.5 * row.box_h) * scale - high, 0, max(0, height - high)))
    _shade(picture[top : top + high, left : left + wide], 0.75)
    pen.write(picture, words, (left + pen(6), top + pen(13)), _color(row), size=0.9)


def _help(picture: np.ndarray, keys: Sequence[tuple[str, str]], pen: _Pen) -> None:
    line = pen(24)
    wide = pen(84) + max(pen.width(meaning) for _, meaning in keys)
    high = line * len(keys) + pen(20)
    height, width = picture.shape[:2]
    left, top = max(0, (width - wide) // 2), max(0, (height - high) // 2)
    _shade(picture[top : top + high, left : left + wide], 0.85)
    for i, (key, meaning) in enumerate(keys):
        y = top + pen(10) + line * i + pen(17)
        pen.write(picture, key, (left + pen(18), y), _BOTH)
        pen.write(picture, meaning, (left + pen(66), y))


def _notice(picture: np.ndarray, words: str, pen: _Pen) -> None:
    height, width = picture.shape[:2]
    words = pen.fitted(words, width - pen(40))
    wide, high = pen.width(words) + pen(28), pen(30)
    left, top = max(0, (width - wide) // 2), max(0, height - high - pen(14))
    _shade(picture[top : top + high, left : left + wide], 0.8)
    pen.write(picture, words, (left + pen(14), top + pen(20)))


def _color(row: FaceObservation) -> Color:
    return TRACK_COLORS[row.track % len(TRACK_COLORS)] if row.observed else _QUIET


def _shade(part: np.ndarray, strength: float) -> None:
    ground = np.array(_GROUND, np.float32) * strength
    part[:] = (part * np.float32(1.0 - strength) + ground).astype(np.uint8)


def _box(canvas: np.ndarray, place: tuple[float, float, float, float], color: Color) -> None:
    """A filled box up to its right and bottom edge; none where it has no width."""
    left, top, right, bottom = place
    if right - left < 0.25:
        return
    first, last = round(left), max(round(right), round(left) + 1)
    cv2.rectangle(canvas, (first, round(top)), (last - 1, round(bottom) - 1), color, -1)
