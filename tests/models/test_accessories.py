"""What synthetic heads wear and hold: present, outside of the head, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mien.models.render.raster import vertex_normals
from mien.models.render.surface import Surface
from mien.models.synthetic import hats, props
from mien.models.synthetic.accessories import Outfit
from mien.models.synthetic.backdrop import sample_background, set_beside
from mien.models.synthetic.clothes import collar, lower_edge, trunk
from mien.models.synthetic.framing import sample_pose
from mien.models.synthetic.glasses import make_glasses
from mien.models.synthetic.hands import _FIST, _FLAT, Grip, HandMaker
from mien.models.synthetic.headmap import CENTRE, HeadMap, directions, over, reach
from mien.models.synthetic.locks import grow, sample_style
from mien.models.synthetic.masks import face_mask
from mien.models.synthetic.negatives import animal, sample_drawing, smiley, surface
from mien.models.synthetic.scene import Studio

Maker = Callable[[np.random.Generator], list[Surface]]


@pytest.fixture(scope="module")
def head_map(studio: Studio) -> HeadMap:
    return HeadMap(studio.reference, studio._skin)


@pytest.fixture(scope="module")
def hand_maker(studio: Studio) -> HandMaker:
    return HandMaker(studio.head.topology.data, studio.head.head_from_base.scale)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _outside_share(vertices: np.ndarray, table: np.ndarray, slack: float = 3.0) -> float:
    away = vertices - CENTRE
    distance = np.linalg.norm(away, axis=1)
    return float((distance > reach(table, away / distance[:, None]) - slack).mean())


def _same(make: Maker) -> list[Surface]:
    """What ``make`` gives, after checking that it is sound and a function of the seed."""
    made, again, other = make(_rng(1)), make(_rng(1)), make(_rng(2))
    assert made
    for one, two in zip(made, again, strict=True):
        np.testing.assert_array_equal(one.vertices, two.vertices)
        assert np.isfinite(one.vertices).all()
        assert len(one.triangles)
    apart = len(made) != len(other) or any(
        not np.array_equal(one.vertices, two.vertices) for one, two in zip(made, other, strict=True)
    )
    assert apart, "another seed makes another one"
    return made


def test_the_map_of_a_head_finds_its_surface(studio: Studio, head_map: HeadMap) -> None:
    tight = head_map.measure(studio.reference, tight=True)
    nose = studio.reference[studio.head.topology.landmarks[30]] - CENTRE
    found = float(reach(tight, nose / np.linalg.norm(nose)))
    assert found == pytest.approx(float(np.linalg.norm(nose)), abs=8)
    up = directions(np.array(0.0), np.array(80.0))
    assert float(np.linalg.norm(over(tight, up, 10.0) - over(tight, up, 0.0))) == pytest.approx(
        10, abs=0.01
    )
    loose = head_map.measure(studio.reference)
    assert (loose > tight - 6).mean() > 0.95


@pytest.mark.parametrize("name", ["cap", "beanie", "hood", "band", "neck_scarf", "headphones"])
def test_hats_are_around_the_head(name: str, studio: Studio, head_map: HeadMap) -> None:
    table = head_map.measure(studio.reference)
    make = getattr(hats, name)
    for part in _same(lambda rng: make(table, rng)):
        assert _outside_share(part.vertices, table) > 0.85


def test_a_hood_leaves_the_face_open(studio: Studio, head_map: HeadMap) -> None:
    table = head_map.measure(studio.reference)
    marks = studio.reference[studio.head.topology.landmarks]
    for seed in range(5):
        (cloth,) = hats.hood(table, _rng(seed))
        before = cloth.vertices[cloth.vertices[:, 2] < marks[30, 2] + 40]
        if len(before):
            apart = np.linalg.norm(before[:, None, :2] - marks[None, 27:68, :2], axis=2)
            assert apart.min() > 4, "eyes, nose and mouth are seen"


def test_a_mask_hides_the_mouth(studio: Studio, head_map: HeadMap) -> None:
    marks = studio.reference[studio.head.topology.landmarks]
    table = head_map.measure(studio.reference)
    mask = _same(lambda rng: face_mask(marks, table, rng))[0]
    near = np.linalg.norm(mask.vertices[:, :2] - marks[62, :2], axis=1) < 15
    assert near.any()
    assert mask.vertices[near, 2].min() < marks[62, 2] + 2
    assert _outside_share(mask.vertices, table) > 0.85


@pytest.mark.parametrize("name", ["phone", "cup", "microphone", "board", "stick"])
def test_things_are_held_near_the_face(name: str, studio: Studio, head_map: HeadMap) -> None:
    marks = studio.reference[studio.head.topology.landmarks]
    table = head_map.measure(studio.reference)
    make = getattr(props, name)
    for part in _same(lambda rng: make(marks, table, rng)):
        assert np.linalg.norm(part.vertices[:, None] - marks[None], axis=2).min() < 220


def test_glasses_sit_before_the_eyes(studio: Studio) -> None:
    marks = studio.reference[studio.head.topology.landmarks]
    made = _same(lambda rng: make_glasses(marks, rng))
    lenses = [part for part in made if part.clear_coat]
    assert len(lenses) == 2
    for lens, eye in zip(lenses, (marks[36:42], marks[42:48]), strict=True):
        assert np.linalg.norm(lens.vertices[0, :2] - eye[:, :2].mean(0)) < 26
        assert lens.vertices[0, 2] < eye[:, 2].mean()


def test_fingers_bend_towards_the_palm(hand_maker: HandMaker) -> None:
    still = np.eye(3)
    flat = hand_maker.posed(Grip(_FLAT, (0.0, 0.0)), still, _rng())
    fist = hand_maker.posed(Grip(_FIST, (0.0, 0.0)), still, _rng())
    assert flat[:, 1].max() > fist[:, 1].max() + 40, "a fist is shorter than a flat hand"
    tips = flat[:, 1] > flat[:, 1].max() - 15
    assert fist[tips, 2].mean() > flat[tips, 2].mean(), "towards the palm"


def test_hands_lie_on_the_face_and_face_outwards(
    studio: Studio, head_map: HeadMap, hand_maker: HandMaker
) -> None:
    table = head_map.measure(studio.reference, tight=True)
    marks = studio.head.topology.landmarks

    def make(rng: np.random.Generator) -> list[Surface]:
        return [hand_maker.hand(studio.reference, marks, table, (200.0, 150.0, 130.0), rng)]

    _same(make)
    head_sign = _signed_volume(studio.reference, studio._skin)
    for seed in range(12):
        (hand,) = make(_rng(seed))
        assert _signed_volume(hand.vertices, hand.triangles) * head_sign > 0
        assert _outside_share(hand.vertices, table, 6.0) > 0.7
        assert np.linalg.norm(hand.vertices - studio.reference[marks[30]], axis=1).min() < 160


def _signed_volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    middle = vertices[np.unique(triangles)].mean(0)
    a, b, c = (vertices[triangles[:, k]].astype(np.float64) - middle for k in range(3))
    return float((np.cross(a, b) * c).sum())


def test_locks_stay_outside_and_leave_the_face_open(studio: Studio, head_map: HeadMap) -> None:
    table = head_map.measure(studio.reference, tight=True)
    marks = studio.reference[studio.head.topology.landmarks]
    skin = np.unique(studio._skin)
    roots = skin[studio.reference[skin, 1] < marks[19, 1] - 40]
    normals = vertex_normals(studio.reference, studio._skin)[roots]
    down = np.array([0.0, 1.0, 0.0])
    for seed in range(4):
        style = sample_style(_rng(seed), long=True)
        args = (studio.reference[roots], normals, table, down, style)
        vertices, triangles, uv = grow(*args, _rng(seed))
        again = grow(*args, _rng(seed))[0]
        np.testing.assert_array_equal(vertices, again)
        assert uv.shape == (len(triangles), 3, 2)
        above = vertices[vertices[:, 1] < 60]
        assert _outside_share(above, table, 8.0) > 0.9
        before = vertices[(vertices[:, 2] < 40) & (vertices[:, 1] > marks[27, 1])]
        inside = np.abs(before[:, 0]) < 15
        assert inside.mean() < 0.2 if len(before) else True


def test_the_trunk_continues_the_cut_and_collars_surround_the_neck(studio: Studio) -> None:
    edge = lower_edge(studio.reference, studio._skin)
    _, counts = np.unique(edge, return_counts=True)
    assert (counts == 2).all(), "closed loops"
    texture = studio.sample_look(_rng()).texture
    below = trunk(studio.reference, edge, studio._vertex_uv, texture)
    assert below.vertices[:, 1].max() > studio.reference[:, 1].max() + 300
    neck = studio.reference[studio._neck]
    for seed in range(6):
        (band,) = collar(neck, _rng(seed))
        np.testing.assert_array_equal(band.vertices, collar(neck, _rng(seed))[0].vertices)
        assert band.vertices[:, 0].min() < -50
        assert band.vertices[:, 0].max() > 50
        assert band.vertices[:, 1].min() < neck[:, 1].max()


def test_labels_do_not_depend_on_what_is_worn(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = studio.sample_look(_rng(4))
    dressed = [studio.shoot(look, _rng(seed)) for seed in range(6)]
    monkeypatch.setattr(studio._wardrobe, "dress", lambda *_: Outfit())
    bare = [studio.shoot(look, _rng(seed)) for seed in range(6)]
    differ = 0
    for (image, labels), (bare_image, bare_labels) in zip(dressed, bare, strict=True):
        np.testing.assert_array_equal(labels.points, bare_labels.points)
        np.testing.assert_array_equal(labels.pose, bare_labels.pose)
        np.testing.assert_array_equal(labels.blendshapes, bare_labels.blendshapes)
        differ += not np.array_equal(image, bare_image)
    assert differ, "somebody wears something"


def test_poses_cover_profiles_and_nods() -> None:
    rng = _rng()
    turned = [sample_pose(rng).rotation for _ in range(600)]
    ahead = np.array([rotation @ [0.0, 0.0, -1.0] for rotation in turned])
    yaw = np.degrees(np.arctan2(np.abs(ahead[:, 0]), -ahead[:, 2]))
    pitch = np.degrees(np.arcsin(np.abs(ahead[:, 1])))
    assert 0.2 < (yaw > 60).mean() < 0.5
    assert (pitch > 30).mean() > 0.08
    assert ((yaw > 45) & (pitch > 20)).mean() > 0.04


@pytest.mark.parametrize("make", [smiley, animal, surface, sample_drawing, sample_background])
def test_drawings_and_backgrounds_are_light(
    make: Callable[[np.random.Generator, int], np.ndarray],
) -> None:
    for seed in range(8):
        image = make(_rng(seed), 96)
        assert image.shape == (96, 96, 3)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.min() >= 0
        np.testing.assert_array_equal(image, make(_rng(seed), 96))


def test_a_neighbour_appears_at_an_edge_only() -> None:
    for seed in range(8):
        image = np.zeros((144, 144, 3), np.float32)
        set_beside(image, np.full((144, 144, 3), 200, np.uint8), _rng(seed))
        changed = image.max(axis=(0, 2)) > 0
        assert changed.any()
        assert changed[0] != changed[-1], "one side"


def test_pictures_without_faces_are_a_function_of_the_seed(studio: Studio) -> None:
    look = studio.sample_look(_rng(1))
    pictures = [studio.shoot_nothing(_rng(seed), look)[0] for seed in range(8)]
    again = studio.shoot_nothing(_rng(3), look)[0]
    np.testing.assert_array_equal(pictures[3], again)
    assert len({picture.tobytes() for picture in pictures}) == 8
