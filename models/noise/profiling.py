"""Face profiling: turns a face in a photograph by moving its mesh and warping the pixels along.

After the out-of-plane step of short-video synthesis in 3DDFA_V2 (Guo et al. 2020, 3.3): the mesh is
rotated in the model frame, the displacement of its vertices is rasterised, extended over the
background by normalised convolution, and the picture is remapped.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from ..face.camera import Camera
from ..render.raster import rasterise

HEAD_CENTRE_MM = np.array([0.0, 15.0, 75.0])
"""Where a head turns about, in the head frame."""


def turn_in_head_frame(
    vertices: Float[np.ndarray, "N 3"], turn: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "N 3"]:
    """Vertices rotated about the centre of the head, head frame, mm."""
    return (vertices - HEAD_CENTRE_MM) @ turn.T + HEAD_CENTRE_MM


def warp_face(
    image_bgr: UInt8[np.ndarray, "H W 3"],
    before_mm: Float[np.ndarray, "N 3"],
    after_mm: Float[np.ndarray, "N 3"],
    triangles: Int32[np.ndarray, "M 3"],
    camera: Camera,
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture after its face's mesh moved.

    Args:
        image_bgr: the photograph.
        before_mm: vertices as the photograph shows them, camera frame.
        after_mm: where they are to be, camera frame.
        triangles: of the mesh.
        camera: intrinsics of the photograph.

    Returns:
        The warped picture. On the face it is exact to interpolation; hair and neck follow the
        nearest part of the face, and the movement fades out over one face's width.
    """
    height, width = image_bgr.shape[:2]
    old = camera.project(before_mm)
    new = camera.project(after_mm)
    points = np.concatenate([new, after_mm[:, 2:]], 1).astype(np.float32)
    hit = rasterise(points, triangles, height, width, cull_back=True)
    mask = hit.triangle >= 0
    if not mask.any():
        return image_bgr.copy()
    back = (old - new).astype(np.float32)
    shift = np.zeros((height, width, 2), np.float32)
    corners = back[triangles[hit.triangle[mask]]]
    shift[mask] = (corners * hit.barycentric[mask][..., None]).sum(1)
    size = float(np.ptp(new, axis=0).max())
    shift = _extend(shift, mask, size)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    warped = cv2.remap(
        image_bgr,
        columns + shift[..., 0],
        rows + shift[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, np.uint8)


def _extend(
    shift: Float32[np.ndarray, "H W 2"], mask: np.ndarray, size: float
) -> Float32[np.ndarray, "H W 2"]:
    """Continue a displacement outside its mask: coarse to fine normalised convolution, faded."""
    weight = mask.astype(np.float32)
    total = np.zeros_like(shift)
    cover = np.zeros_like(weight)
    # Each width fills what the narrower ones leave empty.
    for sigma in (size * 0.02, size * 0.06, size * 0.18, size * 0.5):
        small = cv2.GaussianBlur(weight, (0, 0), sigma)
        moved = cv2.GaussianBlur(shift * weight[..., None], (0, 0), sigma)
        part = np.clip(small * 4, 0, 1) * (1 - cover)
        total += part[..., None] * moved / np.maximum(small, 1e-6)[..., None]
        cover += part
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    fade = np.exp(-0.5 * (distance / (0.45 * size)) ** 2)[..., None].astype(np.float32)
    total *= fade
    total[mask] = shift[mask]
    return total
