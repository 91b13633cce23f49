"""Face profiling: turns a face in a photograph by moving its mesh and warping the pixels along.

After the out-of-plane step of short-video synthesis in 3DDFA_V2 (Guo et al. 2020, 3.3): the mesh is
rotated in the model frame, the displacement of its vertices is rasterised, extended over the
background by normalised convolution (:mod:`.displacement`), and the picture is remapped.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Int32, UInt8

from ..face.camera import Camera
from .displacement import source_map

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
    source = source_map(
        camera.project(before_mm),
        camera.project(after_mm),
        after_mm[:, 2],
        triangles,
        np.eye(2, 3),
        height,
        width,
    )
    x, y = cv2.split(source)
    warped = cv2.remap(image_bgr, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)
