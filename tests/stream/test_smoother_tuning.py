"""Files of the smoother: what is known of errors and motion, and how far it is gone with."""

from __future__ import annotations

import math
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.stream.smoother import PRESETS, FaceSmoother, SmoothingConfig, resolve_smoothing
from mien.stream.smoother.bank import Motion
from mien.stream.smoother.channels import CHANNEL_GROUPS, GROUPS, LIDS, MODES_OF, SHAPE_GROUPS
from mien.stream.smoother.tuning import (
    CONDITIONS,
    MODES,
    ErrorLaw,
    GroupTuning,
    ModeTuning,
    Tuning,
    channels_of,
)

LOW, HIGH = (-2.0, -1.0, 0.0, 0.5, -3.0), (2.0, 1.0, 1.0, 1.5, 5.0)


def arbitrary(number: int, **more: str | float) -> Tuning:
    """A tuning of random numbers of no more digits than are written."""
    rng = np.random.default_rng(number)

    def one(low: float, high: float) -> float:
        return float(f"{rng.uniform(low, high):.4g}")

    def some(count: int, low: float = -9.0, high: float = 9.0) -> tuple[float, ...]:
        return tuple(one(low, high) for _ in range(count))

    def law(channels: int) -> ErrorLaw:
        return ErrorLaw(some(channels), one(0.0, 2.0), some(len(CONDITIONS)))

    groups = {
        name: GroupTuning(
            law(len(channels_of(name))),
            law(len(channels_of(name))),
            error_s=one(0.01, 2.0),
            error_share=one(0.0, 1.0),
            error_ratio=one(0.01, 3.0),
            speeds=tuple(sorted(some(MODES, 1e-4, 20.0))),
            velocity_s=one(0.01, 2.0),
        )
        for name in (*GROUPS, *SHAPE_GROUPS)
    }
    modes = {
        name: ModeTuning((0.5, 0.25, 0.25), one(0.01, 2.0), one(0.01, 1.0))
        for name in dict.fromkeys(MODES_OF.values())
    }
    return Tuning(groups, modes, LOW, HIGH, more)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good ``smoother.toml``."""
    file = tmp_path / "smoother.toml"
    file.write_text(arbitrary(0).text(), encoding="utf-8")
    return file


def changed(path: Path, pattern: str, replacement: str) -> Path:
    """The file with the first line that matches replaced."""
    text, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(text)
    return path


@given(st.integers(0, 99), st.text(st.characters(codec="utf-8", exclude_characters="\x7f")))
@settings(max_examples=20, deadline=None)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, number: int, said: str
) -> None:
    tuning = arbitrary(number, command=said, seed=number, dt_s=1 / 30, tiny=1e-9)
    file = tmp_path_factory.mktemp("tuning") / "smoother.toml"
    file.write_bytes(tuning.text().encode())
    loaded = Tuning.load(file)
    assert loaded == tuning
    assert loaded.text() == tuning.text()


def test_the_shipped_tuning_is_whole() -> None:
    tuning = Tuning.default()
    for bank, channels in ((tuning.face, len(CHANNEL_GROUPS)), (tuning.identity, 40)):
        assert len(bank.group) == len(bank.white) == len(bank.error_share) == channels
        assert (np.diff(bank.speeds, axis=1) > 0.0).all(), "speeds ascend"
        np.testing.assert_allclose(bank.usual.sum(axis=1), 1.0, atol=1e-3)
    assert (np.array(tuning.lowest) < np.array(tuning.highest)).all()


@pytest.mark.parametrize("missing", [field.name for field in fields(GroupTuning)])
def test_a_key_that_is_missing_is_named(path: Path, missing: str) -> None:
    lines = path.read_text().splitlines()
    start = lines.index("[mouth]")
    kept = [
        line
        for number, line in enumerate(lines)
        if number <= start or not re.match(rf"{missing}[. ]", line)
    ]
    path.write_text("\n".join(kept))
    # The next group of the file lacks it too: either may be named.
    with pytest.raises(InputError, match=rf"smoother\.toml: lacks '{missing}'") as caught:
        Tuning.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "replacement", "named"),
    [
        (r"^format = .*", "format = 99", "format 99"),
        (r"^format = .*", "", "format None"),
        (r"^format = .*", "format = ", "not a smoother's tuning"),
        (r"^lowest = .*", "", "lowest"),
        (r"^highest = .*", "highest = [1.0, 2.0]", "highest"),
        (r"^lowest = .*", "lowest = 3.0", "lowest"),
        (r"^lowest = .*", "lowest = [2.1, 0.0, 0.0, 0.0, 0.0]", "lowest lies above highest"),
        (r"^conditions = .*", "", "conditions must be"),
        (r"^conditions = .*", f"conditions = {list(CONDITIONS[:-1])}", "conditions must be"),
        (r"^conditions = .*", f"conditions = {sorted(CONDITIONS)[::-1]}", "conditions must be"),
        (r"^\[gaze\]", "[gazes]", "gaze"),
        (r"^\[modes\.lids\]", "[modes.eyes]", "lids"),
        (r"^white\.level = \[", "white.level = [1.0, ", "level"),
        (r"^slow\.conditions = \[", "slow.conditions = [nan, ", "conditions"),
        (r"^slow\.stated = .*", "slow.stated = inf", "stated"),
        (r"^slow\.stated = .*", "slow.stated = true", "stated"),
        (r"^slow\.stated = .*", 'slow.stated = "1"', "stated"),
        (r"^speeds = .*", "speeds = [0.1, 0.2]", "speeds"),
        (r"^speeds = .*", "speeds = [-0.1, 0.2, 0.3]", "speeds"),
        (r"^speeds = .*", "speeds = [0.1, 0.2, nan]", "speeds"),
        (r"^speeds = .*", "speeds = [0.1, 0.3, 0.2]", "speeds must ascend"),
        (r"^speeds = .*", "speeds = [0.1, 0.1, 0.2]", "speeds must ascend"),
        (r"^velocity_s = .*", "velocity_s = 0.0", "times"),
        (r"^error_s = .*", "error_s = -1.0", "times"),
        (r"^error_share = .*", "error_share = 1.5", "error_share"),
        (r"^usual = .*", "usual = [1.0, 0.0, 0.0]", r"modes\."),
        (r"^usual = .*", "usual = [0.5, 0.3, 0.19]", "usual must sum to 1"),
        (r"^usual = .*", "usual = [0.5, 0.3, 0.21]", "usual must sum to 1"),
        (r"^forget_s = .*", "forget_s = -1.0", r"modes\."),
        (r"^evidence = .*", "evidence = nan", "evidence"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(
    path: Path, pattern: str, replacement: str, named: str
) -> None:
    with pytest.raises(InputError, match=named) as caught:
        Tuning.load(changed(path, pattern, replacement))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shares_may_be_rounded(path: Path) -> None:
    changed(path, r"^usual = .*", "usual = [0.3333, 0.3333, 0.3333]")
    assert Tuning.load(path).modes["head"].usual == (0.3333,) * 3


def test_files_that_are_none_are_said(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for name in ("nowhere.toml", "binary.toml", ""):
        with pytest.raises(InputError, match=re.escape(str(tmp_path / name))):
            Tuning.load(tmp_path / name)


def test_conditions_count_as_far_as_they_were_measured() -> None:
    tuning = arbitrary(0)
    low, high = np.array(LOW), np.array(HIGH)
    middle = 0.5 * (low + high)

    def variances(conditions: np.ndarray) -> np.ndarray:
        return np.array(tuning.variances(tuning.identity, np.zeros(40), conditions))

    np.testing.assert_array_equal(variances(np.full(5, np.nan)), variances(middle))
    np.testing.assert_array_equal(variances(np.full(5, 1e9)), variances(high))
    np.testing.assert_array_equal(variances(np.full(5, -np.inf)), variances(low))
    assert (variances(middle + 0.1)[:2] != variances(middle)[:2]).all()


def test_a_law_weighs_level_statement_and_conditions() -> None:
    tuning = arbitrary(3)
    group, channel = tuning.groups["gaze"], channels_of("gaze")[2]
    stated = np.linspace(-1.0, 1.0, len(CHANNEL_GROUPS))
    conditions = 0.5 * (np.array(LOW) + np.array(HIGH)) + 0.02 * np.arange(5.0)
    white, passing, lasting = tuning.variances(tuning.face, stated, conditions)
    expected = [
        math.exp(law.level[2] + law.stated * stated[channel] + np.dot(law.conditions, conditions))
        for law in (group.white, group.slow)
    ]
    assert white[channel] == pytest.approx(expected[0])
    passes = min(expected[1] * group.error_share, expected[0] * group.error_ratio)
    assert passing[channel] == pytest.approx(passes)
    assert lasting[channel] == pytest.approx(expected[1] - passes)


def test_every_channel_belongs_to_a_group_and_every_group_to_modes() -> None:
    assert sorted(number for name in GROUPS for number in channels_of(name)) == list(
        range(len(CHANNEL_GROUPS))
    )
    assert set(MODES_OF) == {*GROUPS, *SHAPE_GROUPS}
    tuning = arbitrary(4)
    for bank, names in ((tuning.face, GROUPS), (tuning.identity, SHAPE_GROUPS)):
        for name in names:
            own, modes = tuning.groups[name], tuning.modes[MODES_OF[name]]
            for channel in channels_of(name):
                group = bank.group[channel]
                np.testing.assert_allclose(bank.speeds[group], np.square(own.speeds))
                assert bank.error_s[group] == own.error_s
                assert bank.velocity_s[group] == own.velocity_s
                assert bank.forget_s[bank.modes[group]] == modes.forget_s
                np.testing.assert_allclose(bank.usual[bank.modes[group]], modes.usual)


def test_presets_go_by_their_names(tmp_path: Path) -> None:
    for name, preset in PRESETS.items():
        assert resolve_smoothing(name) is preset
    mine = SmoothingConfig(gate=5.0)
    assert resolve_smoothing(mine) is mine
    with pytest.raises(InputError, match="neither a preset"):
        resolve_smoothing("fast")
    with pytest.raises(InputError, match="neither a preset"):
        resolve_smoothing(tmp_path)


def test_a_file_changes_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("gate = 4\n")
    assert resolve_smoothing(str(file)) == replace(PRESETS["responsive"], gate=4.0)
    file.write_text('preset = "steady"\npatience_s = 0.25\n')
    assert resolve_smoothing(file) == replace(PRESETS["steady"], patience_s=0.25)
    file.write_text("publish_raw = true\n")
    assert resolve_smoothing(file).publish_raw


def test_a_file_may_name_a_tuning_beside_it(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    file = tmp_path / "mine.toml"
    file.write_text(f'tuning = "{path.name}"\n')
    config = SmoothingConfig.load(file)
    assert config.tuning == Tuning.load(path)
    assert FaceSmoother(replace(config, lids=1.0)).tuning == config.tuning
    changed(path, r"^format = .*", "format = 0")
    with pytest.raises(InputError, match=r"smoother\.toml: format 0"):
        SmoothingConfig.load(file)


@pytest.mark.parametrize(
    "text",
    [
        "gaet = 4.0",
        "gate = -1.0",
        "gate = 0",
        "gate = true",
        "gate = nan",
        "gate = inf",
        "gate = '4'",
        "gate = [4.0]",
        "gate = ",
        "preset = 'fast'",
        "preset = 3",
        "preset = ['steady']",
        "publish_raw = 1",
        "tuning = 3",
        "tuning = 'nowhere.toml'",
        "[gate]\na = 1",
    ],
)
def test_wrong_settings_are_said_in_a_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        resolve_smoothing(file)
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    assert text.split(" ", maxsplit=1)[0] in message or text == "gate = " or text.startswith("[")


def test_a_configs_numbers_are_positive() -> None:
    for name in {field.name for field in fields(SmoothingConfig)} - {"publish_raw", "tuning"}:
        for wrong in (0.0, -1.0, math.nan, math.inf):
            with pytest.raises(InputError, match=name):
                replace(SmoothingConfig(), **{name: wrong})


def test_strengths_go_further_or_less_far_with_the_motion() -> None:
    bank = arbitrary(5).face
    plain = Motion.of(bank, SmoothingConfig(rest=1.0, motion=1.0, readiness=1.0))
    np.testing.assert_allclose(plain.speeds, bank.speeds)
    np.testing.assert_allclose(plain.usual, bank.usual)
    steady = Motion.of(bank, SmoothingConfig(rest=0.5, motion=2.0, readiness=0.25))
    np.testing.assert_allclose(steady.speeds, bank.speeds * [0.25, 4.0, 4.0])
    np.testing.assert_allclose(steady.usual.sum(axis=1), 1.0)
    odds = plain.usual[:, 1:] / plain.usual[:, :1]
    np.testing.assert_allclose(steady.usual[:, 1:] / steady.usual[:, :1], 0.25 * odds)


def test_lids_are_trusted_as_far_as_the_settings_say() -> None:
    tuning = arbitrary(6)
    stated, conditions = np.zeros(len(CHANNEL_GROUPS)), np.zeros(len(CONDITIONS))
    whole, part = (
        FaceSmoother(SmoothingConfig(lids=lids, tuning=tuning)).tuning for lids in (1.0, 0.3)
    )
    lids = [number for name in LIDS for number in channels_of(name)]
    factors = np.ones(len(CHANNEL_GROUPS))
    factors[lids] = 0.3**2
    white, *others = tuning.variances(tuning.face, stated, conditions)
    for found, expected in ((whole, white), (part, factors * white)):
        new, *same = found.variances(found.face, stated, conditions)
        np.testing.assert_allclose(new, expected)
        np.testing.assert_allclose(same, others)
    assert part.modes == tuning.modes
