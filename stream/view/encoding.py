"""What the web view's page receives over its WebSocket.

Text messages are JSON objects with a ``type``, binary ones begin with their kind as uint32; numbers
are little-endian, and every array begins at a multiple of its item's size.

- ``hello`` (text): the streams, the names of the blendshapes, and where in a face each field lies.
- ``status`` (text): rate, state, latency and drops of one stream, once a second.
- :data:`MODEL` (binary), once per face model: ten uint32 (kind, index, vertices, triangles,
  landmarks, shape, expression and blendshape components, two unused), then the mean face as
  float32, one float32 scale per component, triangles and landmark vertices as uint32, and all bases
  as int16 whose product with the component's scale is in mm.
- :data:`FRAME` (binary): :data:`HEADER`, then one :data:`FACE` per face.

Faces travel as coefficients, about 500 bytes each; the page makes the mesh from them. Posed
vertices would take 27 times as much, and this process would have to compute them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np

from ...models.face.morphable import FaceModel
from ...models.face.names import BLENDSHAPE_NAMES, N_BLENDSHAPES, N_EXPRESSION, N_SHAPE
from ..health import Health
from ..observation import FaceObservation
from ..sinks.base import Recording

VERSION: Final = 1
MODEL: Final = 1
FRAME: Final = 2

HEADER: Final = np.dtype(
    [
        ("kind", "<u4"),
        ("stream", "<u4"),
        ("faces", "<u4"),
        ("frame", "<u4"),
        ("t_s", "<f8"),
        ("latency_ms", "<f4"),
        ("unused", "<u4"),
    ]
)
"""A frame: ``t_s`` is when it was written, seconds since the view began; ``latency_ms`` from
capture to then, not a number for files; ``frame`` wraps at 2^32."""

FACE: Final = np.dtype(
    [
        ("track", "<i4"),
        ("observed", "<u4"),
        ("confidence", "<f4"),
        ("box", "<f4", 4),
        ("angles", "<f4", 3),
        ("quat_wxyz", "<f4", 4),
        ("translation", "<f4", 3),
        ("shape", "<f4", N_SHAPE),
        ("expression", "<f4", N_EXPRESSION),
        ("blendshapes", "<f4", N_BLENDSHAPES),
    ]
)
"""A face, as in :class:`FaceObservation` (px, degrees, mm); what a row lacks is not a number."""

_UNKNOWN_BLENDSHAPES: Final = np.full(N_BLENDSHAPES, np.nan, np.float32)


@dataclass(frozen=True)
class Snapshot:
    """A frame's faces on their way to the clients; encoded once, whoever takes it.

    Attributes:
        stream: number of the stream in hello.
        frame: index of the frame.
        t_s: when it was written, since the view began.
        latency_ms: from capture to then; NaN where unknown.
        rows: the faces.
    """

    stream: int
    frame: int
    t_s: float
    latency_ms: float
    rows: Sequence[FaceObservation]

    @cached_property
    def data(self) -> bytes:
        """The message."""
        header = np.zeros((), HEADER)
        header["kind"], header["stream"] = FRAME, self.stream
        header["faces"], header["frame"] = len(self.rows), self.frame % 2**32
        header["t_s"], header["latency_ms"] = self.t_s, self.latency_ms
        faces = np.array([_face(row) for row in self.rows], FACE)
        return header.tobytes() + faces.tobytes()


def _face(row: FaceObservation) -> tuple[Any, ...]:
    return (
        row.track,
        row.observed,
        np.nan if row.confidence is None else row.confidence,
        (row.box_x, row.box_y, row.box_w, row.box_h),
        (row.yaw, row.pitch, row.roll),
        (row.qw, row.qx, row.qy, row.qz),
        (row.tx, row.ty, row.tz),
        row.shape,
        row.expression,
        _UNKNOWN_BLENDSHAPES if row.blendshapes is None else row.blendshapes,
    )


def model_message(index: int, model: FaceModel) -> bytes:
    """A face model as the page takes it: about 600 bytes a vertex."""
    bases = (model.shape_basis, model.expression_basis, model.blendshape_basis)
    flat = np.concatenate([basis.reshape(len(basis), model.mean.size) for basis in bases])
    scale = np.maximum(np.abs(flat).max(axis=1), 1e-9) / 32767.0
    header = np.zeros(10, "<u4")
    header[:8] = (
        MODEL,
        index,
        len(model.mean),
        len(model.triangles),
        len(model.landmark_vertices),
        *(len(basis) for basis in bases),
    )
    parts = (
        header,
        model.mean.astype("<f4"),
        scale.astype("<f4"),
        model.triangles.astype("<u4"),
        model.landmark_vertices.astype("<u4"),
        np.rint(flat / scale[:, None]).astype("<i2"),
    )
    return b"".join(part.tobytes() for part in parts)


def hello_message(streams: Sequence[tuple[str, Recording, int]]) -> str:
    """Which streams there are: names, what they say of themselves, numbers of their models."""
    layout = {
        name: [offset // 4, int(np.prod(kind.shape, dtype=int))]
        for name, (kind, offset, *_) in (FACE.fields or {}).items()
    }
    return _json(
        {
            "type": "hello",
            "v": VERSION,
            "streams": [
                {
                    "name": name,
                    "model": model,
                    "source": recording.source,
                    "width": recording.width,
                    "height": recording.height,
                    "camera_matrix": recording.camera_matrix,
                }
                for name, recording, model in streams
            ],
            "blendshapes": BLENDSHAPE_NAMES,
            "header_bytes": HEADER.itemsize,
            "face_words": FACE.itemsize // 4,
            "face": layout,
        }
    )


def status_message(stream: int, rate: float, state: str, health: Health) -> str:
    """How one stream is doing; rate in frames per second."""
    return _json(
        {
            "type": "status",
            "stream": stream,
            "rate": rate,
            "state": state,
            "detail": health.detail,
            "latency_ms": dict(health.latency_ms),
            "latency_99_ms": dict(health.latency_99_ms),
            "drops": dict(health.drops),
        }
    )


def _json(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
