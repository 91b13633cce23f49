"""Depth pictures fused into a grid over the face: truncated signed distance (Curless & Levoy 1996).

Each frame gives each cell the distance of its centre from the plane that the frame sees there;
frames are averaged by how squarely and how near they see it. A mesh is looked at from a few sides
and fused in the same way, so that an open or torn one needs no repair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, no_type_check

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Float64, UInt8
from numba import njit

from ..errors import InputError
from ..face.rotation import matrix_from_yaw_pitch_roll
from ..mesh.triangle_mesh import TriangleMesh
from ..render.raster import rasterise
from .box import HIGH_MM, LOW_MM, FaceBox
from .frame import DepthFrame, Intrinsics

Array = npt.NDArray[Any]
SEEN_SCALE: Final = 64.0
"""``seen`` is the sum of the frames' weights (1 for a square view) times this, at most 255."""
_VIEWS_DEG: Final = ((0, 0), (-38, 0), (38, 0), (0, 28), (0, -28), (-65, 0), (65, 0))
_VIEW_SIZE, _VIEW_MM, _VIEW_DISTANCE_MM = 288, 300.0, 600.0
_NORMAL_STEP: Final = 2


@dataclass(frozen=True)
class FusedScan:
    """A scan in the grid.

    Attributes:
        sdf: signed distance, mm, negative inside, truncated; 0 where nothing was seen.
        seen: weight of observation, 0 where nothing was seen.
        colour: sRGB, red first, near the surface; 0 elsewhere.
    """

    sdf: Float32[np.ndarray, "N N N"]
    seen: UInt8[np.ndarray, "N N N"]
    colour: UInt8[np.ndarray, "N N N 3"]


def fuse(frames: Sequence[DepthFrame], box: FaceBox) -> FusedScan:
    """Fuse depth frames.

    Raises:
        InputError: no frame, or none sees anything in the box.
    """
    if not frames:
        raise InputError("scan: no depth frame to fuse")
    total = np.zeros((*box.shape, 2), np.float32)
    light = np.zeros((*box.shape, 4), np.float32)
    for frame in frames:
        height, width = frame.depth.shape
        camera_from_head = np.ascontiguousarray(np.linalg.inv(frame.head_from_camera), np.float32)
        lens = frame.camera
        image = np.zeros((0, 0, 3), np.uint8)
        if frame.image is not None:
            image = frame.image
            if image.shape[:2] != (height, width):
                image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        depth = np.where(np.isfinite(frame.depth), frame.depth, 0).astype(np.float32)
        smooth = _smoothed(depth)
        _integrate(
            depth, smooth, np.ascontiguousarray(image, np.uint8), camera_from_head,
            np.array([lens.fx, lens.fy, lens.cx, lens.cy], np.float32), box.first, box.edges,
            np.float32(box.truncation), total, light,
        )  # fmt: skip
    weight = total[..., 1]
    if not (weight > 0).any():
        raise InputError("scan: nothing of it lies in the box of the face")
    sdf = np.divide(total[..., 0], weight, out=np.zeros(box.shape, np.float32), where=weight > 0)
    seen = np.ceil(np.minimum(weight * SEEN_SCALE, 255)).astype(np.uint8)
    colour = np.zeros((*box.shape, 3), np.uint8)
    lit = light[..., 3] > 0
    colour[lit] = np.rint(light[lit][:, 2::-1] / light[lit][:, 3:])
    return FusedScan(sdf, seen, colour)


def _smoothed(depth: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Depth for normals: averaged over a few pixels, what was not measured left out."""
    known = (depth > 0).astype(np.float32)
    share = np.asarray(cv2.blur(known, (5, 5)), np.float32)
    mean = np.asarray(cv2.blur(depth, (5, 5)), np.float32)
    return np.divide(mean, share, out=np.zeros_like(mean), where=(share > 0.2) & (known > 0))


@njit(cache=True, nogil=True)
@no_type_check
def _integrate(
    depth: Array,
    smooth: Array,
    image: Array,
    camera_from_head: Array,
    lens: Array,
    first: Array,
    edges: Array,
    truncation: float,
    total: Array,
    light: Array,
) -> None:
    """Add one frame: ``total`` holds weighted distance and weight, ``light`` colour and weight."""
    n = total.shape[0]
    height, width = depth.shape
    m = camera_from_head
    step = _NORMAL_STEP
    for i in range(n):
        for j in range(n):
            for k in range(n):
                px = first[0] + i * edges[0]
                py = first[1] + j * edges[1]
                pz = first[2] + k * edges[2]
                x = m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3]
                y = m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3]
                z = m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3]
                if z < 1.0:
                    continue
                u = int(np.floor(lens[0] * x / z + lens[2] + 0.5))
                v = int(np.floor(lens[1] * y / z + lens[3] + 0.5))
                if u < step or v < step or u >= width - step or v >= height - step:
                    continue
                measured = depth[v, u]
                if measured <= 0:
                    continue
                # The plane there: (d z / d u, d z / d v) gives its normal (Klein & Murray).
                left, right = smooth[v, u - step], smooth[v, u + step]
                above, below = smooth[v - step, u], smooth[v + step, u]
                middle = smooth[v, u]
                cosine = np.float32(0.3)
                if middle > 0 and left > 0 and right > 0 and above > 0 and below > 0:
                    du = (right - left) / (2 * step)
                    dv = (below - above) / (2 * step)
                    rx, ry = (u - lens[2]) / lens[0], (v - lens[3]) / lens[1]
                    # Tangents t = d(z r)/du, with r = (rx, ry, 1).
                    ax, ay, az = du * rx + middle / lens[0], du * ry, du
                    bx, by, bz = dv * rx, dv * ry + middle / lens[1], dv
                    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
                    length = np.sqrt(nx * nx + ny * ny + nz * nz)
                    ray = np.sqrt(rx * rx + ry * ry + 1)
                    cosine = abs(nx * rx + ny * ry + nz) / (length * ray)
                ahead = (measured - z) * np.sqrt(x * x + y * y + z * z) / z
                distance = ahead * max(cosine, np.float32(0.15))
                if distance < -truncation or ahead < -2 * truncation:
                    continue
                weight = max(cosine, np.float32(0.05))
                if ahead < 0:
                    # Behind the surface a frame knows less with each mm.
                    weight *= max(np.float32(0.05), 1 + distance / truncation)
                distance = min(distance, truncation)
                total[i, j, k, 0] += weight * distance
                total[i, j, k, 1] += weight
                if image.shape[0] > 0 and abs(distance) < truncation:
                    share = weight * (1 - abs(distance) / truncation) ** 2 + np.float32(1e-4)
                    for c in range(3):
                        light[i, j, k, c] += share * image[v, u, c]
                    light[i, j, k, 3] += share


def frames_of_mesh(mesh: TriangleMesh) -> list[DepthFrame]:
    """Depth frames of a mesh as virtual cameras around the box see it.

    Args:
        mesh: in the head frame, mm. Without colours the frames have none.
    """
    size = _VIEW_SIZE
    focal = size * _VIEW_DISTANCE_MM / _VIEW_MM
    camera = Intrinsics(focal, focal, (size - 1) / 2, (size - 1) / 2, size, size)
    centre = (np.array(LOW_MM) + np.array(HIGH_MM)) / 2
    frames = []
    for yaw, pitch in _VIEWS_DEG:
        pose = np.eye(4)
        pose[:3, :3] = matrix_from_yaw_pitch_roll(np.array([yaw, pitch, 0.0], np.float64))
        pose[:3, 3] = np.array([0.0, 0.0, _VIEW_DISTANCE_MM]) - pose[:3, :3] @ centre
        frames.append(draw_mesh(mesh, camera, pose))
    return frames


def draw_mesh(
    mesh: TriangleMesh, camera: Intrinsics, camera_from_mesh: Float64[np.ndarray, "4 4"]
) -> DepthFrame:
    """A depth frame of a mesh; its pose is that of the mesh's frame.

    Triangles that are seen from behind hide what is behind them, and have neither depth nor colour.
    Without colours of vertices the frame has no picture.

    Args:
        mesh: mm.
        camera: of the frame.
        camera_from_mesh: rigid, mm.
    """
    placed = mesh.vertices @ camera_from_mesh[:3, :3].T + camera_from_mesh[:3, 3]
    depth = np.maximum(placed[:, 2:], 1e-3)
    px = np.column_stack([placed / depth @ camera.matrix.T[:, :2], placed[:, 2]])
    drawn = rasterise(px.astype(np.float32), mesh.triangles, camera.height, camera.width)
    hit = drawn.triangle >= 0
    corners = placed[mesh.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    faces = (normals * corners.mean(1)).sum(1) < 0
    shown = hit.copy()
    shown[hit] = faces[drawn.triangle[hit]]
    image = None
    if mesh.colours is not None:
        image = np.zeros((camera.height, camera.width, 3), np.uint8)
        at = mesh.colours[mesh.triangles[drawn.triangle[shown]]].astype(np.float32)
        image[shown] = np.rint((at * drawn.barycentric[shown][..., None]).sum(1))[:, ::-1]
    depth_map = np.where(shown, drawn.depth, np.nan).astype(np.float32)
    return DepthFrame(depth_map, image, camera, np.linalg.inv(camera_from_mesh))


def voxelise(mesh: TriangleMesh, box: FaceBox) -> FusedScan:
    """Fuse a mesh of the head frame, mm, as seen from around the face.

    Raises:
        InputError: nothing of it lies in the box.
    """
    return fuse(frames_of_mesh(mesh), box)
