"""The square crop of a picture that shows the cube of a reconstruction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, UInt8

from ..errors import InputError
from ..face.rotation import rotation_between, yaw_pitch_roll_from_matrix
from .place import PictureCube

UPRIGHT_DEG: Final = 15.0
"""Roll up to which heads are rendered for training; beyond it the crop is turned."""
BODY_MARGIN: Final = 1.15
"""Side of a body's cube, heights of the body."""
BODY_HEIGHT_MM: Final = 1700.0
"""That is assumed of a body of unknown distance."""
_FINEST: Final = 4
"""Samples along each side of a crop's pixel, at most; a picture that is finer is shrunk first."""


@dataclass(frozen=True)
class Crop:
    """What a cube's crop shows.

    Attributes:
        image_bgr: black outside of the picture.
        inside: where there is a picture.
        image_from_crop: 3x3 homography, px to px, pixel centres at integers.
    """

    image_bgr: UInt8[np.ndarray, "S S 3"]
    inside: Bool[np.ndarray, "S S"]
    image_from_crop: Float64[np.ndarray, "3 3"]

    @property
    def size(self) -> int:
        """Of a side, px."""
        return len(self.image_bgr)

    @property
    def scale(self) -> float:
        """Pixels of the picture a pixel of the crop, in its middle."""
        return local_scale(self.image_from_crop, (self.size - 1) / 2.0)

    def cut_sides(self, mask: Bool[np.ndarray, "S S"]) -> tuple[str, ...]:
        """Sides of the picture at which something is cut off; the crop's own edges do not count.

        Args:
            mask: what is shown of it.
        """
        edge = self.inside & ~cv2.erode(
            self.inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1
        ).astype(bool)
        touching = np.argwhere(edge & mask)
        if len(touching) == 0:
            return ()
        middle = np.argwhere(self.inside).mean(axis=0)
        rows, columns = (touching - middle).T
        # A turned crop has slanted edges: each touching pixel belongs to the side it is nearest to.
        upright = np.abs(rows) > np.abs(columns)
        found = {
            "top": upright & (rows < 0),
            "bottom": upright & (rows > 0),
            "left": ~upright & (columns < 0),
            "right": ~upright & (columns > 0),
        }
        least = 0.02 * self.size
        return tuple(name for name, where in found.items() if where.sum() > least)


def cut(image_bgr: UInt8[np.ndarray, "H W 3"], view: PictureCube, size: int) -> Crop:
    """The crop of a cube, averaged where the picture is finer; its memory does not grow with it.

    Args:
        image_bgr: the whole picture.
        view: where the cube stands.
        size: of the crop, px.

    Raises:
        InputError: the cube is outside of the picture.
    """
    matrix = view.image_from_crop(size)
    height, width = image_bgr.shape[:2]
    left, top, right, bottom = _reach(matrix, size, width, height)
    part = image_bgr[top:bottom, left:right]
    shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])
    whole = max(1, int(local_scale(matrix, (size - 1) / 2.0) / _FINEST * 2.0))
    if whole > 1:
        # Of 8K pictures: averaged in whole steps first.
        rows, columns = max(1, len(part) // whole), max(1, part.shape[1] // whole)
        part = cv2.resize(
            part[: rows * whole, : columns * whole], (columns, rows), interpolation=cv2.INTER_AREA
        )
        back = 0.5 / whole - 0.5
        shift = np.array([[1 / whole, 0, back], [0, 1 / whole, back], [0, 0, 1]]) @ shift
    source = shift @ matrix
    scale = local_scale(source, (size - 1) / 2.0)
    fine = max(1, min(_FINEST, math.ceil(scale - 0.05)))
    offset = 0.5 / fine - 0.5
    steps = np.array([[1 / fine, 0, offset], [0, 1 / fine, offset], [0, 0, 1]])
    kind = cv2.INTER_LINEAR if scale >= 1.0 else cv2.INTER_CUBIC
    side = (size * fine, size * fine)
    crop = cv2.warpPerspective(part, source @ steps, side, flags=kind | cv2.WARP_INVERSE_MAP)
    if fine > 1:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    u, v = np.meshgrid(np.arange(size, dtype=np.float64), np.arange(size, dtype=np.float64))
    x, y, w = np.einsum("ij,jhw->ihw", matrix, np.stack([u, v, np.ones_like(u)]))
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = x / w, y / w
    inside = (w > 0) & (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    image = np.asarray(crop, dtype=np.uint8)
    image[~inside] = 0
    return Crop(image, inside, matrix)


def local_scale(homography: Float[np.ndarray, "3 3"], at: float) -> float:
    """How many pixels it makes of one, near (at, at): the root of its local area."""
    points = np.array([[at, at], [at + 1.0, at], [at, at + 1.0]])
    mapped = points @ homography[:2, :2].T + homography[:2, 2]
    mapped = mapped / (points @ homography[2, :2] + homography[2, 2])[:, None]
    along, down = mapped[1] - mapped[0], mapped[2] - mapped[0]
    return math.sqrt(abs(float(along[0] * down[1] - along[1] * down[0])))


def extended(
    crop: Crop,
    alpha: UInt8[np.ndarray, "S S"],
    expected: Float32[np.ndarray, "S S"],
    from_row: float,
) -> tuple[UInt8[np.ndarray, "S S 3"], UInt8[np.ndarray, "S S"]]:
    """The crop and its mask, with a trunk where the picture ends and one is to be expected.

    In training the trunk always goes on to the lower edge. Its colours are those of the nearest
    pixel of the person; what the networks make of it is cut away again.

    Args:
        crop: what there is.
        alpha: of the person.
        expected: log-odds of the person, from the pose.
        from_row: the row of the neck; above it nothing is added.
    """
    beyond = ~crop.inside
    beyond[: max(0, math.ceil(from_row))] = False
    person = alpha > 127
    if not (beyond.any() and person.any()):
        return crop.image_bgr, alpha
    # The picture's very edge may be half a pixel; the colours are taken from behind it.
    within = cv2.erode((person & crop.inside).astype(np.uint8), np.ones((3, 3), np.uint8))
    _, nearest = cv2.distanceTransformWithLabels(
        1 - within, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = np.asarray(nearest, np.int32)
    flat = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    flat[labels[within > 0]] = crop.image_bgr[within > 0]
    image, mask = crop.image_bgr.copy(), alpha.copy()
    image[beyond] = flat[labels[beyond]]
    share = 1.0 / (1.0 + np.exp(-3.0 * expected[beyond]))
    mask[beyond] = np.round(255.0 * share).astype(np.uint8)
    return image, mask


def upright_roll_deg(
    camera_from_head: Float[np.ndarray, "4 4"], limit_deg: float = UPRIGHT_DEG
) -> float:
    """By how much a crop is turned so that the head in it rolls no farther than in training."""
    roll = apparent_angles_deg(camera_from_head)[2]
    return roll if abs(roll) > limit_deg else 0.0


def apparent_angles_deg(camera_from_head: Float[np.ndarray, "4 4"]) -> Float64[np.ndarray, " 3"]:
    """Yaw, pitch and roll of a head as its crop shows them, relative to the line of sight."""
    towards = rotation_between(camera_from_head[:3, 3], np.array([0.0, 0.0, 1.0]))
    return yaw_pitch_roll_from_matrix(towards @ camera_from_head[:3, :3])


def body_view(
    box_xywh: tuple[float, float, float, float],
    camera_matrix: Float[np.ndarray, "3 3"],
    depth_mm: float | None = None,
) -> PictureCube:
    """The cube around a whole person.

    Args:
        box_xywh: of the person in the picture, px.
        camera_matrix: of the picture.
        depth_mm: z of the person, as of the face; None: as though 1.7 m tall.

    Raises:
        InputError: the box has no size.
    """
    x, y, w, h = box_xywh
    if not (w > 0 and h > 0):
        raise InputError(f"a box of {w:g}x{h:g} px: expected a width and a height above 0")
    tall = max(w, h)
    focal = float(camera_matrix[1, 1])
    depth = focal * BODY_HEIGHT_MM / tall if depth_mm is None else depth_mm
    middle = np.array([x + (w - 1) / 2.0, y + (h - 1) / 2.0, 1.0])
    centre = np.linalg.solve(camera_matrix, middle)
    view = PictureCube.looking_at(depth * centre / centre[2], 1.0, camera_matrix)
    return view.scaled(BODY_MARGIN * tall / focal * depth)


def _reach(
    matrix: Float[np.ndarray, "3 3"], size: int, width: int, height: int
) -> tuple[int, int, int, int]:
    """The part of the picture that a crop needs: left, top, right, bottom."""
    edge = size - 0.5
    corners = np.array([[-0.5, -0.5, 1], [edge, -0.5, 1], [edge, edge, 1], [-0.5, edge, 1]])
    mapped = corners @ matrix.T
    if (mapped[:, 2] <= 0).any():
        raise InputError("the face is too near to the camera, or too far from its axis")
    mapped = mapped[:, :2] / mapped[:, 2:]
    margin = 2.0 * local_scale(matrix, (size - 1) / 2.0) + 2.0
    low, high = mapped.min(axis=0) - margin, mapped.max(axis=0) + margin
    left, top = int(max(0.0, np.floor(low[0]))), int(max(0.0, np.floor(low[1])))
    right, bottom = int(min(width, np.ceil(high[0]))), int(min(height, np.ceil(high[1])))
    if right - left < 2 or bottom - top < 2:
        raise InputError("what is to be reconstructed lies outside of the picture")
    return left, top, right, bottom
