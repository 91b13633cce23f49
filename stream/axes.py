"""Draws the axes and the signs of the angles: ``python -m mien.stream.axes`` writes ``axes.svg``.

The face is the shipped model's mean, turned by the same functions that make the published angles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Float64

from ..models.face.morphable import FaceModel
from ..models.face.rotation import matrix_from_yaw_pitch_roll

PICTURE: Final = Path(__file__).with_name("axes.svg")
_COLOURS: Final = {"x": "#c22", "y": "#282", "z": "#24c"}
_NOSE_COLOUR: Final = "#b0720a"
_ANGLE_DEG: Final = 30.0
_NOSE_TIP: Final = 30
# Runs of the 68 points that are drawn as lines; the second of a pair: closed.
_LINES: Final = (
    *((range(17), False), (range(17, 22), False), (range(22, 27), False)),
    *((range(27, 31), False), (range(31, 36), False), (range(36, 42), True)),
    *((range(42, 48), True), (range(48, 60), True), (range(60, 68), True)),
)

Points = Float64[np.ndarray, "K 3"]
View = Float64[np.ndarray, "3 3"]


def camera_points(head: Float[np.ndarray, "K 3"], yaw: float, pitch: float, roll: float) -> Points:
    """Points of the head (mm) in the camera's axes, before translation; angles in degrees."""
    rotation = matrix_from_yaw_pitch_roll(np.array([yaw, pitch, roll], np.float64))
    return head.astype(np.float64) @ rotation.T


def mean_landmarks() -> Points:
    """The 68 points of the mean face, mm, in the head frame."""
    weights = resources.files("mien.models.weights.default")
    with resources.as_file(weights.joinpath("face_model.npz")) as path:
        return FaceModel.load(path).landmarks().mean.astype(np.float64)


class Panel:
    """A part of the picture: points in mm are seen along the third row of ``view``."""

    def __init__(self, centre: tuple[float, float], scale: float, view: View | None = None) -> None:
        self._centre = np.array(centre)
        self._scale = scale
        self._view = np.eye(3) if view is None else view
        self.elements: list[str] = []

    def at(self, points: Float[np.ndarray, "K 3"]) -> Float64[np.ndarray, "K 2"]:
        """Where points lie in the picture, px."""
        return self._centre + self._scale * (points.astype(np.float64) @ self._view.T)[:, :2]

    def line(self, points: Float[np.ndarray, "K 3"], style: str, closed: bool = False) -> None:
        """A line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in self.at(points))
        kind = "polygon" if closed else "polyline"
        self.elements.append(f'<{kind} points="{path}" {style}/>')

    def face(self, points: Points) -> None:
        """The 68 points as lines."""
        for run, closed in _LINES:
            self.line(points[list(run)], 'class="face"', closed)

    def axes(self, origin: np.ndarray, axes: View, length: float, names: str = "xyz") -> None:
        """Arrows along the columns of ``axes``; one that points at the viewer or away is a ring."""
        for name, axis in zip(names, axes.T, strict=True):
            colour = _COLOURS[name]
            (x0, y0), (x1, y1) = self.at(np.stack([origin, origin + length * axis]))
            if math.hypot(x1 - x0, y1 - y0) < 6.0:
                # A cross in a ring: the feathers of an arrow that flies away.
                self.elements.append(
                    f'<path d="M{x0 - 4:.1f} {y0 - 4:.1f}l8 8m0 -8l-8 8" stroke="{colour}"/>'
                    f'<circle cx="{x0:.1f}" cy="{y0:.1f}" r="6" fill="none" stroke="{colour}"/>'
                )
                x1, y1 = x0 - 14.0, y0 - 10.0
            else:
                self.elements.append(
                    f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" '
                    f'stroke="{colour}" marker-end="url(#{name})"/>'
                )
                along = np.array([x1 - x0, y1 - y0]) / math.hypot(x1 - x0, y1 - y0)
                aside = 11.0 if name == "z" else 0.0  # z often lies on another axis
                x1, y1 = (x1, y1) + 14.0 * along + aside * along[::-1] * (1.0, -1.0) + (0.0, 5.0)
            self.text(x1, y1, name, f'fill="{colour}" font-weight="bold"')

    def nose(self, tip: np.ndarray, axes: View) -> None:
        """Where the nose points: against z, from its tip."""
        (x0, y0), (x1, y1) = self.at(np.stack([tip, tip - 70.0 * axes[:, 2]]))
        if math.hypot(x1 - x0, y1 - y0) > 6.0:
            self.elements.append(
                f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" '
                'class="nose" marker-end="url(#nose)"/>'
            )

    def text(self, x: float, y: float, words: str, style: str = "") -> None:
        """Words, centred at a place in px."""
        self.elements.append(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>')


def looking(eye: Sequence[float], target: Sequence[float]) -> View:
    """Rows right, down, forward of whoever looks from ``eye`` at ``target``, y being down."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def _scene(face: Points) -> Panel:
    """Camera and head, seen from beside the camera."""
    panel = Panel((110.0, 185.0), 0.8, looking((560.0, -260.0, -300.0), (0.0, 0.0, 250.0)))
    far = np.array([0.0, 0.0, 420.0])
    corners = np.array([[-36, -27, 60], [36, -27, 60], [36, 27, 60], [-36, 27, 60]], np.float64)
    for corner in corners:
        panel.line(np.stack([np.zeros(3), corner]), 'class="camera"')
    panel.line(corners, 'class="camera"', closed=True)
    panel.line(np.stack([np.zeros(3), far]), 'class="ray"')
    panel.face(face + far)
    panel.axes(np.zeros(3), np.eye(3), 110.0)
    panel.nose(face[_NOSE_TIP] + far, np.eye(3))
    panel.axes(far, np.eye(3), 110.0)
    ((x, y), (u, v)) = panel.at(np.array([[0.0, 130.0, 0.0], [0.0, 130.0, 420.0]]))
    panel.text(x, y + 32, "camera frame")
    panel.text(u, v + 32, "head frame, origin at the sellion")
    panel.text(200.0, 30.0, "dashed, from the nose: where it points")
    return panel


def _turned(face: Points, at: tuple[float, float], angle: str, words: Iterable[str]) -> Panel:
    """The face as the camera sees it, turned by one angle."""
    angles = {name: _ANGLE_DEG if name == angle else 0.0 for name in ("yaw", "pitch", "roll")}
    panel = Panel(at, 0.85)
    panel.elements.append(
        f'<rect x="{at[0] - 112}" y="{at[1] - 95}" width="224" height="220" class="picture"/>'
    )
    turned, axes = camera_points(face, **angles), camera_points(np.eye(3), **angles).T
    panel.face(turned)
    panel.nose(turned[_NOSE_TIP], axes)
    panel.axes(np.zeros(3), axes, 75.0)
    for row, line in enumerate(words):
        panel.text(at[0], at[1] + 148 + 20 * row, line)
    return panel


def draw() -> str:
    """The picture, SVG."""
    face = mean_landmarks()
    size = f"{_ANGLE_DEG:g}"
    panels = [
        _scene(face),
        _turned(face, (640, 140), "", ("looks straight into the camera:", "all angles 0")),
        _turned(
            face, (140, 440), "yaw", (f"yaw = +{size}", "the nose turns to the picture's left")
        ),
        _turned(face, (390, 440), "pitch", (f"pitch = +{size}", "the nose goes up")),
        _turned(face, (640, 440), "roll", (f"roll = +{size}", "clockwise in the picture")),
    ]
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 10 10" refX="7" refY="5" markerWidth="5" '
        f'markerHeight="5" orient="auto"><path d="M0 0L10 5L0 10z" fill="{colour}"/></marker>'
        for name, colour in {**_COLOURS, "nose": _NOSE_COLOUR}.items()
    )
    style = (
        "text{font:14px sans-serif;text-anchor:middle}line,path,circle{stroke-width:2}"
        ".face{fill:none;stroke:#555;stroke-width:1.4}.camera{fill:none;stroke:#000}"
        f".nose{{stroke:{_NOSE_COLOUR};stroke-dasharray:5 3}}"
        ".ray{stroke:#aaa;stroke-dasharray:4 4}.picture{fill:none;stroke:#bbb}"
    )
    body = "\n".join(element for panel in panels for element in panel.elements)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 640" width="780" height="640">\n'
        "<title>mien: camera frame, head frame, and the signs of the angles</title>\n"
        f"<style>{style}</style>\n<defs>{heads}</defs>\n"
        f'<rect width="780" height="640" fill="#fff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
