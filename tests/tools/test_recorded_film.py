"""Recordings of films: where is looked, what is kept, and what the noise is put on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mien.models.face.crop import FACE_BOX, BoxStyle, Crop, crop_from_landmarks, extract
from mien.models.face.morphable import FaceModel
from mien.models.noise.kinds import NOISE_KINDS
from mien.models.synthetic.evaluation import Clip
from mien.stream.candidate import Candidate
from mien.stream.fit import FaceFitter
from mien.stream.regression import Regression
from mien.tools.tune_smoother.recorded_film import record_film, record_video

FRAMES = 6


class Acted:
    """A network that sees the mean face in the middle of every crop, except where it is told not.

    It keeps the crops that it was given.
    """

    def __init__(self) -> None:
        self.crops: list[np.ndarray] = []
        self.blind: set[int] = set()
        self.shift_px = 0.0

    def run(self, crops: np.ndarray) -> Regression:
        params = np.zeros((len(crops), 62), np.float32)
        presence = np.ones(len(crops), np.float32)
        for row, crop in enumerate(crops):
            params[row, [0, 5, 10]] = 0.6
            params[row, 3], params[row, 7] = 59.5 + self.shift_px, 44.0
            presence[row] = 0.0 if len(self.crops) in self.blind else 1.0
            self.crops.append(crop)
        variance = np.full((len(crops), 62), -4.0, np.float32)
        return Regression(params, variance, np.zeros((len(crops), 52), np.float32), presence)


@pytest.fixture(scope="module")
def model() -> FaceModel:
    folder = Path(str(resources.files("mien.models.weights.default")))
    return FaceModel.load(folder / "face_model.npz")


@pytest.fixture
def network() -> Acted:
    return Acted()


@pytest.fixture
def fitter(model: FaceModel, network: Acted) -> FaceFitter:
    return FaceFitter(model, network)


@pytest.fixture
def clip(fitter: FaceFitter, network: Acted) -> Clip:
    """Random pictures of a face that stands where the network sees it."""
    rng = np.random.default_rng(0)
    seen = fitter.look(np.zeros((240, 320, 3), np.uint8), [Crop(150.0, 120.0, 130.0)])[0]
    assert seen is not None
    network.crops.clear()
    landmarks = np.repeat(seen.landmarks_px[None].astype(np.float32), FRAMES, axis=0)
    return Clip(
        images=rng.integers(0, 256, (FRAMES, 240, 320, 3), dtype=np.uint8),
        t_ns=np.arange(FRAMES, dtype=np.int64) * 33_333_333,
        camera=np.array([277.0, 277.0, 159.5, 119.5]),
        rotation=np.repeat(np.eye(3)[None], FRAMES, axis=0),
        translation_mm=np.tile([0.0, 0.0, 500.0], (FRAMES, 1)),
        landmarks=landmarks,
        blendshapes=np.zeros((FRAMES, 52), np.float32),
        head_size=1.05,
    )


def crops_of(candidates: tuple[Candidate | None, ...]) -> list[Crop | None]:
    return [None if one is None else one.crop for one in candidates]


def test_it_follows_from_the_true_crop_over_the_landmarks_found(
    clip: Clip, fitter: FaceFitter
) -> None:
    film = record_film(clip, fitter, None, np.random.default_rng(0))
    first, second, *_ = film.candidates
    assert first is not None
    assert second is not None
    assert first.crop == crop_from_landmarks(clip.landmarks[0])
    assert second.crop == first.next_crop != first.crop


def test_after_a_frame_without_a_face_it_begins_at_the_truth(
    clip: Clip, fitter: FaceFitter, network: Acted
) -> None:
    network.blind = {2}
    crops = crops_of(record_film(clip, fitter, None, np.random.default_rng(0)).candidates)
    assert [crop is None for crop in crops] == [False, False, True, False, False, False]
    assert crops[3] == crop_from_landmarks(clip.landmarks[3])


def test_a_candidate_beside_the_face_is_none(clip: Clip, fitter: FaceFitter) -> None:
    landmarks = clip.landmarks.copy()
    width = float(np.ptp(landmarks[0], axis=0).max())
    landmarks[3, :, 0] += 0.6 * width
    moved = replace(clip, landmarks=landmarks)
    crops = crops_of(record_film(moved, fitter, None, np.random.default_rng(0)).candidates)
    assert [crop is None for crop in crops] == [False, False, False, True, False, False]
    assert crops[4] == crop_from_landmarks(landmarks[4])


def test_each_frame_has_noise_of_its_own_and_the_same_for_the_same_seed(
    clip: Clip, fitter: FaceFitter, network: Acted
) -> None:
    still = replace(clip, images=np.full_like(clip.images, 120))
    taken: list[np.ndarray] = []
    for seed in (3, 3, 4):
        record_film(still, fitter, NOISE_KINDS["gaussian"], np.random.default_rng(seed))
        taken.append(np.stack(network.crops))
        network.crops.clear()
    np.testing.assert_array_equal(taken[0], taken[1])
    assert np.any(taken[0] != taken[2])
    assert np.any(taken[0][0] != taken[0][1])


def test_without_noise_the_pictures_are_as_they_are(
    clip: Clip, fitter: FaceFitter, network: Acted
) -> None:
    record_film(clip, fitter, None, np.random.default_rng(0))
    first = extract(clip.images[0], crop_from_landmarks(clip.landmarks[0]))
    np.testing.assert_array_equal(network.crops[0], first)


def test_the_truth_and_the_stillness_go_along(clip: Clip, fitter: FaceFitter) -> None:
    still = np.arange(FRAMES) < 3
    rng = np.random.default_rng(0)
    film = record_film(replace(clip, still=still), fitter, None, rng)
    for name in ("t_ns", "rotation", "translation_mm", "landmarks", "blendshapes"):
        np.testing.assert_array_equal(getattr(film, name), getattr(clip, name))
    assert film.head_size == clip.head_size
    assert film.camera == clip.pinhole
    np.testing.assert_array_equal(film.still, still)
    assert not record_film(clip, fitter, None, rng).still.any(), "the clip does not say"


class Boxes:
    """A detector that finds two faces, the smaller one with the better score."""

    box_style: BoxStyle = FACE_BOX

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, image_bgr: np.ndarray, thorough: bool = False) -> np.ndarray:
        self.calls += 1
        return np.array([[10, 10, 30, 40, 0.95], [60, 30, 70, 90, 0.9]], np.float32)


def test_a_video_is_followed_and_a_lost_face_detected_anew(
    tmp_path: Path, make_video: Callable[..., Path], fitter: FaceFitter, network: Acted
) -> None:
    path = make_video(tmp_path / "a.mp4", [np.full((144, 192, 3), 99, np.uint8)] * 6, rate=25)
    detector = Boxes()
    network.blind = {3}  # looks: two in the first frame, then one a frame
    video = record_video(path, fitter, detector)
    assert detector.calls == 2
    assert [one is None for one in video.candidates] == [False, False, True, False, False, False]
    np.testing.assert_allclose(np.diff(video.t_ns), 40_000_000, atol=1)
    assert (video.camera.width, video.camera.height) == (192, 144)
    first = video.candidates[0]
    assert first is not None
    assert np.hypot(first.crop.cx - 95.0, first.crop.cy - 84.6) < 20.0, "of the more prominent"
    assert len(record_video(path, fitter, detector, most_frames=3).t_ns) == 3
