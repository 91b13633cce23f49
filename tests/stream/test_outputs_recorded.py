"""Live Link Face recordings read by the csv module, Rerun's files by its own reader."""

from __future__ import annotations

import contextlib
import csv
import math
import os
import re
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.face.morphable import FaceModel
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.stream.frame import Frame
from mien.stream.neutral import Neutral, quaternion_from_yaw_pitch_roll
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Recording, Sink
from mien.stream.sinks.livelink import LIVE_LINK_HEADER, LiveLinkSink

Maker = Callable[..., FaceObservation]
GREY = np.zeros((4, 4, 3), np.uint8)


def at_ms(index: int, time_ms: float) -> Frame:
    return Frame(GREY, index, t_capture_ns=7 * 10**9 + round(time_ms * 1e6))


def turned(make: Maker, yaw: float, pitch: float, roll: float, **fields: Any) -> FaceObservation:
    qw, qx, qy, qz = quaternion_from_yaw_pitch_roll(yaw, pitch, roll).tolist()
    return make(qw=qw, qx=qx, qy=qy, qz=qz, **fields)


# Live Link Face


def test_a_live_link_recording_has_the_app_s_columns(tmp_path: Path, make_face_row: Maker) -> None:
    values = np.linspace(0.0, 1.0, 52, dtype=np.float32)
    values[BLENDSHAPE_INDEX["eyeLookDownLeft"]] = 0.0
    values[BLENDSHAPE_INDEX["eyeLookUpLeft"]] = 1.0
    place = tmp_path / "take.csv"
    with LiveLinkSink(place) as sink:
        assert isinstance(sink, Sink)
        row = turned(make_face_row, 20.0, 10.0, 5.0, blendshapes=values)
        sink.write(at_ms(0, 0.0), [row])
        assert not place.exists(), "a finished name is a finished file"
    with place.open(newline="", encoding="utf-8") as stream:
        header, *lines = csv.reader(stream)
    # Unreal's importer asks for the first two by name, and for rows as long as the header.
    assert header[:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    assert header[-9:-6] == ["HeadYaw", "HeadPitch", "HeadRoll"]
    assert header[-6:] == [
        f"{eye}Eye{a}" for eye in ("Left", "Right") for a in ("Yaw", "Pitch", "Roll")
    ]
    assert len(header) == 63
    assert len(set(header)) == 63
    assert [len(line) for line in lines] == [63]
    cells = dict(zip(header, lines[0], strict=True))
    assert cells["BlendShapeCount"] == "61"
    for name, index in BLENDSHAPE_INDEX.items():
        assert float(cells[name[0].upper() + name[1:]]) == pytest.approx(values[index], abs=1e-7)
    # Radians, as an Unreal rotator: to the subject's right, up, to the right shoulder.
    angles = [float(cells[f"Head{name}"]) for name in ("Yaw", "Pitch", "Roll")]
    assert angles == pytest.approx([math.radians(a) for a in (20.0, 10.0, -5.0)], abs=1e-7)
    assert float(cells["LeftEyePitch"]) == pytest.approx(math.radians(30.0), abs=1e-7)


def test_timecodes_are_read_back_as_unreal_reads_them(tmp_path: Path, make_face_row: Maker) -> None:
    # Irregular, past a minute and an hour, with frames that have no face.
    times_ms = [0.0, 33.3, 41.0, 525.0, 999.9, 1000.0, 61_016.7, 3_723_250.0]
    with LiveLinkSink(tmp_path / "take.csv") as sink:
        for i, time_ms in enumerate(times_ms):
            sink.write(at_ms(3 * i, time_ms), [make_face_row()])
            sink.write(at_ms(3 * i + 1, time_ms + 1.0), [])
    with (tmp_path / "take.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    codes = [row["Timecode"] for row in rows]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d:\d\d\.\d\d\d", code) for code in codes)
    parts = [[float(part) for part in code.split(":")] for code in codes]
    # The importer infers 60 frames a second from a frame number above 30.
    rate = 60 if any(frames > 30 for *_, frames in parts) else 30
    read_ms = [1e3 * (3600 * h + 60 * m + s + frames / rate) for h, m, s, frames in parts]
    assert read_ms == pytest.approx(times_ms, abs=0.02)


def test_live_link_is_relative_to_neutral_and_follows_one_face(
    tmp_path: Path, make_face_row: Maker
) -> None:
    neutral = Neutral()
    neutral.center()
    with LiveLinkSink(tmp_path / "a.csv", neutral) as sink:
        sink.write(at_ms(0, 0), [turned(make_face_row, 15.0, 0.0, 0.0, track=3)])
        other = turned(make_face_row, 0.0, 40.0, 0.0, track=1)
        sink.write(at_ms(1, 40), [other, turned(make_face_row, 25.0, 0.0, 0.0, track=3)])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as stream:
        yaws = [float(row["HeadYaw"]) for row in csv.DictReader(stream)]
    assert yaws == pytest.approx([0.0, math.radians(10.0)], abs=1e-7)


def test_a_live_link_recording_that_is_given_up_leaves_nothing(
    tmp_path: Path, make_face_row: Maker
) -> None:
    with (
        pytest.raises(InputError, match="needs blendshapes"),
        LiveLinkSink(tmp_path / "a.csv") as sink,
    ):
        sink.write(at_ms(0, 0), [make_face_row(blendshapes=None)])
    assert list(tmp_path.iterdir()) == []


def test_a_live_link_recording_that_breaks_off_is_kept_where_that_is_wished(
    tmp_path: Path, make_face_row: Maker
) -> None:
    sink = LiveLinkSink(tmp_path / "a.csv", salvage=True)
    sink.write(at_ms(0, 0), [make_face_row()])
    with pytest.raises(RuntimeError, match="pulled"), sink:
        raise RuntimeError("pulled")
    lines = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    assert [line.count(",") for line in lines] == [len(LIVE_LINK_HEADER) - 1] * 2


# Rerun


@pytest.fixture(scope="module")
def small_model() -> FaceModel:
    """68 vertices, which are the landmarks; the first shape component moves all along x."""
    rng = np.random.default_rng(5)
    shape_basis = np.zeros((40, 68, 3), np.float32)
    shape_basis[0, :, 0] = 2.0
    return FaceModel(
        mean=rng.normal(size=(68, 3)).astype(np.float32),
        shape_basis=shape_basis,
        expression_basis=np.zeros((10, 68, 3), np.float32),
        blendshape_basis=np.zeros((52, 68, 3), np.float32),
        triangles=np.array([[0, 1, 2]], np.int32),
        landmark_vertices=np.arange(68, dtype=np.int32),
        uv=np.zeros((68, 2), np.float32),
    )


def read_rrd(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every logged row by entity: columns by name, in the order of the file."""
    chunk = pytest.importorskip("rerun.chunk")
    rows: dict[str, list[dict[str, Any]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a file that is still written to has no footer
        for one in chunk.RrdReader(path).stream().to_chunks():
            batch = one.to_record_batch()
            names = [name for name in batch.schema.names if name != "log_time"]
            columns = [batch.column(name) for name in names]
            # datetime has no nanoseconds
            cells = [c.cast("int64") if pa.types.is_temporal(c.type) else c for c in columns]
            new = zip(*(cell.to_pylist() for cell in cells), strict=True)
            rows.setdefault(one.entity_path, []).extend(
                dict(zip(names, row, strict=True)) for row in new
            )
    return rows


def test_a_rerun_file_is_read_by_rerun(
    tmp_path: Path, make_face_row: Maker, recording: Recording, small_model: FaceModel
) -> None:
    pytest.importorskip("rerun")
    from mien.stream.sinks.rerun import RerunSink

    place = tmp_path / "a.rrd"
    shape = np.zeros(40, np.float32)
    shape[0] = 1.5
    half = math.radians(10.0)
    turn = {"qw": math.cos(half), "qy": math.sin(half), "yaw": 20.0, "pitch": -3.0, "roll": 1.0}
    with RerunSink(place, recording, "left", face_model=small_model) as sink:
        assert isinstance(sink, Sink)
        for i in range(3):
            row = make_face_row(track=4, observed=i != 1, tx=10.0, ty=20.0, shape=shape, **turn)
            sink.write(at_ms(i, 40.0 * i), [row, make_face_row(track=7)] if i == 0 else [row])
        sink.write(at_ms(3, 120.0), [])
        assert not place.exists(), "a finished name is a finished file"
    assert [path.name for path in tmp_path.iterdir()] == ["a.rrd"]
    rows = read_rrd(place)

    def cells(entity: str, column: str) -> list[Any]:
        return [row[column][0] for row in rows[entity] if row.get(column)]

    (camera,) = cells("/camera", "Pinhole:image_from_camera")
    assert np.reshape(camera, (3, 3)).T.tolist() == [
        list(one) for one in recording.camera_matrix or ()
    ]
    assert cells("/camera", "Pinhole:resolution") == [[640.0, 480.0]]
    assert cells("/face_4", "Transform3D:translation") == [[10.0, 20.0, 600.0]] * 3
    for quat_xyzw in cells("/face_4", "Transform3D:quaternion"):
        assert quat_xyzw == pytest.approx([0.0, math.sin(half), 0.0, math.cos(half)], abs=1e-6)
    angles = [
        row["Scalars:scalars"] for row in rows["/angles/face_4"] if row.get("Scalars:scalars")
    ]
    assert angles == [[20.0, -3.0, 1.0]] * 3
    curves = [r["Scalars:scalars"] for r in rows["/blendshapes/face_4"] if r.get("Scalars:scalars")]
    assert curves == [[0.5] * 52] * 3
    seen = [row for row in rows["/camera/face_4"] if row.get("Points2D:positions")]
    landmarks = make_face_row().landmarks_px
    np.testing.assert_allclose(seen[0]["Points2D:positions"], landmarks)
    assert seen[0]["Points2D:colors"] == seen[2]["Points2D:colors"] != seen[1]["Points2D:colors"]
    (points, *_) = (row["Points3D:positions"] for row in rows["/face_4/landmarks"])
    np.testing.assert_allclose(points, small_model.mean + [3.0, 0.0, 0.0], rtol=1e-6)
    assert [row["frame"] for row in seen] == [0, 1, 2]
    assert [row["time"] for row in seen] == [0, 40_000_000, 80_000_000]
    # The second face is gone after the first frame, the first after the third.
    for entity, frames in (("/face_7", [1]), ("/face_4", [3]), ("/camera/face_4", [3])):
        assert [row["frame"] for row in rows[entity] if row.get("Clear:is_recursive")] == frames


def test_a_rerun_file_that_is_given_up_leaves_nothing(
    tmp_path: Path, make_face_row: Maker, recording: Recording
) -> None:
    pytest.importorskip("rerun")
    from mien.stream.sinks.rerun import RerunSink

    sink = RerunSink(tmp_path / "a.rrd", recording)
    sink.write(at_ms(0, 0.0), [make_face_row()])
    sink.abort()
    sink.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="is closed"):
        sink.write(at_ms(1, 40.0), [])
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        RerunSink(tmp_path / "file" / "a.rrd", recording)


def test_a_rerun_viewer_that_does_not_answer_is_one_line(recording: Recording) -> None:
    pytest.importorskip("rerun")
    from mien.stream.sinks.rerun import RerunSink

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(OutputError, match=rf"--rerun 127.0.0.1:{port}: no viewer answers"):
            RerunSink(("127.0.0.1", port), recording)


def test_a_rerun_viewer_receives_every_frame(
    tmp_path: Path, make_face_row: Maker, recording: Recording, port: int
) -> None:
    pytest.importorskip("rerun")
    from mien.stream.sinks.rerun import RerunSink

    received = tmp_path / "received.rrd"
    # The viewer's program without its window: it saves what comes in.
    arguments = ["--bind", "127.0.0.1", "--port", str(port), "--save", str(received)]
    viewer = subprocess.Popen(
        [sys.executable, "-m", "rerun", *arguments],
        env={**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30.0
        while not answers(port) and time.monotonic() < deadline:
            assert viewer.poll() is None
            time.sleep(0.02)
        with RerunSink(("127.0.0.1", port), recording) as sink:
            for i in range(5):
                sink.write(at_ms(i, 40.0 * i), [make_face_row()])
        frames: list[int] = []
        while len(frames) < 5 and time.monotonic() < deadline:
            with contextlib.suppress(RuntimeError, ValueError, OSError):  # half a file
                frames = [row["frame"] for row in read_rrd(received).get("/camera/face_0", [])]
            time.sleep(0.02)
    finally:
        viewer.kill()
        viewer.wait()
    assert sorted(frames) == [*range(5)]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
