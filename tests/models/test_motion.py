"""Natural motion: a function of time alone, as fast, as still and as wide as people's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.models.makehuman.expression import gaze_degrees
from mien.models.noise.motion import MotionSamples, NaturalMotion
from mien.models.noise.motion_config import MotionConfig

RATE = 200.0
SECONDS = 240.0
RESTS = MotionConfig(shift=0, nod=0, shake=0, drift=0, lean=0)
MUTE = MotionConfig(
    saccade_interval_s=None,
    speech_pause_s=None,
    smile_interval_s=None,
    brow_interval_s=None,
    grimace_interval_s=None,
)


def sampled(config: MotionConfig, seed: int = 5) -> MotionSamples:
    motion = NaturalMotion(np.random.default_rng(seed), SECONDS, config)
    return motion.at(np.arange(0, SECONDS, 1 / RATE))


@pytest.fixture(scope="module")
def samples() -> MotionSamples:
    return sampled(MotionConfig())


def speed(values: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(values, axis=0), axis=1) * RATE


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First index and length of each run of True that begins and ends within."""
    edges = np.diff(flags.astype(int), prepend=1, append=1)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    ends = ends[ends > starts[0]]
    return [(int(a), int(b - a)) for a, b in zip(starts, ends, strict=False)]


def column(samples: MotionSamples, name: str) -> np.ndarray:
    return samples.blendshapes[:, BLENDSHAPE_INDEX[name]]


def test_any_sampling_sees_the_same_motion() -> None:
    motion = NaturalMotion(np.random.default_rng(3), 20.0)
    again = NaturalMotion(np.random.default_rng(3), 20.0)
    t = np.random.default_rng(0).uniform(0, 20, 300)
    whole = motion.at(t)
    for k in range(0, 300, 7):
        one = again.at(t[k : k + 1])
        np.testing.assert_allclose(one.angles_deg[0], whole.angles_deg[k], atol=1e-9)
        np.testing.assert_allclose(one.translation_mm[0], whole.translation_mm[k], atol=1e-9)
        np.testing.assert_allclose(one.blendshapes[0], whole.blendshapes[k], atol=1e-6)
        assert one.still[0] == whole.still[k]
    other = NaturalMotion(np.random.default_rng(4), 20.0).at(t)
    assert np.abs(other.angles_deg - whole.angles_deg).max() > 5


def test_the_motion_is_smooth_and_within_limits(samples: MotionSamples) -> None:
    acceleration = np.diff(samples.angles_deg, n=2, axis=0) * RATE**2
    assert np.abs(acceleration).max() < 8000  # 60 degrees at 400 degrees/s take 4100
    assert speed(samples.translation_mm).max() < 1200
    # Neither jumps: halving the step halves the largest difference.
    finer = NaturalMotion(np.random.default_rng(5), SECONDS).at(np.arange(0, 60, 0.5 / RATE))
    coarse = samples.angles_deg[: round(60 * RATE)]
    steps = np.abs(np.diff(finer.angles_deg, axis=0)).max(), np.abs(np.diff(coarse, axis=0)).max()
    assert steps[0] < 0.55 * steps[1]
    assert (np.abs(samples.angles_deg).max(0) < [64, 30, 22]).all()
    assert np.abs(samples.angles_deg[:, 0]).max() > 40
    depth = samples.translation_mm[:, 2]
    assert depth.min() > 400
    assert depth.max() < 900
    assert np.ptp(depth) > 60
    assert samples.blendshapes.min() >= 0
    assert samples.blendshapes.max() <= 1


def test_shifts_reach_the_speeds_of_the_main_sequence() -> None:
    shifts = sampled(replace(RESTS, shift=1.0, chained=0.0, speech_pause_s=None))
    fast = speed(shifts.angles_deg)
    assert np.percentile(fast, 99.9) > 100
    assert fast.max() < 500
    peaks = []
    for start, length in runs(~shifts.still):
        span = slice(start - 1, start + length + 1)
        amplitude = np.linalg.norm(shifts.angles_deg[span][-1] - shifts.angles_deg[span][0])
        if amplitude > 8:  # smaller ones drown in sway
            peaks.append(fast[span].max() / amplitude)
    assert len(peaks) > 20
    assert min(peaks) > 3.5
    assert max(peaks) < 6.6


def test_still_means_sway_alone(samples: MotionSamples) -> None:
    both = samples.still[1:] & samples.still[:-1]
    assert 0.2 < samples.still.mean() < 0.7
    assert speed(samples.angles_deg)[both].max() < 2
    assert speed(samples.translation_mm)[both].max() < 10
    rests = sampled(replace(RESTS, speech_pause_s=None))
    assert rests.still.all()
    sway = rests.angles_deg.std(0)
    assert (sway > 0.1).all()
    assert (sway < 0.35).all()
    spectrum = np.abs(np.fft.rfft(rests.angles_deg * np.hanning(len(rests.still))[:, None], axis=0))
    hz = np.fft.rfftfreq(len(rests.still), 1 / RATE)
    assert (spectrum[hz > 1.1].max(0) < 1e-3 * spectrum[(hz > 0.05) & (hz < 1)].max(0)).all()


@pytest.mark.parametrize(
    ("kind", "axis", "low", "high"), [("nod", 1, 3.5, 10.5), ("shake", 0, 5.0, 24.5)]
)
def test_nods_and_shakes_go_there_and_back(kind: str, axis: int, low: float, high: float) -> None:
    quiet = replace(RESTS, speech_pause_s=None, chained=0.0, sway_deg=(0.0, 0.0), rest_s=(1, 2))
    swings = sampled(replace(quiet, **{kind: 1.0}))
    found = runs(~swings.still)
    assert len(found) > 40
    for start, length in found:
        angle = swings.angles_deg[start - 1 : start + length, axis]
        assert abs(angle[-1] - angle[0]) < 1e-6
        assert low < np.ptp(angle) < high
        assert 0.49 < length / RATE - 0.3 < 2.7


def test_blinks_last_as_blinks_do() -> None:
    samples = sampled(replace(MUTE, shift=0, nod=0, shake=0, drift=0, lean=0))
    left, right = column(samples, "eyeBlinkLeft"), column(samples, "eyeBlinkRight")
    base = left.min()
    widths, winks = [], 0
    for start, length in runs(left > (1 + base) / 2):
        span = slice(start, start + length)
        if right[span].max() < 0.5:
            winks += 1
            continue
        assert left[span].max() >= 0.85
        other = np.flatnonzero(right[max(start - 10, 0) : start + 10] > (1 + base) / 2)
        assert abs(other[0] - 10) <= 0.010 * RATE + 2
        widths.append(length / RATE)
    short = np.array([width for width in widths if width < 0.3])
    assert len(widths) > 50
    assert short.min() > 0.06
    assert short.max() < 0.21
    assert 0.1 < np.median(short) < 0.16
    assert 0 < winks < 0.2 * len(widths)
    assert 0 < sum(width > 0.4 for width in widths) < 0.2 * len(widths)


def test_both_eyes_look_at_one_thing_and_make_up_for_the_head(samples: MotionSamples) -> None:
    for direction, other in (("In", "Out"), ("Out", "In"), ("Up", "Up"), ("Down", "Down")):
        np.testing.assert_array_equal(
            column(samples, f"eyeLook{direction}Left"), column(samples, f"eyeLook{other}Right")
        )
    every = samples.blendshapes[:: round(RATE / 10)]
    eye = np.array([gaze_degrees(row, "Left") for row in every])
    assert np.abs(eye).max() < 25.5
    assert np.abs(eye[:, 0]).max() > 15
    # Yaw is to the subject's right, the eye's angle to the left; a shake leaves gaze where it was.
    shaking = sampled(replace(MUTE, shift=0, nod=0, drift=0, lean=0, shake=1.0))
    rows = slice(0, None, round(RATE / 25))
    turned = np.array([gaze_degrees(row, "Left")[0] for row in shaking.blendshapes[rows]])
    head = shaking.angles_deg[rows, 0]
    small = np.abs(turned) < 10
    assert np.corrcoef(turned[small], head[small])[0, 1] > 0.98


def test_speech_and_smiles_are_as_quick_as_people_s(samples: MotionSamples) -> None:
    talk = sampled(replace(MUTE, speech_pause_s=(1.0, 5.0)))
    jaw = column(talk, "jawOpen")
    assert jaw.max() > 0.3
    spectrum = np.abs(np.fft.rfft(jaw - jaw.mean())) ** 2
    hz = np.fft.rfftfreq(len(jaw), 1 / RATE)
    syllables = spectrum[(hz > 2) & (hz < 7)].sum()
    assert syllables > 20 * spectrum[hz > 10].sum()
    assert (column(samples, "mouthClose") <= column(samples, "jawOpen") + 1e-6).all()
    smiles = sampled(replace(MUTE, smile_interval_s=(6.0, 9.0), blink_interval_s=None))
    rise = np.diff(column(smiles, "mouthSmileLeft")).max() * RATE
    assert 0.5 < rise < 1.875 * 0.9 / 0.3
    smile, cheek = column(smiles, "mouthSmileLeft"), column(smiles, "cheekSquintLeft")
    assert np.corrcoef(smile, cheek)[0, 1] > 0.9


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="shares"):
        MotionConfig(nod=-1)
    with pytest.raises(InputError, match="interval"):
        MotionConfig(rest_s=(2.0, 1.0))
    with pytest.raises(InputError, match="sway"):
        MotionConfig(sway_mm=(2.0, 1.0))
    with pytest.raises(InputError, match="duration"):
        NaturalMotion(np.random.default_rng(0), 0.0)
