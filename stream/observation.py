"""``FaceObservation``: what mien says about one face in one frame.

This class is the only definition of a row. :mod:`mien.stream.schema` reads its annotations and
generates the Parquet schema, the CSV header, JSON lines, the wire message and the tables of
``PROTOCOL.md``; a new field is added here and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
import numpy as np
from jaxtyping import Float32
from msgspec import Meta

from ..models.errors import InputError
from ..models.face.names import N_BLENDSHAPES, N_EXPRESSION, N_LANDMARKS, N_SHAPE

Variance6: TypeAlias = Float32[np.ndarray, "6"]
Shape40: TypeAlias = Float32[np.ndarray, "40"]
Expression10: TypeAlias = Float32[np.ndarray, "10"]
Landmarks136: TypeAlias = Float32[np.ndarray, "136"]
Blendshapes52: TypeAlias = Float32[np.ndarray, "52"]

LIMITS: Final = {"int32": (-(1 << 31), (1 << 31) - 1), "int64": (-(1 << 63), (1 << 63) - 1)}
"""What whole numbers of a type lie between, both included."""
Int32: TypeAlias = Annotated[int, Meta(ge=LIMITS["int32"][0], le=LIMITS["int32"][1])]
Int64: TypeAlias = Annotated[int, Meta(ge=LIMITS["int64"][0], le=LIMITS["int64"][1])]

_FLOAT32 = np.dtype(np.float32)
_LENGTHS = {
    "pose_variance": 6,
    "shape": N_SHAPE,
    "expression": N_EXPRESSION,
    "landmarks": 2 * N_LANDMARKS,
    "blendshapes": N_BLENDSHAPES,
}


def _meta(description: str, unit: str = "", dtype: str = "float32") -> Meta:
    return Meta(description=description, extra={"unit": unit, "dtype": dtype})


class FaceObservation(  # noqa: PLW1641 - arrays inside: equal by value, not hashable
    msgspec.Struct, frozen=True, kw_only=True, eq=False
):
    """One face in one frame. Scalars are Python numbers, lists are (n,) float32 arrays.

    Building one costs about 2 microseconds: arrays are kept, not copied, and must not be written
    to afterwards. Columns that a foreign bundle cannot fill (a 3DDFA network has no presence,
    variance or blendshapes) are None. Conventions (camera frame, signs, left and right) are those
    of ``PROTOCOL.md``.

    Raises:
        InputError: a list has another shape or type than its column.
    """

    frame: Annotated[Int64, _meta("index of the frame in its source, from 0", dtype="int64")]
    t_media_ns: Annotated[
        Int64 | None, _meta("presentation time; null where the source has none", "ns", "int64")
    ]
    t_capture_ns: Annotated[
        Int64 | None, _meta("time of capture, monotonic clock; null for files", "ns", "int64")
    ]
    track: Annotated[Int32, _meta("identity of the face within the source", dtype="int32")]
    observed: Annotated[bool, _meta("false: predicted through a gap, at most 0.5 s", dtype="bool")]
    confidence: Annotated[float | None, _meta("probability that a face is present")]
    box_x: Annotated[float, _meta("left edge of the tight box of the 68 points", "px")]
    box_y: Annotated[float, _meta("top edge of the tight box of the 68 points", "px")]
    box_w: Annotated[float, _meta("width of the box", "px")]
    box_h: Annotated[float, _meta("height of the box", "px")]
    yaw: Annotated[float, _meta("> 0 turns the nose to the picture's left edge", "deg")]
    pitch: Annotated[float, _meta("> 0 is up", "deg")]
    roll: Annotated[float, _meta("> 0 is clockwise in the picture", "deg")]
    qw: Annotated[float, _meta("camera_from_head rotation, scalar part, >= 0")]
    qx: Annotated[float, _meta("camera_from_head rotation, x")]
    qy: Annotated[float, _meta("camera_from_head rotation, y")]
    qz: Annotated[float, _meta("camera_from_head rotation, z")]
    tx: Annotated[float, _meta("camera_from_head translation, to the right", "mm")]
    ty: Annotated[float, _meta("camera_from_head translation, down", "mm")]
    tz: Annotated[float, _meta("camera_from_head translation, away from the camera", "mm")]
    pose_variance: Annotated[
        Variance6 | None,
        _meta("variance of rotation about camera x, y, z, then of tx, ty, tz", "rad^2, mm^2"),
    ]
    shape: Annotated[Shape40, _meta("shape components", "standard deviations")]
    expression: Annotated[Expression10, _meta("expression components", "standard deviations")]
    landmarks: Annotated[Landmarks136, _meta("68 iBUG points, x0, y0, x1, ...", "px")]
    blendshapes: Annotated[Blendshapes52 | None, _meta("ARKit blendshapes, ARKit's order", "0..1")]

    def __post_init__(self) -> None:
        for name, length in _LENGTHS.items():
            values = getattr(self, name)
            if values is None:
                continue
            if values.shape != (length,) or values.dtype != _FLOAT32:
                raise InputError(
                    f"{name} is {values.dtype}{list(values.shape)}, expected float32[{length}]"
                )

    def __eq__(self, other: object) -> bool:
        """All fields equal, arrays element by element."""
        if not isinstance(other, FaceObservation):
            return NotImplemented
        if self.__struct_fields__ != other.__struct_fields__:
            return False
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            if name in _LENGTHS
            else getattr(self, name) == getattr(other, name)
            for name in self.__struct_fields__
        )

    @property
    def landmarks_px(self) -> Float32[np.ndarray, "68 2"]:
        """The landmarks as (68, 2) points, pixels; a view."""
        return self.landmarks.reshape(N_LANDMARKS, 2)
