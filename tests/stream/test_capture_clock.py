"""Capture times from time stamps that jitter, jump and drift."""

from __future__ import annotations

import numpy as np
import pytest

from mien.stream.sources.capture_clock import CaptureClock

SECOND = 10**9


def test_capture_times_lose_the_jitter_of_arrival() -> None:
    rng = np.random.default_rng(0)
    clock = CaptureClock()
    true_ns = [i * 33_333_333 for i in range(300)]
    arrivals = [
        10**12 + t + int(j) for t, j in zip(true_ns, rng.exponential(4e6, 300), strict=True)
    ]
    stamps = [clock.stamp(t, arrival) for t, arrival in zip(true_ns, arrivals, strict=True)]
    assert all(stamp <= arrival for stamp, arrival in zip(stamps, arrivals, strict=True))
    steps = np.diff(stamps[30:])
    assert np.abs(steps - 33_333_333).max() < 500_000
    assert np.diff(arrivals[30:]).std() > 3e6


def test_capture_times_follow_jumps_and_drift_and_never_go_back() -> None:
    clock = CaptureClock()
    stamps = [clock.stamp(0, 10**12), clock.stamp(10**9, 10**12 + 10**9)]
    stamps.append(clock.stamp(5, 10**12 + 2 * 10**9))  # the time stamps began anew
    stamps.append(clock.stamp(5, 10**12 + 2 * 10**9))
    stamps.append(clock.stamp(None, 10**12 + 3 * 10**9))
    assert stamps == [10**12, 10**12 + 10**9, 10**12 + 2 * 10**9, 10**12 + 2 * 10**9 + 1,
                      10**12 + 3 * 10**9]  # fmt: skip
    drifting, arrival, stamp = CaptureClock(), 0, 0
    for i in range(1000):
        arrival = 10**12 + i * 10**9 + i * 50_000  # 50 millionths slow
        stamp = drifting.stamp(i * 10**9, arrival)
    assert 0 <= arrival - stamp < 200_000


@pytest.mark.parametrize("jump_s", [-7200.0, -0.4, 0.4, 7200.0])
def test_capture_times_follow_jumps_at_once(jump_s: float) -> None:
    clock, jump = CaptureClock(), round(jump_s * SECOND)
    for i in range(90):
        arrival = 10**12 + i * SECOND // 30
        stamp = clock.stamp(i * SECOND // 30 + (jump if i >= 60 else 0), arrival)
        assert arrival - 1_000_000 <= stamp <= arrival


def test_capture_times_of_frames_that_piled_up_say_when_they_were_taken() -> None:
    clock = CaptureClock()
    for i in range(30):
        clock.stamp(i * SECOND, 10**12 + i * SECOND)
    late = [clock.stamp(i * SECOND, 10**12 + 34 * SECOND + i) for i in range(30, 34)]
    assert [round((stamp - 10**12) / 1e9, 2) for stamp in late] == [30.0, 31.0, 32.0, 33.0]
    # A source that stood still is no late one: it is believed after 10 seconds.
    ages = []
    for i in range(34, 60):
        arrival = 10**12 + (i + 5) * SECOND
        ages.append(arrival - clock.stamp(i * SECOND, arrival))
    assert ages[0] == pytest.approx(5 * SECOND, rel=0.01)
    assert max(ages[-5:]) < SECOND // 100


@pytest.mark.parametrize("drift", [-200e-6, 40e-6, 200e-6])
def test_capture_times_follow_drift_for_hours(drift: float) -> None:
    clock, rng = CaptureClock(), np.random.default_rng(0)
    jitter_ns = rng.exponential(3e6, 3 * 3600 * 2).astype(np.int64)
    ages = []
    for i, jitter in enumerate(jitter_ns.tolist()):
        taken = 10**12 + i * SECOND // 2
        stamp = clock.stamp(round(i * (SECOND // 2) * (1.0 + drift)), taken + jitter)
        assert stamp <= taken + jitter
        ages.append(taken - stamp)
    assert np.abs(ages[120:]).max() < 10_000_000
    assert np.abs(np.median(ages[-120:])) < 4_000_000


def test_time_stamps_of_the_same_clock_are_kept() -> None:
    clock = CaptureClock()
    assert clock.stamp(10**12, 10**12 + 20_000_000) == 10**12
    assert clock.stamp(10**12 + 33, 10**12 + 5_000_000) == 10**12 + 33
