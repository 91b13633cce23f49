"""Synthetic bodies: a skeleton that moves them, clothes that cover them, a solid that is true."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.face.rotation import matrix_from_rotation_vector, matrix_from_yaw_pitch_roll
from mien.models.makehuman.source import MakeHumanData
from mien.models.mesh.triangle_mesh import TriangleMesh
from mien.models.people.bodies import cube_of_body, make_body
from mien.models.people.body_dresser import BodyDresser, DressedBody
from mien.models.people.body_generate import BodiesConfig
from mien.models.people.body_solid import Sheets, thickened, unite
from mien.models.people.outfits import Skirt, spanning
from mien.models.people.poses import ARMS, attitude_of, sample_attitude
from mien.models.people.record import Subject
from mien.models.people.skinning import Attitude, Rig, skin

pytest.importorskip("skimage")

_AXES = np.array([1, -1, -1], np.float32) * np.float32(100)


@pytest.fixture(scope="module")
def rig(makehuman: MakeHumanData) -> Rig:
    return Rig.load(makehuman)


@pytest.fixture(scope="module")
def rest(makehuman: MakeHumanData) -> np.ndarray:
    return makehuman.base.vertices * _AXES


@pytest.fixture(scope="module")
def dresser(makehuman: MakeHumanData, tmp_path_factory: pytest.TempPathFactory) -> BodyDresser:
    assert makehuman.base.quads.size
    with as_file(files("mien.models.weights.default") / "face_model.npz") as path:
        config = BodiesConfig(tmp_path_factory.mktemp("b"), 1, 2, 64, path)
        return BodyDresser(config.head_model(), config.assets)


@pytest.fixture(scope="module")
def body(dresser: BodyDresser) -> DressedBody:
    return dresser.sample(np.random.default_rng(4))


@pytest.fixture(scope="module")
def subject(dresser: BodyDresser) -> Subject:
    return make_body(dresser, np.random.default_rng(4), 7, views=2, size=64, cell=9.0)


def test_without_turns_a_body_stays_as_it_is(rig: Rig, rest: np.ndarray) -> None:
    transforms = rig.transforms(rest, Attitude({}, {}))
    np.testing.assert_allclose(skin(rest, rig.weights, transforms), rest, atol=1e-3)


def test_a_turn_of_the_root_carries_everything_rigidly(rig: Rig, rest: np.ndarray) -> None:
    vector = (0.1, 0.7, -0.3)
    moved = skin(rest, rig.weights, rig.transforms(rest, Attitude({}, {rig.names[0]: vector})))
    joint = rig.joints(rest)[0]
    expected = (rest - joint) @ matrix_from_rotation_vector(np.array(vector)).T + joint
    np.testing.assert_allclose(moved, expected, atol=1e-2)


@settings(max_examples=8, deadline=None)
@given(kind=st.sampled_from(sorted(ARMS)), seed=st.integers(0, 1000), sits=st.booleans())
def test_bones_point_where_they_are_aimed_and_keep_their_length(
    rig: Rig, rest: np.ndarray, kind: str, seed: int, sits: bool
) -> None:
    rng = np.random.default_rng(seed)
    attitude = attitude_of(kind, kind, 0.2, sits=sits, stout=0.5, rng=rng)
    transforms = rig.transforms(rest, attitude)
    heads, tails = rig.joints(rest), rig.tails @ rest.astype(np.float64)
    for name, aim in attitude.aims.items():
        bone = rig.names.index(name)
        rotation = transforms[bone, :, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        way = rotation @ (tails[bone] - heads[bone])
        cosine = way @ np.asarray(aim) / np.linalg.norm(way) / np.linalg.norm(aim)
        assert cosine > 1 - 1e-9


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), stout=st.floats(0, 1))
def test_people_stand_on_their_feet(rig: Rig, rest: np.ndarray, seed: int, stout: float) -> None:
    attitude = sample_attitude(np.random.default_rng(seed), stout)
    transforms = rig.transforms(rest, attitude)
    joints = rig.joints(rest)
    placed = {
        name: transforms[k, :, :3] @ joints[k] + transforms[k, :, 3]
        for k, name in enumerate(rig.names)
    }
    assert placed["head"][1] < placed["pelvis"][1] - 300
    for side in "lr":
        assert placed[f"foot_{side}"][1] > placed["pelvis"][1] + 300


def test_cloth_spans_hollows_and_sinks_nowhere(body: DressedBody) -> None:
    vertices, triangles = body.closed[0]
    covered = np.ones(len(vertices), np.float32)
    spanned = spanning(vertices, triangles, covered, 2)
    still = spanning(vertices, triangles, covered * 0, 2)
    np.testing.assert_array_equal(still, vertices)
    corners = (vertices[triangles], spanned[triangles])
    volume = [np.einsum("ij,ij->", c[:, 0], np.cross(c[:, 1], c[:, 2])) / 6 for c in corners]
    assert volume[1] > volume[0] > 0


def _box(half: float) -> tuple[np.ndarray, np.ndarray]:
    from mien.models.mesh.marching import surface_of_grid

    h = half
    mesh = surface_of_grid(np.ones((3, 3, 3), np.float32), 0.5, (-h, -h, -h), (h, h, h), True)
    return mesh.vertices, mesh.triangles


def test_a_sheet_near_a_solid_becomes_one_with_it() -> None:
    solid = _box(40.0)
    sheet = np.array([[-20, -20, 52], [20, -20, 52], [20, 20, 52], [-20, 20, 52]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    sheets = Sheets([(sheet, triangles)], 4.0, 3.0, 10.0)
    bare, clothed = unite([solid], cell=4.0), unite([solid], sheets, cell=4.0)
    assert clothed.mesh.is_watertight()
    # The gap of 12 mm below 40 mm x 40 mm is filled.
    gained = clothed.mesh.volume() - bare.mesh.volume()
    assert 40 * 40 * 10 < gained < 60 * 60 * 17
    assert len(thickened([solid], sheets)[1])


def test_a_subject_is_one_watertight_clothed_person(subject: Subject) -> None:
    mesh, samples = subject.mesh, subject.samples
    assert mesh.is_watertight()
    assert len(mesh.components()) == 1
    low, high = mesh.bounds()
    assert subject.height_mm == pytest.approx(high[1] - low[1])
    assert 600 < subject.height_mm < 2400
    assert 0.2 < samples.inside.mean() < 0.5
    for view in subject.views:
        placed = mesh.transformed(view.cube_from_subject).vertices
        assert np.abs(placed).max() < 1
        # The mask touches no border, and the person is in its middle.
        assert not view.mask[[0, -1]].any()
        assert not view.mask[:, [0, -1]].any()
        assert view.mask[20:44, 24:40].mean() > 40


def test_cubes_are_of_the_bodys_height_and_turn_about_its_middle(subject: Subject) -> None:
    mesh = subject.mesh
    low, high = mesh.bounds()
    for yaw in (0.0, 90.0, 200.0):
        cube = cube_of_body(mesh, matrix_from_yaw_pitch_roll(np.array([yaw, 0.0, 0.0])))
        np.testing.assert_allclose(cube[:, :3] @ ((low + high) / 2) + cube[:, 3], 0, atol=1e-5)
        side = 2 / np.linalg.norm(cube[1, :3])
        assert side >= 1.149 * subject.height_mm


def test_bodies_are_covered(body: DressedBody, dresser: BodyDresser) -> None:
    for seed in range(4):
        outfit = dresser._tailor.outfit(np.random.default_rng(seed), 0.8)
        place = dresser._tailor.place
        trunk = (np.abs(place[:, 0]) < 1.2) & (place[:, 1] > 2) & (place[:, 1] < 4.5)
        hips = (np.abs(place[:, 0]) < 1.2) & (place[:, 1] > -0.2) & (place[:, 1] < 0.8)
        face = place[:, 1] > 6.6
        assert outfit.covered[trunk].mean() > 0.98
        assert outfit.covered[hips].mean() > 0.98
        assert (outfit.lift[trunk] >= 2).mean() > 0.98
        assert not outfit.covered[face].any()
    assert body.cloth is None  # no assets were given


def test_a_coat_over_a_skirt_hides_legs(
    dresser: BodyDresser, monkeypatch: pytest.MonkeyPatch
) -> None:
    tailor = dresser._tailor
    red, blue = (np.array(c, np.float32) for c in ([1, 0, 0], [0, 0, 1]))
    skirts = [Skirt(1.5, 4.0, 30.0, 5.0, 6, red), Skirt(0.8, 12.0, 40.0, 3.0, 4, blue)]
    plain = tailor.outfit(np.random.default_rng(0), 1.0)
    worn = replace(plain, skirts=skirts)
    monkeypatch.setattr(tailor, "outfit", lambda *_: worn)
    made = dresser.sample(np.random.default_rng(4), Attitude({}, {}))
    rows = [part for part in made.painted if len(np.unique(part.colours, axis=0)) == 1]
    assert [tuple(part.colours[0]) for part in rows] == [(1, 0, 0), (0, 0, 1)]
    # The skirt reaches farther down; y is down.
    assert rows[0].points[:, 1].max() > rows[1].points[:, 1].max() + 100
    assert len(made.painted[0].points) < len(tailor.place)
    for vertices, triangles in made.closed[1:3]:
        corners = vertices[triangles].astype(np.float64)
        assert np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) > 0
        assert TriangleMesh(vertices, triangles).is_watertight()


def test_the_same_chance_gives_the_same_person(dresser: BodyDresser, body: DressedBody) -> None:
    again = dresser.sample(np.random.default_rng(4))
    assert len(again.closed) == len(body.closed)
    for (ours, _), (theirs, _) in zip(again.closed, body.closed, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_folder_without_suits_is_refused(
    makehuman: MakeHumanData, rig: Rig, tmp_path: Path
) -> None:
    from mien.models.errors import InputError
    from mien.models.people.body_cloth import read_suits

    with pytest.raises(InputError, match=r"no clothes/\*suit\*/\*\.mhclo below it; expected"):
        read_suits(tmp_path, makehuman, rig)
    with pytest.raises(InputError, match="no such folder; expected MakeHuman's CC0 suits"):
        read_suits(tmp_path / "absent", makehuman, rig)
