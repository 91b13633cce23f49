"""Colours of a reconstructed mesh: seen ones from the picture, the rest inferred.

What the camera sees takes its colour from the picture. Of what it does not see, the side of the
head whose mirror image about the face's plane of symmetry is seen takes that one's. All else is
guessed, with hair, skin and cloth kept apart: the back of a skull is coloured by the hair that is
seen, trunk by cloth, each by the inverse distance to what is seen of it (Shepard, 1968).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, UInt8

from ..mesh.triangle_mesh import TriangleMesh
from ..render.raster import rasterise
from .place import PictureCube

HIDDEN_MM: Final = 4.0
"""A vertex that lies this much behind what is nearest at its pixel is hidden."""
MIRROR_MM: Final = 9.0
"""How far a mirrored place may be from a seen vertex to take its colour."""
SOURCES: Final = 1200
"""Seen vertices of a kind that the rest is guessed from, at most."""
CELL_MM: Final = 7.0
"""Of the grid in whose cells guesses are worked out."""
LEAST: Final = 10
"""Seen vertices without which all is of one colour."""
KINDS: Final = ("hair", "skin", "cloth")
_FEATHER: Final = 6


@dataclass(frozen=True)
class Colouring:
    """Colours of a mesh and where they are from.

    Attributes:
        mesh: with its colours.
        seen: share of the vertices that the picture shows.
        mirrored: share that the other side gave its colours to.
    """

    mesh: TriangleMesh
    seen: float
    mirrored: float


def colour(
    mesh: TriangleMesh,
    crop_bgr: UInt8[np.ndarray, "S S 3"],
    alpha: UInt8[np.ndarray, "S S"],
    view: PictureCube,
    camera_from_head: Float[np.ndarray, "4 4"] | None = None,
    face: Bool[np.ndarray, "S S"] | None = None,
) -> Colouring:
    """Colour a mesh by the picture that it was made of.

    Args:
        mesh: in the camera frame, mm.
        crop_bgr: the cube's crop, of any size.
        alpha: of the person in the crop.
        view: of the crop.
        camera_from_head: of the face; None: nothing is mirrored, and all is of one kind.
        face: where in the crop bare face is; None: not known.
    """
    normals = mesh.vertex_normals().astype(np.float64)
    points = mesh.vertices.astype(np.float64)
    full, seen_rgb, where = _seen(mesh, normals, crop_bgr, alpha, view)
    weight = _feathered(mesh, full)
    good = weight > 0.6
    if good.sum() < LEAST:
        good = full > 0.1
    if good.sum() < LEAST:
        return Colouring(_plain(mesh, crop_bgr, alpha), 0.0, 0.0)
    kinds = _kinds(points[good], seen_rgb[good], where[good], camera_from_head, face)
    guess = _guessed(points, points[good], seen_rgb[good], kinds, camera_from_head)
    mirrored = np.zeros(len(points))
    if camera_from_head is not None:
        mirrored, other = _mirrored(points, normals, good, seen_rgb, camera_from_head)
        mirrored = _feathered(mesh, mirrored * (1.0 - weight))
        mirrored = np.minimum(mirrored, 1.0 - weight)
        guess += mirrored[:, None] / np.maximum(1.0 - weight, 1e-6)[:, None] * (other - guess)
    rgb = weight[:, None] * seen_rgb + (1.0 - weight)[:, None] * guess
    colours = np.clip(np.round(rgb), 0, 255).astype(np.uint8)
    return Colouring(
        TriangleMesh(mesh.vertices, mesh.triangles, colours),
        float((weight > 0.5).mean()),
        float((mirrored > 0.5).mean()),
    )


def _plain(
    mesh: TriangleMesh, crop_bgr: UInt8[np.ndarray, "S S 3"], alpha: UInt8[np.ndarray, "S S"]
) -> TriangleMesh:
    """The mesh in the person's mean colour; grey where nobody is shown."""
    shown = crop_bgr[alpha > 127]
    rgb = shown.mean(axis=0)[::-1] if len(shown) else np.full(3, 128.0)
    colours = np.tile(np.round(rgb).astype(np.uint8), (len(mesh.vertices), 1))
    return TriangleMesh(mesh.vertices, mesh.triangles, colours)


def _seen(
    mesh: TriangleMesh,
    normals: Float64[np.ndarray, "V 3"],
    crop_bgr: UInt8[np.ndarray, "S S 3"],
    alpha: UInt8[np.ndarray, "S S"],
    view: PictureCube,
) -> tuple[Float64[np.ndarray, " V"], Float64[np.ndarray, "V 3"], Float64[np.ndarray, "V 2"]]:
    """How well each vertex is seen, 0 to 1, the picture's colour there, and its pixel."""
    size = len(crop_bgr)
    where = view.crop_points(mesh.vertices, size)
    depth = mesh.vertices.astype(np.float64) @ view.camera_from_cube[:, 2]
    placed = np.column_stack([where, depth]).astype(np.float32)
    nearest = rasterise(placed, mesh.triangles, size, size, cull_back=False).depth
    # The nearest of the pixels around: a vertex beside an edge is not hidden by the triangle there.
    farther = cv2.dilate(np.where(np.isfinite(nearest), nearest, 0.0), np.ones((3, 3), np.uint8))
    u = np.clip(np.round(where[:, 0]).astype(int), 0, size - 1)
    v = np.clip(np.round(where[:, 1]).astype(int), 0, size - 1)
    open_ = depth <= farther[v, u] + HIDDEN_MM * 0.25
    rays = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    facing = -(normals * rays).sum(axis=1)
    inner = cv2.erode(alpha, np.ones((3, 3), np.uint8), iterations=max(1, size // 200))
    solid = _sampled(inner.astype(np.float32) / 255.0, where)
    weight = np.clip((facing - 0.12) / 0.3, 0.0, 1.0) * open_ * np.clip(2.0 * solid - 1.0, 0.0, 1.0)
    rgb = np.stack(
        [_sampled(crop_bgr[..., c].astype(np.float32), where) for c in (2, 1, 0)], axis=1
    )
    return weight, rgb, where


def _sampled(
    values: Float32[np.ndarray, "S S"], where: Float64[np.ndarray, "V 2"]
) -> Float64[np.ndarray, " V"]:
    """Bilinear, and 0 outside."""
    from scipy.ndimage import map_coordinates

    at = [where[:, 1], where[:, 0]]
    return map_coordinates(values, at, order=1, mode="constant").astype(np.float64)


def _feathered(mesh: TriangleMesh, weight: Float64[np.ndarray, " V"]) -> Float64[np.ndarray, " V"]:
    """The weight, falling to zero smoothly where it ends; never above what it was."""
    from scipy.sparse import coo_array

    ends = np.concatenate([mesh.triangles[:, [0, 1]], mesh.triangles[:, [1, 2]]])
    ends = np.concatenate([ends, mesh.triangles[:, [2, 0]]])
    count = len(mesh.vertices)
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (count, count)).tocsr()
    links = links + links.T
    degree = np.maximum(np.asarray(links.sum(axis=1)).ravel(), 1.0)
    smooth = weight
    for _ in range(_FEATHER):
        smooth = np.minimum(weight, 0.3 * smooth + 0.7 * (links @ smooth) / degree)
    return smooth


def _head_points(
    points: Float64[np.ndarray, "P 3"], camera_from_head: Float[np.ndarray, "4 4"]
) -> Float64[np.ndarray, "P 3"]:
    return (points - camera_from_head[:3, 3]) @ camera_from_head[:3, :3]


def _mirrored(
    points: Float64[np.ndarray, "V 3"],
    normals: Float64[np.ndarray, "V 3"],
    good: Bool[np.ndarray, " V"],
    rgb: Float64[np.ndarray, "V 3"],
    camera_from_head: Float[np.ndarray, "4 4"],
) -> tuple[Float64[np.ndarray, " V"], Float64[np.ndarray, "V 3"]]:
    """How well the mirror image of each vertex is seen, 0 to 1, and its colour."""
    from scipy.spatial import KDTree

    head = _head_points(points, camera_from_head)
    turned = normals @ camera_from_head[:3, :3]
    flip = np.array([-1.0, 1.0, 1.0])
    distance, nearest = KDTree(head[good]).query(
        head * flip, distance_upper_bound=1.5 * MIRROR_MM, workers=1
    )
    found = np.isfinite(distance)
    nearest = np.where(found, nearest, 0)
    alike = (turned[good][nearest] * (turned * flip)).sum(axis=1)
    near = np.clip(1.5 - distance / MIRROR_MM, 0.0, 1.0)
    share = np.where(found, near * np.clip((alike - 0.3) / 0.4, 0.0, 1.0), 0.0)
    # A trunk does not turn with its head.
    share *= np.clip((150.0 - head[:, 1]) / 30.0, 0.0, 1.0)
    return share, rgb[good][nearest]


def _kinds(
    points: Float64[np.ndarray, "P 3"],
    rgb: Float64[np.ndarray, "P 3"],
    where: Float64[np.ndarray, "P 2"],
    camera_from_head: Float[np.ndarray, "4 4"] | None,
    face: Bool[np.ndarray, "S S"] | None,
) -> np.ndarray:
    """Of each seen vertex, whether it is hair (0), skin (1) or cloth (2)."""
    if camera_from_head is None or face is None:
        return np.full(len(points), 2)
    head = _head_points(points, camera_from_head)
    lab = cv2.cvtColor(rgb[None].astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)[0].astype(float)
    bare = _sampled(face.astype(np.float32), where) > 0.5
    below = head[:, 1] > 120.0
    if bare.sum() < 30:
        return np.where(below, 2, 0)
    # Skin by the face's own colours; lightness changes with the light, so it says less.
    middle = np.median(lab[bare], axis=0)
    spread = 1.48 * np.median(np.abs(lab[bare] - middle), axis=0) + np.array([6.0, 2.5, 2.5])
    off = np.sqrt(np.square((lab - middle) / (spread * np.array([1.6, 1.2, 1.2]))).sum(axis=1))
    skin = bare | (off < 2.0)
    return np.where(skin, 1, np.where(below, 2, 0))


def _guessed(
    points: Float64[np.ndarray, "V 3"],
    sources: Float64[np.ndarray, "P 3"],
    rgb: Float64[np.ndarray, "P 3"],
    kinds: np.ndarray,
    camera_from_head: Float[np.ndarray, "4 4"] | None,
) -> Float64[np.ndarray, "V 3"]:
    """Colours of all vertices from the seen ones, kind by kind.

    They are smooth: worked out at one place in each cell of a grid, and interpolated.
    """
    from scipy.spatial import KDTree

    _, places = np.unique(np.floor(points / CELL_MM).astype(np.int64), axis=0, return_index=True)
    found = _at_places(points[places], sources, rgb, kinds, camera_from_head)
    count = min(4, len(places))
    distance, nearest = KDTree(points[places]).query(points, k=count, workers=1)
    near = 1.0 / np.square(distance.reshape(-1, count) + 0.3 * CELL_MM)
    near /= near.sum(axis=1, keepdims=True)
    return np.einsum("vn,vnc->vc", near, found[nearest.reshape(-1, count)])


def _at_places(
    points: Float64[np.ndarray, "V 3"],
    sources: Float64[np.ndarray, "P 3"],
    rgb: Float64[np.ndarray, "P 3"],
    kinds: np.ndarray,
    camera_from_head: Float[np.ndarray, "4 4"] | None,
) -> Float64[np.ndarray, "V 3"]:
    rng = np.random.default_rng(0)
    likely = _likely_kinds(points, camera_from_head)
    least = max(20, len(sources) // 200)
    shares = np.zeros((len(points), len(KINDS)))
    colours = np.zeros((len(points), len(KINDS), 3))
    present = [k for k in range(len(KINDS)) if (kinds == k).sum() >= least]
    for k in present or [int(kinds[0])]:
        chosen = np.flatnonzero(kinds == k)
        if len(chosen) > SOURCES:
            chosen = rng.choice(chosen, SOURCES, replace=False)
        for some in np.array_split(np.arange(len(points)), max(1, len(points) // 2000)):
            near = _squared_distances(points[some], sources[chosen])
            nearest = np.sqrt(near.min(axis=1))
            # As smooth as what is farther away: single hairs of the rim draw no streaks.
            near += np.square(6.0 + 0.3 * nearest)[:, None]
            np.multiply(near, near, out=near)
            np.reciprocal(near, out=near)
            near /= near.sum(axis=1, keepdims=True)
            colours[some, k] = near @ rgb[chosen].astype(np.float32)
            shares[some, k] = likely[some, k] / np.square(nearest + 8.0)
    # Sharper than the mean: a vertex is of one kind, but for a narrow border.
    shares = np.power(shares / np.maximum(shares.max(axis=1, keepdims=True), 1e-30), 3.0)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.einsum("vk,vkc->vc", shares, colours)


def _squared_distances(
    one: Float64[np.ndarray, "V 3"], other: Float64[np.ndarray, "P 3"]
) -> Float32[np.ndarray, "V P"]:
    middle = other.mean(axis=0)
    one, other = (one - middle).astype(np.float32), (other - middle).astype(np.float32)
    squared = one @ (-2.0 * other.T)
    squared += np.square(one).sum(axis=1)[:, None]
    squared += np.square(other).sum(axis=1)
    return np.maximum(squared, 0.0, out=squared)


def _likely_kinds(
    points: Float64[np.ndarray, "V 3"], camera_from_head: Float[np.ndarray, "4 4"] | None
) -> Float64[np.ndarray, "V 3"]:
    """How likely each kind is at a place that nobody sees, by anatomy alone."""
    likely = np.ones((len(points), len(KINDS)))
    if camera_from_head is None:
        return likely
    head = _head_points(points, camera_from_head)
    y, z = head[:, 1], head[:, 2]

    def step(value: np.ndarray, over: float) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-np.clip(value / over, -30.0, 30.0)))

    # The hairline runs from the forehead behind the ears to the nape.
    behind = step(z - np.interp(y, [-100.0, -60.0, 0.0, 60.0, 110.0], [10, 40, 92, 115, 140]), 6.0)
    skull = behind * step(95.0 - y, 8.0)
    trunk = step(y - 150.0, 10.0)
    likely[:, 0] = 0.02 + skull * (1.0 - trunk) * 20.0
    likely[:, 1] = 0.05 + (1.0 - skull) * (1.0 - trunk)
    likely[:, 2] = 0.01 + 20.0 * trunk
    return likely
