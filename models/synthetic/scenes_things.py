"""What faces wear and hide behind, and what merely looks like them."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from .scenes_bank import CutOut
from .scenes_ground import colour

Layer = UInt8[np.ndarray, "H W 4"]
"""BGR premultiplied by the opacity, and the opacity."""
Marks = Float32[np.ndarray, "68 2"]

_SHIFT = 4  # fractional bits of OpenCV's drawing


def _fixed(points: Float[np.ndarray, "K 2"]) -> np.ndarray:
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def polygon(layer: np.ndarray, points: Float[np.ndarray, "K 2"], paint: tuple[int, ...]) -> None:
    """Fill a polygon, its corners in px."""
    cv2.fillPoly(layer, [_fixed(points)], paint, cv2.LINE_AA, _SHIFT)


def _opaque(bgr: tuple[int, int, int]) -> tuple[int, int, int, int]:
    return (*bgr, 255)


def skin_of(cut_out: CutOut, rng: np.random.Generator) -> tuple[int, int, int]:
    """A colour near that of a cut-out's nose, or any skin's where the nose is hidden."""
    size = len(cut_out.image)
    x, y = np.clip(np.round(cut_out.landmarks[30]), 0, size - 1).astype(int)
    bgr = cut_out.image[y, x, :3].astype(np.float64)
    if bgr.sum() < 60:
        bgr = np.array([0.55, 0.7, 1.0]) * rng.uniform(60, 240)
    b, g, r = (int(v) for v in np.clip(bgr * rng.uniform(0.75, 1.2), 0, 255))
    return b, g, r


def wear_mask(layer: Layer, marks: Marks, rng: np.random.Generator) -> None:
    """A cloth or surgical mask over mouth and nose."""
    common = [(235, 235, 235), (225, 205, 150), (25, 25, 25)]
    bgr = common[rng.integers(3)] if rng.random() < 0.7 else colour(rng)
    top = marks[28] + rng.uniform(0, 0.9) * (marks[33] - marks[28])
    hull = cv2.convexHull(np.concatenate([marks[2:15], top[None]]))[:, 0]
    polygon(layer, hull, _opaque(bgr))
    dark = tuple(int(0.8 * v) for v in bgr)
    for part in (0.35, 0.65):
        a, b = marks[3] + part * (marks[6] - marks[3]), marks[13] + part * (marks[10] - marks[13])
        cv2.line(layer, _point(a), _point(b), (*dark, 255), 1, cv2.LINE_AA)


def wear_sunglasses(layer: Layer, marks: Marks, rng: np.random.Generator) -> None:
    """Two dark lenses and a bridge."""
    eyes = np.stack([marks[36:42].mean(0), marks[42:48].mean(0)])
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    tall = float(np.linalg.norm(marks[27] - marks[33]))
    level = int(rng.integers(5, 60))
    bgr = (level, level, level) if rng.random() < 0.8 else colour(rng)
    angle = float(np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1])))
    axes = (rng.uniform(0.38, 0.55) * apart, rng.uniform(0.3, 0.55) * tall)
    for eye in eyes:
        cv2.ellipse(layer, (tuple(eye), (2 * axes[0], 2 * axes[1]), angle), _opaque(bgr), -1,
                    cv2.LINE_AA)  # fmt: skip
    cv2.line(layer, _point(eyes[0]), _point(eyes[1]), _opaque(bgr), 2, cv2.LINE_AA)


def wear_hat(layer: Layer, marks: Marks, rng: np.random.Generator) -> None:
    """A cap or hat that sits above the brows, with a brim sometimes."""
    up = marks[27] - marks[8]
    up = up / (np.linalg.norm(up) + 1e-6)
    across = np.array([-up[1], up[0]])
    side = float(np.ptp(marks, axis=0).max())
    foot = marks[17:27].mean(0) + up * side * rng.uniform(0.12, 0.35)
    half, tall = side * rng.uniform(0.6, 0.85), side * rng.uniform(0.45, 1.0)
    bgr = colour(rng)
    lean = across * side * rng.normal(0, 0.08)
    corners = [
        foot - across * half,
        foot - across * half * rng.uniform(0.7, 1) + up * tall * 0.7,
        foot + up * tall + lean,
        foot + across * half * rng.uniform(0.7, 1) + up * tall * 0.7,
        foot + across * half,
    ]
    polygon(layer, np.stack(corners), _opaque(bgr))
    if rng.random() < 0.6:
        wide = half * rng.uniform(1.0, 1.7)
        thick = max(1, int(side * rng.uniform(0.03, 0.14)))
        brim = tuple(int(0.7 * v) for v in bgr)
        cv2.line(layer, _point(foot - across * wide), _point(foot + across * wide), (*brim, 255),
                 thick, cv2.LINE_AA)  # fmt: skip


def wear_hood(layer: Layer, marks: Marks, rng: np.random.Generator) -> None:
    """A scarf, hood or helmet: a wide ring of cloth that leaves the face open."""
    up = marks[27] - marks[8]
    angle = float(np.degrees(np.arctan2(up[0], -up[1])))
    low, high = marks.min(0), marks.max(0)
    side = float((high - low).max())
    opening = (low + high) / 2 - 0.08 * up
    mask = np.zeros(layer.shape[:2], np.uint8)
    outer = (side * rng.uniform(1.5, 2.0), side * rng.uniform(2.0, 2.5))
    width, height = (high - low) * rng.uniform(0.98, 1.25, 2) + (0.04 * side, 0.3 * side)
    cv2.ellipse(mask, (tuple(opening), outer, angle), 255, -1, cv2.LINE_AA)
    cv2.ellipse(mask, (tuple(opening), (width, height), angle), 0, -1, cv2.LINE_AA)
    shade = np.linspace(1.1, 0.6, layer.shape[0])[:, None, None] * np.array(colour(rng))
    cloth = np.dstack([np.broadcast_to(shade, (*mask.shape, 3)), np.full(mask.shape, 255)])
    share = mask[..., None] / np.float32(255)
    layer[:] = np.clip(layer * (1 - share) + cloth * share, 0, 255).astype(np.uint8)


def draw_hand(
    layer: np.ndarray,
    at: Float[np.ndarray, " 2"],
    size: float,
    bgr: tuple[int, int, int],
    rng: np.random.Generator,
) -> None:
    """A palm and some fingers in skin colour, px; on a layer of three or four channels."""
    angle = rng.uniform(0, 2 * np.pi)
    alpha = (255,) if layer.shape[2] == 4 else ()
    for number in range(int(rng.integers(2, 6))):
        a = angle + (number - 2) * rng.uniform(0.12, 0.35)
        tip = at + size * rng.uniform(0.7, 1.1) * np.array([np.cos(a), np.sin(a)])
        tone = rng.uniform(0.8, 1.05)
        paint = tuple(int(min(255, v * tone)) for v in bgr)
        thick = max(1, int(size * rng.uniform(0.18, 0.26)))
        cv2.line(layer, _point(at), _point(tip), (*paint, *alpha), thick, cv2.LINE_AA)
    palm = (size * rng.uniform(0.6, 0.9), size * rng.uniform(0.6, 1.0))
    cv2.ellipse(layer, (tuple(at), palm, float(np.degrees(angle))), (*bgr, *alpha), -1, cv2.LINE_AA)


def dressed(cut_out: CutOut, rng: np.random.Generator) -> Layer:
    """A copy of a cut-out's picture, with accessories by chance."""
    layer, marks = cut_out.image.copy(), cut_out.landmarks
    if rng.random() < 0.07:
        wear_sunglasses(layer, marks, rng)
    if rng.random() < 0.07:
        wear_mask(layer, marks, rng)
    if rng.random() < 0.12:
        wear_hat(layer, marks, rng)
    elif rng.random() < 0.06:
        wear_hood(layer, marks, rng)
    if rng.random() < 0.06:
        side = float(np.ptp(marks, axis=0).max())
        place = marks[rng.integers(0, 17)] + rng.normal(0, 0.1, 2) * side
        draw_hand(layer, place, side * rng.uniform(0.3, 0.6), skin_of(cut_out, rng), rng)
    return layer


def draw_decoy(image: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator) -> None:
    """Something round or long that is no face: a ball, a plate, a hand, spots on an ellipse."""
    height, width = image.shape[:2]
    at = rng.uniform(0, 1, 2) * (width, height)
    size = float(np.exp(rng.uniform(np.log(8), np.log(0.5 * min(height, width)))))
    skin = np.array([rng.uniform(0.35, 0.75), rng.uniform(0.6, 0.85), 1.0]) * rng.uniform(50, 250)
    b, g, r = (int(v) for v in skin) if rng.random() < 0.6 else colour(rng)
    kind = rng.random()
    if kind < 0.3:
        draw_hand(image, at, size, (b, g, r), rng)
        return
    axes = np.array([size, size * rng.uniform(0.8, 1.7)])
    reach = int(axes.max()) + 2
    x0, y0 = (int(v) for v in np.maximum(at - reach, 0))
    x1, y1 = (int(v) for v in np.minimum(at + reach, (width, height)))
    if x1 <= x0 or y1 <= y0:
        return
    part = image[y0:y1, x0:x1].copy()
    mask = np.zeros(part.shape[:2], np.uint8)
    middle = tuple(at - (x0, y0))
    cv2.ellipse(mask, (middle, tuple(axes), rng.uniform(0, 180)), 255, -1, cv2.LINE_AA)
    part[:] = (b, g, r)
    rows, columns = np.mgrid[0 : y1 - y0, 0 : x1 - x0]
    slope = rng.normal(0, 0.5, 2)
    light = 1 + slope[0] * (rows / (y1 - y0) - 0.5) + slope[1] * (columns / (x1 - x0) - 0.5)
    part = np.clip(part * light[..., None], 0, 255).astype(np.uint8)
    if kind > 0.55:  # never the arrangement of two eyes over a mouth
        for _ in range(int(rng.choice([1, 2, 4, 6, 9]))):
            spot = middle + rng.uniform(-0.4, 0.4, 2) * axes
            spots = tuple(axes * rng.uniform(0.05, 0.3, 2))
            cv2.ellipse(part, (tuple(spot), spots, rng.uniform(0, 180)), colour(rng), -1,
                        cv2.LINE_AA)  # fmt: skip
    share = mask[..., None] / np.float32(255)
    image[y0:y1, x0:x1] = (image[y0:y1, x0:x1] * (1 - share) + part * share).astype(np.uint8)


def _point(at: Float[np.ndarray, " 2"]) -> tuple[int, int]:
    return round(float(at[0])), round(float(at[1]))
