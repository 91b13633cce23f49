"""The box of a face, signed distances on its cells, the closed head, the data folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError, OutputError
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.models.makehuman.build import HeadModel
from mien.models.makehuman.source import MakeHumanData
from mien.models.mesh.distance import SurfaceDistance
from mien.models.mesh.inside import InsideTest
from mien.models.mesh.triangle_mesh import TriangleMesh
from mien.models.scans import generate
from mien.models.scans._grid_kernels import nearest_triangles, winding
from mien.models.scans.box import FaceBox
from mien.models.scans.closed_head import MOUTH
from mien.models.scans.edge_loops import QuadMesh, membrane_weights
from mien.models.scans.expressions import sample_expressions, single
from mien.models.scans.generate import (
    ScansConfig,
    ScanStudio,
    person_path,
    synthesise_scans,
)
from mien.models.scans.surface import surface_of_box
from mien.models.scans.template_make import make_template
from mien.models.scans.truth import TruthGrids
from mien.models.scans.views import look, view_camera

Rng = np.random.default_rng
BOX = FaceBox(16)


@pytest.fixture(scope="module")
def studio(face_model_path: Path, makehuman: MakeHumanData) -> ScanStudio:
    return ScanStudio(HeadModel.load(face_model_path, makehuman), BOX)


@pytest.fixture(scope="module")
def person(studio: ScanStudio) -> dict[str, np.ndarray]:
    return studio.person(seed=3, number=1, expressions=3)


def ball(radius: float, middle: tuple[float, float, float]) -> TriangleMesh:
    """A closed sphere; rings of 48."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, 33), np.arange(48) * np.pi / 24, indexing="ij")
    points = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1
    )
    i, j = np.meshgrid(np.arange(32), np.arange(48), indexing="ij")
    a, b = i * 48 + j, i * 48 + (j + 1) % 48
    quads = np.stack([a, a + 48, b + 48, b], -1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    vertices = radius * points.reshape(-1, 3) + middle
    return TriangleMesh(vertices.astype(np.float32), triangles.astype(np.int32))


def expression(**values: float) -> np.ndarray:
    row = np.zeros(52, np.float32)
    for name, value in values.items():
        row[BLENDSHAPE_INDEX[name]] = value
    return row


# The box.


@given(st.integers(4, 80), st.integers(0, 2**32 - 1))
def test_cells_and_millimetres_are_inverse(cells: int, seed: int) -> None:
    box = FaceBox(cells)
    points = Rng(seed).uniform(box.low, box.high, (20, 3))
    back = box.mm_from_index(box.index_from_mm(points))
    np.testing.assert_allclose(back, points, atol=1e-4)


def test_the_box_is_the_head_frames_and_its_cells_are_indexed_x_y_z() -> None:
    box = FaceBox(32)
    np.testing.assert_array_equal(box.low, (-90, -60, -35))
    np.testing.assert_array_equal(box.high, (90, 120, 105))
    np.testing.assert_allclose(box.edges, (5.625, 5.625, 4.375))
    assert box.truncation == pytest.approx(3 * 5.625)
    centres = box.centres()
    np.testing.assert_allclose(centres[0, 0, 0], box.first)
    np.testing.assert_allclose(centres[31, 31, 31], box.last)
    np.testing.assert_allclose(centres[2, 0, 0] - centres[1, 0, 0], (5.625, 0, 0), atol=1e-4)


def test_a_box_without_cells_is_refused() -> None:
    with pytest.raises(InputError, match="2 cells"):
        FaceBox(2)


# Signed distance.


@settings(max_examples=5, deadline=None)
@given(st.floats(12, 40), st.tuples(*[st.floats(-15, 15)] * 3))
def test_a_balls_winding_and_distance_are_the_exact_ones(
    radius: float, shift: tuple[float, float, float]
) -> None:
    middle = tuple(float(a + b) for a, b in zip(shift, (0, 30, 35), strict=True))
    mesh = ball(radius, (middle[0], middle[1], middle[2]))
    turns = np.empty(BOX.shape, np.int16)
    winding(BOX.index_from_mm(mesh.vertices), mesh.triangles, turns)
    centres = BOX.centres()
    away = np.linalg.norm(centres - middle, axis=-1)
    clear = np.abs(away - radius) > 0.02 * radius
    np.testing.assert_array_equal((turns > 0)[clear], (away < radius)[clear])
    assert set(np.unique(turns)) <= {0, 1}
    squared = np.empty(BOX.shape, np.float32)
    nearest = np.empty(BOX.shape, np.int32)
    weights = np.empty((*BOX.shape, 2), np.float32)
    nearest_triangles(
        mesh.vertices, mesh.triangles, BOX.first, BOX.edges, 20.0, squared, nearest, weights
    )
    exact, _, _ = SurfaceDistance(mesh).nearest(centres.reshape(-1, 3))
    near = exact < 19.9
    np.testing.assert_allclose(np.sqrt(squared).ravel()[near], exact[near], atol=2e-3)
    np.testing.assert_allclose(np.sqrt(squared).ravel()[exact > 20.1], 20.0, rtol=1e-6)
    assert (nearest.ravel()[exact > 20.1] == -1).all()
    found = nearest.ravel()[near]
    a, b, c = (mesh.vertices[mesh.triangles[found, k]] for k in range(3))
    v, w = weights.reshape(-1, 2)[near].T[..., None]
    place = a * (1 - v - w) + b * v + c * w
    flat = centres.reshape(-1, 3)[near]
    np.testing.assert_allclose(np.linalg.norm(place - flat, axis=1), exact[near], atol=5e-3)


def test_the_surface_of_a_balls_grid_is_the_ball_and_faces_outwards() -> None:
    pytest.importorskip("skimage")
    box = FaceBox(32)
    middle = np.array([0.0, 30.0, 35.0])
    sdf = (np.linalg.norm(box.centres() - middle, axis=-1) - 40).astype(np.float32)
    colour = np.broadcast_to(np.array([10, 200, 90], np.uint8), (*box.shape, 3))
    for refine in (1, 2):
        mesh = surface_of_box(sdf, colour, refine)
        away = np.linalg.norm(mesh.vertices - middle, axis=1)
        np.testing.assert_allclose(away, 40, atol=0.3)
        assert mesh.is_watertight()
        assert mesh.volume() == pytest.approx(4 / 3 * np.pi * 40**3, rel=0.02)
        assert mesh.colours is not None
        assert (mesh.colours == (10, 200, 90)).all()


def test_a_grid_without_surface_is_refused() -> None:
    pytest.importorskip("skimage")
    with pytest.raises(InputError, match="no surface"):
        surface_of_box(np.ones((8, 8, 8), np.float32))


# Loops.


def test_a_membrane_over_a_plane_loop_is_flat_and_reproduces_it() -> None:
    n = 7
    number = np.arange(n * n).reshape(n, n)
    quads = np.stack(
        [number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]], -1
    ).reshape(-1, 4)
    ring = [*number[0, :-1], *number[:-1, -1], *number[-1, :0:-1], *number[:0:-1, 0]]
    inner, weights = membrane_weights(quads.astype(np.int32), np.array(ring, np.int32))
    assert len(inner) == (n - 2) ** 2
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    assert weights.min() > -1e-6
    x, y = np.divmod(np.arange(n * n), n)
    places = np.column_stack([x, y, 2 * x - y]).astype(np.float32)
    spanned = weights @ places[ring]
    np.testing.assert_allclose(spanned, places[inner], atol=1e-3)


def test_loops_are_found_and_part_the_mesh() -> None:
    n = 8
    around, along = np.meshgrid(np.arange(n), np.arange(5), indexing="ij")
    a, b = around * 6 + along, (around + 1) % n * 6 + along
    quads = np.stack([a, b, b + 1, a + 1], -1).reshape(-1, 4).astype(np.int32)
    mesh = QuadMesh(quads)
    loop = mesh.loop_through(2)
    assert sorted(loop.tolist()) == [6 * k + 2 for k in range(n)]
    faces = mesh.enclosed(loop, outside=0)
    assert sorted(faces.tolist()) == [5 * k + j for k in range(n) for j in (2, 3, 4)]


# The closed head.


def test_the_statistical_head_moves_like_people(studio: ScanStudio) -> None:
    template = make_template(studio.people, studio.closed, studio.head.units)
    person = studio.people.sample(Rng(5))
    for values in (expression(), expression(jawOpen=0.8), expression(eyeBlinkLeft=1.0)):
        placed = studio.placed(person, values)
        np.testing.assert_allclose(template.placed(person.neutral, values), placed, atol=1e-3)
    # Its components tell people apart: a new one is left with less than the mean leaves.
    away = (person.neutral - template.mean).ravel()
    basis = template.shapes.reshape(len(template.shapes), -1)
    found = np.linalg.lstsq(basis.T, away, rcond=None)[0]
    left = away - found @ basis
    assert np.square(left).mean() < 0.05 * np.square(away).mean()
    shown = template.mean[template.seen]
    assert len(shown) > 1500
    assert studio.box.contains(shown).all()


def test_the_head_is_solid_but_for_an_open_mouth(studio: ScanStudio) -> None:
    person = studio.people.sample(Rng(5))
    closed = studio.closed
    for values, air in ((expression(), False), (expression(jawOpen=0.8), True)):
        placed = studio.placed(person, values)
        lips = placed[studio.head.topology.landmarks[[62, 66]]].mean(0)
        behind = lips + np.array([0, 0, 14], np.float32)
        if air:
            assert closed.placer.opening_mm(placed) > 15
        sdf, _, _ = TruthGrids(FaceBox(48), closed).distance(placed)
        index = np.rint(FaceBox(48).index_from_mm(behind)).astype(int)
        assert (sdf[tuple(index)] > 0) == air
        # From outside to the middle of the eyes' sockets there is no way.
        for centre, radius in closed.placer.eyeballs(person.neutral):
            inside = centre - np.array([0, 0, 0.5 * radius], np.float32)
            assert sdf[tuple(np.rint(FaceBox(48).index_from_mm(inside)).astype(int))] < 0


def test_signs_agree_with_exact_inside_tests(studio: ScanStudio) -> None:
    person = studio.people.sample(Rng(6))
    placed = studio.placed(person, expression(mouthSmileLeft=0.8, mouthSmileRight=0.8))
    start, end = studio.closed.parts[-1]
    tongue = TriangleMesh(placed, studio.closed.triangles[start:end])
    box = FaceBox(48)
    turns = np.empty(box.shape, np.int16)
    winding(box.index_from_mm(placed), tongue.triangles, turns)
    points = box.centres().reshape(-1, 3)
    near = np.abs(points - tongue.corners.mean((0, 1))).max(1) < 50
    exact = InsideTest(tongue).test(points[near])
    assert exact.sum() > 50
    assert ((turns.reshape(-1)[near] > 0) == exact).mean() > 0.999


def test_the_cavity_grows_steadily_as_the_lips_part(studio: ScanStudio) -> None:
    person = studio.people.sample(Rng(7))
    inside = np.unique(studio.closed.triangles[studio.closed.kinds == MOUTH])
    before = studio.placed(person, expression())
    for jaw in np.linspace(0.01, 0.5, 50):
        placed = studio.placed(person, expression(jawOpen=float(jaw)))
        assert np.linalg.norm(placed[inside] - before[inside], axis=1).max() < 6
        before = placed


def test_the_grids_surface_lies_on_the_true_one(studio: ScanStudio) -> None:
    person = studio.people.sample(Rng(8))
    placed = studio.placed(person, expression(jawOpen=0.4))
    sdf, _, _ = TruthGrids(FaceBox(32), studio.closed).distance(placed)
    truth = SurfaceDistance(TriangleMesh(placed, studio.closed.triangles))
    distance, _, _ = truth.nearest(surface_of_box(sdf).vertices)
    assert distance.mean() < 0.4
    assert np.quantile(distance, 0.95) < 1.2


# Expressions.


def test_singles_take_turns_over_all_units() -> None:
    seen = np.zeros(52)
    for person in range(24):
        rows = sample_expressions(Rng(person), person, 18)
        assert rows.shape == (18, 52)
        assert not rows[0].any()
        assert rows.min() >= 0
        assert rows.max() <= 1
        seen += (rows > 0.25).any(0)
    assert seen.min() >= 1


def test_lips_close_over_an_open_jaw_only() -> None:
    row = single(BLENDSHAPE_INDEX["mouthClose"], 0.7, Rng(0))
    assert row[BLENDSHAPE_INDEX["jawOpen"]] >= row[BLENDSHAPE_INDEX["mouthClose"]]


# The folder.


def test_a_person_has_what_training_reads(
    studio: ScanStudio, person: dict[str, np.ndarray]
) -> None:
    n, e = BOX.cells, 3
    shapes = {name: (array.shape, array.dtype) for name, array in person.items()}
    k = len(person["scan_kind"])
    vertices = person["vertices"].shape[1]
    assert shapes == {
        "sdf": ((e, n, n, n), np.float16),
        "colour": ((e, n, n, n, 3), np.uint8),
        "blendshapes": ((e, 52), np.float32),
        "expression": ((e, 10), np.float32),
        "shape": ((40,), np.float32),
        "scan_sdf": ((k, n, n, n), np.float16),
        "scan_seen": ((k, n, n, n), np.uint8),
        "scan_colour": ((k, n, n, n, 3), np.uint8),
        "scan_kind": ((k,), np.uint8),
        "views": ((e, 2, 64, 64, 4), np.uint8),
        "cameras": ((e, 2, 3, 4), np.float32),
        "vertices": ((e, vertices, 3), np.float32),
    }
    shared = studio.shared()
    assert shared["triangles"].max() == vertices - 1
    assert set(person["scan_kind"]) == {0, 1, 2}
    assert np.abs(person["sdf"]).max() <= BOX.truncation + 0.01


def test_pictures_show_the_surface_where_their_cameras_say(
    studio: ScanStudio, person: dict[str, np.ndarray]
) -> None:
    marks = person["vertices"][:, studio.shared()["landmarks"][27:36]]
    for e, c in np.ndindex(3, 2):
        camera = person["cameras"][e, c]
        px = marks[e] @ camera[:, :3].T + camera[:, 3]
        u, v = np.rint(px[:, :2] / px[:, 2:]).astype(int).T
        assert (person["views"][e, c, v, u, 3] > 200).mean() > 0.7
    mask = person["views"][..., 3]
    assert ((mask > 127).mean((2, 3)) > 0.15).all()
    assert (mask[:, :, :2] > 0).mean() < 0.1


def test_a_camera_looks_at_the_boxs_middle() -> None:
    camera = view_camera(30, -10, 64)
    middle = (BOX.low + BOX.high) / 2
    px = camera[:, :3] @ middle + camera[:, 3]
    np.testing.assert_allclose(px[:2] / px[2], 31.5, atol=1e-6)


def test_what_is_seen_lies_on_the_mesh() -> None:
    mesh = ball(40, (0.0, 30.0, 35.0))
    seen = look(mesh.vertices, mesh.triangles, view_camera(0, 0, 48), 48, 48)
    hit = seen.which >= 0
    assert 0.05 < hit.mean() < 0.8
    distance, _, _ = SurfaceDistance(mesh).nearest(seen.points[hit])
    assert distance.max() < 0.01


def test_persons_are_a_function_of_seed_and_number(
    studio: ScanStudio, person: dict[str, np.ndarray]
) -> None:
    again = studio.person(seed=3, number=1, expressions=3)
    for name, array in person.items():
        np.testing.assert_array_equal(array, again[name])
    other = studio.person(seed=3, number=2, expressions=1)
    assert not np.array_equal(other["shape"], person["shape"])


def test_a_folder_is_resumed_and_other_settings_are_refused(
    tmp_path: Path, face_model_path: Path, studio: ScanStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "make_studio", lambda _: studio)
    base = ScansConfig(tmp_path, 1, face_model_path, expressions=1, cells=16, workers=1)
    assert synthesise_scans(base) == 1
    kept = person_path(tmp_path, 0).read_bytes()
    more = replace(base, count=2)
    assert synthesise_scans(more) == 1
    assert synthesise_scans(more) == 0
    assert person_path(tmp_path, 0).read_bytes() == kept
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["count"] == 2
    assert meta["low_mm"] == [-90.0, -60.0, -35.0]
    with pytest.raises(OutputError, match="other expressions"):
        synthesise_scans(replace(base, expressions=2))


def test_impossible_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 or more"):
        ScansConfig(tmp_path, 0, tmp_path)
    with pytest.raises(InputError, match="7 cells"):
        ScansConfig(tmp_path, 1, tmp_path, cells=7)
