"""Evaluation of reconstructions: figures on known shapes, rows, held-out people."""
# ruff: noqa: E402

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skimage")

from mien.models.errors import InputError, OutputError
from mien.models.mesh.distance import grid_points
from mien.models.mesh.files import write_mesh
from mien.models.mesh.marching import surface_of_grid
from mien.models.mesh.orthographic import orthographic_maps
from mien.models.mesh.triangle_mesh import TriangleMesh
from mien.models.pifuhd.baselines import MeanShape
from mien.models.pifuhd.cases import held_out_cases
from mien.models.pifuhd.config import EncoderConfig, ImplicitConfig, NormalConfig, PifuhdConfig
from mien.models.pifuhd.dataset import PeopleFolder, subject_path
from mien.models.pifuhd.evaluation import Evaluator
from mien.models.pifuhd.evaluation_sheet import TILE, case_strip, chosen
from mien.models.pifuhd.feature_map import FeatureMap, Features
from mien.models.pifuhd.figures import Truth, spread
from mien.models.pifuhd.network import Pifuhd
from mien.models.pifuhd.weights import save_weights
from mien.tools.evaluate.meshes import EvaluateMeshes
from mien.tools.evaluate.models import EvaluateModels
from mien.tools.evaluate.pifuhd import EvaluatePifuhd, summarise

SIZE = 32
CUBE_MM = 400.0
COUNT = 14
HELD_OUT = (12, 13)

TINY = PifuhdConfig(
    name="tiny",
    image_size=SIZE,
    normal=NormalConfig(size=SIZE, filters=4, downs=1, blocks=1),
    coarse=EncoderConfig(SIZE, 4, 4, 8, 8, 1, 1, True, 2, "bilinear"),
    coarse_implicit=ImplicitConfig((8, 8, 8, 4), (2, 3), 2),
    fine=EncoderConfig(SIZE, 4, 4, 8, 4, 1, 1, False, 2, "bilinear"),
    fine_implicit=ImplicitConfig((8, 8, 4), (1, 2), 1),
    window=16,
)


def ellipsoid(radii: tuple[float, float, float], cells: int = 40) -> TriangleMesh:
    reach = 1.25 * max(radii)
    low, high = (-reach, -reach, -reach), (reach, reach, reach)
    points = grid_points(low, high, (cells, cells, cells))
    values = (np.linalg.norm(points / np.array(radii, np.float32), axis=1) - 1) * min(radii)
    grid = values.reshape(cells, cells, cells).astype(np.float32)
    return surface_of_grid(grid, 0.0, low, high, inside_above=False)


def turned(yaw_deg: float) -> np.ndarray:
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    linear = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) * (2 / CUBE_MM)
    return np.column_stack([linear, [0.05, -0.1, 0.0]]).astype(np.float32)


def write_people(
    folder: Path, radii_mm: Callable[[int], tuple[float, float, float]], views: int = 2
) -> PeopleFolder:
    """Ellipsoids as people."""
    folder.mkdir()
    (folder / "meta.json").write_text(json.dumps({"kind": "heads", "count": COUNT, "size": SIZE}))
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        radii = radii_mm(number)
        mesh = ellipsoid(radii)
        cameras = np.stack([turned(35.0 * view) for view in range(views)])
        maps = [orthographic_maps(mesh.transformed(camera), SIZE) for camera in cameras]
        points = rng.uniform(-200, 200, (64, 3)).astype(np.float32)
        np.savez(
            subject_path(folder, number),
            vertices=mesh.vertices,
            triangles=mesh.triangles,
            points=points,
            inside=np.linalg.norm(points / np.array(radii), axis=1) < 1,
            scale=np.full(64, 3, np.uint8),
            images=rng.integers(0, 255, (views, SIZE, SIZE, 3)).astype(np.uint8),
            mask=np.stack([m.mask for m in maps]).astype(np.uint8) * 255,
            front=np.rint(np.stack([m.front for m in maps]) * 127).astype(np.int8),
            back=np.rint(np.stack([m.back for m in maps]) * 127).astype(np.int8),
            cube_from_subject=cameras,
            height_mm=np.float32(2 * radii[1]),
            identity=np.int32(number),
        )
    return PeopleFolder(folder)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> PeopleFolder:
    """All alike."""
    return write_people(tmp_path_factory.mktemp("people") / "alike", lambda _: (90, 130, 100))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, Pifuhd(TINY).eval(), {})
    return path


class Oracle(Pifuhd):
    """Knows the ellipsoid of the case; seen by the first view; its coarse level is too small."""

    def __init__(self, config: PifuhdConfig) -> None:
        super().__init__(config)
        self.asked_with_true_normals = 0

    def encode(self, image: Any, normals: Any = None, head_from_cube: Any = None) -> Features:
        front = back = None
        if normals is not None:
            self.asked_with_true_normals += 1
            front, back = normals
        elif self.config.use_normals:
            front = torch.zeros(1, 3, SIZE, SIZE)
            front[:, 2] = 1
            back = front
        seen = FeatureMap([image], SIZE)
        return Features(seen, seen, front, back)

    def occupancy(self, features: Features, points: Any, level: str = "fine") -> Any:
        centred = points - torch.tensor([0.05, -0.1, 0.0])
        own = (centred / torch.tensor([0.45, 0.65, 0.5])).norm(dim=-1)
        return torch.sigmoid((own - (0.9 if level == "coarse" else 1.0)) * -40)


def test_the_truth_agrees_with_itself() -> None:
    mesh = ellipsoid((0.5, 0.7, 0.4))
    found = Truth(mesh, mm_per_unit=200, height_mm=280).compare(mesh)
    assert found.iou == 1
    assert found.chamfer_mm < 1e-3
    assert found.back_chamfer_mm < 1e-3
    assert found.front_normal == found.back_normal == 0
    assert found.front_normal_deg < 0.1


def test_lengths_are_in_millimetres_and_percent_of_the_height() -> None:
    truth = ellipsoid((0.5, 0.5, 0.5))
    found = Truth(truth, 200, 250).compare(truth.transformed(np.eye(3) * 1.1))
    assert found.chamfer_mm == pytest.approx(10, rel=0.03)
    assert found.point_to_surface_mm == pytest.approx(10, rel=0.03)
    assert found.chamfer_percent == pytest.approx(4, rel=0.03)
    assert found.back_chamfer_percent == pytest.approx(4, rel=0.03)
    assert found.iou == pytest.approx(1 / 1.1**3, abs=0.01)


def test_an_error_behind_shows_in_the_figures_of_the_back() -> None:
    truth = ellipsoid((0.5, 0.5, 0.5))
    vertices = truth.vertices.copy()
    vertices[:, 2] *= np.where(vertices[:, 2] > 0, 1.4, 1).astype(np.float32)
    found = Truth(truth, 100, 100).compare(TriangleMesh(vertices, truth.triangles))
    assert found.back_chamfer_mm > 1.5 * found.chamfer_mm
    assert found.back_normal_deg > 5
    assert found.front_normal_deg < 0.5
    assert found.front_normal < 0.02 < found.back_normal


def test_what_is_beyond_the_cube_does_not_count() -> None:
    """The truth goes on below; the reconstruction is closed at the cube's lower face."""
    points = grid_points((-0.8, -0.8, -0.8), (0.8, 1.0, 0.8), (33, 37, 33))
    values = np.maximum(np.hypot(points[:, 0], points[:, 2]) - 0.5, -0.6 - points[:, 1])
    grid = values.reshape(33, 37, 33).astype(np.float32)
    mesh = surface_of_grid(grid, 0.0, (-0.8, -0.8, -0.8), (0.8, 1.0, 0.8), inside_above=False)
    vertices = mesh.vertices.copy()
    vertices[vertices[:, 1] > 0.999, 1] = 1.6
    found = Truth(TriangleMesh(vertices, mesh.triangles), 100, 100).compare(mesh)
    assert found.chamfer_mm < 0.1
    assert found.iou > 0.99
    assert found.front_normal < 0.02


def test_a_filled_cube_is_far_off() -> None:
    filled = surface_of_grid(np.ones((4, 4, 4), np.float32), 0.5, (-1, -1, -1), (1, 1, 1), True)
    found = Truth(ellipsoid((0.5, 0.5, 0.5)), 100, 100).compare(filled)
    assert found.chamfer_mm > 30
    assert found.back_chamfer_mm > 30
    assert found.iou == pytest.approx(4 / 3 * np.pi * 0.5**3 / 8, abs=0.01)


def test_a_spread_leaves_out_what_is_unknown() -> None:
    found = spread(np.array([1.0, np.nan, 3.0]))
    assert (found.mean, found.worst, found.count) == (2.0, 3.0, 2)
    assert found.deviation == pytest.approx(np.sqrt(2))
    assert spread(np.array([1.0, 3.0]), higher_is_better=True).worst == 1.0
    assert spread(np.array([np.nan])).count == 0


def test_only_held_out_people_are_cases(people: PeopleFolder) -> None:
    cases = list(held_out_cases(people, SIZE, views=2))
    assert [(c.subject, c.view) for c in cases] == [(n, v) for n in HELD_OUT for v in (0, 1)]
    # With one picture of each, people are seen from different sides.
    assert [(c.subject, c.view) for c in held_out_cases(people, SIZE)] == [(12, 0), (13, 1)]
    assert len(list(held_out_cases(people, SIZE, count=1))) == 1
    case = cases[1]
    assert case.mm_per_unit == pytest.approx(CUBE_MM / 2)
    assert case.height_mm == pytest.approx(260)
    np.testing.assert_array_equal(orthographic_maps(case.truth, SIZE).mask, case.mask)
    assert not case.image[:, ~case.mask].any()
    np.testing.assert_allclose(case.front[2][case.mask].max(), 1, atol=0.01)


def test_the_mean_of_equals_is_each_of_them(people: PeopleFolder) -> None:
    mean = MeanShape.of_training(people, 3)
    for case in held_out_cases(people, SIZE, views=2):
        mesh = mean.fitted(case.cube_from_subject, case.mask)
        assert (
            Truth(case.truth, 200, 260).compare(mesh).iou > 0.88
        )  # a pixel of the mask is 1/20 of the person


def test_the_mean_is_of_the_training_people_alone_and_fits_the_mask(tmp_path: Path) -> None:
    """Those held out are twice as wide: the baseline scales to their box."""
    folder = write_people(
        tmp_path / "wide", lambda n: (140, 130, 140) if n in HELD_OUT else (70, 130, 70), views=1
    )
    shares: list[float] = []
    mean = MeanShape.of_training(folder, 4, shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]
    low, high = mean.mesh.bounds()
    np.testing.assert_allclose((high - low) / 2, [0.35, 0.65, 0.35], atol=0.04)
    case = next(held_out_cases(folder, SIZE))
    low, high = mean.fitted(case.cube_from_subject, case.mask).bounds()
    np.testing.assert_allclose((high - low)[:2] / 2, [0.7, 0.65], atol=0.06)
    assert (high - low)[2] / 2 == pytest.approx(0.35 * np.sqrt(2), abs=0.05)
    np.testing.assert_allclose(((high + low) / 2)[:2], [0.05, -0.1], atol=0.05)


def test_rows_of_a_model_that_knows_the_truth(people: PeopleFolder) -> None:
    oracle = Oracle(TINY)
    mean = MeanShape.of_training(people, 2)
    case = next(held_out_cases(people, SIZE))
    evaluated = Evaluator(oracle, mean, resolution=32).case(case)
    assert list(evaluated.figures) == ["full", "coarse", "mean shape", "true normals"]
    full, coarse = evaluated.figures["full"], evaluated.figures["coarse"]
    assert full.iou > 0.95
    assert full.chamfer_percent < 1
    assert coarse.iou == pytest.approx(0.9**3, abs=0.03)
    assert full.largest_share == 1
    assert oracle.asked_with_true_normals == 1
    assert evaluated.normals is not None
    assert evaluated.normals.front_deg == pytest.approx(evaluated.normals.flat_deg)
    assert 20 < evaluated.normals.back_deg < 60
    strip = case_strip(evaluated)
    assert strip.shape[1] == 9 * TILE
    summary = summarise([evaluated])
    assert summary["rows"]["full"]["figures"]["iou"]["mean"] == full.iou
    assert summary["rows"]["full"]["empty"] == 0


def test_rows_that_a_model_cannot_do_are_left_out(people: PeopleFolder) -> None:
    plain = Oracle(replace(TINY, use_normals=False))
    evaluator = Evaluator(plain, None, resolution=16)
    assert evaluator.rows == ("full", "coarse")
    assert evaluator.case(next(held_out_cases(people, SIZE))).normals is None
    fine = Oracle(replace(TINY, fine_only=True))
    assert Evaluator(fine, None).rows == ("full", "true normals")


def test_a_model_that_sees_nothing_has_figures_of_nothing(people: PeopleFolder) -> None:
    class Blind(Oracle):
        def occupancy(self, features: Features, points: Any, level: str = "fine") -> Any:
            return torch.zeros(points.shape[:2])

    blind = Blind(TINY)
    evaluated = Evaluator(blind, None, resolution=16).case(next(held_out_cases(people, SIZE)))
    assert evaluated.figures["full"].iou == 0
    assert np.isnan(evaluated.figures["full"].chamfer_mm)
    assert case_strip(evaluated).shape[1] == 9 * TILE
    assert summarise([evaluated])["rows"]["full"]["empty"] == 1


def test_the_command_writes_all_figures(
    people: PeopleFolder, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = EvaluatePifuhd(
        data=people.path,
        weights=str(weights),
        resolution=16,
        mean_of=2,
        json=tmp_path / "figures.json",
        sheet=tmp_path / "sheet.png",
        device="cpu",
    )
    assert EvaluateModels(command).run() == 0
    printed = capsys.readouterr().out
    assert "IoU" in printed
    assert "mean shape in the mask's box" in printed
    assert "normal networks" in printed
    content = json.loads((tmp_path / "figures.json").read_text())
    assert [p["subject"] for p in content["pictures"]] == list(HELD_OUT)
    assert content["rows"]["mean shape"]["figures"]["iou"]["mean"] > 0.9
    assert content["weights"] == weights.name
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figures.json", "sheet.png"]


def test_the_command_refuses_what_cannot_end_well(
    people: PeopleFolder, weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no such file"):
        EvaluatePifuhd(data=people.path, weights="absent.safetensors").run()
    with pytest.raises(InputError, match=r"meta\.json"):
        EvaluatePifuhd(data=tmp_path, weights=str(weights)).run()
    with pytest.raises(InputError, match="--count is 0"):
        EvaluatePifuhd(data=people.path, count=0).run()
    with pytest.raises(OutputError, match="no folder"):
        EvaluatePifuhd(data=people.path, json=tmp_path / "absent" / "figures.json").run()


def test_the_sheet_shows_the_best_the_worst_and_some_between() -> None:
    assert chosen([0.1, 0.9, float("nan"), 0.5], 8) == [1, 3, 0, 2]
    assert chosen([0.0, 0.1, 0.2, 0.3, 0.4], 3) == [4, 2, 0]


def test_two_mesh_files_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("trimesh")
    truth = ellipsoid((100, 100, 100))
    write_mesh(tmp_path / "truth.ply", truth)
    write_mesh(tmp_path / "made.glb", truth.transformed(np.eye(3) * 1.05))
    out = tmp_path / "figures.json"
    assert EvaluateMeshes(tmp_path / "made.glb", tmp_path / "truth.ply", 4000, 48, out).run() == 0
    figures = json.loads(out.read_text())
    assert figures["chamfer"] == pytest.approx(5, rel=0.03)
    assert figures["iou"] == pytest.approx(1 / 1.05**3, abs=0.02)
    half = TriangleMesh(truth.vertices, truth.triangles[: len(truth.triangles) // 2])
    write_mesh(tmp_path / "open.ply", half)
    EvaluateMeshes(tmp_path / "open.ply", tmp_path / "truth.ply", 500, 16, out).run()
    assert json.loads(out.read_text())["iou"] is None
    assert "not closed" in capsys.readouterr().out
