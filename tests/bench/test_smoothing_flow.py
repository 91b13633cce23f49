"""The motion of a picture that is known is what optical flow says it is."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mien.tools.demo import demo_clip

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))  # the bench is no package
try:
    smoothing_flow = importlib.import_module("smoothing_flow")
finally:
    sys.path.remove(str(BENCH))

POINTS = [30, 36, 45]
SIZE = 240


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    with demo_clip() as path, av.open(str(path)) as clip:
        picture = next(clip.decode(video=0)).to_ndarray(format="bgr24")
    return np.asarray(cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def face_marks() -> np.ndarray:
    """(68, 2) about where the face of the picture is; only their extent is used."""
    rng = np.random.default_rng(0)
    marks = rng.uniform((80, 60), (160, 130), (68, 2))
    marks[17], marks[33], marks[8] = (82, 62), (120, 100), (120, 132)
    return marks


def swaying(k: int) -> np.ndarray:
    """(2, 3) of frame k: a head that sways by a pixel and nods by a degree."""
    turn = np.radians(1.0) * np.sin(k / 2.0)
    matrix = np.array([[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0]])
    middle = np.array([120.0, 100.0])
    matrix[:, 2] = middle - matrix[:, :2] @ middle + (np.sin(k / 3.0), 0.7 * np.cos(k / 4.0) - 0.7)
    return matrix


def test_points_go_where_the_picture_goes(face: np.ndarray, tmp_path: Path) -> None:
    marks, frames = face_marks(), 24
    path = tmp_path / "swaying.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)  # without loss
        stream.width = stream.height = SIZE
        stream.pix_fmt = "bgr0"
        for k in range(frames):
            image = cv2.warpAffine(face, swaying(k), (SIZE, SIZE), flags=cv2.INTER_CUBIC)
            frame = av.VideoFrame.from_ndarray(np.asarray(image, np.uint8), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    true = np.stack([marks @ swaying(k)[:, :2].T + swaying(k)[:, 2] for k in range(frames)])
    runs = [np.arange(2, 12), np.arange(14, 24)]
    found = smoothing_flow.carried(path, true, POINTS, runs)
    assert np.isnan(found[[0, 1, 12, 13]]).all()
    for run in runs:
        steps, expected = np.diff(found[run], axis=0), np.diff(true[run][:, POINTS], axis=0)
        assert np.abs(expected).max() > 0.3
        assert np.abs(steps - expected).mean() < 0.03
        assert np.abs(steps - expected).max() < 0.1


def test_the_grid_lies_on_what_lips_do_not_move() -> None:
    marks = face_marks()
    points = smoothing_flow.grid_on(marks)[:, 0]
    assert points[:, 1].min() >= marks[17:27, 1].min()
    assert points[:, 1].max() < marks[33, 1] + 0.2 * np.ptp(marks[17:, 1])
