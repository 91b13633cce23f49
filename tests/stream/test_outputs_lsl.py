"""The Lab Streaming Layer's outlets, read back by pylsl's inlets."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models.errors import OutputError
from mien.models.face.names import BLENDSHAPE_NAMES
from mien.stream.frame import Frame
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Recording, Sink
from mien.stream.sinks.lsl import CHANNELS, FOUND, LOST, LslSink

Maker = Callable[..., FaceObservation]
GREY = np.zeros((4, 4, 3), np.uint8)
WAIT_S = 20.0
LABELS = [label for label, _, _ in CHANNELS]


@pytest.fixture(scope="module", autouse=True)
def lsl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """pylsl, told to look on this machine only; its library reads that once."""
    place = tmp_path_factory.mktemp("lsl") / "lsl_api.cfg"
    place.write_text("[multicast]\nResolveScope = machine\n[log]\nlevel = -3\n")
    os.environ["LSLAPICFG"] = str(place)
    yield pytest.importorskip("pylsl")
    del os.environ["LSLAPICFG"]


def connected(lsl: Any, name: str) -> Any:
    found = lsl.resolve_byprop("name", name, 1, WAIT_S)
    assert len(found) == 1, f"no stream {name}"
    inlet = lsl.StreamInlet(found[0])
    inlet.open_stream(timeout=WAIT_S)
    return inlet


def samples(inlet: Any, count: int) -> tuple[list[dict[str, float]], list[float]]:
    """The next samples by label, and their time stamps."""
    pulled = [inlet.pull_sample(timeout=WAIT_S) for _ in range(count)]
    assert all(sample is not None for sample, _ in pulled)
    return [dict(zip(LABELS, sample, strict=True)) for sample, _ in pulled], [t for _, t in pulled]


def test_numbers_times_and_markers(
    lsl: Any, make_face_row: Maker, recording: Recording, tmp_path: Path
) -> None:
    values = np.linspace(0.0, 1.0, 52, dtype=np.float32)
    seen = make_face_row(
        track=6, confidence=0.75, tx=-12.5, ty=30.25, tz=612.0, yaw=11.5, pitch=-4.25, roll=2.0,
        qw=0.5, qx=-0.5, qy=0.5, qz=-0.5, blendshapes=values,
        pose_variance=np.arange(1, 7, dtype=np.float32) / 64,
    )  # fmt: skip
    predicted = make_face_row(track=6, observed=False, confidence=None, blendshapes=None)
    name = f"test-{os.getpid()}"
    with LslSink(recording, name) as sink:
        assert isinstance(sink, Sink)
        numbers = connected(lsl, f"mien-{name}")
        markers = connected(lsl, f"mien-{name}-markers")
        # Ready once a first, empty frame comes through.
        begin_ns, begin_s = time.perf_counter_ns(), lsl.local_clock()
        faces = [[], [seen], [predicted, make_face_row(track=2)], [], [make_face_row(track=2)]]
        for i, rows in enumerate(faces):
            sink.write(Frame(GREY, i, t_capture_ns=begin_ns - (5 - i) * 10**8), rows)
        got, times = samples(numbers, 5)
        marks = [markers.pull_sample(timeout=WAIT_S) for _ in range(3)]
        description = numbers.info(WAIT_S)
    # A frame without a face.
    assert got[0]["observed"] == 0.0
    assert all(math.isnan(value) for label, value in got[0].items() if label != "observed")
    # A face, in the units of a row.
    one = got[1]
    assert (one["observed"], one["track"], one["confidence"]) == (1.0, 6.0, 0.75)
    assert [one[axis] for axis in "xyz"] == [-12.5, 30.25, 612.0]
    assert [one[part] for part in ("qw", "qx", "qy", "qz")] == [0.5, -0.5, 0.5, -0.5]
    assert [one[angle] for angle in ("yaw", "pitch", "roll")] == [11.5, -4.25, 2.0]
    assert [one[f"variance_{axis}"] for axis in ("rx", "ry", "rz", "x", "y", "z")] == [
        i / 64 for i in range(1, 7)
    ]
    assert [one[shape] for shape in BLENDSHAPE_NAMES] == values.tolist()
    # Predicted: the same face is kept, what it lacks is NaN.
    assert (got[2]["observed"], got[2]["track"]) == (0.0, 6.0)
    assert math.isnan(got[2]["confidence"])
    assert math.isnan(got[2]["jawOpen"])
    assert got[2]["z"] == 600.0
    assert got[4]["track"] == 2.0
    # Times of capture on LSL's clock.
    assert times == pytest.approx([begin_s - 0.1 * (5 - i) for i in range(5)], abs=2e-3)
    assert [mark for (mark,), _ in marks] == [FOUND, LOST, FOUND]
    assert [stamp for _, stamp in marks] == pytest.approx([times[1], times[3], times[4]], abs=1e-9)
    assert description.type() == "Face"
    assert description.nominal_srate() == lsl.IRREGULAR_RATE
    assert description.get_channel_labels() == LABELS
    assert description.get_channel_units() == [unit for _, unit, _ in CHANNELS]
    assert description.get_channel_types() == [kind for _, _, kind in CHANNELS]
    assert description.desc().child("setup").child_value("width") == "640"


def test_frames_of_a_file_have_its_times_from_when_it_began(
    lsl: Any, make_face_row: Maker, recording: Recording
) -> None:
    name = f"file-{os.getpid()}"
    with LslSink(recording, name) as sink:
        numbers = connected(lsl, f"mien-{name}")
        before_s = lsl.local_clock()
        for i in range(3):
            frame = Frame(GREY, i, t_media_ns=5 * 10**9 + i * 250_000_000)
            sink.write(frame, [make_face_row()])
        _, times = samples(numbers, 3)
    assert before_s <= times[0] <= lsl.local_clock()
    assert np.diff(times) == pytest.approx([0.25, 0.25])


def test_nothing_is_sent_after_closing(recording: Recording) -> None:
    sink = LslSink(recording, f"closed-{os.getpid()}")
    sink.close()
    sink.abort()
    with pytest.raises(OutputError, match="is closed"):
        sink.write(Frame(GREY, 0), [])
