"""Rows with arbitrary values, small videos of every kind, and a recording."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mien.models.face.bundle import Bundle
from mien.models.face.camera import Camera
from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import angle_between_deg, quaternion_from_rotation_vector
from mien.stream import FaceTracker, Frame
from mien.stream.export import ExportContext, ExportOptions, open_exporter
from mien.stream.observation import FaceObservation
from mien.stream.schema import COLUMNS
from mien.stream.sinks import Recording
from mien.stream.smoother import (
    FaceMeasurement,
    FaceSmoother,
    FaceState,
    PoseMeasurement,
    SmoothingConfig,
)
from mien.stream.smoother.channels import BLENDSHAPES, GROUPS, MODES_OF, SHAPE_GROUPS
from mien.stream.smoother.offline import OfflineSmoother
from mien.stream.smoother.pose import translation_from_view
from mien.stream.smoother.smoother import FilterStep
from mien.stream.smoother.tuning import ErrorLaw, GroupTuning, ModeTuning, Tuning, channels_of
from mien.stream.sources import open_source


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


def export_clip(
    name: str,
    folder: Path,
    context: ExportContext,
    clip: Sequence[tuple[Frame, Sequence[FaceObservation]]],
    **options: Any,
) -> Path:
    """Export a clip into a folder with these :class:`ExportOptions`; the place that it takes."""
    chosen = replace(context, options=ExportOptions(**options))
    with open_exporter(name, folder / "clip", chosen) as exporter:
        for frame, rows in clip:
            exporter.write(frame, rows)
    return exporter.path


def alike(
    speeds: tuple[float, ...] = (0.01, 0.3, 5.0),
    *,
    white: float = 0.5,
    slow: float = 0.5,
    share: float = 1.0,
    unrest: float = 0.0,
    gate: float = 20.0,
    patience_s: float = 0.05,
) -> SmoothingConfig:
    """All groups alike, and taken as they are; errors are parts of the stated variance.

    Of blendshapes, of 0.001. ``unrest`` is the weight of the last condition.
    """
    groups = {}
    for name in (*GROUPS, *SHAPE_GROUPS):
        channels = channels_of(name)
        valued = name not in SHAPE_GROUPS and channels[0] >= BLENDSHAPES.start
        laws = [
            ErrorLaw(
                (math.log(part * (1e-3 if valued else 1.0)),) * len(channels),
                0.0 if valued else 1.0,
                (0.0, 0.0, 0.0, 0.0, unrest),
            )
            for part in (white, slow)
        ]
        groups[name] = GroupTuning(
            *laws, error_s=0.3, error_share=share, error_ratio=1e9,
            speeds=(1e-4, 2e-4, 3e-4) if name in SHAPE_GROUPS else speeds, velocity_s=0.2,
        )  # fmt: skip
    modes = {name: ModeTuning((0.6, 0.3, 0.1), 0.5, 1.0) for name in set(MODES_OF.values())}
    return SmoothingConfig(
        rest=1.0, motion=1.0, readiness=1.0, lids=1.0, gate=gate, patience_s=patience_s,
        tuning=Tuning(groups, modes, (-9.0,) * 5, (9.0,) * 5),
    )  # fmt: skip


def look(
    rotation_rad: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0),
    view: Sequence[float] | np.ndarray = (0.0, 0.0, 6.0),
    expression: float | np.ndarray = 0.0,
    blendshapes: float | np.ndarray | None = 0.5,
) -> FaceMeasurement:
    """A measurement of a rotation vector, of x / z, y / z, log z, and of equal other channels.

    The network states 1e-4 of every pose channel, and 0.01 of the expression.
    """
    values = None if blendshapes is None else np.zeros(52) + blendshapes
    quat = quaternion_from_rotation_vector(np.array(rotation_rad))
    pose = PerspectivePose(quat, translation_from_view(np.array(view)))
    return FaceMeasurement(
        PoseMeasurement(pose, np.full(6, 1e-4)), np.zeros(10) + expression, np.full(10, 0.01),
        values,
    )  # fmt: skip


def state_of(smoother: FaceSmoother) -> FaceState:
    """Of a face that was seen already, its size known."""
    state = smoother.state(0.0)
    assert state is not None
    return state


def follow(
    smoother: FaceSmoother, frames: Sequence[FaceMeasurement | None], dt_s: float = 1 / 30
) -> list[FaceState]:
    """The states after each frame; None stands for a frame without the face."""
    states = []
    for seen in frames:
        smoother.predict(dt_s)
        if seen is None:
            smoother.miss()
        else:
            smoother.update(seen)
        states.append(state_of(smoother))
    return states


def filter_steps(
    config: SmoothingConfig, frames: Sequence[tuple[float, FaceMeasurement | None]]
) -> tuple[list[FaceState | None], list[FilterStep]]:
    """The states on line after frames of any duration, and the steps for the off-line smoother."""
    smoother = FaceSmoother(config)
    states, steps = [], []
    for dt_s, seen in frames:
        smoother.predict(dt_s)
        if seen is None:
            smoother.miss()
        else:
            smoother.update(seen)
        steps.append(smoother.step())
        states.append(smoother.state(0.0))
    return states, steps


def smooth_steps(config: SmoothingConfig, steps: Sequence[FilterStep]) -> list[FaceState]:
    """What the off-line smoother makes of steps."""
    with closing(OfflineSmoother(config)) as smoother:
        for step in steps:
            smoother.add(step)
        smoother.smooth()
        return list(smoother.states(0.0))


def assert_near(one: FaceState, other: FaceState, within_sd: float = 1e-3) -> None:
    """Two states agree within a part of their standard deviation, and state the same variance."""
    sd = np.sqrt(other.pose_variance)
    angle = math.radians(float(angle_between_deg(one.pose.rotation, other.pose.rotation)))
    assert angle < within_sd * sd[:3].min() + 1e-7
    off = np.abs(one.pose.translation_mm - other.pose.translation_mm)
    assert (off < within_sd * sd[3:]).all()
    np.testing.assert_allclose(one.pose_variance, other.pose_variance, rtol=2e-3)
    np.testing.assert_allclose(one.expression, other.expression, atol=1e-2 * within_sd)


def assert_same(one: FaceState, other: FaceState) -> None:
    """But for rounding."""
    np.testing.assert_allclose(one.pose.rotation, other.pose.rotation, atol=1e-9)
    np.testing.assert_allclose(one.pose.translation_mm, other.pose.translation_mm)
    np.testing.assert_allclose(one.pose_variance, other.pose_variance)
    np.testing.assert_allclose(one.expression, other.expression, atol=1e-9)
    assert (one.blendshapes is None) == (other.blendshapes is None)
    if one.blendshapes is not None and other.blendshapes is not None:
        np.testing.assert_allclose(one.blendshapes, other.blendshapes, atol=1e-9)


@pytest.fixture(scope="session")
def context(portrait_video: Path) -> ExportContext:
    """Of the portrait, as :func:`clip` has it."""
    bundle = Bundle.default()
    with open_source(portrait_video) as source:
        info = source.info
    first, second, third = Camera.from_fov(info.width, info.height).matrix.tolist()
    recording = Recording(
        source="portrait.mp4",
        rate=info.rate,
        width=info.width,
        height=info.height,
        bundle_hash=bundle.hash,
        camera_matrix=(tuple(first), tuple(second), tuple(third)),
    )
    return ExportContext(recording, bundle.face_model)


@pytest.fixture(scope="session")
def clip(portrait_video: Path, context: ExportContext) -> list[tuple[Frame, list[FaceObservation]]]:
    """Every frame of the portrait with its faces."""
    tracker = FaceTracker(Bundle.default(), context.camera)
    with open_source(portrait_video) as source:
        return [(frame, tracker.track(frame)) for frame in source]


@pytest.fixture(scope="session")
def export() -> Callable[..., Path]:
    """:func:`export_clip`."""
    return export_clip


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
def make_smoothing() -> Callable[..., SmoothingConfig]:
    """:func:`alike`."""
    return alike


@pytest.fixture(scope="session")
def make_look() -> Callable[..., FaceMeasurement]:
    """:func:`look`."""
    return look


@pytest.fixture(scope="session")
def state_now() -> Callable[[FaceSmoother], FaceState]:
    """:func:`state_of`."""
    return state_of


@pytest.fixture(scope="session")
def follow_face() -> Callable[..., list[FaceState]]:
    """:func:`follow`."""
    return follow


@pytest.fixture(scope="session")
def filter_track() -> Callable[..., tuple[list[FaceState | None], list[FilterStep]]]:
    """:func:`filter_steps`."""
    return filter_steps


@pytest.fixture(scope="session")
def smooth_track() -> Callable[..., list[FaceState]]:
    """:func:`smooth_steps`."""
    return smooth_steps


@pytest.fixture(scope="session")
def expect_near() -> Callable[..., None]:
    """:func:`assert_near`."""
    return assert_near


@pytest.fixture(scope="session")
def expect_same() -> Callable[..., None]:
    """:func:`assert_same`."""
    return assert_same


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
