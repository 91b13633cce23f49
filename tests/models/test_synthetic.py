"""Synthetic faces: labels that follow the pixels, determinism, resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.face.crop import crop_from_landmarks
from mien.models.face.morphable import FaceModel
from mien.models.makehuman.build import HeadModel, build_head_model
from mien.models.makehuman.source import MakeHumanData
from mien.models.synthetic.fitted import read_fitted_mesh
from mien.models.synthetic.generate import SynthesisConfig, shard_samples, synthesise
from mien.models.synthetic.scene import SIZE, Studio
from mien.models.synthetic.sheet import contact_sheet


@pytest.fixture(scope="module")
def samples(studio: Studio) -> list[Any]:
    return list(shard_samples(studio, seed=7, shard=0, count=16))


def test_pictures_and_labels_are_a_function_of_the_seed(studio: Studio, samples: list[Any]) -> None:
    again = list(shard_samples(studio, seed=7, shard=0, count=3))
    other = list(shard_samples(studio, seed=7, shard=1, count=1))
    for (image, labels), (image2, labels2) in zip(samples, again, strict=False):
        np.testing.assert_array_equal(image, image2)
        np.testing.assert_array_equal(labels.points, labels2.points)
    assert not np.array_equal(samples[0][0], other[0][0])


def test_the_nominal_crop_is_the_middle_of_the_picture(samples: list[Any]) -> None:
    for _, labels in samples:
        if labels.presence:
            crop = crop_from_landmarks(labels.points[:68])
            assert crop.side == pytest.approx(120, abs=0.01)
            assert (crop.cx, crop.cy) == pytest.approx(((SIZE - 1) / 2,) * 2, abs=0.01)


def test_coefficients_and_pose_rebuild_the_points(studio: Studio, samples: list[Any]) -> None:
    model = studio.head.model
    points_model = model.subset(studio.points)
    errors: list[float] = []
    for _, labels in samples:
        if not labels.presence:
            continue
        vertices = points_model.decode(labels.shape, blendshapes=labels.blendshapes)
        rebuilt = vertices @ labels.pose[:2, :3].T + labels.pose[:2, 3]
        error = np.linalg.norm(rebuilt - labels.points, axis=1)
        # What is left is perspective (to 35 cm) and identity beyond 40 components.
        assert error.mean() < 7
        errors.append(error.mean())
        by_components = points_model.decode(labels.shape, labels.expression)
        apart = np.linalg.norm(by_components - vertices, axis=1)
        assert apart.mean() < 3.0, "ten components approximate the blendshapes"
    assert np.median(errors) < 2.0


def test_faces_are_drawn_where_the_labels_say(studio: Studio) -> None:
    """Skin, not background: the picture differs from one of the same seed without the head."""
    rng = np.random.default_rng(3)
    look = studio.sample_look(rng)
    image, labels = studio.shoot(look, rng)
    inside = labels.points[27:31].mean(0).astype(int)
    patch = image[inside[1] - 4 : inside[1] + 5, inside[0] - 4 : inside[0] + 5]
    assert patch.shape == (9, 9, 3)
    assert image.std() > 5


def test_a_picture_without_a_face_has_no_labels(studio: Studio) -> None:
    image, labels = studio.shoot_nothing(np.random.default_rng(0))
    assert image.shape == (SIZE, SIZE, 3)
    assert labels.presence == 0
    assert not labels.points.any()


def test_shards_resume_and_refuse_other_settings(
    tmp_path: Path, face_model_path: Path, makehuman: MakeHumanData
) -> None:
    config = SynthesisConfig(tmp_path, 4, face_model_path, seed=1, shard_size=2, workers=1)
    assert synthesise(config) == 2
    first = (tmp_path / "shard-00000.npz").read_bytes()
    (tmp_path / "shard-00001.npz").unlink()
    assert synthesise(config) == 1
    assert (tmp_path / "shard-00000.npz").read_bytes() == first
    assert contact_sheet(tmp_path, 2, 1).shape == (2 * SIZE, SIZE, 3)
    other = SynthesisConfig(tmp_path, 4, face_model_path, seed=2, shard_size=2, workers=1)
    with pytest.raises(OutputError, match=r"^[^:]*: holds shards of other settings"):
        synthesise(other)


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="positive"):
        SynthesisConfig(Path("x"), 0, Path("y"))


def test_the_face_model_is_built_the_same_twice(tmp_path: Path, makehuman: MakeHumanData) -> None:
    head, report = build_head_model(makehuman, identities=120, expressions=200, seed=5)
    again, _ = build_head_model(makehuman, identities=120, expressions=200, seed=5)
    np.testing.assert_array_equal(head.model.shape_basis, again.model.shape_basis)
    assert 0.9 < report.shape_explained <= 1
    assert report.shape_residual_mm < report.shape_rms_mm
    head.save(tmp_path / "face_model.npz")
    loaded = HeadModel.load(tmp_path / "face_model.npz", makehuman)
    assert loaded.head_from_base.scale == pytest.approx(head.head_from_base.scale)
    np.testing.assert_allclose(loaded.units, head.units, atol=1e-4)
    assert FaceModel.load(tmp_path / "face_model.npz").mean.shape == head.model.mean.shape


def test_fitted_meshes_are_read_past_stray_lines(
    tmp_path: Path, studio: Studio, makehuman: MakeHumanData
) -> None:
    (tmp_path / "wig.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n")
    (tmp_path / "wig.mhclo").write_text(
        "# wig\nobj_file wig.obj\nx_scale 5399 11998 1.0\ny_scale 791 881 1.0\n"
        "z_scale 962 5320 1.0\nverts 0\n5399\nmaterial wig.mhmat\ntag Short\n"
        "5399 11998 791 0.5 0.25 0.25 0.0 0.1 0.0\n5320\n"
    )
    mesh = read_fitted_mesh(tmp_path / "wig.mhclo", studio.head.topology)
    assert mesh is not None
    fitted = mesh.fit(studio.reference)
    place = studio.head.topology.place
    anchor = studio.reference[place(np.array([5399], np.int32))[0]]
    np.testing.assert_allclose(fitted[0], anchor, atol=1e-4)
    assert mesh.triangles.tolist() == [[0, 1, 2]]
    scales = "x_scale 5399 11998 1.0\ny_scale 791 881 1.0\nz_scale 962 5320 1.0\n"
    (tmp_path / "wig.mhclo").write_text(f"obj_file wig.obj\n{scales}verts 0\n5399\n")
    with pytest.raises(InputError, match="1 fitted vertices, its OBJ has 3"):
        read_fitted_mesh(tmp_path / "wig.mhclo", studio.head.topology)
