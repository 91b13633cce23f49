"""Volume rendering along rays in two passes: evenly spread samples, then where the matter is.

Max (1995) and Mip-NeRF (2021): between two samples density and colour are the mean of theirs,
density passes ``softplus(s - 1)``, opacity is ``1 - exp(-density * length)``. The second pass
draws samples by the weights of the first, and both are composited together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch.nn import functional

_FLOOR = 0.01
"""Added to the weights of the first pass: no stretch goes unseen."""
_TINY = 1e-5

Field = Callable[
    [Float[torch.Tensor, "b n 3"]],
    tuple[Float[torch.Tensor, "b n"], Float[torch.Tensor, "b n c"]],
]
"""Density before its softplus, and features, of points."""


class RayColours(NamedTuple):
    """What rays see.

    Attributes:
        features: (b, r, c) composited over 0.
        depth: (b, r) distance along the ray, world units; a ray that hits nothing has that of
            the few weights it has, inside its range.
        mask: (b, r) how much of the ray is caught, 0 to 1.
    """

    features: Float[torch.Tensor, "b r c"]
    depth: Float[torch.Tensor, "b r"]
    mask: Float[torch.Tensor, "b r"]


def march(
    depths: Float[torch.Tensor, "b r s"], densities: Float[torch.Tensor, "b r s"]
) -> Float[torch.Tensor, "b r t"]:
    """Weights of the stretches between samples, one fewer than these.

    Args:
        depths: of the samples, ascending.
        densities: at the samples, before the softplus.
    """
    lengths = depths[..., 1:] - depths[..., :-1]
    middle = (densities[..., 1:] + densities[..., :-1]) / 2
    thickness = functional.softplus(middle - 1) * lengths
    # The light left after n stretches is exp of minus their sum.
    passed = torch.cumsum(thickness, dim=-1)
    return torch.exp(thickness - passed) - torch.exp(-passed)


def stratified(
    near: float,
    far: float,
    count: int,
    like: Float[torch.Tensor, "b r 3"],
    generator: torch.Generator | None,
) -> Float[torch.Tensor, "b r s"]:
    """Depths of the first pass: even steps, each moved by a random share of one.

    Args:
        near: the first.
        far: the last.
        count: samples a ray.
        like: rays, for their number, device and dtype.
        generator: of the shares; None for half a step each, so that nothing is random.
    """
    step = (far - near) / (count - 1)
    depths = torch.linspace(near, far, count, device=like.device, dtype=like.dtype)
    shape = (*like.shape[:2], count)
    if generator is None:
        return (depths + step / 2).expand(shape)
    return depths + step * _random(shape, like, generator)


@torch.no_grad()
def importance(
    depths: Float[torch.Tensor, "b r s"],
    weights: Float[torch.Tensor, "b r t"],
    count: int,
    generator: torch.Generator | None,
) -> Float[torch.Tensor, "b r f"]:
    """Depths drawn by the weights of a first pass, smoothed as in Mip-NeRF.

    Args:
        depths: of the first pass, ascending.
        weights: of the stretches between them.
        count: depths a ray.
        generator: of the draws; None for evenly spread quantiles.
    """
    shape = weights.shape
    flat = weights.reshape(-1, 1, shape[-1])
    smooth = (
        functional.avg_pool1d(functional.max_pool1d(flat, 2, 1, padding=1), 2, 1).view(shape)
        + _FLOOR
    )
    edges = (depths[..., 1:] + depths[..., :-1]) / 2
    return quantiles(edges, smooth[..., 1:-1], count, generator)


def quantiles(
    edges: Float[torch.Tensor, "b r e"],
    weights: Float[torch.Tensor, "b r w"],
    count: int,
    generator: torch.Generator | None,
) -> Float[torch.Tensor, "b r f"]:
    """Draws from a density that is constant between edges, by inverting its distribution.

    Args:
        edges: ascending, one more than weights.
        weights: of the bins.
        count: draws a ray.
        generator: of the draws; None for evenly spread quantiles from 0 to 1.
    """
    share = weights + _TINY
    share = share / share.sum(-1, keepdim=True)
    below = functional.pad(torch.cumsum(share, -1), (1, 0))
    shape = (*weights.shape[:-1], count)
    if generator is None:
        u = torch.linspace(0, 1, count, device=edges.device, dtype=edges.dtype)
        u = u.expand(shape).contiguous()
    else:
        u = _random(shape, edges, generator)
    after = torch.searchsorted(below.contiguous(), u, right=True)
    low = (after - 1).clamp(min=0)
    high = after.clamp(max=weights.shape[-1])
    start, end = below.gather(-1, low), below.gather(-1, high)
    left, right = edges.gather(-1, low), edges.gather(-1, high)
    width = end - start
    width = torch.where(width < _TINY, torch.ones_like(width), width)
    return left + (u - start) / width * (right - left)


def render_rays(
    field: Field,
    origins: Float[torch.Tensor, "b r 3"],
    directions: Float[torch.Tensor, "b r 3"],
    reach: tuple[float, float],
    samples: tuple[int, int],
    generator: torch.Generator | None = None,
) -> RayColours:
    """Render rays through a field.

    Args:
        field: asked once for each pass.
        origins: world units.
        directions: unit vectors.
        reach: where rays begin and end, world units from their origins.
        samples: of the first and of the second pass; of the second 0 for one pass only.
        generator: of everything random; None for nothing random.
    """
    coarse, fine = samples
    first = stratified(*reach, coarse, origins, generator)
    density, features = _ask(field, origins, directions, first)
    if not fine:
        return _composited([(features, None)], first, density)
    with torch.no_grad():
        weights = march(first, density)
    second = importance(first, weights, fine, generator)
    density_fine, features_fine = _ask(field, origins, directions, second)
    depths, order = torch.sort(torch.cat([first, second], -1), dim=-1)
    densities = torch.cat([density, density_fine], -1).gather(-1, order)
    return _composited([(features, coarse), (features_fine, None)], depths, densities, order)


def _ask(
    field: Field,
    origins: Float[torch.Tensor, "b r 3"],
    directions: Float[torch.Tensor, "b r 3"],
    depths: Float[torch.Tensor, "b r s"],
) -> tuple[Float[torch.Tensor, "b r s"], Float[torch.Tensor, "b r s c"]]:
    points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
    density, features = field(points.flatten(1, 2))
    return density.view(depths.shape), features.view(*depths.shape, -1)


def _composited(
    parts: list[tuple[Float[torch.Tensor, "b r _ c"], int | None]],
    depths: Float[torch.Tensor, "b r s"],
    densities: Float[torch.Tensor, "b r s"],
    order: torch.Tensor | None = None,
) -> RayColours:
    """Composite samples whose features lie apart and unsorted: only their weights are moved."""
    weights = march(depths, densities)
    # A stretch has the mean of its ends, so a sample has half of the stretches beside it.
    each = (functional.pad(weights, (1, 0)) + functional.pad(weights, (0, 1))) / 2
    if order is not None:
        each = torch.zeros_like(each).scatter(-1, order, each)
    features = None
    place = 0
    for values, count in parts:
        share = each[..., place : place + count] if count is not None else each[..., place:]
        part = (share[..., None] * values).sum(-2)
        features = part if features is None else features + part
        place += count or 0
    assert features is not None
    mask = weights.sum(-1)
    middle = (depths[..., 1:] + depths[..., :-1]) / 2
    depth = (weights * middle).sum(-1) / mask.clamp(min=1e-12)
    depth = torch.minimum(torch.maximum(depth, depths[..., 0]), depths[..., -1])
    return RayColours(features, depth, mask)


def _random(shape: tuple[int, ...], like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Uniform numbers from 0 to 1 on the generator's device, moved to that of ``like``."""
    drawn = torch.rand(shape, generator=generator, device=generator.device, dtype=like.dtype)
    return drawn.to(like.device)
