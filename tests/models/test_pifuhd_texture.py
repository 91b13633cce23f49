"""Colours: what is seen comes from the picture, the rest from what is like it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from jaxtyping import Float32

from mien.models.face.camera import Camera
from mien.models.face.rotation import matrix_from_yaw_pitch_roll
from mien.models.mesh.triangle_mesh import TriangleMesh
from mien.models.pifuhd.extract import extract
from mien.models.pifuhd.framing import CUBE_MM, centre_in_camera
from mien.models.pifuhd.place import PictureCube
from mien.models.pifuhd.texture import colour

pytest.importorskip("skimage")  # surfaces need it

CAMERA = Camera.from_fov(480, 480)
HAIR, SKIN, CLOTH = (40, 60, 90), (230, 170, 140), (30, 90, 200)  # RGB


def pose_of(yaw: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = matrix_from_yaw_pitch_roll(np.array([yaw, 0.0, 0.0]))
    pose[:3, 3] = 0.0, -20.0, 700.0
    return pose


def head_of(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    return (points - pose[:3, 3]) @ pose[:3, :3]


def painted(head: np.ndarray) -> np.ndarray:
    """What a point of the head frame is coloured: skin in front, hair above and behind, cloth."""
    rgb = np.where((head[..., 1] < -30.0)[..., None], HAIR, SKIN)
    return np.where((head[..., 1] > 140.0)[..., None], CLOTH, rgb).astype(np.uint8)


class Bust:
    """A ball on a column before the camera, and its picture."""

    def __init__(self, yaw: float) -> None:
        self.pose = pose_of(yaw)
        centre = centre_in_camera(self.pose[:3, :3], self.pose[:3, 3])
        self.view = PictureCube.looking_at(centre, CUBE_MM, CAMERA.matrix)

        def occupancy(points: Float32[np.ndarray, "P 3"]) -> Float32[np.ndarray, " P"]:
            ball = 0.5 - np.linalg.norm(points - np.array([0.0, -0.2, 0.0]), axis=1)
            column = np.minimum(0.4 - np.hypot(points[:, 0], points[:, 2]), points[:, 1])
            return 1 / (1 + np.exp(np.clip(-60 * np.maximum(ball, column), -30, 30))).astype("f4")

        bare = extract(occupancy, 64)
        self.mesh = TriangleMesh(
            self.view.camera_from_cube_points(bare.vertices).astype(np.float32), bare.triangles
        )
        self.head = head_of(self.mesh.vertices.astype(float), self.pose)

    def crop(self, colours: np.ndarray, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
        """Picture and mask of the crop, with the vertices' colours, on a magenta wall."""
        from mien.models.render.raster import rasterise

        depth = self.mesh.vertices.astype(float) @ self.view.camera_from_cube[:, 2]
        at = np.column_stack([self.view.crop_points(self.mesh.vertices, size), depth])
        seen = rasterise(at.astype(np.float32), self.mesh.triangles, size, size)
        corners = colours[self.mesh.triangles[np.maximum(seen.triangle, 0)]]
        rgb = np.einsum("hwk,hwkc->hwc", seen.barycentric, corners.astype(np.float32))
        mask = seen.triangle >= 0
        image = np.where(mask[..., None], rgb, (255, 0, 255)).astype(np.uint8)
        return np.ascontiguousarray(image[..., ::-1]), mask.astype(np.uint8) * 255


@pytest.fixture(scope="module")
def straight() -> Bust:
    return Bust(0.0)


@pytest.fixture(scope="module")
def turned() -> Bust:
    return Bust(40.0)


def face_of(bust: Bust, size: int = 256) -> np.ndarray:
    """A disc where bare face is."""
    mask = np.zeros((size, size), np.uint8)
    at = bust.view.crop_points(bust.pose[:3, :3] @ (0.0, 30.0, 0.0) + bust.pose[None, :3, 3], size)
    cv2.circle(mask, tuple(np.round(at[0]).astype(int).tolist()), 24, 1, -1)
    return mask.astype(bool)


def test_what_is_seen_has_the_colours_of_the_picture(straight: Bust) -> None:
    rng = np.random.default_rng(0)
    smooth = np.clip(128 + 60 * np.sin(straight.head / 30.0 + rng.normal(size=3)), 0, 255)
    colours = smooth.astype(np.uint8)
    image, mask = straight.crop(colours, 384)
    result = colour(straight.mesh, image, mask, straight.view, straight.pose, None)
    assert result.mesh.colours is not None
    normals = straight.mesh.vertex_normals()
    rays = straight.mesh.vertices / np.linalg.norm(straight.mesh.vertices, axis=1, keepdims=True)
    facing = -(normals * rays).sum(axis=1) > 0.6
    column_below = straight.head[:, 1] > 60.0
    error = np.abs(result.mesh.colours.astype(int) - colours).max(axis=1)
    assert np.percentile(error[facing & ~column_below], 95) < 12
    assert 0.2 < result.seen < 0.6


def test_nothing_is_black_and_nothing_of_the_background(straight: Bust) -> None:
    image, mask = straight.crop(painted(straight.head))
    result = colour(straight.mesh, image, mask, straight.view, straight.pose, face_of(straight))
    assert result.mesh.colours is not None
    rgb = result.mesh.colours.astype(int)
    assert rgb.sum(axis=1).min() > 120
    magenta = (rgb[:, 0] > 180) & (rgb[:, 2] > 180) & (rgb[:, 1] < 90)
    assert magenta.mean() < 0.002
    np.testing.assert_array_equal(result.mesh.vertices, straight.mesh.vertices)
    np.testing.assert_array_equal(result.mesh.triangles, straight.mesh.triangles)


def test_the_back_has_hair_above_and_cloth_below(straight: Bust) -> None:
    image, mask = straight.crop(painted(straight.head))
    result = colour(straight.mesh, image, mask, straight.view, straight.pose, face_of(straight))
    assert result.mesh.colours is not None
    head, rgb = straight.head, result.mesh.colours.astype(float)
    behind = head[:, 2] > 150.0

    def nearest(where: np.ndarray) -> tuple[int, int, int]:
        middle = np.median(rgb[where], axis=0)
        distances = {kind: np.abs(middle - kind).sum() for kind in (HAIR, SKIN, CLOTH)}
        return min(distances, key=lambda kind: distances[kind])

    assert nearest(behind & (head[:, 1] < 40.0)) == HAIR  # below the hairline of the front, too
    assert nearest(behind & (head[:, 1] > 180.0)) == CLOTH


def test_the_side_that_is_turned_away_takes_the_colours_of_the_other(turned: Bust) -> None:
    """A mark on one cheek appears on both where only one is seen."""
    marked = painted(turned.head)
    side = turned.view.camera_from_cube[:, 2] @ turned.pose[:3, 0]
    seen_sign = -1.0 if side > 0 else 1.0  # the cheek that the camera sees

    def cheek(sign: float) -> np.ndarray:
        outward = turned.head[:, 0] * sign
        height = turned.head[:, 1]
        return (outward > 60.0) & (height > -20) & (height < 50) & (turned.head[:, 2] < 120.0)

    marked[cheek(seen_sign)] = (250, 30, 30)
    image, mask = turned.crop(marked)
    result = colour(turned.mesh, image, mask, turned.view, turned.pose, face_of(turned))
    plain = colour(turned.mesh, image, mask, turned.view, None, None)
    assert result.mesh.colours is not None
    assert plain.mesh.colours is not None
    far = cheek(-seen_sign)
    assert result.mirrored > 0.02
    assert plain.mirrored == 0.0
    red = result.mesh.colours[far].astype(float).mean(axis=0)
    unmirrored = plain.mesh.colours[far].astype(float).mean(axis=0)
    assert red[0] - red[1] > unmirrored[0] - unmirrored[1] + 30


def test_a_mask_that_shows_next_to_nothing_still_colours_all(straight: Bust) -> None:
    image, mask = straight.crop(painted(straight.head))
    for rows in (slice(112, 122), slice(114, 117), slice(0, 0)):
        little = np.zeros_like(mask)
        little[rows, 122:132] = mask[rows, 122:132]
        result = colour(straight.mesh, image, little, straight.view, straight.pose, None)
        assert result.mesh.colours is not None
        assert result.seen < 0.05
        # That place is skin, or there is none.
        near = np.abs(result.mesh.colours.astype(int) - SKIN).max() < 40
        assert near or (result.mesh.colours == 128).all()
