"""The face model's source: targets, identities, expressions, and what is built from them."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.morphable import FaceModel
from mien.models.face.names import BLENDSHAPE_INDEX, BLENDSHAPE_MIRROR, BLENDSHAPE_NAMES
from mien.models.makehuman.expression import gaze_degrees, sample_expression
from mien.models.makehuman.head import align, triangulate
from mien.models.makehuman.source import read_obj

LID_PAIRS = ((37, 41), (38, 40), (43, 47), (44, 46))


@pytest.fixture(scope="module")
def model() -> FaceModel:
    with as_file(files("mien.models.weights.default") / "face_model.npz") as path:
        return FaceModel.load(path)


def marks(model: FaceModel, **values: float) -> np.ndarray:
    blendshapes = np.zeros(52, np.float32)
    for name, value in values.items():
        blendshapes[BLENDSHAPE_INDEX[name]] = value
    return model.landmarks().decode(np.zeros(40, np.float32), blendshapes=blendshapes)


def test_mean_face_stands_as_the_convention_says(model: FaceModel) -> None:
    points = marks(model)
    line = points[[48, 54]].mean(0) - points[[36, 39, 42, 45]].mean(0)
    assert np.degrees(np.arctan2(-line[2], line[1])) == pytest.approx(7.7, abs=0.05)


def test_origin_is_the_sellion_of_a_metric_face(model: FaceModel) -> None:
    assert np.linalg.norm(model.mean, axis=1).min() < 3.0
    points = marks(model)
    eyes = points[36:42].mean(0) - points[42:48].mean(0)
    assert np.linalg.norm(eyes) == pytest.approx(63, abs=3)
    assert points[30, 2] < points[27, 2], "the nose points at the camera"
    assert points[8, 1] > points[27, 1], "y points down"


def test_lids_of_a_blink_just_touch(model: FaceModel) -> None:
    open_eyes, closed = marks(model), marks(model, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)

    def gap(points: np.ndarray) -> float:
        return float(np.mean([points[low, 1] - points[up, 1] for up, low in LID_PAIRS]))

    assert gap(open_eyes) > 7
    assert abs(gap(closed)) < 0.3


def test_a_wink_moves_the_subjects_left_eye_only(model: FaceModel) -> None:
    moved = np.linalg.norm(marks(model, eyeBlinkLeft=1.0) - marks(model), axis=1)
    assert moved[[43, 44]].min() > 4, "the subject's left eye is at the picture's right"
    assert moved[36:42].max() < 0.1


def test_bases_are_orthogonal_and_explain_in_order(model: FaceModel) -> None:
    for basis in (model.shape_basis, model.expression_basis):
        flat = basis.reshape(len(basis), -1).astype(np.float64)
        gram = flat @ flat.T
        norms = np.sqrt(np.diag(gram))
        assert np.all(np.diff(norms) < 1e-3 * norms[0])
        cosines = gram / np.outer(norms, norms)
        assert np.abs(cosines - np.eye(len(basis))).max() < 5e-3


def test_triangles_face_outwards(model: FaceModel) -> None:
    a, b, c = (model.mean[model.triangles[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    nose = np.linalg.norm((a + b + c) / 3 - model.mean[model.landmark_vertices[30]], axis=1) < 8
    assert (normals[nose, 2] < 0).mean() > 0.95


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_expressions_stay_in_range_and_are_possible(seed: int) -> None:
    values = sample_expression(np.random.default_rng(seed))
    assert values.shape == (52,)
    assert values.min() >= 0
    assert values.max() <= 1
    index = BLENDSHAPE_INDEX
    for side in ("Left", "Right"):
        assert min(values[index["eyeLookIn" + side]], values[index["eyeLookOut" + side]]) == 0
        assert min(values[index["eyeLookUp" + side]], values[index["eyeLookDown" + side]]) == 0
    if values[index["tongueOut"]] > 0:
        assert values[index["jawOpen"]] > 0.3


def test_expressions_close_either_eye_as_often() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([sample_expression(rng) for _ in range(2000)])
    left, right = (drawn[:, BLENDSHAPE_INDEX["eyeBlink" + s]] > 0.8 for s in ("Left", "Right"))
    assert 0.12 < left.mean() < 0.3
    assert abs(left.mean() - right.mean()) < 0.03
    assert (left != right).mean() > 0.02, "winks exist"


def test_gaze_looks_where_the_units_say() -> None:
    values = np.zeros(52, np.float32)
    values[BLENDSHAPE_INDEX["eyeLookOutLeft"]] = 0.5
    values[BLENDSHAPE_INDEX["eyeLookInRight"]] = 0.5
    values[BLENDSHAPE_INDEX["eyeLookUpLeft"]] = 1.0
    assert gaze_degrees(values, "Left") == pytest.approx((15, 30))
    assert gaze_degrees(values, "Right") == pytest.approx((15, 0))


def test_mirrored_blendshapes_are_an_involution() -> None:
    mirror = np.array(BLENDSHAPE_MIRROR)
    assert (mirror[mirror] == np.arange(52)).all()
    assert BLENDSHAPE_NAMES[mirror[BLENDSHAPE_INDEX["mouthLeft"]]] == "mouthRight"


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.1, 10))
@settings(max_examples=60, deadline=None)
def test_alignment_recovers_a_similarity(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 50, (40, 3))
    q, _ = np.linalg.qr(rng.normal(0, 1, (3, 3)))
    rotation = q * np.sign(np.linalg.det(q))
    moved = scale * points @ rotation.T + rng.normal(0, 100, 3)
    found = align(points, moved)
    assert found.scale == pytest.approx(scale, rel=1e-6)
    np.testing.assert_allclose(found.apply(points), moved, atol=1e-2 * max(scale, 1))


def test_triangulation_keeps_triangles_and_splits_quads() -> None:
    quads = np.array([[0, 1, 2, 3], [4, 5, 6, 6]], np.int32)
    assert triangulate(quads).tolist() == [[0, 1, 2], [4, 5, 6], [0, 2, 3]]


def test_obj_errors_are_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.obj"
    bad.write_text("v 1 2 x\n")
    with pytest.raises(InputError, match=r"bad\.obj: not an OBJ"):
        read_obj(bad)
    with pytest.raises(InputError, match="missing"):
        read_obj(tmp_path / "missing.obj")
