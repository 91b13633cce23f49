from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mien.models.errors import InputError, OutputError
from mien.models.face.names import BLENDSHAPE_NAMES
from mien.stream.frame import Frame
from mien.stream.messages import decode, encode, observation_of, pose_message
from mien.stream.observation import FaceObservation
from mien.stream.reading import read_observations, read_parquet_metadata
from mien.stream.schema import (
    COLUMNS,
    CSV_HEADER,
    csv_row,
    from_plain,
    observation_from_csv,
    plain_row,
    rounded,
    shortest_float32,
)
from mien.stream.sinks import FileSink, Recording
from mien.stream.sinks.csv import CsvSink
from mien.stream.sinks.jsonl import JsonLinesSink
from mien.stream.sinks.parquet import ParquetSink

Maker = Callable[..., FaceObservation]
BLANK = np.zeros((2, 2, 3), dtype=np.uint8)
NULLABLE = [column.name for column in COLUMNS if column.nullable]

rows = given(st.integers(0, 2**32), st.sets(st.sampled_from(NULLABLE)))
settled = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_columns_are_those_of_the_design() -> None:
    assert [f"{c.name} {c.type_name}" for c in COLUMNS] == [
        *("frame int64", "t_media_ns int64?", "t_capture_ns int64?", "track int32"),
        *("observed bool", "confidence float32?"),
        *(f"box_{part} float32" for part in "xywh"),
        *(f"{angle} float32" for angle in ("yaw", "pitch", "roll")),
        *(f"q{part} float32" for part in "wxyz"),
        *(f"t{axis} float32" for axis in "xyz"),
        *("pose_variance float32[6]?", "shape float32[40]", "expression float32[10]"),
        *("landmarks float32[136]", "blendshapes float32[52]?"),
    ]
    assert all(column.description for column in COLUMNS)
    assert len(CSV_HEADER) == len(set(CSV_HEADER)) == 20 + 6 + 40 + 10 + 136 + 52
    assert f"blendshapes_{BLENDSHAPE_NAMES[8]}" in CSV_HEADER
    assert "landmarks_y67" in CSV_HEADER


def test_a_row_refuses_lists_of_another_length_or_type(make_face_row: Maker) -> None:
    with pytest.raises(InputError, match=r"shape is float32\[39\], expected float32\[40\]"):
        make_face_row(shape=np.zeros(39, np.float32))
    with pytest.raises(InputError, match=r"landmarks is float64\[136\]"):
        make_face_row(landmarks=np.zeros(136))


def test_rows_are_equal_by_value(make_random_row: Maker) -> None:
    assert make_random_row(3) == make_random_row(3)
    assert make_random_row(3) != make_random_row(4)
    assert make_random_row(3) != make_random_row(3, blendshapes=None)
    assert make_random_row(3) != "a row"


@settled
@given(hnp.arrays(np.float32, 30, elements=st.floats(width=32, allow_nan=False)))
def test_short_floats_read_back_as_the_same_float32(values: np.ndarray) -> None:
    short = shortest_float32(values.astype(np.float64))
    assert np.array_equal(np.array(short).astype(np.float32), values)


def test_short_floats_are_short() -> None:
    values = np.array([0.9, 123.4, -17.25, 0.0, 1e-5], dtype=np.float32)
    assert list(map(repr, shortest_float32(values.astype(np.float64)))) == [
        *("0.9", "123.4", "-17.25", "0.0", "1e-05")
    ]


@settled
@rows
def test_text_and_wire_round_trips(make_random_row: Maker, seed: int, absent: set[str]) -> None:
    row = make_random_row(seed, **dict.fromkeys(absent))
    assert observation_from_csv(list(csv_row(row))) == row
    text = msgspec.json.encode(plain_row(row))
    assert rounded(msgspec.json.decode(text, type=FaceObservation, dec_hook=from_plain)) == row
    message = decode(b"pose.a.1.", encode(pose_message(row, seq=7, t_publish_ns=8)))
    assert observation_of(message) == row  # pyright: ignore[reportArgumentType]
    assert (message.v, message.seq, message.t_publish_ns) == (1, 7, 8)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_files_round_trip_in_order_of_frame_and_track(
    tmp_path: Path, make_random_row: Maker, recording: Recording, suffix: str
) -> None:
    path = tmp_path / f"deep/er/a{suffix}"
    written = [
        make_random_row(10 * i + track, frame=i, track=track, **absent)
        for i in range(7)
        for track in range(i % 3)
        for absent in [dict.fromkeys(NULLABLE) if (i + track) % 2 else {}]
    ]
    with open_sink(path, recording) as sink:
        for i in range(7):
            faces = [row for row in written if row.frame == i]
            sink.write(Frame(BLANK, i), faces[::-1])
        assert not path.exists()
    assert list(read_observations(path)) == written
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_film_without_faces_gives_a_file_without_rows(
    tmp_path: Path, recording: Recording, suffix: str
) -> None:
    with open_sink(tmp_path / f"a{suffix}", recording) as sink:
        sink.write(Frame(BLANK, 0), [])
    assert list(read_observations(tmp_path / f"a{suffix}")) == []


def test_parquet_says_units_provenance_and_has_row_groups(
    tmp_path: Path, make_random_row: Maker, recording: Recording
) -> None:
    path = tmp_path / "a.parquet"
    row = make_random_row(0)
    with ParquetSink(path, recording) as sink:
        for i in range(5000):
            sink.write(Frame(BLANK, i), [row])
    schema = pq.read_schema(path)
    assert {name: schema.field(name).metadata[b"unit"] for name in ("tz", "yaw", "landmarks")} == {
        "tz": b"mm", "yaw": b"deg", "landmarks": b"px"
    }  # fmt: skip
    assert schema.field("shape").type.list_size == 40
    assert not schema.field("frame").nullable
    assert schema.field("t_media_ns").nullable
    metadata = read_parquet_metadata(path)
    assert metadata["schema_version"] == "1"
    assert metadata["bundle_hash"] == "ab12"
    assert metadata["source"] == "a.mp4"
    assert metadata["frame_rate"] == "30.0"
    assert (metadata["width"], metadata["height"]) == ("640", "480")
    assert msgspec.json.decode(metadata["options"]) == recording.options
    assert msgspec.json.decode(metadata["camera_matrix"])[0] == [554.0, 0.0, 319.5]
    file = pq.read_metadata(path)
    assert file.num_row_groups == 2
    assert file.num_rows == 5000
    assert file.row_group(0).column(0).compression == "ZSTD"


def test_two_equal_runs_give_equal_files(
    tmp_path: Path, make_random_row: Maker, recording: Recording
) -> None:
    for name in ("a", "b"):
        with ParquetSink(tmp_path / f"{name}.parquet", recording) as sink:
            sink.write(Frame(BLANK, 0), [make_random_row(1)])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_an_exception_leaves_nothing_behind(
    tmp_path: Path, make_face_row: Maker, recording: Recording, suffix: str
) -> None:
    sink = open_sink(tmp_path / f"a{suffix}", recording)

    def fail_inside() -> None:
        with sink:
            sink.write(Frame(BLANK, 0), [make_face_row()])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="is closed"):
        sink.write(Frame(BLANK, 1), [])


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_place_that_cannot_be_written_is_said_at_once(
    tmp_path: Path, recording: Recording, suffix: str
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match=r"cannot be written: (Not a directory|File exists)"):
        open_sink(tmp_path / f"file/a{suffix}", recording)
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        open_sink(tmp_path / f"folder{suffix}", recording)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "a,b\n1,2\n", "header"),
        ("a.csv", ",".join(CSV_HEADER) + "\n1,2\n", "a row of 2 cells, expected 264"),
        ("a.csv", ",".join(CSV_HEADER) + "\n" + "x," * 263 + "1\n", "'x' is not int64"),
        ("a.jsonl", '{"frame": 1}\n', "missing required field"),
        ("a.jsonl", "{", "truncated"),
        ("a.parquet", "PAR1", "not a Parquet file"),
        ("a.txt", "", "expected a name that ends with"),
    ],
)
def test_files_of_others_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        list(read_observations(tmp_path / name))


def test_whole_numbers_that_another_writer_kept_as_doubles(
    tmp_path: Path, make_face_row: Maker, recording: Recording
) -> None:
    path = tmp_path / "a.parquet"
    with open_sink(path, recording) as sink:
        sink.write(Frame(BLANK, 3), [make_face_row(frame=3)])
    table = pq.read_table(path)
    k = table.column_names.index("frame")
    for value, fine in ((3.0, True), (3.5, False), (float("nan"), False), (1e300, False)):
        pq.write_table(table.set_column(k, "frame", [[value]]), path)
        if fine:
            assert [read.frame for read in read_observations(path)] == [3]
        else:
            with pytest.raises(InputError, match=r"frame: .* is not int64"):
                list(read_observations(path))


def open_sink(path: Path, recording: Recording) -> FileSink:
    if path.suffix == ".parquet":
        return ParquetSink(path, recording)
    return CsvSink(path) if path.suffix == ".csv" else JsonLinesSink(path)
