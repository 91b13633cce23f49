"""The surface in a grid over the box, with its colours."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.ndimage import map_coordinates

from ..errors import InputError, how_to_install
from ..mesh.triangle_mesh import TriangleMesh
from .box import FaceBox


def surface_of_box(
    sdf: Float32[np.ndarray, "N N N"],
    colour: UInt8[np.ndarray, "N N N 3"] | None = None,
    refine: int = 1,
) -> TriangleMesh:
    """Where the signed distance is 0: a mesh in the head frame, mm, open at the sides of the box.

    Args:
        sdf: mm, negative inside, at the centres of cells, index ``[x, y, z]``.
        colour: sRGB, red first; interpolated at the vertices.
        refine: triangles this many times finer than the cells, by cubic interpolation.

    Raises:
        InputError: the grid holds no surface, or scikit-image is missing.
    """
    try:
        from skimage.measure import marching_cubes
    except ModuleNotFoundError as error:
        raise InputError(f"surfaces need scikit-image: {how_to_install('heavy')}") from error

    box = FaceBox(len(sdf))
    values = np.asarray(sdf, np.float32)
    if not (values.min() < 0 < values.max()):
        raise InputError("the grid holds no surface: all of it is inside or all outside")
    if refine > 1:
        line = np.linspace(0, box.cells - 1, refine * (box.cells - 1) + 1, dtype=np.float32)
        fine = np.stack(np.meshgrid(line, line, line, indexing="ij"))
        values = map_coordinates(values, fine, order=3, mode="nearest").astype(np.float32)
    index, faces, _, _ = marching_cubes(values, 0.0)
    index = (index / refine).astype(np.float32)
    return TriangleMesh(
        vertices=box.mm_from_index(index),
        triangles=np.ascontiguousarray(faces, np.int32),
        colours=None if colour is None else _sampled(colour, index),
    )


def _sampled(
    colour: UInt8[np.ndarray, "N N N 3"], index: Float32[np.ndarray, "V 3"]
) -> UInt8[np.ndarray, "V 3"]:
    """Colours between cells; cells without one (0, 0, 0) do not count."""
    known = colour.any(axis=-1).astype(np.float32)
    at = np.ascontiguousarray(index.T)
    weight = map_coordinates(known, at, order=1, mode="nearest")
    rows = [
        map_coordinates(colour[..., c].astype(np.float32), at, order=1, mode="nearest")
        for c in range(3)
    ]
    mixed = np.stack(rows, -1) / np.maximum(weight, 1e-3)[:, None]
    return np.rint(mixed).clip(0, 255).astype(np.uint8)
