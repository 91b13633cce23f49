"""Draws jitter against lag, a panel a quantity, a curve a way of smoothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from mien.models.learning.curves import decades, ticks

WIDTH, HEIGHT = 620, 430
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 34, 44
INK: Final = (60, 60, 60)
GRID: Final = (228, 228, 228)
COLOURS: Final = {
    "mien": (180, 110, 30),
    "mien, offline": (110, 60, 10),
    "One Euro": (40, 40, 210),
    "One Euro on pixels": (170, 60, 160),
    "plain Kalman": (60, 150, 40),
    "moving average": (20, 150, 220),
    "raw": (120, 120, 120),
}

Pixel = tuple[int, int]
Box = tuple[int, int, int, int]
"""x, y, width, height."""


@dataclass(frozen=True)
class Line:
    """A way of smoothing at several settings.

    Attributes:
        name: one of :data:`COLOURS`.
        points: (delay in ms, jitter), in the order in which they are joined.
        labels: of the points; empty for none. Labelled points are marked large.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Panel:
    title: str
    lines: tuple[Line, ...]


def draw(panels: Sequence[Panel], most_ms: float) -> np.ndarray:
    """(H, W, 3) uint8 BGR, two panels a row."""
    drawn = [_panel(panel, most_ms) for panel in panels]
    if len(drawn) % 2:
        drawn.append(np.full_like(drawn[0], 255))
    rows = [np.hstack(drawn[i : i + 2]) for i in range(0, len(drawn), 2)]
    return np.vstack([*rows, _legend(panels, rows[0].shape[1])])


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other one beats in both numbers, by the first."""
    order = sorted(
        (i for i, p in enumerate(points) if np.isfinite(p).all()), key=lambda i: points[i]
    )
    kept: list[int] = []
    for i in order:
        if not kept or points[i][1] < points[kept[-1]][1]:
            kept.append(i)
    return kept


def _panel(panel: Panel, most_ms: float) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    _text(image, panel.title, (LEFT, 21), 0.5)
    points = [p for line in panel.lines for p in line.points if np.isfinite(p).all() and p[1] > 0]
    inside = [p for p in points if p[0] <= most_ms]
    if not inside:
        return image
    low_x = min(-10.0, min(x for x, _ in inside) - 5.0)
    logs = [math.log10(y) for _, y in inside]
    low, high = min(logs) - 0.06, max(logs) + 0.06

    def place(x: float, y: float) -> Pixel:
        right = LEFT + (x - low_x) / (most_ms - low_x) * (WIDTH - LEFT - RIGHT)
        return round(right), round(TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM))

    for x in ticks(low_x, most_ms):
        cv2.line(image, place(x, low), place(x, high), GRID)
        _text(image, f"{x:g}", (place(x, low)[0] - 8, HEIGHT - BOTTOM + 15), 0.38)
    for y in decades(low, high):
        cv2.line(image, place(low_x, y), place(most_ms, y), GRID)
        _text(image, f"{10.0**y:.3g}", (6, place(low_x, y)[1] + 4), 0.38)
    _text(image, "lag behind the truth, ms", (WIDTH - RIGHT - 160, HEIGHT - 8), 0.38)

    def on_canvas(x: float, y: float) -> Pixel:
        right, down = place(x, math.log10(y))
        return right - LEFT, down - TOP

    canvas = image[TOP : HEIGHT - BOTTOM + 1, LEFT : WIDTH - RIGHT + 1]
    taken: list[Box] = []
    for line in panel.lines:
        _line(canvas, line, on_canvas, taken)
    return image


def _line(
    canvas: np.ndarray, line: Line, place: Callable[[float, float], Pixel], taken: list[Box]
) -> None:
    """Draws a line and its labels, beside what is ``taken`` by others, and takes their places."""
    colour = COLOURS[line.name]
    labels = line.labels or ("",) * len(line.points)
    shown = [
        (place(x, y), label)
        for (x, y), label in zip(line.points, labels, strict=True)
        if np.isfinite((x, y)).all() and y > 0
    ]
    path = np.array([at for at, _ in shown], np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [path], False, colour, 1, cv2.LINE_AA)
    for at, label in shown:
        cv2.circle(canvas, at, 5 if label else 2, colour, -1, cv2.LINE_AA)
        if label:
            x, y, width, height = _free_place(at, label, taken, canvas.shape[1], canvas.shape[0])
            taken.append((x, y, width, height))
            _text(canvas, label, (x, y + height), 0.42, colour)


def _free_place(at: Pixel, label: str, taken: Sequence[Box], right: int, bottom: int) -> Box:
    """Where a label beside a point covers no other one; the usual place where there is none."""
    (width, height), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
    places = [
        (x, at[1] + down, width, height)
        for down in (-5 - height, 5, -8 - 2 * height, 8 + height, -11 - 3 * height)
        for x in (at[0] + 8, at[0] - 8 - width)
    ]
    for x, y, _, _ in places:
        inside = 0 <= x <= right - width and 0 <= y <= bottom - height
        if inside and not any(
            x < a + w and a < x + width and y < b + h and b < y + height for a, b, w, h in taken
        ):
            return x, y, width, height
    return places[0]


def _legend(panels: Sequence[Panel], width: int) -> np.ndarray:
    image = np.full((30, width, 3), 255, np.uint8)
    used = {line.name for panel in panels for line in panel.lines}
    x = LEFT
    for name, colour in COLOURS.items():
        if name in used:
            cv2.line(image, (x, 12), (x + 22, 12), colour, 2, cv2.LINE_AA)
            _text(image, name, (x + 28, 16), 0.42, colour)
            x += 60 + 8 * len(name)
    return image


def _text(
    image: np.ndarray,
    text: str,
    at: tuple[int, int],
    size: float,
    colour: tuple[int, int, int] = INK,
) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
