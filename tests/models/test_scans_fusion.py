"""Depth frames and meshes fused into the box; the sensor; alignment to the head frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.morphable import FaceModel
from mien.models.face.rotation import matrix_from_yaw_pitch_roll
from mien.models.mesh.triangle_mesh import TriangleMesh
from mien.models.scans.alignment import FittedHead, align_scan, landmark_points
from mien.models.scans.box import FaceBox
from mien.models.scans.fitted_face import textured_face
from mien.models.scans.frame import DepthFrame, Intrinsics
from mien.models.scans.fusion import draw_mesh, frames_of_mesh, fuse, voxelise
from mien.models.scans.mesh_views import mesh_views, orientations
from mien.models.scans.sensor import Sensor
from mien.models.scans.views import Seen

Rng = np.random.default_rng
BOX = FaceBox(24)
LENS = Intrinsics(300.0, 300.0, 159.5, 119.5, 320, 240)


@pytest.fixture(scope="module")
def face(face_model: FaceModel) -> TriangleMesh:
    """The mean face with a colour that grows with x."""
    red = np.interp(face_model.mean[:, 0], (-70, 70), (20, 230))
    colours = np.stack([red, np.full_like(red, 120), np.full_like(red, 60)], 1).astype(np.uint8)
    return TriangleMesh(face_model.mean, face_model.triangles, colours)


def pose(yaw: float, pitch: float, roll: float, z: float = 400.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_from_yaw_pitch_roll(np.array([yaw, pitch, roll], np.float64))
    matrix[:3, 3] = np.array([5.0, -4.0, z]) - matrix[:3, :3] @ (0, 30, 20)
    return matrix


def plane(z: float, size: tuple[int, int] = (240, 320)) -> DepthFrame:
    """A wall square before the camera; the head frame is the camera's, shifted by 400 mm."""
    depth = np.full(size, z + 400.0, np.float32)
    frame = np.eye(4)
    frame[2, 3] = -400.0
    return DepthFrame(depth, np.full((*size, 3), (50, 100, 200), np.uint8), LENS, frame)


# Fusion.


def test_a_wall_becomes_its_distance() -> None:
    fused = fuse([plane(20.0)], BOX)
    z = BOX.centres()[..., 2]
    seen = fused.seen > 0
    inner = seen & (np.abs(fused.sdf) < BOX.truncation - 0.1)
    np.testing.assert_allclose(fused.sdf[inner], (20.0 - z)[inner], atol=0.2 + 0.06 * 40)
    middle = inner & (np.abs(BOX.centres()[..., :2] - (0, 0)).max(-1) < 20)
    np.testing.assert_allclose(fused.sdf[middle], (20.0 - z)[middle], atol=0.2)
    assert not seen[z > 20 + 2.5 * BOX.truncation].any()
    assert fused.sdf[z < 20 - 1.3 * BOX.truncation] == pytest.approx(BOX.truncation)
    near = middle & (np.abs(20.0 - z) < 5)
    assert (fused.colour[near] == (200, 100, 50)).all()


def test_frames_are_averaged() -> None:
    one, other = fuse([plane(20.0)], BOX), fuse([plane(23.0)], BOX)
    both = fuse([plane(20.0), plane(23.0)], BOX)
    limit = BOX.truncation - 1
    near = (one.sdf > 0) & (other.sdf > 0) & (one.sdf < limit) & (other.sdf < limit)
    assert near.sum() > 20
    mean = (one.sdf + other.sdf)[near] / 2
    np.testing.assert_allclose(both.sdf[near], mean, atol=0.05)
    assert both.seen[near].min() > one.seen[near].max()


def test_a_mesh_is_voxelised_to_its_distance(face: TriangleMesh) -> None:
    fused = voxelise(face, BOX)
    index = np.rint(BOX.index_from_mm(face.vertices)).astype(int)
    inside = ((index >= 0) & (index < BOX.cells)).all(1)
    at = tuple(index[inside].T)
    away = np.linalg.norm(
        BOX.mm_from_index(index[inside].astype(np.float32)) - face.vertices[inside], axis=1
    )
    known = fused.seen[at] > 0
    assert known.mean() > 0.9
    assert (np.abs(fused.sdf[at])[known] < away[known] + 2.0).mean() > 0.9
    # Colours follow the mesh: red grows with x.
    lit = fused.colour.any(-1)
    x = BOX.centres()[..., 0]
    front = lit & (np.abs(fused.sdf) < 4)
    assert np.corrcoef(x[front], fused.colour[front][:, 0])[0, 1] > 0.95


def test_a_mesh_far_from_the_box_is_refused(face: TriangleMesh) -> None:
    away = face.transformed(np.array([[1.0, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    with pytest.raises(InputError, match="box"):
        voxelise(away, BOX)
    with pytest.raises(InputError, match="no depth frame"):
        fuse([], BOX)


def test_what_is_seen_from_behind_has_neither_depth_nor_colour(face: TriangleMesh) -> None:
    frame = draw_mesh(face, LENS, pose(0, 0, 0))
    behind = draw_mesh(face, LENS, pose(180, 0, 0))
    assert np.isfinite(frame.depth).mean() > 0.05
    assert np.isfinite(behind.depth).mean() < 0.1 * np.isfinite(frame.depth).mean()
    assert len(frames_of_mesh(face)) == 7


@settings(max_examples=10, deadline=None)
@given(st.floats(0.3, 3.0), st.floats(0.3, 3.0))
def test_a_resized_camera_sees_the_same_rays(sx: float, sy: float) -> None:
    width, height = max(1, round(320 * sx)), max(1, round(240 * sy))
    small = LENS.resized(width, height)
    back = small.resized(320, 240)
    for name in ("fx", "fy", "cx", "cy"):
        assert getattr(back, name) == pytest.approx(getattr(LENS, name))
    # The left edge of the picture stays the left edge.
    assert (-0.5 - small.cx) / small.fx == pytest.approx((-0.5 - LENS.cx) / LENS.fx)


# The sensor.


def wall(z: float) -> Seen:
    shape = (120, 160)
    points = np.zeros((*shape, 3), np.float32)
    return Seen(
        np.zeros(shape, np.int32),
        np.zeros((*shape, 2), np.float32),
        points,
        np.full(shape, z, np.float32),
    )


def test_noise_grows_with_the_square_of_the_distance() -> None:
    kinds = np.zeros(1, np.uint8)
    spread = []
    for z in (300.0, 600.0):
        errors = [Sensor().measure(wall(z), kinds, Rng(seed)) - z for seed in range(12)]
        spread.append(float(np.nanstd(np.stack(errors))))
    assert spread[1] / spread[0] == pytest.approx(4, rel=0.25)
    assert 0.2 < spread[0] < 1.5


def test_depths_are_quantised_more_coarsely_far_away() -> None:
    kinds = np.zeros(1, np.uint8)
    still = replace(Sensor(), noise_mm_at_1m=0.02)
    steps = []
    for z in (300.0, 900.0):
        seen = wall(z)
        ramp = seen.depth + np.linspace(0, 0.02 * z, 160, dtype=np.float32)
        values = np.unique(still.measure(replace(seen, depth=ramp), kinds, Rng(0)))
        steps.append(float(np.median(np.diff(values[np.isfinite(values)]))))
    assert steps[1] / steps[0] == pytest.approx(9, rel=0.2)


def test_depth_is_lost_at_edges() -> None:
    seen = wall(300.0)
    depth = seen.depth.copy()
    depth[:, 80:] = 340.0
    lost = np.isnan(Sensor().measure(replace(seen, depth=depth), np.zeros(1, np.uint8), Rng(0)))
    assert lost[:, 79:81].mean() > 0.5
    assert lost[:, 5:75].mean() < 0.05


# Alignment.


def fitted(model: FaceModel, shape: np.ndarray) -> FittedHead:
    return FittedHead(
        model.mean, model.shape_basis, model.triangles, model.landmark_vertices, shape
    )


@settings(max_examples=6, deadline=None)
@given(
    st.floats(-25, 25), st.floats(-15, 15), st.floats(-40, 40), st.floats(0.8, 1.25),
    st.integers(0, 1000),
)  # fmt: skip
def test_a_scan_is_laid_into_the_head_frame(
    face_model: FaceModel, yaw: float, pitch: float, roll: float, size: float, seed: int
) -> None:
    rng = Rng(seed)
    shape = rng.normal(0, 0.8, 40).astype(np.float32)
    truth = face_model.decode(shape)
    motion = pose(yaw, pitch, roll)
    cloud = (size * truth) @ motion[:3, :3].T + motion[:3, 3]
    facing = cloud[rng.permutation(len(cloud))]
    marks = cloud[face_model.landmark_vertices] + rng.normal(0, 1.5, (68, 3))
    marks[rng.integers(17, 68, 5), 2] += 40  # depth of what is behind
    guess = (shape + rng.normal(0, 0.4, 40)).astype(np.float32)
    found = align_scan(marks, facing.astype(np.float32), fitted(face_model, guess))
    assert found.head_from_scan.scale * size == pytest.approx(1, abs=0.03)
    back = found.head_from_scan.apply(cloud)
    assert np.linalg.norm(back - truth, axis=1).mean() < 2.0
    assert found.matched > 0.9


def test_scans_of_the_wrong_size_or_of_no_face_are_refused(face_model: FaceModel) -> None:
    head = fitted(face_model, np.zeros(40, np.float32))
    marks = face_model.mean[face_model.landmark_vertices].astype(np.float64)
    cloud = face_model.mean
    with pytest.raises(InputError, match="unit is wrong"):
        align_scan(3 * marks, 3 * cloud, head)
    with pytest.raises(InputError, match="miss it by"):
        align_scan(marks + Rng(0).normal(0, 16, (68, 3)), cloud, head)
    few = marks.copy()
    few[20:] = np.nan
    with pytest.raises(InputError, match="3 of the face's 51 landmarks"):
        align_scan(few, cloud, head)


def test_landmarks_get_their_depth(face: TriangleMesh, face_model: FaceModel) -> None:
    camera_from_head = pose(0, 0, 0)
    frame = draw_mesh(face, LENS, camera_from_head)
    placed = face.vertices @ camera_from_head[:3, :3].T + camera_from_head[:3, 3]
    marks = placed[face_model.landmark_vertices]
    px = (marks[:, :2] / marks[:, 2:]) * 300 + (159.5, 119.5)
    # The picture may be larger than the depth map.
    large = replace(frame, image=np.zeros((480, 640, 3), np.uint8))
    points = landmark_points(large, ((px + 0.5) * 2 - 0.5).astype(np.float32))
    known = np.asarray(np.isfinite(points).all(1))
    assert known[17:].mean() > 0.9
    off = np.linalg.norm(points - marks, axis=1)[17:]
    assert np.nanmedian(off) < 2


def test_a_mesh_is_looked_at_from_all_sides(face: TriangleMesh) -> None:
    turns = orientations()
    assert len({matrix.tobytes() for matrix in np.round(turns).astype(int)}) == 24
    first = next(iter(mesh_views(face)))
    assert first.image is not None
    points = first.points()[np.isfinite(first.depth)]
    back = points @ first.head_from_camera[:3, :3].T + first.head_from_camera[:3, 3]
    low, high = face.bounds()
    assert (back.min(0) > low - 2).all()
    assert (back.max(0) < high + 2).all()


# The fit of a picture as a mesh.


def test_a_fitted_face_is_closed_and_takes_the_pictures_colours(face_model: FaceModel) -> None:
    camera = np.array([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]])
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, :320] = (0, 0, 200)
    image[:, 320:] = (200, 0, 0)
    matrix = np.eye(4)
    matrix[2, 3] = 700
    mesh = textured_face(
        face_model.mean, face_model.mean, face_model.triangles, image, camera, matrix
    )
    assert mesh.colours is not None
    front = np.abs(mesh.vertices[:, 0]) > 8
    front &= mesh.vertices[:, 2] < 5
    left = mesh.vertices[:, 0] < 0
    assert (mesh.colours[front & left][:, 0] > 120).mean() > 0.97
    assert (mesh.colours[front & ~left][:, 2] > 120).mean() > 0.97
    sides = np.concatenate(
        [mesh.triangles[:, [0, 1]], mesh.triangles[:, [1, 2]], mesh.triangles[:, [2, 0]]]
    )
    known = {tuple(s) for s in sides.tolist()}
    open_at = np.array([a for a, b in known if (b, a) not in known])
    # Only the outline is open: no hole at eyes or mouth.
    assert np.hypot(mesh.vertices[open_at, 0], mesh.vertices[open_at, 1] - 30).min() > 45
