"""The 3D morphable model: a mean face and linear bases, in millimetres, in the head frame."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, Int32

from ..archives import fitted, read_npz
from ..documents import one_line
from ..errors import BundleError
from ..writing import whole_file
from .names import N_BLENDSHAPES, N_EXPRESSION, N_LANDMARKS, N_SHAPE

_MAY_LACK: Final = ("blendshape_basis", "uv")
"""Arrays that a model may do without."""
_KINDS: Final = {
    "mean": (np.float32, "_ _"), "shape_basis": (np.float32, "_ _ _"),
    "expression_basis": (np.float32, "_ _ _"), "blendshape_basis": (np.float32, "_ _ _"),
    "triangles": (np.int32, "_ _"), "landmark_vertices": (np.int32, "_"), "uv": (np.float32, "_ _"),
}  # fmt: skip
_MOST_BYTES: Final = 1 << 30
"""Unpacked; the default model has 60 MB."""


@dataclass(frozen=True)
class FaceModel:
    """Linear face model: ``mean + shape_basis . a_shape + expression_basis . a_expression``.

    Head frame, millimetres: origin at the sellion of the neutral mean face, x to the image's right,
    y down, z into the head. Coefficients are in standard deviations; blendshapes are in [0, 1].

    Attributes:
        mean: (N, 3) neutral mean face.
        shape_basis: (40, N, 3) mm per standard deviation.
        expression_basis: (10, N, 3) mm per standard deviation.
        blendshape_basis: (52, N, 3) mm of displacement at value 1, in ARKit order.
        triangles: (M, 3) vertex indices, counter-clockwise seen from outside.
        landmark_vertices: (68,) vertex of each iBUG landmark.
        uv: (N, 2) texture coordinates in [0, 1].

    A model made elsewhere may lack ``blendshape_basis`` and ``uv``: these then have length 0, and
    its files do not hold them.
    """

    mean: Float32[np.ndarray, "N 3"]
    shape_basis: Float32[np.ndarray, "S N 3"]
    expression_basis: Float32[np.ndarray, "E N 3"]
    blendshape_basis: Float32[np.ndarray, "B N 3"]
    triangles: Int32[np.ndarray, "M 3"]
    landmark_vertices: Int32[np.ndarray, " L"]
    uv: Float32[np.ndarray, "U 2"]

    def __post_init__(self) -> None:
        n = len(self.mean)
        wanted = {
            "mean": (n, 3),
            "shape_basis": (N_SHAPE, n, 3),
            "expression_basis": (N_EXPRESSION, n, 3),
            "blendshape_basis": (N_BLENDSHAPES, n, 3),
            "landmark_vertices": (N_LANDMARKS,),
            "uv": (n, 2),
            "triangles": (len(self.triangles), 3),
        }
        for name, shape in wanted.items():
            actual = getattr(self, name).shape
            absent = name in _MAY_LACK and actual == (0, *shape[1:])
            if actual != shape and not absent:
                raise BundleError(f"face model: {name} has shape {actual}, expected {shape}")
        for name in ("triangles", "landmark_vertices"):
            index = getattr(self, name)
            if index.size == 0 or index.min() < 0 or index.max() >= n:
                raise BundleError(f"face model: {name} points outside the {n} vertices")

    @classmethod
    def load(cls, path: Path) -> FaceModel:
        """Read ``face_model.npz``.

        Raises:
            BundleError: the file is missing, is not such an archive, or its arrays disagree.
        """
        try:
            names = [field.name for field in fields(cls) if field.name not in _MAY_LACK]
            arrays = fitted(read_npz(path, names, _MAY_LACK, _MOST_BYTES), _KINDS)
        except (OSError, ValueError) as error:
            raise BundleError(f"{path}: not a face model: {one_line(error)}") from error
        absent = {
            "blendshape_basis": np.zeros((0, *arrays["mean"].shape[-2:])),
            "uv": np.zeros((0, 2)),
        }
        return cls(
            **{
                name: np.ascontiguousarray(
                    array, np.int32 if name in ("triangles", "landmark_vertices") else np.float32
                )
                for name, array in (absent | arrays).items()
            }
        )

    def save(
        self, path: Path, extra: dict[str, np.ndarray] | None = None, *, half: bool = True
    ) -> None:
        """Write ``face_model.npz``; a file of that name stays whole until the new one is.

        Args:
            path: where to; ends ``.npz``.
            extra: further arrays to keep in the file, which :meth:`load` does not read.
            half: keep the bases in half precision (under 0.02 mm off).

        Raises:
            OutputError: it cannot be written.
        """
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: array for name, array in own.items() if array.size} | (extra or {})
        for name in ("shape_basis", "expression_basis", "blendshape_basis", "uv"):
            if half and name in arrays:
                arrays[name] = arrays[name].astype(np.float16)
        with whole_file(path) as part:
            np.savez_compressed(part, allow_pickle=False, **arrays)

    def decode(
        self,
        shape: Float32[np.ndarray, " S"],
        expression: Float32[np.ndarray, " E"] | None = None,
        blendshapes: Float32[np.ndarray, " B"] | None = None,
    ) -> Float32[np.ndarray, "N 3"]:
        """Vertices in the head frame, mm, of a shape with an expression, or with blendshapes."""
        vertices = self.mean + np.tensordot(shape, self.shape_basis, axes=1)
        if expression is not None:
            vertices = vertices + np.tensordot(expression, self.expression_basis, axes=1)
        if blendshapes is not None:
            vertices = vertices + np.tensordot(blendshapes, self.blendshape_basis, axes=1)
        return vertices

    def decode_seen(
        self,
        shape: Float32[np.ndarray, " S"],
        expression: Float32[np.ndarray, " E"],
        blendshapes: Float32[np.ndarray, " B"] | None,
    ) -> Float32[np.ndarray, "N 3"]:
        """A face as it was seen: by its blendshapes where these are known, else by expression."""
        if blendshapes is None or not len(self.blendshape_basis):
            return self.decode(shape, expression)
        return self.decode(shape, None, blendshapes)

    def subset(self, vertices: Int32[np.ndarray, " K"]) -> LinearPoints:
        """The same linear model, for chosen vertices only."""
        return LinearPoints(
            mean=np.ascontiguousarray(self.mean[vertices]),
            shape_basis=np.ascontiguousarray(self.shape_basis[:, vertices]),
            expression_basis=np.ascontiguousarray(self.expression_basis[:, vertices]),
            blendshape_basis=np.ascontiguousarray(self.blendshape_basis[:, vertices]),
        )

    def landmarks(self) -> LinearPoints:
        """The linear model of the 68 landmarks."""
        return self.subset(self.landmark_vertices)


@dataclass(frozen=True)
class LinearPoints:
    """A few points of the face model, decoded cheaply (see :class:`FaceModel` for units)."""

    mean: Float32[np.ndarray, "K 3"]
    shape_basis: Float32[np.ndarray, "S K 3"]
    expression_basis: Float32[np.ndarray, "E K 3"]
    blendshape_basis: Float32[np.ndarray, "B K 3"]

    def decode(
        self,
        shape: Float32[np.ndarray, " S"],
        expression: Float32[np.ndarray, " E"] | None = None,
        blendshapes: Float32[np.ndarray, " B"] | None = None,
    ) -> Float32[np.ndarray, "K 3"]:
        """Points in the head frame, mm."""
        flat = self.mean.reshape(-1) + shape @ self.shape_basis.reshape(len(shape), -1)
        if expression is not None:
            flat = flat + expression @ self.expression_basis.reshape(len(expression), -1)
        if blendshapes is not None:
            flat = flat + blendshapes @ self.blendshape_basis.reshape(len(blendshapes), -1)
        return flat.reshape(-1, 3)

    def decode_seen(
        self,
        shape: Float32[np.ndarray, " S"],
        expression: Float32[np.ndarray, " E"],
        blendshapes: Float32[np.ndarray, " B"] | None,
    ) -> Float32[np.ndarray, "K 3"]:
        """As :meth:`FaceModel.decode_seen`."""
        if blendshapes is None or not len(self.blendshape_basis):
            return self.decode(shape, expression)
        return self.decode(shape, None, blendshapes)
