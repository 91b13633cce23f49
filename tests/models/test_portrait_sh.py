"""Spherical harmonics of light: rotation, projections, named lights, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien.models.errors import InputError
from mien.models.face.eg3d_camera import frontal_label, side_label
from mien.models.face.rotation import matrix_from_rotation_vector
from mien.models.portrait import captions, sh
from mien.models.render.surface import ambient_basis, ambient_from_surroundings

RNG = np.random.default_rng(0)
NORMALS = RNG.normal(size=(300, 3))
NORMALS /= np.linalg.norm(NORMALS, axis=1, keepdims=True)
numbers = st.floats(-3, 3, allow_nan=False, width=32)
lights = arrays(np.float64, 9, elements=numbers)
turns = arrays(np.float64, 3, elements=numbers).map(matrix_from_rotation_vector)


@settings(max_examples=40, deadline=None)
@given(lights, turns)
def test_a_turned_light_shades_turned_normals_as_before(
    light: np.ndarray, turn: np.ndarray
) -> None:
    turned = sh.rotate(light, turn)
    np.testing.assert_allclose(
        sh.shading(turned, NORMALS @ turn.T), sh.shading(light, NORMALS), atol=1e-9
    )
    # Each order keeps its power.
    for order in (slice(0, 1), slice(1, 4), slice(4, 9)):
        assert np.linalg.norm(turned[order]) == pytest.approx(np.linalg.norm(light[order]))


@settings(max_examples=20, deadline=None)
@given(turns, turns)
def test_turns_compose(first: np.ndarray, second: np.ndarray) -> None:
    whole = sh.rotation_of_coefficients(second @ first)
    parts = sh.rotation_of_coefficients(second) @ sh.rotation_of_coefficients(first)
    np.testing.assert_allclose(whole, parts, atol=1e-9)


def test_harmonics_are_orthonormal() -> None:
    # Gauss-Legendre in z and equal steps around are exact for these polynomials.
    z, weight = np.polynomial.legendre.leggauss(8)
    around = np.arange(16) * np.pi / 8
    across = np.sqrt(1 - z * z)
    directions = np.stack(
        [np.outer(across, np.cos(around)), np.outer(across, np.sin(around)),
         np.outer(z, np.ones(16))], -1
    ).reshape(-1, 3)  # fmt: skip
    basis = sh.harmonics(directions)
    gram = (basis * np.repeat(weight * np.pi / 8, 16)[:, None]).T @ basis
    np.testing.assert_allclose(gram, np.eye(9), atol=1e-12)


def test_the_renderers_ambient_is_the_same_light() -> None:
    light = RNG.normal(size=(9, 3))
    ambient = sh.ambient_of_light(light)
    np.testing.assert_allclose(
        ambient_basis(NORMALS) @ ambient, sh.shading(light.T, NORMALS).T, atol=1e-12
    )


def test_light_of_surroundings_agrees_with_the_renderers() -> None:
    count = 4000
    k = np.arange(count)
    z, azimuth = 1 - (2 * k + 1) / count, k * np.pi * (3 - np.sqrt(5))
    across = np.sqrt(1 - z * z)
    directions = np.stack([across * np.cos(azimuth), across * np.sin(azimuth), z], 1)
    radiance = np.exp(2 * directions @ np.array([0.6, 0.0, 0.8]))
    found = sh.harmonics(directions).T @ radiance * (4 / count)
    theirs = ambient_from_surroundings(directions, np.repeat(radiance[:, None], 3, 1))
    np.testing.assert_allclose(sh.ambient_of_light(found[:, None])[:, 0], theirs[:, 0], rtol=1e-4)


def test_a_lamp_is_the_best_order_two_fit_of_its_cosine() -> None:
    towards = np.array([0.3, -0.5, 0.8])
    towards /= np.linalg.norm(towards)
    light = sh.light_of_lamp(5 * towards, 2.0)
    true = 2.0 * np.maximum(NORMALS @ towards, 0)
    assert np.abs(sh.shading(light, NORMALS) - true).max() < 0.2
    np.testing.assert_allclose(sh.dominant_direction(light), towards, atol=1e-12)


def test_light_turns_with_the_camera() -> None:
    light = sh.named_light("right")
    np.testing.assert_allclose(sh.seen_from(light, frontal_label()), light, atol=1e-2)
    # From where the light comes from, it comes from the viewer.
    towards = sh.dominant_direction(sh.seen_from(light, side_label(1.1, 0.15)))
    assert towards[2] > 0.97
    # Seen from the left, it comes even more from behind and the right.
    assert sh.dominant_direction(sh.seen_from(light, side_label(-0.8, 0.0)))[2] < 0


def test_named_lights_come_from_where_they_say() -> None:
    for name, direction in sh.NAMED_DIRECTIONS.items():
        light = sh.named_light(name)
        assert captions.light_word(light) == name
        assert sh.dominant_direction(light) @ np.array(direction) > 0.9 * np.linalg.norm(direction)
        assert sh.shading(light, NORMALS).min() > -0.35
    assert captions.light_word(sh.named_light("even")) == "even"
    with pytest.raises(InputError, match="left, right"):
        sh.named_light("leftish")


def test_files_of_lights(tmp_path: Path) -> None:
    place = tmp_path / "light.txt"
    light = np.round(RNG.normal(size=9), 4)
    place.write_text("\n".join(f"{v}" for v in light))
    np.testing.assert_array_equal(sh.light_by_name_or_file(str(place)), light)
    place.write_text(str(light.tolist()))
    np.testing.assert_array_equal(sh.read_light(place), light)
    for wrong in ("1 2 3", "a b", "[1, 2", "nan " * 9, ""):
        place.write_text(wrong)
        with pytest.raises(InputError, match=r"light\.txt"):
            sh.read_light(place)
    with pytest.raises(InputError, match="neither a file nor one of"):
        sh.light_by_name_or_file("somewhere")
