"""Learning curves of a training, drawn from its log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import UInt8

from ..documents import json_of
from ..errors import InputError

_WIDTH, _HEIGHT = 700, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 190, 34, 40
_INK: Final = (60, 60, 60)
_GRID: Final = (225, 225, 225)
_COLOURS: Final = (
    (180, 110, 30), (40, 40, 210), (60, 150, 40), (170, 60, 160), (20, 150, 220),
    (120, 120, 120), (150, 160, 20), (30, 90, 140), (200, 80, 90), (80, 40, 40),
)  # fmt: skip
_NOT_LOSSES: Final = frozenset({"images", "seconds", "done", "pictures", "lr", "step"})
_LARGE: Final = (
    *("nme_percent", "nme_expression_percent", "rotation_deg"),
    *("gaze_deg", "gaze_constant_deg"),
)
_SMALL: Final = ("blink_error", "blendshape_error", "winks")
"""Held-out figures by their size: percent and degrees, and those below 1."""
_MOST: Final = 10**18
"""What is larger, or not a number, is not drawn."""


@dataclass(frozen=True)
class Curve:
    """A figure over the pictures seen.

    Attributes:
        name: for the legend.
        images: pictures seen, ascending.
        values: the figure.
    """

    name: str
    images: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes.

    Attributes:
        title: what they are, with the unit.
        curves: drawn in this order.
        logarithmic: whether the vertical axis is.
    """

    title: str
    curves: tuple[Curve, ...]
    logarithmic: bool = False


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a log by pictures seen; where a part was trained twice, what was written last.

    Raises:
        InputError: the file cannot be read, or a line is damaged.
    """
    try:
        kept: dict[tuple[int, bool], dict[str, Any]] = {}
        for text in path.read_text(encoding="utf-8").splitlines():
            line = json_of(text)
            if not isinstance(line, dict) or not isinstance(line.get("validation", {}), dict):
                raise ValueError("a line is no table")
            if "begun" in line:
                continue
            images = line.get("images")
            if not isinstance(images, int | float) or not 0 <= images < _MOST:
                raise ValueError("a line does not say how many pictures were seen")
            kept[int(images), "validation" in line] = line
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not the log of a training: {error}") from error
    return [kept[key] for key in sorted(kept)]


def draw_curves(lines: Sequence[dict[str, Any]]) -> UInt8[np.ndarray, "H W 3"]:
    """A sheet of panels: losses in training, error, other held-out figures, learning rate."""
    training = [line for line in lines if "validation" not in line]
    held_out = [{"images": line["images"], **line["validation"]} for line in lines
                if "validation" in line]  # fmt: skip
    losses = sorted({name for line in training for name in line} - _NOT_LOSSES)
    panels = [
        Panel("losses in training", _curves(training, losses), logarithmic=True),
        Panel("held out: NME (%), angles (deg)", _curves(held_out, _LARGE)),
        Panel("held out: mean absolute errors, shares", _curves(held_out, _SMALL)),
        Panel("learning rate", _curves(training, ["lr"])),
    ]
    drawn = [_draw(panel) for panel in panels]
    rows = [np.hstack(drawn[:2]), np.hstack(drawn[2:])]
    return np.ascontiguousarray(np.vstack(rows))


def _curves(lines: Sequence[dict[str, Any]], names: Sequence[str]) -> tuple[Curve, ...]:
    curves = []
    for name in names:
        points = [
            (float(line["images"]), float(line[name]))
            for line in lines
            if isinstance(line.get(name), int | float) and abs(line[name]) < _MOST
        ]
        if points:
            images, values = zip(*points, strict=True)
            curves.append(Curve(name, images, values))
    return tuple(curves)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high``: steps of 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-12)
    step = 10.0 ** math.floor(math.log10(span / most))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= most)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float, most: int = 8) -> list[float]:
    """Logarithms to base 10 of round numbers, from ``low`` to ``high``; ticks if they are few."""
    whole = range(math.floor(low), math.ceil(high) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        marks = [power + math.log10(digit) for power in whole for digit in digits]
        inside = [mark for mark in marks if low <= mark <= high]
        if 2 <= len(inside) <= most:
            return inside
    return ticks(low, high)


def _draw(panel: Panel) -> UInt8[np.ndarray, "h w 3"]:
    image = np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8)
    _text(image, panel.title, (_LEFT, 20), 0.5)
    curves = panel.curves
    if panel.logarithmic:
        curves = tuple(
            Curve(c.name, c.images, tuple(math.log10(max(abs(v), 1e-8)) for v in c.values))
            for c in curves
        )
    if not curves:
        _text(image, "nothing yet", (_LEFT, _HEIGHT // 2), 0.45)
        return image
    values = [value for curve in curves for value in curve.values]
    x_end = max(max(curve.images) for curve in curves) or 1.0
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
    low, high = low - margin, high + margin
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[int, int]:
        right = _LEFT + x / x_end * wide
        return round(right), round(_TOP + (high - y) / (high - low) * tall)

    for x in ticks(0.0, x_end):
        cv2.line(image, place(x, low), place(x, high), _GRID)
        _text(image, _number(x), (place(x, low)[0] - 12, _HEIGHT - 22), 0.38)
    for y in decades(low, high) if panel.logarithmic else ticks(low, high):
        cv2.line(image, place(0, y), place(x_end, y), _GRID)
        label = 10.0**y if panel.logarithmic else y
        _text(image, f"{label:.3g}", (4, place(0, y)[1] + 4), 0.38)
    _text(image, "pictures seen", (_WIDTH - _RIGHT - 80, _HEIGHT - 6), 0.38)
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        line = [place(x, y) for x, y in zip(curve.images, curve.values, strict=True)]
        cv2.polylines(image, [np.array(line, np.int32)], False, colour, 1, cv2.LINE_AA)
        if len(line) == 1:
            cv2.circle(image, line[0], 2, colour, -1, cv2.LINE_AA)
        _text(image, curve.name, (_WIDTH - _RIGHT + 12, _TOP + 12 + 14 * number), 0.38, colour)
    return image


def _number(value: float) -> str:
    """Pictures in few letters."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"


def _text(
    image: UInt8[np.ndarray, "h w 3"],
    text: str,
    at: tuple[int, int],
    size: float,
    colour: tuple[int, int, int] = _INK,
) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
