from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.face.camera import Camera
from mien.models.face.morphable import FaceModel
from mien.models.face.rotation import quaternion_from_rotation_vector
from mien.stream.frame import Frame
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Recording, Sink
from mien.stream.sinks.csv import CsvSink
from mien.stream.sinks.drawing import Annotator, axes_px, magnification, outline_px, project
from mien.stream.sinks.mp4 import Mp4Writer
from mien.stream.sinks.overlay import OverlaySink, StillOverlaySink
from mien.stream.sinks.parquet import ParquetSink
from mien.stream.sinks.sidecar import Sidecar, SidecarSink, read_sidecar
from mien.stream.sources import open_source

Maker = Callable[..., FaceObservation]
GREY = np.full((480, 640, 3), 100, dtype=np.uint8)
MATRIX = np.asarray(Camera.from_fov(640, 480).matrix)


@pytest.fixture(scope="module")
def ball() -> FaceModel:
    """A face model that is a ball of 80 mm round the origin of the head."""
    rings = np.linspace(0, np.pi, 21)
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    polar, turn = np.meshgrid(rings, turns, indexing="ij")
    points = 80 * np.stack(
        [np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], axis=-1
    )
    mean = points.reshape(-1, 3).astype(np.float32)
    quads = [
        (i * 40 + j, i * 40 + (j + 1) % 40, (i + 1) * 40 + j, (i + 1) * 40 + (j + 1) % 40)
        for i in range(20)
        for j in range(40)
    ]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (b, d, c))], np.int32)
    zeros = np.zeros
    return FaceModel(
        mean=mean,
        shape_basis=zeros((40, len(mean), 3), np.float32),
        expression_basis=zeros((10, len(mean), 3), np.float32),
        blendshape_basis=zeros((52, len(mean), 3), np.float32),
        triangles=triangles,
        landmark_vertices=np.arange(68, dtype=np.int32),
        uv=zeros((len(mean), 2), np.float32),
    )


def test_the_sidecar_counts_and_is_the_same_twice(tmp_path: Path, make_face_row: Maker) -> None:
    for name in ("a", "b"):
        with SidecarSink(tmp_path / f"{name}.json", {"smoothing": "raw", "n": 2}, "ab12") as sink:
            sink.decode_errors = 3
            sink.stopped = "truncated"
            for i, observed in enumerate((None, True, False, True)):
                faces = [] if observed is None else [make_face_row(observed=observed)]
                sink.write(Frame(GREY, i, t_media_ns=10**9 + i * 40_000_000), faces)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_sidecar(tmp_path / "a.json") == Sidecar(
        frames_read=4,
        frames_with_faces=2,
        decode_errors=3,
        media_seconds=0.16,
        stopped="truncated",
        options={"smoothing": "raw", "n": 2},
        bundle_hash="ab12",
    )


def test_the_sidecar_of_an_image_and_of_nothing(tmp_path: Path) -> None:
    with SidecarSink(tmp_path / "a.json", {}, "") as sink:
        assert sink.sidecar.media_seconds == 0.0
        sink.write(Frame(GREY, 0), [])
    assert read_sidecar(tmp_path / "a.json").media_seconds == 0.0
    (tmp_path / "b.json").write_text("{}")
    for name in ("b.json", "c.json"):
        with pytest.raises(InputError, match="not a sidecar"):
            read_sidecar(tmp_path / name)


def test_a_sink_replaces_what_was_there_only_when_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    sink = CsvSink(path)
    assert isinstance(sink, Sink)
    assert path.read_text() == "old"
    sink.abort()
    sink.close()
    assert path.read_text() == "old"
    with CsvSink(path):
        assert len(list(tmp_path.iterdir())) == 2
    assert path.read_text().startswith("frame,")
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_while_a_sink_is_made_leaves_nothing(
    tmp_path: Path, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        assert list(tmp_path.glob(".rows.parquet.*.part"))
        raise KeyboardInterrupt

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ParquetSink(tmp_path / "rows.parquet", recording)
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_output_error(tmp_path: Path, make_face_row: Maker) -> None:
    sink = CsvSink(tmp_path / "a.csv")
    sink._stream.close()  # pyright: ignore[reportPrivateUsage]
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    sink._stream = full.open("wb", buffering=0)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(OutputError, match="No space left"):
        sink.write(Frame(GREY, 0), [make_face_row()])
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_poses_are_projected_as_published(make_face_row: Maker) -> None:
    row = make_face_row(tx=30.0, ty=-20.0, tz=700.0)
    focal = MATRIX[0, 0]
    point = project(np.array([[10.0, 5.0, -40.0]]), row, MATRIX)[0]
    assert point == pytest.approx([319.5 + focal * 40 / 660, 239.5 + focal * -15 / 660], abs=1e-6)
    quat = quaternion_from_rotation_vector(np.array([0.0, np.pi / 2, 0.0]))
    turned = make_face_row(**dict(zip(("qw", "qx", "qy", "qz"), quat.tolist(), strict=True)))
    origin, x, y, nose = axes_px(turned, MATRIX)
    assert nose[0] < origin[0] - 30  # yaw > 0: the nose points to the picture's left edge
    assert abs(x[0] - origin[0]) < 1e-6
    assert y[1] > origin[1] + 30


def test_the_outline_of_a_ball_is_its_circle(ball: FaceModel, make_face_row: Maker) -> None:
    points = project(ball.mean.astype(np.float64), make_face_row(tz=1500.0), MATRIX)
    (contour,) = outline_px(points, ball, (480, 640))
    radius = MATRIX[0, 0] * 80 / np.sqrt(1500**2 - 80**2)
    from_centre = np.linalg.norm(contour[:, 0] - np.array([319.5, 239.5]), axis=1)
    assert np.abs(from_centre - radius).max() < 2.0
    assert outline_px(points + 5000, ball, (480, 640)) == []


@pytest.mark.parametrize(
    ("height", "width", "times"), [(144, 176, 3), (480, 640, 1), (1080, 1920, 1)]
)
def test_small_pictures_are_enlarged(height: int, width: int, times: int) -> None:
    assert magnification(height, width) == times


def test_drawing_leaves_the_picture_alone_and_marks_the_face(
    ball: FaceModel, make_face_row: Maker
) -> None:
    for row in (
        make_face_row(),
        make_face_row(observed=False, blendshapes=None, track=9),
        make_face_row(tz=-100.0),
        make_face_row(box_x=5000.0, tx=1e7),
    ):
        image = GREY.copy()
        drawn = Annotator(MATRIX, ball).draw(image, [row])
        assert np.array_equal(image, GREY)
        changed = np.argwhere((drawn != GREY).any(axis=-1))
        assert len(changed) > 500
    enlarged = Annotator(magnify=2).draw(GREY, [make_face_row()])
    assert enlarged.shape == (960, 1280, 3)
    # The first landmark, white: at x, y in the small picture, 2 x + 0.5, 2 y + 0.5 in the large.
    x, y = make_face_row().landmarks_px[0] * 2 + 0.5
    assert enlarged[round(float(y)), round(float(x))].min() > 200


def test_an_overlay_video_keeps_times_and_size(
    tmp_path: Path, ball: FaceModel, make_face_row: Maker
) -> None:
    times_ns = [0, 33_000_000, 70_000_000, 400_000_000, 400_000_000]
    path = tmp_path / "a.mp4"
    odd = np.full((481, 639, 3), 100, dtype=np.uint8)
    with OverlaySink(path, Annotator(MATRIX, ball), rate=29.97) as sink:
        for i, t_ns in enumerate(times_ns):
            image = odd if i != 3 else GREY  # a source that changes its size for a frame
            sink.write(Frame(image, i, t_media_ns=10**9 + t_ns), [make_face_row()])
    with open_source(path) as source:
        frames = list(source)
    assert (source.info.width, source.info.height, source.info.codec) == (640, 482, "h264")
    shown_ms = [round((frame.t_media_ns or 0) / 1e6) for frame in frames]
    assert shown_ms == [0, 33, 70, 400, 400]
    assert frames[0].image_bgr.std() > 5
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_encoder_refuses_is_told_by_the_name_that_was_given(tmp_path: Path) -> None:
    odd = np.full((33, 33, 3), 100, dtype=np.uint8)  # H.264 takes even sizes only
    with (
        pytest.raises(OutputError, match=r"^a\.mp4: cannot be written: "),
        Mp4Writer(tmp_path / "hidden.mp4", 30.0, said=Path("a.mp4")) as film,
    ):
        film.add(odd, 0)


def test_pictures_of_one_time_follow_each_other(tmp_path: Path) -> None:
    with Mp4Writer(tmp_path / "a.mp4", 30.0) as film:
        for t_ns in (0, 33_000_000, 33_000_000, 20_000_000):
            film.add(GREY, t_ns)
    with open_source(tmp_path / "a.mp4") as source:
        times_ns = [frame.t_media_ns or 0 for frame in source]
    assert times_ns == sorted(set(times_ns))
    assert [round(t_ns / 1e6) for t_ns in times_ns] == [0, 33, 33, 33]


def test_an_overlay_without_a_frame_leaves_no_file_handle(tmp_path: Path) -> None:
    sink = OverlaySink(tmp_path / "a.mp4")
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_an_overlay_image(tmp_path: Path, make_face_row: Maker) -> None:
    with StillOverlaySink(tmp_path / "a.png") as sink:
        sink.write(Frame(GREY, 0), [make_face_row()])
        sink.write(Frame(GREY[:100], 1), [])
    image = cv2.imread(str(tmp_path / "a.png"))
    assert image is not None
    assert image.shape == (480, 640, 3)
    assert (image != GREY).any()
    with pytest.raises(InputError, match=r"ends with \.png or \.jpg"):
        StillOverlaySink(tmp_path / "a.doc")
