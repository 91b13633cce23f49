"""Where the steps of the off-line smoother lie: in blocks of a file, which do not show."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import OutputError
from mien.models.face.rotation import quaternion_multiply
from mien.stream.smoother import (
    FaceMeasurement,
    FaceState,
    SmoothingConfig,
    offline,
)
from mien.stream.smoother.offline import OfflineSmoother
from mien.stream.smoother.smoother import FilterStep

from .measured_faces import NOISE, look, turned

DT = 1 / 30
NO_GATE = 1e9
THREE_SPEEDS = (0.02, 0.3, 3.0)
Frame = tuple[float, FaceMeasurement | None]
Make = Callable[..., SmoothingConfig]
FilterTrack = Callable[..., tuple[list[FaceState | None], list[FilterStep]]]
SmoothTrack = Callable[..., list[FaceState]]
Near = Callable[..., None]


def lively(count: int) -> list[Frame]:
    """A spin through full turns that stops and goes, with gaps, wild frames and a jump."""
    rng = np.random.default_rng(3)
    frames: list[Frame] = []
    angle = 0.0
    for k in range(count):
        angle += 0.15 if (k // 40) % 2 else 0.0
        noise = NOISE * rng.normal(size=6)
        quat = quaternion_multiply(turned(*noise[:3]), turned(0.3 * angle, angle, 0.1))
        view = np.array([0.0, 0.1, 6.0]) + noise[3:] + (2.0 if k in (60, 377) or k > 500 else 0.0)
        gone = k % 97 in (90, 91, 92)
        blendshapes = rng.uniform(0.3, 0.7, 52)
        seen = look(quat, view, expression=NOISE * rng.normal(size=10), blendshapes=blendshapes)
        frames.append((DT * (1 + k % 3), None if gone else seen))
    return frames


@pytest.mark.parametrize(
    ("count", "block"), [(700, 256), *((count, 3) for count in (1, 2, 3, 4, 6, 7))]
)
def test_blocks_do_not_show(
    make_smoothing: Make,
    filter_track: FilterTrack,
    smooth_track: SmoothTrack,
    expect_near: Near,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    block: int,
) -> None:
    config, frames = make_smoothing(THREE_SPEEDS), lively(count)
    _, steps = filter_track(config, frames)
    monkeypatch.setattr(offline, "_BLOCK", 4096)
    whole = smooth_track(config, steps)
    monkeypatch.setattr(offline, "_BLOCK", block)
    cut = smooth_track(config, steps)
    assert len(cut) == len(whole) == count
    for one, other in zip(cut, whole, strict=True):
        expect_near(one, other)


def test_modes_are_weighed_by_the_future_too() -> None:
    """Against all sequences of modes, one by one."""
    from mien.stream.smoother import _offline_kernel

    rng = np.random.default_rng(8)
    count, forget_s, usual = 5, 0.4, np.array([0.5, 0.3, 0.2])
    dt_s, likelihood = rng.uniform(0.02, 0.5, count), rng.normal(size=(count, 1, 3)) * 2
    changes = [
        (stays := math.exp(-dt / forget_s)) * np.eye(3) + (1.0 - stays) * usual for dt in dt_s
    ]
    filtered_shares, share = np.empty((count, 1, 3)), usual
    for t in range(count):
        share = share @ changes[t] * np.exp(likelihood[t, 0])
        filtered_shares[t, 0] = share = share / share.sum()
    expected = np.zeros((count, 3))
    for modes in product(range(3), repeat=count):
        chance = usual @ changes[0][:, modes[0]]
        for t in range(1, count):
            chance *= changes[t][modes[t - 1], modes[t]]
        chance *= math.exp(sum(likelihood[t, 0, mode] for t, mode in enumerate(modes)))
        expected[range(count), modes] += chance
    expected /= expected.sum(axis=1, keepdims=True)
    beyond = np.ones((1, 3))
    for part in (slice(3, 5), slice(0, 3)):  # in two blocks, the later one first
        _offline_kernel.modes_backward(
            filtered_shares[part], likelihood[part], dt_s[part], usual[None], np.array([forget_s]),
            beyond,
        )  # fmt: skip
    np.testing.assert_allclose(filtered_shares[:, 0], expected)


def test_states_are_smooth_without_being_told_and_whenever_they_are_asked_for(
    make_smoothing: Make, filter_track: FilterTrack, smooth_track: SmoothTrack, expect_near: Near
) -> None:
    config, frames = make_smoothing(THREE_SPEEDS, gate=NO_GATE), lively(50)
    _, steps = filter_track(config, frames)
    early, late = smooth_track(config, steps[:30]), smooth_track(config, steps)
    with closing(OfflineSmoother(config)) as smoother:
        assert list(smoother.states(0.0)) == []
        for step in steps[:30]:
            smoother.add(step)
        assert len(smoother) == 30
        for expected in (early, early, late, late):
            for step in steps[len(smoother) : len(expected)]:
                smoother.add(step)
            for one, other in zip(smoother.states(0.0), expected, strict=True):
                expect_near(one, other, 1e-9)


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """The system refuses what goes beyond, as a full disk does."""
    resource = pytest.importorskip("resource", reason="POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("count", [1, 20, 513])
def test_a_full_disk_is_said_in_one_line(
    make_smoothing: Make, filter_track: FilterTrack, tmp_path: Path, count: int
) -> None:
    """However little is missing: the last bytes are written late."""
    config = make_smoothing(THREE_SPEEDS, gate=NO_GATE)
    _, steps = filter_track(config, lively(count))

    def run(smoother: OfflineSmoother) -> None:
        for step in steps:
            smoother.add(step)
        smoother.smooth()

    with closing(OfflineSmoother(config, tmp_path)) as smoother:
        run(smoother)
        size = os.fstat(smoother._file.fileno()).st_size
    with closing(OfflineSmoother(config, tmp_path)) as smoother:
        with no_file_longer_than(size - 100), pytest.raises(OutputError, match="no room") as caught:
            run(smoother)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_named(make_smoothing: Make, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        OfflineSmoother(make_smoothing(THREE_SPEEDS, gate=NO_GATE), tmp_path / "nowhere")
