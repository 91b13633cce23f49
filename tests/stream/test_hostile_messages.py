"""Messages whose numbers no row can hold: a subscriber counts them, and goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zmq

from mien.models.errors import InputError
from mien.stream.messages import (
    MESSAGES,
    EchoReply,
    FrameMessage,
    HelloMessage,
    decode,
    encode,
    pose_message,
)
from mien.stream.observation import LIMITS, FaceObservation
from mien.stream.reading import read_observations
from mien.stream.schema import COLUMNS, CSV_HEADER, columns_of, csv_row
from mien.stream.subscriber import PoseSubscriber
from mien.stream.subscription import Received
from mien.tools.live.listen import Listen, Recorder

Maker = Callable[..., FaceObservation]
HELLO = HelloMessage(
    v=1, seq=0, t_publish_ns=0, stream="a", columns=[], conventions={},
    camera_matrix=[[500.0, 0.0, 32.0], [0.0, 500.0, 24.0], [0.0, 0.0, 1.0]], bundle_hash="",
    source="test", width=64, height=48, rate=None, landmark_names=[], blendshape_names=[],
    clock_monotonic_ns=0, clock_unix_ns=0, echo=None,
)  # fmt: skip
FRAME = FrameMessage(
    v=1, seq=0, t_publish_ns=0, frame=7, t_media_ns=None, t_capture_ns=1, tracks=[0]
)
ODD: list[tuple[str, str, Any]] = [
    *(("hello", "camera_matrix", matrix) for matrix in (
        [[]], [], [[1.0] * 3], [[1.0] * 3] * 4, [[1.0] * 3, [1.0] * 3, [1.0] * 4], [["x"] * 3] * 3,
    )),
    ("hello", "width", 2**31), ("hello", "height", -(2**31) - 1),
    ("hello", "clock_unix_ns", 2**64 - 1),
    ("frame", "frame", 2**64 - 1), ("frame", "frame", 2**63), ("frame", "seq", 2**63),
    ("frame", "t_media_ns", 2**64 - 1), ("frame", "t_capture_ns", 2**63),
    ("frame", "tracks", [0, 2**31]), ("frame", "t_publish_ns", 2**63),
    ("pose", "frame", 2**64 - 1), ("pose", "track", 2**40), ("pose", "track", -(2**31) - 1),
    ("pose", "t_media_ns", 2**63), ("pose", "t_capture_ns", 2**64 - 1),
]  # fmt: skip


def plain_of(kind: str, row: FaceObservation) -> dict[str, Any]:
    """A message as others would send it."""
    message = {"hello": HELLO, "frame": FRAME}.get(kind, pose_message(row, seq=0, t_publish_ns=0))
    return msgspec.msgpack.decode(encode(message))


@pytest.mark.parametrize(("kind", "field", "value"), ODD)
def test_numbers_that_no_row_can_hold(
    kind: str, field: str, value: Any, make_random_row: Maker
) -> None:
    topic = f"{kind}.a.".encode()
    plain = plain_of(kind, make_random_row(1, frame=7, track=0))
    decode(topic, msgspec.msgpack.encode(plain))
    with pytest.raises(InputError, match=rf"^{kind}\.a\.: .*\$\.{field}") as caught:
        decode(topic, msgspec.msgpack.encode({**plain, field: value}))
    assert "\n" not in str(caught.value)


def test_whole_numbers_have_the_limits_of_the_type_that_they_are_said_to_be() -> None:
    for message in (FaceObservation, *MESSAGES.values(), EchoReply):
        hints = get_type_hints(message, include_extras=True)
        for column in columns_of(message):
            if column.dtype not in LIMITS:
                continue
            hint = hints[column.name]
            if column.nullable:  # the limits are those of the number
                hint = next(one for one in get_args(get_args(hint)[0]) if one is not type(None))
            assert get_origin(hint) is Annotated
            meta = get_args(hint)[1]
            assert (meta.ge, meta.le) == LIMITS[column.dtype], column.name


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_recording_goes_on_after_what_cannot_be_recorded(
    suffix: str, make_random_row: Maker, tmp_path: Path
) -> None:
    row = make_random_row(1, frame=7, track=0)
    with (
        zmq.Context() as context,
        context.socket(zmq.XPUB) as publisher,
    ):
        publisher.linger = 0
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        with (
            PoseSubscriber(f"tcp://127.0.0.1:{port}", every=True) as subscriber,
            Recorder(tmp_path / f"a{suffix}", None) as recorder,
        ):
            for _ in MESSAGES:  # it asks for each kind
                assert publisher.poll(5000)
                publisher.recv()
            fine = [(kind, "v", 1) for kind in ("hello", "pose", "frame")]
            for kind, field, value in [*ODD, *fine]:
                payload = msgspec.msgpack.encode({**plain_of(kind, row), field: value})
                publisher.send_multipart([f"{kind}.a.".encode(), payload])
            end = time.monotonic() + 10
            while not recorder.rows:
                assert time.monotonic() < end, subscriber.stats
                for received in subscriber.receive(0.1):
                    recorder.take(received)
            assert subscriber.stats.invalid == len(ODD)
    (found,) = read_observations(tmp_path / f"a{suffix}")
    assert (found.frame, found.track) == (7, 0)


def test_poses_without_frames_do_not_pile_up(
    make_random_row: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = make_random_row(1, frame=7, track=0)
    pose = Received("pose.a.0.", pose_message(row, seq=0, t_publish_ns=0), 0)
    with Recorder(tmp_path / "a.csv", None) as recorder:
        recorder.take(Received("hello.a.", HELLO, 0))
        for _ in range(5000):
            recorder.take(pose)
        recorder.take(Received("frame.a.", FRAME, 0))
        assert (recorder.rows, recorder.dropped) == (4096, 904)
        recorder.take(pose)
        recorder.take(Received("frame.a.", FRAME, 0))
    with PoseSubscriber("tcp://127.0.0.1:9") as subscriber:
        Listen()._tell(subscriber, recorder)
    assert "recorded 4097 rows, dropped 904 without a frame: " in capsys.readouterr().err


@pytest.mark.parametrize(("name", "value"), [("track", 2**31), ("frame", 2**63)])
def test_files_with_numbers_that_no_row_can_hold(
    name: str, value: int, make_random_row: Maker, tmp_path: Path
) -> None:
    row = msgspec.structs.replace(make_random_row(1, frame=7, track=0), **{name: value})
    path = tmp_path / "a.csv"
    path.write_text(",".join(CSV_HEADER) + "\n" + ",".join(csv_row(row)) + "\n")
    with pytest.raises(InputError, match=f"{name}: '{value}' is not int"):
        list(read_observations(path))
    columns: dict[str, Any] = {
        column.name: pa.array([np.asarray(getattr(row, column.name)).tolist()])
        for column in COLUMNS
        if column.name != name and getattr(row, column.name) is not None
    }
    path = tmp_path / "a.parquet"
    for odd in (pa.array([value], pa.uint64()), pa.array(["x"]), pa.array([0.5])):
        kinds = {c.name: pa.nulls(1) for c in COLUMNS} | columns | {name: odd}
        pq.write_table(pa.table(kinds), path)
        with pytest.raises(InputError, match=f"a.parquet: {name}: .* is not int"):
            list(read_observations(path))


def test_a_publisher_of_many_streams_and_of_huge_messages() -> None:
    hello = msgspec.to_builtins(HELLO)
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
        publisher.linger = 0
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        with PoseSubscriber(f"tcp://127.0.0.1:{port}", every=True) as subscriber:
            for _ in MESSAGES:
                assert publisher.poll(5000)
                publisher.recv()
            for number in range(300):
                payload = msgspec.msgpack.encode({**hello, "stream": f"s{number}"})
                publisher.send_multipart([f"hello.s{number}.".encode(), payload])
            end = time.monotonic() + 10
            while "s299" not in subscriber.hellos:
                assert time.monotonic() < end, subscriber.stats
                subscriber.receive(0.1)
            assert len(subscriber.hellos) == 256
            assert "s0" not in subscriber.hellos
            publisher.send_multipart([b"hello.big.", bytes(2 << 20)])
            assert publisher.poll(5000)  # it goes, and asks again
            assert subscriber.stats.received == 300
