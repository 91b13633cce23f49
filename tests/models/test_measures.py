"""Figures on synthetic truth and the groups by which errors are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from mien.models.face.morphable import FaceModel
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.models.face.rotation import matrix_from_yaw_pitch_roll
from mien.models.synthetic import measures
from mien.models.synthetic.degradation import DEGRADATIONS
from mien.models.synthetic.groups import (
    ages,
    expression_classes,
    image_qualities,
    in_order,
    skin_tones,
)


def blend(**values: float) -> np.ndarray:
    row = np.zeros(52)
    for name, value in values.items():
        row[BLENDSHAPE_INDEX[name]] = value
    return row


def test_shape_error_ignores_size_place_and_stance(face_model: FaceModel) -> None:
    target = face_model.decode(np.linspace(-1, 1, 40).astype(np.float32)).astype(np.float64)
    turned = 1.3 * target @ matrix_from_yaw_pitch_roll(np.array([20.0, 5.0, 3.0])).T + 40.0
    assert measures.aligned_rms_mm(turned, target) < 1e-3
    bump = target.copy()
    bump[0] += [0.0, 0.0, 10.0]
    expected = 10.0 / np.sqrt(len(target))
    assert measures.aligned_rms_mm(bump, target) == pytest.approx(expected, rel=0.05)


def test_true_coefficients_beat_the_mean_face(face_model: FaceModel) -> None:
    rng = np.random.default_rng(0)
    people = rng.normal(size=(3, 40)).astype(np.float32)
    neutral = np.stack([face_model.decode(row) for row in people])
    person = np.array([0, 0, 1, 2, 2, 2])
    true = people[person].astype(np.float64)
    noise = rng.normal(size=true.shape)
    found = measures.shape_figures(face_model, true + noise, true, person, neutral)
    assert found["people"] == 3
    assert found["best_40_components_mm"] < 1e-3
    assert 0 < found["a_person_mm"] < found["a_picture_mm"]
    assert found["floor_mean_face_mm"] > 1.0
    perfect = measures.shape_figures(face_model, true, true, person, neutral)
    assert perfect["a_picture_mm"] < 1e-3
    assert perfect["coefficient_correlation"] == pytest.approx(1.0)


def test_blinks_are_counted_an_eye_and_winks_apart() -> None:
    true = np.stack(
        [
            blend(eyeBlinkLeft=1.0, eyeBlinkRight=1.0),
            blend(),
            blend(eyeBlinkLeft=0.9),
            blend(eyeBlinkRight=0.9),
            blend(eyeBlinkRight=1.0),
        ]
    )
    said = true.copy()
    said[3] = blend(eyeBlinkLeft=0.9, eyeBlinkRight=0.9)  # both instead of one
    yaw = np.array([0.0, 10.0, -20.0, 5.0, 80.0])  # the last shows one eye only
    found = measures.blink_figures(said, true, yaw)
    assert (found["true_positive"], found["false_positive"]) == (4, 1)
    assert (found["winks"], found["winks_in_the_right_eye_only"]) == (2, 0.5)


def test_gaze_error_is_an_angle_and_closed_eyes_do_not_count() -> None:
    true = np.stack([blend(), blend(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)])
    said = np.stack([blend(eyeLookUpLeft=0.5, eyeLookUpRight=0.5)] * 2)
    found = measures.gaze_figures(said, true, np.zeros(2))
    assert found["eyes"] == 2
    assert found["mean_deg"] == pytest.approx(15.0, abs=1e-3)
    assert measures.gaze_figures(said[1:], true[1:], np.zeros(1)) == {"eyes": 0}


def test_groups() -> None:
    assert ages(np.array([3.0, 8.9, 9.0, 20.0, 54.9, 55.0, 84.0])).tolist() == [
        *("3 to 8", "3 to 8", "9 to 15", "16 to 34", "35 to 54"),
        *("55 to 85", "55 to 85"),
    ]
    tones = skin_tones(np.array([[250.0, 225, 205], [208, 160, 126], [54, 36, 29]]))
    assert tones.tolist() == ["very light", "intermediate", "dark"]
    faces = np.stack(
        [
            blend(),
            blend(jawOpen=0.9),
            blend(mouthSmileLeft=0.6, mouthSmileRight=0.6),
            blend(eyeBlinkLeft=0.8),
            blend(eyeBlinkLeft=0.8, eyeBlinkRight=0.8, jawOpen=0.9),
            blend(noseSneerLeft=0.5),
        ]
    )
    assert expression_classes(faces).tolist() == [
        *("neutral", "mouth open", "smile", "one eye closed", "both eyes closed", "other"),
    ]
    assert in_order(["dark", "tan", "light", "tan"]) == ["light", "tan", "dark"]


def test_light_and_sharpness_of_pictures() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(100, 156, (144, 144, 3)).astype(np.uint8)
    flat = np.linspace(90, 160, 144).astype(np.uint8)[None, :, None].repeat(144, 0).repeat(3, 2)
    found = image_qualities(np.stack([sharp, flat, (sharp * 0.3).astype(np.uint8)]))
    assert found["light"].tolist() == ["medium", "medium", "dark"]
    assert found["sharpness"][1] == "soft"


@pytest.mark.parametrize("name", list(DEGRADATIONS))
def test_degradations_keep_the_form_and_change_the_pixels(name: str) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (144, 144, 3), dtype=np.uint8)
    worse = DEGRADATIONS[name](picture, np.random.default_rng(1))
    assert (worse.shape, worse.dtype) == (picture.shape, np.uint8)
    assert np.abs(worse.astype(int) - picture).mean() > 5
    np.testing.assert_array_equal(worse, DEGRADATIONS[name](picture, np.random.default_rng(1)))
