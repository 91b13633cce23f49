"""From a scan of a neutral face and expressions to faces, and from a grid to its surface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

from ..errors import InputError
from ..mesh.marching import surface_of_grid
from ..mesh.triangle_mesh import TriangleMesh
from ..scans.box import FaceBox
from .autodecoder import Latent
from .avatar import Avatar, Grids, joined, pooled_seen
from .dataset import CLEAN
from .unet import Condition
from .words import NAME as CAPTIONS

_AT_ONCE = 8


class NeutralScan(NamedTuple):
    """A neutral face fused into the box.

    Attributes:
        sdf: signed distance at the centres of cells, mm, negative inside.
        seen: weight of observation, 0 where nothing was seen; 255 everywhere for a clean grid.
        colour: sRGB, red first, near the surface.
    """

    sdf: Float32[np.ndarray, "N N N"]
    seen: UInt8[np.ndarray, "N N N"]
    colour: UInt8[np.ndarray, "N N N 3"]

    @classmethod
    def clean(
        cls, sdf: Float32[np.ndarray, "N N N"], colour: UInt8[np.ndarray, "N N N 3"]
    ) -> NeutralScan:
        """A complete grid without noise."""
        return cls(sdf, np.full(sdf.shape, CLEAN, np.uint8), colour)


def generate(
    weights: Avatar,
    scan: NeutralScan,
    blendshapes: Float32[np.ndarray, "*F n"],
    *,
    steps: int = 32,
    guidance: float | None = None,
    seed: int = 0,
    set_name: str = "blendshapes",
) -> Grids:
    """The same face with other expressions; the same for the same seed.

    All frames begin from the same noise, so that a sequence of expressions moves smoothly.

    Args:
        weights: with encoder and diffusion.
        scan: of the neutral face.
        blendshapes: one expression (52,), or F of them (F, 52).
        steps: of the sampler.
        guidance: beyond the condition for more than 1; None: what the weights were made for.
        seed: of the noise.
        set_name: which vector this is, where the weights know several.

    Returns:
        sdf (F, N, N, N) in mm and colour (F, N, N, N, 3).

    Raises:
        InputError: a vector of another length or not finite, grids of another size, or weights
            without encoder or diffusion.
    """
    parts = list(
        generate_frames(
            weights,
            scan,
            blendshapes,
            steps=steps,
            guidance=guidance,
            seed=seed,
            set_name=set_name,
        )
    )
    return joined(parts)


@torch.no_grad()
def generate_frames(
    weights: Avatar,
    scan: NeutralScan,
    blendshapes: Float32[np.ndarray, "*F n"],
    *,
    steps: int = 32,
    guidance: float | None = None,
    seed: int = 0,
    set_name: str = "blendshapes",
) -> Iterator[Grids]:
    """:func:`generate` for long sequences: a few frames at a time, in order.

    Args:
        weights, scan, blendshapes, steps, guidance, seed, set_name: see there.

    Raises:
        InputError: see there.
    """
    vectors = check_vectors(weights, blendshapes, set_name)
    diffusion = weights.diffusion
    assert diffusion is not None
    neutral = encode_scan(weights, scan)
    seen = pooled_seen(torch.from_numpy(scan.seen)[None], diffusion.cells).to(weights.device)
    guided = Guided(weights, scan) if diffusion.config.guide else None
    for start in range(0, len(vectors), _AT_ONCE):
        part = torch.from_numpy(vectors[start : start + _AT_ONCE]).to(weights.device)
        count = len(part)
        condition = Condition(
            {set_name: part},
            neutral.expand(count, -1, -1, -1, -1),
            seen.expand(count, -1, -1, -1, -1),
            guide=guided.latents(vectors[start : start + _AT_ONCE]) if guided else None,
        )
        latent = diffusion.sample(
            condition, count, steps=steps, guidance=guidance, seed=seed, shared=True
        )
        yield weights.grids(latent)


class Guided:
    """What the guide says of a scan.

    Args:
        weights: with encoder and guide.
        scan: of the neutral face.

    Raises:
        InputError: the weights have no guide.
    """

    def __init__(self, weights: Avatar, scan: NeutralScan) -> None:
        if weights.guide is None:
            raise InputError("avatar: these weights begin from a guide, and have none")
        self._weights, self._scan, self._guide = weights, scan, weights.guide
        self._fitted = self._guide.fit(scan.sdf, scan.seen)

    def grids(self, blendshapes: Float32[np.ndarray, "F 52"]) -> Grids:
        """The fitted head with expressions."""
        made = [
            self._guide.grid(self._fitted, row, self._scan.seen, self._scan.colour)
            for row in blendshapes
        ]
        return Grids(np.stack([sdf for sdf, _ in made]), np.stack([colour for _, colour in made]))

    @torch.no_grad()
    def latents(self, blendshapes: Float32[np.ndarray, "F 52"]) -> Latent:
        """Likewise, encoded."""
        made = self.grids(blendshapes)
        return self._weights.encode(made.sdf, np.full(made.sdf.shape, CLEAN, np.uint8), made.colour)


@torch.no_grad()
def generate_people(
    weights: Avatar,
    captions: Float32[np.ndarray, "F n"],
    *,
    steps: int = 32,
    guidance: float | None = None,
    seed: int = 0,
) -> Iterator[Grids]:
    """New people, a few at a time, in order; each from noise of its own.

    Args:
        weights: with a diffusion of captions, which takes no neutral.
        captions: what is said of each (:func:`.words.caption_vector`).
        steps: of the sampler.
        guidance: beyond the caption for more than 1; None: what the weights were made for.
        seed: of the noise; the n-th person is the same whatever comes after.

    Raises:
        InputError: weights that know no captions.
    """
    vectors = check_vectors(weights, captions, CAPTIONS)
    diffusion = weights.diffusion
    assert diffusion is not None
    for number, vector in enumerate(vectors):
        said = torch.from_numpy(vector[None]).to(weights.device)
        own = int(np.random.default_rng([seed, number]).integers(2**31))
        latent = diffusion.sample(
            Condition({CAPTIONS: said}), 1, steps=steps, guidance=guidance, seed=own
        )
        yield weights.grids(latent)


def check_vectors(
    weights: Avatar, vectors: Float32[np.ndarray, "*F n"], set_name: str = "blendshapes"
) -> Float32[np.ndarray, "F n"]:
    """Expressions as rows, if these weights can be asked for them.

    Raises:
        InputError: they cannot: no diffusion, another length, values that are not finite.
    """
    if weights.diffusion is None:
        raise InputError("avatar: these weights have no diffusion; they come of an earlier stage")
    known = dict(weights.diffusion.config.token_sets)
    if set_name not in known:
        raise InputError(
            f"avatar: these weights are not conditioned by {set_name}; they know "
            f"{', '.join(known) or 'nothing'}"
        )
    rows = np.atleast_2d(vectors)
    if rows.ndim != 2 or rows.shape[1] != known[set_name]:
        raise InputError(
            f"avatar: {set_name} of {vectors.shape[-1]} values, expected {known[set_name]}"
        )
    if not np.isfinite(rows).all():
        raise InputError(f"avatar: {set_name} with values that are not finite")
    return np.ascontiguousarray(rows, np.float32)


@torch.no_grad()
def encode_scan(weights: Avatar, scan: NeutralScan) -> Float[torch.Tensor, "1 c l l l"]:
    """The latent of a scan.

    Raises:
        InputError: nothing of it was seen, or its grids do not fit the weights.
    """
    if not scan.seen.any():
        raise InputError("avatar: the scan has no observed cell in the box of the face")
    return weights.encode(scan.sdf[None], scan.seen[None], scan.colour[None])


def reconstruct(weights: Avatar, scan: NeutralScan) -> Grids:
    """A scan through encoder and decoder: the same face, complete; the ceiling of what is made."""
    return weights.grids(encode_scan(weights, scan))


def surface(
    sdf: Float32[np.ndarray, "N N N"], colour: UInt8[np.ndarray, "N N N 3"], refine: int = 1
) -> TriangleMesh:
    """The surface of a grid, with colours, in the head frame, mm.

    Args:
        sdf: signed distance at the centres of cells, mm, negative inside.
        colour: sRGB, red first.
        refine: triangles this many times finer than the cells, by cubic interpolation.
    """
    box = FaceBox(len(sdf))
    values = sdf
    if refine > 1:
        from scipy.ndimage import map_coordinates

        line = np.linspace(0, len(sdf) - 1, refine * (len(sdf) - 1) + 1)
        fine = np.stack(np.meshgrid(line, line, line, indexing="ij"))
        values = map_coordinates(sdf, fine, order=3, mode="nearest").astype(np.float32)
    mesh = surface_of_grid(values, 0.0, box.first, box.last, inside_above=False)
    return TriangleMesh(mesh.vertices, mesh.triangles, _colours_at(box, colour, mesh.vertices))


def _colours_at(
    box: FaceBox, colour: UInt8[np.ndarray, "N N N 3"], points: Float32[np.ndarray, "V 3"]
) -> UInt8[np.ndarray, "V 3"]:
    """Colours at points, by trilinear interpolation."""
    place = np.clip(box.index_from_mm(points), 0, box.cells - 1)
    low = np.minimum(np.floor(place).astype(np.int64), box.cells - 2)
    share = place - low
    total = np.zeros((len(points), 3), np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, share, 1 - share), axis=1)
        at = low + np.array(corner)
        total += weight[:, None].astype(np.float32) * colour[at[:, 0], at[:, 1], at[:, 2]]
    return np.clip(np.rint(total), 0, 255).astype(np.uint8)
