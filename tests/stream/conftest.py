"""Rows with arbitrary values, small videos of every kind, and a recording."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mien.stream.observation import FaceObservation
from mien.stream.schema import COLUMNS
from mien.stream.sinks import Recording


def random_row(seed: int, **fields: Any) -> FaceObservation:
    """A row whose floats are arbitrary bit patterns of finite float32."""
    rng = np.random.default_rng(seed)

    def floats(count: int) -> np.ndarray:
        bits = rng.integers(0, 2**32, size=4 * count + 64, dtype=np.uint32).view(np.float32)
        return bits[np.isfinite(bits)][:count].copy()

    row: dict[str, Any] = {}
    for column in COLUMNS:
        if column.length:
            row[column.name] = floats(column.length)
        elif column.dtype == "float32":
            row[column.name] = float(floats(1)[0])
        elif column.dtype == "bool":
            row[column.name] = bool(rng.integers(2))
        else:
            info = np.iinfo(column.dtype)
            row[column.name] = int(rng.integers(info.min, info.max, dtype=np.int64))
    return FaceObservation(**{**row, **fields})


def face_row(**fields: Any) -> FaceObservation:
    """A row as a tracker would make it: a face of 100 px, 600 mm away, in a 640 x 480 picture."""
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([320 + 50 * np.cos(angle), 240 + 50 * np.sin(angle)], axis=1)
    row: dict[str, Any] = {
        "frame": 0, "t_media_ns": 0, "t_capture_ns": None, "track": 0, "observed": True,
        "confidence": 0.9, "box_x": 270.0, "box_y": 190.0, "box_w": 100.0, "box_h": 100.0,
        "yaw": 0.0, "pitch": 0.0, "roll": 0.0, "qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0,
        "tx": 0.0, "ty": 0.0, "tz": 600.0, "pose_variance": np.full(6, 0.01, np.float32),
        "shape": np.zeros(40, np.float32), "expression": np.zeros(10, np.float32),
        "landmarks": points.astype(np.float32).ravel(),
        "blendshapes": np.full(52, 0.5, np.float32),
    }  # fmt: skip
    return FaceObservation(**{**row, **fields})


def write_clip(
    path: Path,
    pictures: list[np.ndarray],
    *,
    ticks: list[int] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    picture_format: str = "bgr24",
    rate: int = 30,
    rotation: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode pictures; ``ticks`` are their times in 1/600 s where the rate is not constant."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if ticks is not None:
            stream.codec_context.time_base = Fraction(1, 600)
        if rotation:
            stream.set_display_rotation(rotation)
        for i, image in enumerate(pictures):
            picture = av.VideoFrame.from_ndarray(image, format=picture_format)
            if ticks is not None:
                picture.pts, picture.time_base = ticks[i], Fraction(1, 600)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def make_random_row() -> Callable[..., FaceObservation]:
    """:func:`random_row`, for tests that cannot import from here."""
    return random_row


@pytest.fixture(scope="session")
def make_face_row() -> Callable[..., FaceObservation]:
    """:func:`face_row`."""
    return face_row


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """:func:`write_clip`."""
    return write_clip


@pytest.fixture(scope="session")
def corner_picture() -> np.ndarray:
    """(48, 64, 3) BGR, grey, with a red top-left quarter: shows rotation and mirroring."""
    image = np.full((48, 64, 3), 90, dtype=np.uint8)
    image[:24, :32] = (0, 0, 200)
    return image


@pytest.fixture
def recording() -> Recording:
    """Of a 640 x 480 source."""
    return Recording(
        source="a.mp4",
        rate=30.0,
        width=640,
        height=480,
        bundle_hash="ab12",
        camera_matrix=((554.0, 0.0, 319.5), (0.0, 554.0, 239.5), (0.0, 0.0, 1.0)),
        options={"smoothing": "responsive", "max_faces": 1},
    )
