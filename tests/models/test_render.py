"""The rasteriser against a slow one; laws of projection, depth, light and blending."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.render import (
    Lamp,
    Lights,
    Surface,
    Texture,
    ambient_basis,
    ambient_from_surroundings,
    ambient_occlusion,
    linear_from_srgb,
    rasterise,
    render,
    to_srgb,
    vertex_normals,
)

SEEDS = st.integers(0, 2**31 - 1)


@dataclass(frozen=True)
class Lens:
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


LENS = Lens(160.0, 160.0, 47.5, 39.5, 96, 80)


def random_triangles(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Projected triangles around a 24 x 20 picture, some beyond its border."""
    rng = np.random.default_rng(seed)
    points = np.empty((3 * count, 3), np.float32)
    points[:, 0] = rng.uniform(-8, 32, 3 * count)
    points[:, 1] = rng.uniform(-8, 28, 3 * count)
    points[:, 2] = rng.uniform(200, 900, 3 * count)
    return points, np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def slow_raster(
    points: np.ndarray, triangles: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, ...]:
    """All triangles at all pixels: depth, triangle, and the distance to the nearest edge in px."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    depth = np.full((height, width), np.inf)
    triangle = np.full((height, width), -1)
    doubt = np.full((height, width), np.inf)
    for t, corners in enumerate(triangles):
        p = points[corners].astype(np.float64)
        matrix = np.vstack([p[:, :2].T, np.ones(3)])
        if abs(np.linalg.det(matrix)) < 1e-6:
            continue
        weights = np.linalg.inv(matrix) @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
        weights = weights.reshape(3, height, width)
        slope = np.linalg.norm(np.linalg.inv(matrix)[:, :2], axis=1)[:, None, None]
        inside = (weights >= 0).all(axis=0)
        z = 1 / np.tensordot(1 / p[:, 2], weights, axes=1)
        nearer = inside & (z > 0) & (z < depth)
        depth[nearer], triangle[nearer] = z[nearer], t
        doubt = np.minimum(doubt, np.abs(weights / slope).min(axis=0))
    return depth, triangle, doubt


def sphere(radius: float, centre: tuple[float, float, float], rings: int = 48) -> Surface:
    theta, phi = np.meshgrid(
        np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    )
    unit = np.stack(
        [np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], axis=-1
    )
    index = np.arange(unit[..., 0].size, dtype=np.int32).reshape(theta.shape)
    a, b = index[:, :-1].ravel(), index[:, 1:].ravel()
    c, d = np.roll(index, -1, axis=0)[:, :-1].ravel(), np.roll(index, -1, axis=0)[:, 1:].ravel()
    triangles = np.concatenate([np.stack([a, d, b], 1), np.stack([a, c, d], 1)])
    return Surface((unit.reshape(-1, 3) * radius + centre).astype(np.float32), triangles)


def card(z: float, side: float = 400.0, **looks: object) -> Surface:
    """A square that faces the camera at a depth."""
    h = side / 2
    corners = np.array([[-h, h, z], [h, h, z], [h, -h, z], [-h, -h, z]], np.float32)
    return replace(Surface(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32)), **looks)


def tint(*rgb: float) -> np.ndarray:
    return np.tile(np.array(rgb, np.float32), (4, 1))


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_raster_agrees_with_the_slow_one(seed: int) -> None:
    points, triangles = random_triangles(seed, 6)
    fast = rasterise(points, triangles, 20, 24)
    depth, triangle, doubt = slow_raster(points, triangles, 20, 24)
    clear = doubt > 0.01
    hit = clear & (triangle >= 0)
    np.testing.assert_array_equal(fast.triangle[clear] >= 0, triangle[clear] >= 0)
    np.testing.assert_allclose(fast.depth[hit], depth[hit], rtol=5e-3)
    apart = np.abs(fast.depth[hit] - depth[hit]) < 1e-6 * depth[hit]
    np.testing.assert_array_equal(fast.triangle[hit][apart], triangle[hit][apart])


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_interpolated_points_reproject_onto_their_pixel(seed: int) -> None:
    points, triangles = random_triangles(seed, 6)
    buffer = rasterise(points, triangles, 20, 24)
    rows, columns = np.nonzero(buffer.triangle >= 0)
    weights = buffer.barycentric[rows, columns].astype(np.float64)
    corners = points[triangles[buffer.triangle[rows, columns]]].astype(np.float64)
    world = corners.copy()
    world[..., :2] *= corners[..., 2:]
    place = np.einsum("pk,pkc->pc", weights, world)
    np.testing.assert_allclose(place[:, 2], buffer.depth[rows, columns], rtol=1e-4)
    np.testing.assert_allclose(place[:, 0] / place[:, 2], columns, atol=5e-3)
    np.testing.assert_allclose(place[:, 1] / place[:, 2], rows, atol=5e-3)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_order_of_triangles_does_not_matter(seed: int) -> None:
    points, triangles = random_triangles(seed, 12)
    order = np.random.default_rng(seed).permutation(len(triangles))
    one = rasterise(points, triangles, 20, 24)
    other = rasterise(points, triangles[order], 20, 24)
    np.testing.assert_array_equal(one.depth, other.depth)
    hit = one.triangle >= 0
    np.testing.assert_array_equal(one.triangle[hit], order[other.triangle[hit]])


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_neighbours_leave_no_gap_and_do_not_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(-4.0, 30, 4), np.arange(-4.0, 30, 4)), -1)
    grid[1:-1, 1:-1] += rng.choice([0, 0.5, 1, 1.37], grid[1:-1, 1:-1].shape)
    index = np.arange(81).reshape(9, 9)
    a, b, c, d = (index[i : 8 + i, j : 8 + j].ravel() for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]).astype(np.int32)
    points = np.concatenate([grid.reshape(-1, 2), np.full((81, 1), 500.0)], 1).astype(np.float32)
    drawn = sum(
        (rasterise(points, triangles[t : t + 1], 20, 24).triangle >= 0).astype(int)
        for t in range(len(triangles))
    )
    np.testing.assert_array_equal(drawn, 1)


def test_winding_decides_what_is_culled() -> None:
    points = np.array([[2, 15, 500], [15, 15, 500], [15, 2, 500]], np.float32)
    front = np.array([[0, 1, 2]], np.int32)
    back = front[:, ::-1].copy()
    assert (rasterise(points, front, 20, 20, cull_back=True).triangle >= 0).any()
    assert (rasterise(points, back, 20, 20, cull_back=True).triangle < 0).all()
    assert (rasterise(points, back, 20, 20).triangle >= 0).any()
    assert vertex_normals(points, front)[0, 2] == -1


def test_what_cannot_be_drawn_is_left_out() -> None:
    points = np.array(
        [[2, 2, 500], [15, 2, 500], [2, 15, 500], [np.nan, 3, 500], [3, 3, -5], [1e9, 3, 5]],
        np.float32,
    )
    degenerate = np.array([[0, 0, 1], [0, 1, 3], [0, 1, 4], [0, 1, 5], [0, 0, 0]], np.int32)
    buffer = rasterise(points, degenerate, 20, 20)
    assert (buffer.triangle == -1).all()
    assert np.isinf(buffer.depth).all()
    assert not buffer.barycentric.any()
    whole = np.concatenate([degenerate, np.array([[0, 1, 2]], np.int32)])
    assert set(np.unique(rasterise(points, whole, 20, 20).triangle)) == {-1, 5}


def test_degenerate_triangles_give_no_nan() -> None:
    ball = sphere(50, (0, 0, 500), 12)
    bad = np.array([[0, 0, 0], [1, 1, 2], [3, 3, 3]], np.int32)
    surface = replace(ball, triangles=np.concatenate([ball.triangles, bad]), two_sided=True)
    lights = Lights.even(0.3, (Lamp(np.array([0.0, -1, -1]), np.ones(3), casts_shadow=True),))
    assert np.isfinite(render([surface], LENS, lights).image).all()
    assert np.isfinite(vertex_normals(surface.vertices, surface.triangles)).all()


def test_sphere_normals_point_outwards() -> None:
    ball = sphere(50, (10, 0, 500))
    outwards = (ball.vertices - np.array([10, 0, 500])) / 50
    normals = vertex_normals(ball.vertices, ball.triangles)
    assert (normals * outwards).sum(axis=1).min() > 0.99


def test_sphere_is_shaded_smoothly_and_as_lambert_says() -> None:
    matt = replace(sphere(50, (0, 0, 500)), specular=0.0)
    towards = np.array([0.0, -1.0, -2.0])
    lights = Lights.even(0.2, (Lamp(towards, np.array([0.5, 0.6, 0.7])),))
    picture = render([matt], LENS, lights)
    inside = picture.surface == 0
    rows, columns = np.nonzero(inside)
    z = picture.depth[inside]
    place = np.stack([(columns - LENS.cx) / LENS.fx * z, (rows - LENS.cy) / LENS.fy * z, z], 1)
    normal = (place - [0, 0, 500]) / 50
    facing = np.maximum(normal @ (towards / np.linalg.norm(towards)), 0)
    wanted = 0.2 + facing[:, None] * [0.5, 0.6, 0.7]
    np.testing.assert_allclose(picture.image[inside], wanted, atol=0.03)
    core = inside[:, 1:] & inside[:, :-1]
    assert np.abs(np.diff(picture.image[..., 1], axis=1))[core].max() < 0.12


def test_shadow_falls_on_the_far_side() -> None:
    wall = card(700.0, specular=0.0)
    ball = replace(sphere(30, (0, 0, 600)), specular=0.0)
    # The light comes from the right: the shadow lies on the wall to the left of the ball.
    lights = Lights.even(0.1, (Lamp(np.array([1.0, 0, -1]), np.full(3, 0.8), casts_shadow=True),))
    picture = render([wall, ball], LENS, lights)
    row, height_mm = 40, 100.0
    left = round(LENS.cx - height_mm / 700 * LENS.fx)
    right = round(LENS.cx + height_mm / 700 * LENS.fx)
    assert picture.surface[row, left] == picture.surface[row, right] == 0
    np.testing.assert_allclose(picture.image[row, left], 0.1, atol=0.01)
    np.testing.assert_allclose(picture.image[row, right], 0.1 + 0.8 * np.sqrt(0.5), atol=0.02)
    lit = picture.image[picture.surface == 0]
    assert ((lit > 0.09) & (lit < 0.68)).all()


def test_a_lit_sphere_does_not_shadow_itself() -> None:
    ball = replace(sphere(80, (0, 0, 500)), specular=0.0)
    lamp = Lamp(np.array([-0.5, -0.5, -1]), np.ones(3))
    plain = render([ball], LENS, Lights.even(0.2, (lamp,)))
    cast = render([ball], LENS, Lights.even(0.2, (replace(lamp, casts_shadow=True),)))
    assert np.abs(plain.image - cast.image).max() < 0.05


def test_a_near_lamp_keeps_its_colour_at_its_origin() -> None:
    wall = card(700.0, specular=0.0)
    origin = np.array([0.0, 0.0, 700.0])
    lamp = Lamp(np.array([0.0, 0, -1]), np.full(3, 0.5), distance_mm=200.0, origin=origin)
    image = render([wall], LENS, Lights.even(0.0, (lamp,))).image
    assert image[40, 48, 0] == pytest.approx(0.5, abs=0.01)
    assert image[40, 5, 0] < 0.3


def test_the_nearer_surface_wins_whatever_the_order() -> None:
    far, near = card(700.0, colour=tint(1, 0, 0)), card(500.0, 50.0, colour=tint(0, 1, 0))
    one, other = render([far, near], LENS, Lights.even()), render([near, far], LENS, Lights.even())
    np.testing.assert_array_equal(one.image, other.image)
    assert one.surface[40, 48] == 1
    assert other.surface[40, 48] == 0
    assert one.depth[40, 48] == pytest.approx(500, rel=1e-5)


@given(alphas=st.lists(st.floats(0.05, 0.95), min_size=1, max_size=5), seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_layers_blend_from_the_back(alphas: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    colours = rng.uniform(0, 1, (len(alphas), 3))
    layers = [
        card(400.0 + 20 * i, colour=tint(*c), alpha=np.full(4, a, np.float32), specular=0.0)
        for i, (a, c) in enumerate(zip(alphas, colours, strict=True))
    ]
    background = np.full((80, 96, 3), 0.5, np.float32)
    wanted, left = np.full(3, 0.5), 1.0
    for a, c in list(zip(alphas, colours, strict=True))[::-1]:
        wanted = a * c + (1 - a) * wanted
        left *= 1 - a
    shuffled = [layers[i] for i in rng.permutation(len(layers))]
    picture = render(shuffled, LENS, Lights.even(), background)
    np.testing.assert_allclose(picture.image[40, 48], wanted, atol=0.03)
    np.testing.assert_allclose(picture.veil[40, 48], 1 - left, atol=0.03)
    assert picture.surface[40, 48] == -1


def test_blended_neighbours_show_no_seam() -> None:
    veil = card(500.0, 100.0, alpha=np.full(4, 0.5, np.float32), specular=0.0)
    image = render([veil], LENS, Lights.even()).image
    inside = image[24:56, 32:64, 0]
    np.testing.assert_allclose(inside, 0.5, atol=1e-5)


def test_opaque_things_hide_blended_ones_behind() -> None:
    wall = card(500.0, specular=0.0, colour=tint(0.2, 0.3, 0.4))
    veil = card(600.0, alpha=np.full(4, 0.5, np.float32))
    picture = render([veil, wall], LENS, Lights.even())
    np.testing.assert_allclose(picture.image[40, 48], [0.2, 0.3, 0.4], atol=1e-5)
    assert not picture.veil.any()


def test_texture_is_upright_and_survives_shrinking() -> None:
    image = np.zeros((64, 64, 4), np.uint8)
    image[:32, :, 0], image[32:, :, 2] = 255, 255
    image[..., 3] = 255
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    texture = Texture.from_image(image)
    assert texture.opaque
    for side in (200.0, 60.0):
        square = card(500.0, side, specular=0.0)
        wrapped = replace(square, texture=texture, uv=uv[square.triangles])
        seen = render([wrapped], LENS, Lights.even()).image
        reach = round(side / 4 / 500 * LENS.fy)
        np.testing.assert_allclose(seen[round(39.5 - reach), 48], [1, 0, 0], atol=0.02)
        np.testing.assert_allclose(seen[round(39.5 + reach), 48], [0, 0, 1], atol=0.02)


def test_holes_of_a_texture_are_seen_through() -> None:
    image = np.ones((32, 32, 4), np.float32)
    image[:, :16, 3] = 0
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    square = card(500.0, 200.0, specular=0.0)
    wrapped = replace(square, texture=Texture.from_image(image), uv=uv[square.triangles])
    picture = render([wrapped], LENS, Lights.even(0.7))
    assert picture.veil[40, 30] == 0
    assert picture.image[40, 66, 0] == pytest.approx(0.7, abs=1e-3)


def test_a_clear_coat_shines_though_it_is_clear() -> None:
    lamp = Lamp(np.array([0.0, 0, -1]), np.ones(3))
    clear = card(500.0, alpha=np.zeros(4, np.float32), roughness=0.2, specular=0.04)
    plain = render([clear], LENS, Lights.even(0.0, (lamp,)))
    coated = render([replace(clear, clear_coat=True)], LENS, Lights.even(0.0, (lamp,)))
    assert not plain.image.any()
    assert coated.image.max() > 0.5
    assert not coated.veil.any()


def test_occlusion_is_one_in_the_open_and_small_in_a_gap() -> None:
    ball = sphere(60, (0, 0, 0), 24)
    assert ambient_occlusion([ball])[0].min() > 0.9
    neighbour = sphere(60, (122, 0, 0), 24)
    shade, _ = ambient_occlusion([ball, neighbour])
    assert shade[ball.vertices[:, 0].argmax()] < 0.2
    assert shade[ball.vertices[:, 0].argmin()] > 0.9


def test_ambient_light_of_a_bright_sky() -> None:
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(20000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sky = np.where(directions[:, 1:2] < 0, 1.0, 0.0) * np.ones(3)
    ambient = ambient_from_surroundings(directions, sky)
    up, side, down = ambient_basis(np.array([[0, -1.0, 0], [1.0, 0, 0], [0, 1.0, 0]])) @ ambient
    np.testing.assert_allclose(up, 1, atol=0.03)
    np.testing.assert_allclose(side, 0.5, atol=0.03)
    np.testing.assert_allclose(down, 0, atol=0.03)


def test_bytes_survive_linear_light() -> None:
    codes = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    codes[..., 0] = 255 - codes[..., 0]
    np.testing.assert_array_equal(to_srgb(linear_from_srgb(codes))[..., ::-1], codes)
    wild = np.array([[[-1.0, 2.0, 0.5]]], np.float32)
    np.testing.assert_array_equal(to_srgb(wild)[0, 0], [188, 255, 0])


def test_wrong_shapes_are_refused() -> None:
    square = card(500.0)
    with pytest.raises((InputError, TypeError), match="colour"):
        replace(square, colour=np.ones((3, 3), np.float32))
    with pytest.raises(InputError, match="outside the 4 vertices"):
        replace(square, triangles=np.array([[0, 1, 4]], np.int32))
    with pytest.raises(InputError, match="needs uv"):
        replace(square, texture=Texture.from_image(np.ones((2, 2, 3), np.float32)))
    with pytest.raises(InputError, match="texture of shape"):
        Texture.from_image(np.ones((2, 2, 2), np.float32))
    with pytest.raises(InputError, match="zero"):
        Lamp(np.zeros(3), np.ones(3))
    with pytest.raises(InputError, match="background"):
        render([square], LENS, Lights.even(), np.zeros((4, 4, 3), np.float32))
