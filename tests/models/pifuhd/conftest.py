"""Fixtures of PIFuHD's tests: a folder of ellipsoids as people, and a tiny network."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial import ConvexHull

CUBE_MM = 420.0


def _turned(view: int, views: int) -> np.ndarray:
    angle = 2 * np.pi * view / views + 0.3
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _seen(shape: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask, front and back normals (paper's signs) of ``p^T shape p = 1`` in the cube."""
    axis = (2 * np.arange(size) + 1) / size - 1
    x, y = np.meshgrid(axis, axis)
    half = x * shape[0, 2] + y * shape[1, 2]
    rest = shape[0, 0] * x**2 + 2 * shape[0, 1] * x * y + shape[1, 1] * y**2 - 1
    inner = half**2 - shape[2, 2] * rest
    mask = inner > 0
    root = np.sqrt(np.maximum(inner, 0))
    maps = []
    for sign in (-1, 1):
        z = (-half + sign * root) / shape[2, 2]
        normal = np.stack([x, y, z], -1) @ shape
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
        # y up; z towards the front camera, negated in the back map.
        normal *= np.array([1, -1, -1 if sign < 0 else 1])
        maps.append(np.where(mask[..., None], normal, 0.0))
    return mask, maps[0], maps[1]


def _sphere(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of length 1, evenly spread, and triangles that face outwards."""
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    height = 1 - (2 * np.arange(count) + 1) / count
    wide = np.sqrt(1 - height**2)
    around = np.c_[wide * np.cos(turn), height, wide * np.sin(turn)]
    triangles = ConvexHull(around).simplices
    corners = around[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inwards = (normal * corners.mean(1)).sum(1) < 0
    triangles[inwards] = triangles[inwards][:, ::-1]
    return around, triangles.astype(np.int32)


def write_people(folder: Path, count: int, size: int, views: int, points: int = 20_000) -> Path:
    """Ellipsoids in the format of ``mien synthesize heads``."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"kind": "heads", "size": size, "cube_mm": CUBE_MM, "seed": 0, "count": count}
    (folder / "meta.json").write_text(json.dumps({**meta, "views": views, "version": 1}))
    around, triangles = _sphere(2000)
    for number in range(count):
        rng = np.random.default_rng(number)
        radii = CUBE_MM / 2 * rng.uniform((0.35, 0.55, 0.35), (0.65, 0.85, 0.65))
        surface = rng.normal(size=(points, 3))
        surface *= radii / np.linalg.norm(surface, axis=1, keepdims=True)
        scale = rng.integers(0, 4, points).astype(np.uint8)
        sigma = 2 * radii[1] * np.array([0.028, 0.017, 0.006, 0])[scale]
        near = surface + rng.normal(size=(points, 3)) * sigma[:, None]
        box = rng.uniform(-CUBE_MM / 2, CUBE_MM / 2, (points, 3))
        where = np.where((scale == 3)[:, None], box, near)
        colour = rng.uniform(90, 220, 3)
        images, masks, fronts, backs, cubes = [], [], [], [], []
        for view in range(views):
            turn = _turned(view, views)
            cube = np.c_[turn * 2 / CUBE_MM, np.zeros(3)]
            inverse = turn @ np.diag((CUBE_MM / 2 / radii) ** 2) @ turn.T
            mask, front, back = _seen(inverse, size)
            light = np.clip(front @ np.array([0.3, 0.5, 0.8]), 0.1, 1)[..., None]
            images.append(np.where(mask[..., None], colour * light, rng.uniform(0, 255, 3)))
            masks.append(mask * 255)
            fronts.append(np.round(127 * front))
            backs.append(np.round(127 * back))
            cubes.append(cube)
        np.savez(
            folder / f"subject-{number:05d}.npz",
            vertices=(radii * around).astype(np.float32),
            triangles=triangles,
            points=where.astype(np.float32),
            inside=((where / radii) ** 2).sum(1) < 1,
            scale=scale,
            images=np.stack(images).astype(np.uint8),
            mask=np.stack(masks).astype(np.uint8),
            front=np.stack(fronts).astype(np.int8),
            back=np.stack(backs).astype(np.int8),
            cube_from_subject=np.stack(cubes).astype(np.float32),
            height_mm=np.float32(2 * radii[1]),
            identity=np.int32(number),
        )
    return folder


@pytest.fixture(scope="session")
def make_people() -> Callable[..., Path]:
    """:func:`write_people`, for tests that cannot import from here."""
    return write_people


@pytest.fixture(scope="session")
def ellipsoids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six ellipsoids, two views each, 64 px: five to learn from, one held out."""
    return write_people(tmp_path_factory.mktemp("people"), 6, 64, 2)


@pytest.fixture(scope="session")
def tiny() -> Any:
    """A network of all parts for pictures of 64 px, with windows of 32."""
    pytest.importorskip("torch", reason="the networks need torch")
    from mien.models.pifuhd.config import (
        EncoderConfig,
        ImplicitConfig,
        NormalConfig,
        PifuhdConfig,
    )

    return PifuhdConfig(
        name="tiny",
        image_size=64,
        normal=NormalConfig(64, 8, 2, 1, kernel=3, fold=2, skips=True, masked=True),
        coarse=EncoderConfig(32, 8, 16, 16, 12, 2, 1, True, 2, "bilinear"),
        coarse_implicit=ImplicitConfig((24, 16, 16), (1, 2), 1),
        fine=EncoderConfig(64, 8, 8, 16, 8, 1, 2, False, 2, "bilinear"),
        fine_implicit=ImplicitConfig((24, 16), (1,), 0),
        window=32,
    )
