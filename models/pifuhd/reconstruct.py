"""From a picture with a fitted face to a coloured mesh in millimetres."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ..errors import InputError
from ..mesh.triangle_mesh import TriangleMesh
from .crop import Crop, apparent_angles_deg, cut, extended
from .extract import surface
from .inference import Network, Seen
from .octree import Occupancy, memory_mb, refine
from .person import cube_of, cut_out, in_crop
from .place import PictureCube
from .segment import LOW_QUALITY, Segmentation
from .silhouette_prior import NECK_MM, certain, expected
from .subject import USUAL_HEAD_MM, Face, Settings
from .texture import Colouring, colour

SMALL_FACE_PX: Final = 40.0
"""Width of a face below which little of it is left to see."""
TRAINED_YAW_DEG: Final = 75.0
TRAINED_PITCH_DEG: Final = 25.0
"""Turns of the heads that the networks are trained on."""
NEAREST_HEAD_MM: Final = 400.0
"""A head that an assumed camera puts nearer than this is taken for one of a longer lens."""
_COLOURS_PX: Final = 1024
_MESHING_BYTES: Final = 12.0
"""A corner of the finest grid, while the surface is taken out of it."""


@dataclass(frozen=True)
class Reconstruction:
    """A mesh and how it came about.

    Attributes:
        mesh: camera frame, mm, with colours.
        view: where the cube stands; its camera is the one that the mesh falls on the picture by.
        camera_from_head: 4x4, mm; None where no face was given.
        crop: of the network's size.
        segmentation: of the crop.
        seen: what the network made of it.
        remarks: what is to be known about the result, in words.
        figures: numbers about it.
    """

    mesh: TriangleMesh
    view: PictureCube
    camera_from_head: Float64[np.ndarray, "4 4"] | None
    crop: Crop
    segmentation: Segmentation
    seen: Seen
    remarks: tuple[str, ...]
    figures: dict[str, float | int] = field(default_factory=dict)


def points_at_once(settings: Settings, network: Network) -> int:
    """How many points the network may be asked for at once within the memory that is allowed.

    Raises:
        InputError: the grid alone takes more.
    """

    def grid_mb(resolution: int) -> float:
        return max(memory_mb(resolution), _MESHING_BYTES * (resolution + 1) ** 3 / 1e6)

    left = settings.memory_mb - grid_mb(settings.resolution)
    points = int(left * 1e6 / network.bytes_per_point)
    if points < 1000:
        fitting = settings.resolution
        while fitting > 8 and grid_mb(fitting) + network.bytes_per_point / 1e3 > settings.memory_mb:
            fitting //= 2
        need = grid_mb(settings.resolution) + network.bytes_per_point / 1e3
        raise InputError(
            f"a resolution of {settings.resolution} takes some {need:.0f} MB, "
            f"{settings.memory_mb:g} are allowed; {fitting} would do, or more memory"
        )
    return min(points, 200_000)


def reconstruct(
    image_bgr: UInt8[np.ndarray, "H W 3"],
    camera_matrix: Float64[np.ndarray, "3 3"],
    face: Face | None,
    network: Network,
    settings: Settings,
    progress: Callable[[float], None] | None = None,
) -> Reconstruction:
    """Make a mesh of the person in a picture.

    Args:
        image_bgr: the whole picture.
        camera_matrix: px.
        face: of the person; a head needs one, a body needs one or a box.
        network: what sees.
        settings: how.
        progress: told the share that is done, 0 to 1.

    Raises:
        InputError: there is neither face nor box, the person is not in the picture, the memory is
            too little, or the network sees nothing solid.
    """
    points = points_at_once(settings, network)
    remarks: list[str] = []
    seconds: dict[str, float] = {}
    clock = _Clock(seconds)
    if face is not None:
        face, said = _checked(face, settings)
        remarks += said
        camera_matrix = face.camera_matrix
    view = cube_of(image_bgr, camera_matrix, face, settings)
    crop = cut(image_bgr, view, network.size)
    segmentation = cut_out(image_bgr, crop, view, face, settings)
    clock.lap("segmentation")
    remarks += _said(crop, segmentation)
    shown, alpha = crop.image_bgr, segmentation.alpha
    if settings.subject == "head" and face is not None:
        trunk = expected(view, face.camera_from_head, network.size)
        shown, alpha = extended(crop, alpha, trunk, _neck_row(view, face, network.size))
    told = None if face is None else view.head_from_cube(face.camera_from_head)
    seen = network.see(shown, alpha, told)
    clock.lap("network")
    asked = carved(seen.occupancy, segmentation.alpha, crop)
    grid = refine(asked, settings.resolution, points_per_call=points, progress=progress)
    bare = surface(grid.values)
    clock.lap("surface")
    placed = TriangleMesh(
        view.camera_from_cube_points(bare.vertices).astype(np.float32), bare.triangles
    )
    coloured = _coloured(placed, image_bgr, view, crop, segmentation, face)
    clock.lap("colours")
    figures: dict[str, float | int] = {
        "vertices": len(placed.vertices),
        "triangles": len(placed.triangles),
        "points_asked": grid.asked,
        "points_of_a_full_grid": (settings.resolution + 1) ** 3,
        "segmentation_quality": segmentation.quality,
        "picture_px_a_crop_px": round(crop.scale, 3),
        "colours_seen_share": round(coloured.seen, 4),
        "colours_mirrored_share": round(coloured.mirrored, 4),
    }
    if face is not None:
        figures["face_width_px"] = round(face.width_px, 1)
    figures |= {f"seconds_{name}": round(value, 2) for name, value in seconds.items()}
    pose = None if face is None else face.camera_from_head
    return Reconstruction(
        coloured.mesh, view, pose, crop, segmentation, seen, tuple(remarks), figures
    )


def carved(occupancy: Occupancy, alpha: UInt8[np.ndarray, "S S"], crop: Crop) -> Occupancy:
    """An occupancy that is 0 where the picture shows no person.

    The mask is a little wider than the person; where the picture ends it ends with the picture.
    """
    size = len(alpha)
    width = 2 * max(1, size // 128) + 1
    wide = cv2.dilate(alpha, np.ones((width, width), np.uint8))
    wide = cv2.GaussianBlur(wide, (0, 0), max(1, size / 256)).astype(np.float32) / 255.0
    wide[~crop.inside] = 0.0

    def cut_down(points: Float32[np.ndarray, "P 3"]) -> Float32[np.ndarray, " P"]:
        found = np.asarray(occupancy(points))
        at = ((points[:, :2] + 1.0) * size - 1.0) / 2.0
        u = np.clip(np.round(at[:, 0]).astype(np.int64), 0, size - 1)
        v = np.clip(np.round(at[:, 1]).astype(np.int64), 0, size - 1)
        return (found * np.minimum(1.0, 2.0 * wide[v, u])).astype(np.float32)

    return cut_down


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._seconds[name] = now - self._last
        self._last = now


def _checked(face: Face, settings: Settings) -> tuple[Face, list[str]]:
    remarks = []
    if face.width_px < SMALL_FACE_PX:
        remarks.append(
            f"the face is {face.width_px:.0f} px wide: below {SMALL_FACE_PX:.0f} px its features "
            "are guessed, not seen"
        )
    distance = float(face.camera_from_head[2, 3])
    if settings.assumed_camera and distance < NEAREST_HEAD_MM:
        remarks.append(
            f"the assumed camera puts the head at {distance:.0f} mm: taken as {USUAL_HEAD_MM:.0f} "
            "mm with a longer lens; --camera says the true one"
        )
        face = face.from_afar()
    yaw, pitch, _ = apparent_angles_deg(face.camera_from_head)
    if abs(yaw) > TRAINED_YAW_DEG or abs(pitch) > TRAINED_PITCH_DEG:
        remarks.append(
            f"the head is turned by yaw {yaw:.0f} and pitch {pitch:.0f} degrees, trained are "
            f"{TRAINED_YAW_DEG:.0f} and {TRAINED_PITCH_DEG:.0f}: expect a worse result"
        )
    return face, remarks


def _neck_row(view: PictureCube, face: Face, size: int) -> float:
    pose = face.camera_from_head
    neck = pose[:3, :3] @ np.array(NECK_MM) + pose[:3, 3]
    return float(view.crop_points(neck[None], size)[0, 1])


def _said(crop: Crop, segmentation: Segmentation) -> list[str]:
    remarks = []
    sides = crop.cut_sides(segmentation.mask)
    if sides:
        remarks.append(f"the person is cut off by the picture's edge: {', '.join(sides)}")
    if segmentation.quality < LOW_QUALITY or segmentation.doubts:
        why = f": {'; '.join(segmentation.doubts)}" if segmentation.doubts else ""
        remarks.append(
            f"the person was cut out with quality {segmentation.quality:.2f} of 1{why}; "
            "--mask takes a better mask"
        )
    return remarks


def _coloured(
    mesh: TriangleMesh,
    image_bgr: UInt8[np.ndarray, "H W 3"],
    view: PictureCube,
    crop: Crop,
    segmentation: Segmentation,
    face: Face | None,
) -> Colouring:
    # As fine as the picture is, within bounds.
    size = int(np.clip(crop.size * crop.scale, crop.size, _COLOURS_PX))
    fine = crop if size == crop.size else cut(image_bgr, view, size)
    alpha = cv2.resize(segmentation.alpha, (size, size), interpolation=cv2.INTER_LINEAR)
    bare = None if face is None else certain(in_crop(face.landmarks_px, fine), size)
    pose = None if face is None else face.camera_from_head
    return colour(mesh, fine.image_bgr, np.asarray(alpha, np.uint8), view, pose, bare)
