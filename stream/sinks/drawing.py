"""Draws what was found onto a picture: landmarks, mesh outline, axes, bars. Needs only cv2.

Shared by the overlay video, still images and previews. Everything is drawn in place on (H, W, 3)
uint8 BGR pictures, at a size that follows the face, with sub-pixel positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from ...models.face.morphable import FaceModel
from ...models.face.names import BLENDSHAPE_INDEX
from ...models.face.rotation import matrix_from_quaternion
from ..observation import FaceObservation

Color = tuple[int, int, int]

TRACK_COLORS: Final[tuple[Color, ...]] = (
    (190, 235, 90),
    (80, 190, 255),
    (255, 170, 110),
    (200, 140, 255),
    (120, 230, 230),
    (150, 160, 255),
)
"""BGR, one a track, in turn."""

_PREDICTED: Final[Color] = (170, 170, 170)
_AXES: Final[tuple[tuple[tuple[int, int, int], Color], ...]] = (
    ((1, 0, 0), (80, 80, 240)),  # x, red
    ((0, 1, 0), (90, 200, 80)),  # y, green
    ((0, 0, -1), (250, 150, 60)),  # the way the nose points, blue
)
_AXIS_MM: Final = 70.0
_NEAR_MM: Final = 20.0
# Lines along the landmarks: first, past the last, closed.
_CURVES: Final = (
    (0, 17, False),
    (17, 22, False),
    (22, 27, False),
    (27, 31, False),
    (31, 36, False),
    (36, 42, True),
    (42, 48, True),
    (48, 60, True),
    (60, 68, True),
)
_BARS: Final = (("L", "eyeBlinkLeft"), ("R", "eyeBlinkRight"), ("mouth", "jawOpen"))
_SHIFT: Final = 4  # cv2 takes positions in 1/16 px


@dataclass(frozen=True)
class Annotator:
    """How faces are drawn; one for a whole source.

    Attributes:
        camera_matrix: 3x3, px, that the poses hold for; None: no axes and no mesh outline.
        model: the face model that the coefficients belong to; None: no mesh outline.
        magnify: whole number by which pictures are enlarged first, so that lines and words stay
            fine on small ones.
        panels: whether numbers and bars stand beside each face.
    """

    camera_matrix: Float[np.ndarray, "3 3"] | None = None
    model: FaceModel | None = None
    magnify: int = 1
    panels: bool = True

    def draw(
        self, image_bgr: UInt8[np.ndarray, "H W 3"], observations: Sequence[FaceObservation]
    ) -> UInt8[np.ndarray, "H2 W2 3"]:
        """A copy of the picture, enlarged, with the faces drawn on it."""
        if self.magnify > 1:
            height, width = image_bgr.shape[:2]
            size = (width * self.magnify, height * self.magnify)
            canvas = np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_CUBIC))
        else:
            canvas = image_bgr.copy()
        for row in observations:
            self._draw_face(canvas, row)
        return canvas

    def _draw_face(self, canvas: UInt8[np.ndarray, "H W 3"], row: FaceObservation) -> None:
        color = TRACK_COLORS[row.track % len(TRACK_COLORS)] if row.observed else _PREDICTED
        points = self._place(row.landmarks_px)
        unit = max(row.box_w, row.box_h) * self.magnify / 200.0  # 1 for a face of 200 px
        unit = float(np.clip(unit, 0.5, 4.0))
        if self.camera_matrix is not None and row.tz > _NEAR_MM:
            if self.model is not None:
                _blend_outline(
                    canvas,
                    self._place(mesh_px(row, self.model, self.camera_matrix)),
                    self.model,
                    color,
                    unit,
                )
            draw_axes(canvas, self._place(axes_px(row, self.camera_matrix)), unit)
        draw_landmarks(canvas, points, color, unit)
        if self.panels:
            draw_panel(canvas, row, self._box(row), color, unit)

    def _place(self, points_px: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
        # Pixel centres are at whole numbers, so enlarging moves them by half of the new pixels.
        return points_px * self.magnify + (self.magnify - 1) / 2

    def _box(self, row: FaceObservation) -> tuple[int, int, int, int]:
        corner = self._place(np.array([[row.box_x, row.box_y]]))[0]
        x, y = np.rint(corner).astype(int)
        return int(x), int(y), round(row.box_w * self.magnify), round(row.box_h * self.magnify)


def magnification(height: int, width: int) -> int:
    """How much to enlarge a picture so that its shorter side has about 480 px."""
    return max(1, round(480 / max(1, min(height, width))))


def project(
    points_head_mm: Float[np.ndarray, "N 3"],
    row: FaceObservation,
    camera_matrix: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, "N 2"]:
    """Image positions, px, of points of the head frame by the published pose."""
    rotation = matrix_from_quaternion(np.array([row.qw, row.qx, row.qy, row.qz], dtype=np.float64))
    camera_mm = points_head_mm @ rotation.T + np.array([row.tx, row.ty, row.tz])
    depth = np.maximum(camera_mm[:, 2:], _NEAR_MM)
    focal = np.array([camera_matrix[0, 0], camera_matrix[1, 1]])
    return camera_mm[:, :2] / depth * focal + camera_matrix[:2, 2]


def mesh_px(
    row: FaceObservation, model: FaceModel, camera_matrix: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "N 2"]:
    """The vertices of this face in the picture, px."""
    vertices = model.decode_seen(row.shape, row.expression, row.blendshapes)
    return project(vertices, row, camera_matrix)


def axes_px(
    row: FaceObservation, camera_matrix: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "4 2"]:
    """Origin of the head frame and the ends of its axes in the picture, px."""
    ends = np.array([(0, 0, 0), *(direction for direction, _ in _AXES)], dtype=np.float64)
    return project(ends * _AXIS_MM, row, camera_matrix)


def outline_px(
    vertices_px: Float[np.ndarray, "N 2"], model: FaceModel, shape: tuple[int, int]
) -> list[np.ndarray]:
    """Outer contours of the projected mesh, each (K, 1, 2) int32, within a picture of a shape."""
    limit = 4 * max(shape)
    clipped = np.clip(vertices_px, -limit, limit)
    low = np.floor(clipped.min(axis=0)).astype(int)
    low = np.maximum(low, 0) - 2
    high = np.minimum(np.ceil(clipped.max(axis=0)).astype(int), (shape[1], shape[0])) + 2
    width, height = (high - low).tolist()
    if width <= 4 or height <= 4:
        return []
    mask = np.zeros((height, width), dtype=np.uint8)
    fixed = np.rint((clipped - low) * (1 << _SHIFT)).astype(np.int32)
    # One call a triangle would be slow, and a single call would leave holes where triangles
    # overlap, an even number deep; those that face the camera overlap little, and the outer
    # contour passes over holes.
    corners = fixed[model.triangles].astype(np.int64)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    for facing in (area > 0, area < 0):
        triangles = corners[facing].astype(np.int32)
        if len(triangles):
            layer = np.zeros_like(mask)
            cv2.fillPoly(layer, list(triangles), (255,), shift=_SHIFT)
            mask |= layer
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    offset = low.astype(np.int32)
    return [contour + offset for contour in found if cv2.contourArea(contour) > 16]


def draw_axes(
    canvas: UInt8[np.ndarray, "H W 3"], ends_px: Float[np.ndarray, "4 2"], unit: float
) -> None:
    """The head's axes: x red, y green, the way the nose points blue."""
    thickness = max(1, round(2.2 * unit))
    for end, (_, color) in zip(ends_px[1:], _AXES, strict=True):
        line = np.stack([ends_px[0], end])
        _polyline(canvas, line, (30, 30, 30), thickness + 2, closed=False)
        _polyline(canvas, line, color, thickness, closed=False)
        _dot(canvas, end, color, 1.8 * unit)


def draw_landmarks(
    canvas: UInt8[np.ndarray, "H W 3"],
    points_px: Float[np.ndarray, "68 2"],
    color: Color,
    unit: float,
) -> None:
    """The 68 points with lines along brows, eyes, nose, lips and jaw."""
    thickness = max(1, round(unit))
    for first, end, closed in _CURVES:
        _polyline(canvas, points_px[first:end], color, thickness, closed=closed)
    for point in points_px:
        _dot(canvas, point, (255, 255, 255), max(0.9, 1.2 * unit))


def draw_panel(
    canvas: UInt8[np.ndarray, "H W 3"],
    row: FaceObservation,
    box: tuple[int, int, int, int],
    color: Color,
    unit: float,
) -> None:
    """Corners of the box; a small panel beside it with track, angles, blinking and mouth bars."""
    x, y, w, _ = box
    _corners(canvas, box, color, unit)
    size = float(np.clip(unit, 0.95, 1.7))
    line = round(15 * size)
    width, height = round(124 * size), line * 5 + round(8 * size)
    rows, columns = canvas.shape[:2]
    left = x + w + round(14 * size)
    if left + width > columns:
        left = x - width - round(14 * size)
    left = int(np.clip(left, 0, max(0, columns - width)))
    top = int(np.clip(y, 0, max(0, rows - height)))
    panel = canvas[top : top + height, left : left + width]
    panel[:] = panel // 3 + np.array([14, 12, 10], dtype=np.uint8)
    at = top + line
    state = "" if row.observed else "  predicted"
    _text(canvas, f"face {row.track}{state}", (left + round(6 * size), at), color, size)
    at += line
    angles = f"y {row.yaw:+z.0f}  p {row.pitch:+z.0f}  r {row.roll:+z.0f}"
    _text(canvas, angles, (left + round(6 * size), at), (235, 235, 235), size)
    for label, name in _BARS:
        at += line
        _text(canvas, label, (left + round(6 * size), at), (200, 200, 200), size)
        value = None if row.blendshapes is None else float(row.blendshapes[BLENDSHAPE_INDEX[name]])
        start, full = left + round(48 * size), round(68 * size)
        _bar(canvas, (start, at - round(8 * size)), (full, round(7 * size)), value, color)


def _bar(
    canvas: np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int],
    value: float | None,
    color: Color,
) -> None:
    (x, y), (w, h) = corner, size
    cv2.rectangle(canvas, (x, y), (x + w, y + h), (80, 80, 80), -1)
    if value is not None:
        filled = round(float(np.clip(value, 0.0, 1.0)) * w)
        if filled:
            cv2.rectangle(canvas, (x, y), (x + filled, y + h), color, -1)


def _corners(canvas: np.ndarray, box: tuple[int, int, int, int], color: Color, unit: float) -> None:
    x, y, w, h = box
    margin, thickness = round(8 * unit), max(1, round(1.6 * unit))
    x, y, w, h = x - margin, y - margin, w + 2 * margin, h + 2 * margin
    arm = round(0.14 * min(w, h))
    for cx, cy, dx, dy in (
        (x, y, 1, 1),
        (x + w, y, -1, 1),
        (x, y + h, 1, -1),
        (x + w, y + h, -1, -1),
    ):
        line = np.array([(cx + dx * arm, cy), (cx, cy), (cx, cy + dy * arm)], dtype=np.float64)
        _polyline(canvas, line, color, thickness, closed=False)


def _blend_outline(
    canvas: np.ndarray,
    vertices_px: Float[np.ndarray, "N 2"],
    model: FaceModel,
    color: Color,
    unit: float,
) -> None:
    contours = outline_px(vertices_px, model, canvas.shape[:2])
    if not contours:
        return
    layer = canvas.copy()
    cv2.drawContours(layer, contours, -1, color, -1)
    cv2.addWeighted(layer, 0.12, canvas, 0.88, 0.0, dst=canvas)
    cv2.drawContours(canvas, contours, -1, color, max(1, round(1.2 * unit)), cv2.LINE_AA)


def _fixed(points: Float[np.ndarray, "*N 2"] | Float32[np.ndarray, "*N 2"]) -> np.ndarray:
    return np.rint(np.clip(points, -1e6, 1e6) * (1 << _SHIFT)).astype(np.int32)


def _polyline(
    canvas: np.ndarray, points: np.ndarray, color: Color, thickness: int, *, closed: bool
) -> None:
    cv2.polylines(canvas, [_fixed(points)], closed, color, thickness, cv2.LINE_AA, _SHIFT)


def _dot(canvas: np.ndarray, point: np.ndarray, color: Color, radius: float) -> None:
    x, y = _fixed(point).tolist()
    cv2.circle(canvas, (x, y), round(radius * (1 << _SHIFT)), color, -1, cv2.LINE_AA, _SHIFT)


def _text(canvas: np.ndarray, words: str, at: tuple[int, int], color: Color, size: float) -> None:
    cv2.putText(canvas, words, at, cv2.FONT_HERSHEY_SIMPLEX, 0.38 * size, color, 1, cv2.LINE_AA)
