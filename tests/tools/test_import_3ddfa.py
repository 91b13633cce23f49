"""``mien import-3ddfa``, and what the other commands do with its bundle."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from mien.stream.sources.opening import open_source

pytest.importorskip("torch", reason="reads checkpoints (extra: train)")
pytest.importorskip("onnx", reason="writes networks (extra: train)")

Mien = Callable[..., subprocess.CompletedProcess[str]]
NETWORK, STATISTICS = "mb05_120x120.pth", "param_mean_std_62d_120x120.pkl"
MODEL, TRIANGLES = "bfm_noneck_v3.pkl", "tri.pkl"


def run_import(mien: Mien, files: Path, out: Path) -> subprocess.CompletedProcess[str]:
    options = ("--statistics", STATISTICS, "--model", MODEL, "--triangles", TRIANGLES)
    places = [option if option.startswith("--") else files / option for option in options]
    return mien("import-3ddfa", files / NETWORK, *places, "--out", out)


@pytest.fixture
def files(tddfa_files: Path, tmp_path: Path) -> Path:
    """The user's files, to be spoilt."""
    return shutil.copytree(tddfa_files, tmp_path / "3ddfa")


def test_a_clip_is_annotated_with_null_columns(
    mien: Mien,
    tmp_path: Path,
    tddfa_files: Path,
    portrait_video: Path,
    make_video: Callable[..., Path],
) -> None:
    done = run_import(mien, tddfa_files, tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    assert "3ddfa-v2-mb05_120x120" in done.stdout
    assert "no log_variance, blendshapes, presence: their columns will be null" in done.stdout
    with open_source(portrait_video) as source:
        pictures = [frame.image_bgr for frame, _ in zip(source, range(6), strict=False)]
    clip = make_video(tmp_path / "clip.mp4", pictures)
    formats = ("--format", "parquet,csv,jsonl", "--overlay")
    done = mien("annotate", clip, "--out", "out", "--bundle", "bundle", *formats)
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "out/clip.parquet")
    assert table["frame"].to_pylist() == list(range(6))
    assert all(table["observed"].to_pylist())
    for name in ("confidence", "pose_variance", "blendshapes"):
        assert table[name].null_count == 6
    for name in ("yaw", "tz", "shape", "expression", "landmarks"):
        assert table[name].null_count == 0
    row = json.loads((tmp_path / "out/clip.jsonl").read_text().splitlines()[0])
    assert row["blendshapes"] is row["pose_variance"] is row["confidence"] is None
    assert (tmp_path / "out/clip.csv").read_text().count("\n") == 7
    assert (tmp_path / "out/clip.overlay.mp4").stat().st_size > 0
    labelled = tmp_path / "set"
    labelled.mkdir()
    cv2.imwrite(str(labelled / "a.png"), pictures[0])
    box = [float(table[f"box_{side}"][0].as_py()) for side in "xywh"]
    label = {"image": "a.png", "faces": [{"box": box, "yaw": 0}]}
    (labelled / "labels.jsonl").write_text(json.dumps(label) + "\n")
    for extra in ((), ("--use-boxes",)):
        done = mien("evaluate", labelled, "--bundle", "bundle", "--json", "r.json", *extra)
        assert done.returncode == 0, done.stderr
        face = json.loads((tmp_path / "r.json").read_text())["faces"][0]
        assert face["found"]
        assert face["blendshapes"] is face["confidence"] is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (NETWORK, None, ("No such file",)),
        (NETWORK, b"no network", ("not read", "mb05_120x120.pth")),
        (STATISTICS, pickle.dumps({"mean": np.zeros(141), "std": np.ones(141)}), ("141 means",)),
        (MODEL, pickle.dumps({"u": np.zeros((9, 1))}), ("no array 'w_shp'",)),
        (MODEL, b"cposix\nsystem\n(S'touch ran'\ntR.", ("posix.system", "arrays of numbers")),
        (TRIANGLES, pickle.dumps(np.full((3, 9), 99_999)), ("99999", "2243")),
    ],
)
def test_a_bad_input_is_one_line_and_nothing_is_written(
    mien: Mien,
    told: Callable[..., None],
    tmp_path: Path,
    files: Path,
    name: str,
    content: bytes | None,
    words: tuple[str, ...],
) -> None:
    (files / name).unlink()
    if content is not None:
        (files / name).write_bytes(content)
    told(run_import(mien, files, tmp_path / "bundle"), 2, name, *words)
    assert not (tmp_path / "bundle").exists()
    assert not (tmp_path / "ran").exists()


def test_an_unwritable_place(
    mien: Mien, told: Callable[..., None], tmp_path: Path, tddfa_files: Path
) -> None:
    (tmp_path / "bundle").write_text("in the way")
    told(run_import(mien, tddfa_files, tmp_path / "bundle"), 2, "is a file, expected a folder")
