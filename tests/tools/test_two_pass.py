"""Annotation in two passes: the faces of live tracking, smoothed by what came later too."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import OutputError
from mien.models.face.bundle import Bundle
from mien.models.face.camera import Camera
from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import quaternion_from_rotation_vector
from mien.stream import FaceObservation, FaceTracker, Frame
from mien.stream.fit import FaceFitter
from mien.stream.reading import read_observations
from mien.stream.regression import Regression
from mien.stream.rows import row_of_state
from mien.stream.smoother import (
    PRESETS,
    FaceMeasurement,
    FaceSmoother,
    PoseMeasurement,
    SmoothingConfig,
)
from mien.stream.smoother.smoother import FilterStep
from mien.stream.sources.opening import open_source
from mien.stream.two_pass import TwoPass
from mien.tools.annotate.annotation import Batch, Result
from mien.tools.annotate.batch import annotate_here
from mien.tools.annotate.files import Wanted
from mien.tools.annotate.inputs import Input
from mien.tools.following import FollowingOptions

Mien = Callable[..., subprocess.CompletedProcess[str]]
Told = Callable[..., None]
Taken = tuple[Frame, list[FaceObservation], list[FilterStep | None]]

CAMERA = Camera.from_fov(640, 480)
EMPTY = np.zeros((0, 0, 3), np.uint8)
FRAME_NS = 33_333_333
BLINK = 8  # eyeBlinkLeft
OPEN_FILES = Path("/proc/self/fd")
SAME = ("frame", "t_media_ns", "t_capture_ns", "track", "observed", "confidence")


class Blind:
    """A network that nobody asks."""

    def run(self, crops: np.ndarray) -> Regression:
        raise AssertionError("nothing is to be looked at")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.default()


@pytest.fixture(scope="module")
def smoothing(bundle: Bundle) -> SmoothingConfig:
    return PRESETS["responsive"].tuned(bundle)


@pytest.fixture(scope="module")
def fitter(bundle: Bundle) -> FaceFitter:
    return FaceFitter(bundle.face_model, Blind())


class Actor:
    """A face whose measurements are acted, with noise, and its filter."""

    def __init__(self, fitter: FaceFitter, smoothing: SmoothingConfig, track: int = 0) -> None:
        self.track = track
        self._fitter = fitter
        self._smoothing = smoothing
        self._rng = np.random.default_rng(track)
        self.lose()

    def lose(self) -> None:
        """It is away, and what comes next begins anew."""
        self._filter = FaceSmoother(self._smoothing)
        self._seen = False

    def act(
        self, frame: int, x_mm: float = 0.0, blink: float = 0.0, *, seen: bool = True
    ) -> tuple[FaceObservation, FilterStep]:
        if self._seen:
            self._filter.predict(FRAME_NS * 1e-9)
        if seen:
            noise = self._rng.normal(size=6) * (0.01, 0.01, 0.01, 0.5, 0.5, 5.0)
            quat = quaternion_from_rotation_vector(noise[:3])
            pose = PerspectivePose(quat, noise[3:] + (x_mm, 0.0, 600.0))
            blendshapes = np.full(52, 0.05)
            blendshapes[BLINK : BLINK + 2] += 0.9 * blink
            measured = FaceMeasurement(
                PoseMeasurement(pose, np.array([1e-4] * 3 + [1e-6] * 2 + [1e-4])),
                np.zeros(10),
                np.full(10, 0.01),
                np.clip(blendshapes + 0.01 * self._rng.normal(size=52), 0.0, 1.0),
            )
            self._filter.update_shape(np.zeros(40), np.full(40, 0.1))
            self._filter.update(measured)
            self._seen = True
        else:
            self._filter.miss()
        state = self._filter.state(0.045)
        assert state is not None
        row = row_of_state(
            state, self._fitter.landmarks_px(state, CAMERA), frame=frame,
            t_media_ns=frame * FRAME_NS, t_capture_ns=None, track=self.track, observed=seen,
            confidence=0.9, variance_stated=True,
        )  # fmt: skip
        return row, copy.deepcopy(self._filter.step())  # it changes with the filter


def moment(index: int) -> Frame:
    """A frame that nobody looks at."""
    return Frame(EMPTY, index, index * FRAME_NS)


def second_pass(
    taken: Sequence[Taken], fitter: FaceFitter, smoothing: SmoothingConfig, folder: Path
) -> list[list[FaceObservation]]:
    """The smoothed rows by frame, having checked that the frames are the same."""
    with TwoPass(fitter, smoothing, folder) as later:
        for frame, rows, steps in taken:
            later.add(frame, rows, steps, CAMERA)
        again = list(later.frames())
    assert [frame.index for frame, _ in again] == [frame.index for frame, _, _ in taken]
    assert [frame.t_ns for frame, _ in again] == [frame.t_ns for frame, _, _ in taken]
    for (_, smoothed), (_, rows, _) in zip(again, taken, strict=True):
        assert kept(smoothed) == kept(rows)
    return [rows for _, rows in again]


def kept(rows: Sequence[FaceObservation]) -> list[tuple[object, ...]]:
    """What smoothing must not change."""
    return [tuple(getattr(row, name) for name in SAME) for row in rows]


def unrest_px(rows: Sequence[FaceObservation]) -> float:
    """Mean step of the landmarks from frame to frame."""
    points = np.array([row.landmarks_px for row in rows])
    return float(np.linalg.norm(np.diff(points, axis=0), axis=2).mean())


def quickly(path: Path, out: Path, *, causal: bool, smoothing: str = "responsive") -> list[Result]:
    batch = Batch(
        out=out,
        wanted=Wanted(),
        bundle=Bundle.default(),
        tracking=FollowingOptions(smoothing=smoothing),
        causal=causal,
    )
    out.mkdir()
    return annotate_here(batch, [Input(path, "rows")])


# -- the command ------------------------------------------------------------------------------


def test_causal_gives_what_a_live_tracker_gives(
    mien: Mien, tmp_path: Path, portrait_video: Path
) -> None:
    done = mien("annotate", portrait_video, "--out", "out", "--causal", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    with open_source(portrait_video) as source, FaceTracker() as tracker:
        live = [row for frame in source for row in tracker.track(frame)]
    written = list(read_observations(tmp_path / "out/portrait.jsonl"))
    assert len(written) == len(live) > 0
    for theirs, ours in zip(written, live, strict=True):
        for name in FaceObservation.__struct_fields__:
            was, now = getattr(theirs, name), getattr(ours, name)
            if isinstance(now, float):
                was, now = np.float32(was), np.float32(now)
            np.testing.assert_array_equal(was, now, err_msg=name)


def test_two_passes_keep_the_rows_and_calm_them(
    tmp_path: Path, portrait_video: Path, make_video: Callable[..., Path]
) -> None:
    with open_source(portrait_video) as source:
        still = next(iter(source)).image_bgr
    rng = np.random.default_rng(0)
    grainy = [
        np.clip(still + rng.normal(0.0, 12.0, still.shape), 0, 255).astype(np.uint8)
        for _ in range(40)
    ]
    film = make_video(tmp_path / "still.mp4", grainy)
    rows = {}
    for causal in (True, False):
        (result,) = quickly(film, tmp_path / str(causal), causal=causal)
        assert result.sidecar is not None
        assert result.sidecar.options["causal"] is causal
        rows[causal] = list(read_observations(tmp_path / str(causal) / "rows.parquet"))
    assert len(rows[False]) >= 36
    assert kept(rows[False]) == kept(rows[True])
    assert unrest_px(rows[False]) < 0.8 * unrest_px(rows[True])


@pytest.mark.parametrize("kind", ["raw", "picture"])
def test_what_is_not_smoothed_is_the_same_either_way(
    tmp_path: Path, eval_dir: Path, portrait_video: Path, kind: str
) -> None:
    path = portrait_video if kind == "raw" else eval_dir / "astronaut.png"
    smoothing = "raw" if kind == "raw" else "responsive"
    rows = {}
    for causal in (True, False):
        quickly(path, tmp_path / str(causal), causal=causal, smoothing=smoothing)
        rows[causal] = list(read_observations(tmp_path / str(causal) / "rows.parquet"))
    assert rows[True] == rows[False] != []


@contextlib.contextmanager
def poured(path: Path, content: bytes) -> Iterator[Path]:
    """A named pipe through which a file comes, once."""
    os.mkfifo(path)

    def pour() -> None:
        with contextlib.suppress(BrokenPipeError), path.open("wb") as pipe:
            pipe.write(content)

    thread = threading.Thread(target=pour, daemon=True)
    thread.start()
    yield path
    thread.join(timeout=10)
    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_can_be_read_only_once_has_rows_but_no_overlay(
    mien: Mien, told: Told, tmp_path: Path, make_video: Callable[..., Path], portrait_video: Path
) -> None:
    with open_source(portrait_video) as source:
        pictures = [frame.image_bgr for frame in source][:8]
    content = make_video(tmp_path / "film.mkv", pictures).read_bytes()
    with poured(tmp_path / "a.mkv", content) as pipe:
        done = mien("annotate", pipe, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert len(list(read_observations(tmp_path / "out/a.parquet"))) == 8
    with poured(tmp_path / "b.mkv", content) as pipe:
        told(mien("annotate", pipe, "--out", "out", "--overlay"), 1, "b.mkv", "--causal")
    with poured(tmp_path / "c.mkv", content) as pipe:
        done = mien("annotate", pipe, "--out", "out", "--overlay", "--causal")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.json", "a.parquet", "c.json", "c.overlay.mp4", "c.parquet"
    ]  # fmt: skip


# -- acted faces ------------------------------------------------------------------------------


def test_a_blink_is_neither_delayed_nor_lost(
    fitter: FaceFitter, smoothing: SmoothingConfig, tmp_path: Path
) -> None:
    actor = Actor(fitter, smoothing)
    peaks = (40, 75, 110)
    course = np.zeros(150)
    for peak in peaks:
        course[peak - 1 : peak + 2] = (0.5, 1.0, 0.5)
    taken: list[Taken] = []
    for frame, blink in enumerate(course):
        row, step = actor.act(frame, blink=float(blink))
        taken.append((moment(frame), [row], [step]))
    smoothed = second_pass(taken, fitter, smoothing, tmp_path)
    values = []
    for rows in smoothed:
        assert rows[0].blendshapes is not None
        values.append(rows[0].blendshapes[BLINK])
    for peak in peaks:
        assert int(np.argmax(values[peak - 10 : peak + 11])) == 10
        assert values[peak] > 0.7


def spooled() -> int | None:
    """Bytes in the unnamed files of this process; None where that cannot be seen."""
    if not OPEN_FILES.is_dir():
        return None
    total = 0
    for entry in OPEN_FILES.iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(entry).endswith("(deleted)"):
                total += os.fstat(int(entry.name)).st_size
    return total


def test_steps_lie_on_disk_and_order_is_kept_over_many_blocks(
    fitter: FaceFitter, smoothing: SmoothingConfig, tmp_path: Path
) -> None:
    count, period = 2600, 120

    def place(frame: int, track: int) -> float:
        return 50.0 * track + 20.0 * math.sin(2.0 * math.pi * frame / period)

    actors = [Actor(fitter, smoothing, track) for track in range(2)]
    acted = [[actor.act(i, place(i, actor.track)) for actor in actors] for i in range(2 * period)]
    with TwoPass(fitter, smoothing, tmp_path) as later:
        before = spooled()
        for frame in range(count):
            # What was acted comes again and again; one of the two leaves gaps.
            now = acted[frame if frame < period else period + frame % period]
            rows, steps = zip(*(now if frame % 7 != 6 else now[:1]), strict=True)
            later.add(moment(frame), rows, steps, CAMERA)
        if before is not None:  # all but the last blocks, 3 kB a row or more
            assert (spooled() or 0) - before > 3000 * 1.8 * (count - 600)
        assert list(tmp_path.iterdir()) == []
        seen = 0
        for frame, rows in later.frames():
            assert frame.index == seen
            assert [row.track for row in rows] == ([0, 1] if seen % 7 != 6 else [0])
            for row in rows:
                assert row.frame == seen
                assert row.tx == pytest.approx(place(seen, row.track), abs=4.0)
            seen += 1
    assert seen == count


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="open files cannot be counted here")
def test_many_passers_by_hold_few_files_open(
    fitter: FaceFitter, smoothing: SmoothingConfig, tmp_path: Path
) -> None:
    before = len(os.listdir(OPEN_FILES))
    with TwoPass(fitter, smoothing, tmp_path) as later:
        for track in range(40):
            actor = Actor(fitter, smoothing, track)
            for frame in range(3 * track, 3 * track + 3):
                row, step = actor.act(frame, float(track))
                later.add(moment(frame), [row], [step], CAMERA)
        assert len(os.listdir(OPEN_FILES)) - before <= 12
        rows = [row for _, rows in later.frames() for row in rows]
        assert [row.track for row in rows] == [track for track in range(40) for _ in range(3)]
        assert [row.tx for row in rows] == pytest.approx([row.track for row in rows], abs=2.0)
    assert len(os.listdir(OPEN_FILES)) == before


def test_a_face_that_came_back_elsewhere_is_not_drawn_there_before(
    fitter: FaceFitter, smoothing: SmoothingConfig, tmp_path: Path
) -> None:
    actor = Actor(fitter, smoothing)
    taken: list[Taken] = []
    for frame in range(160):
        if 60 <= frame < 90:  # lost: no row
            actor.lose()
            taken.append((moment(frame), [], []))
            continue
        x = 0.0 if frame < 90 else 200.0
        row, step = actor.act(frame, x, seen=not 50 <= frame < 60)
        taken.append((moment(frame), [row], [step]))
    smoothed = second_pass(taken, fitter, smoothing, tmp_path)
    for frame, rows in enumerate(smoothed):
        for row in rows:
            assert row.tx == pytest.approx(0.0 if frame < 90 else 200.0, abs=15.0), frame
            assert row.observed == (not 50 <= frame < 60)


def test_a_row_without_a_step_stays_as_it_is(
    fitter: FaceFitter, smoothing: SmoothingConfig, tmp_path: Path
) -> None:
    row, _ = Actor(fitter, smoothing).act(0)
    ((again,),) = second_pass([(moment(0), [row], [None])], fitter, smoothing, tmp_path)
    np.testing.assert_allclose(again.landmarks, row.landmarks, atol=1e-3)
    assert (again.tx, again.qw) == (row.tx, row.qw)


def test_a_folder_that_cannot_be_written_is_told(
    fitter: FaceFitter, smoothing: SmoothingConfig, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        TwoPass(fitter, smoothing, tmp_path / "nowhere")
