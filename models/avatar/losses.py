"""What decoded grids are compared in: distances, colours, rendered views.

Where the grid of an expression is known, it is compared cell by cell: the L1 of truncated signed
distances, more of it near the surface, and the L1 of colours near the surface. The paper knows
views only: pyramidal perceptual loss and the L1 between occupancy and mask.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch.nn import functional

from ..scans.box import TRUNCATION_CELLS, FaceBox
from .autodecoder import Volume
from .config import AvatarConfig
from .perceptual import Features, perceptual_loss
from .volume_rendering import pixel_rays, render

_COLOUR_CELLS: Final = 1.5
"""Colours count so near the surface."""
_FAR_WEIGHT: Final = 0.2
"""Weight of cells far from the surface; near it, it is 1 more."""
_SURFACE_WIDTH_CELLS: Final = 0.3
"""Width of the surface of a signed distance when it is rendered, in the widest edge of a cell."""

Terms = dict[str, Float[torch.Tensor, ""]]


class Truth(NamedTuple):
    """True grids.

    Attributes:
        distance: (b, 1, N, N, N) in widest edges of a cell, truncated.
        colour: (b, 3, N, N, N) sRGB, 0 to 1, red first; known near the surface.
    """

    distance: Float[torch.Tensor, "b 1 n n n"]
    colour: Float[torch.Tensor, "b 3 n n n"]


class Views(NamedTuple):
    """True pictures of some of the objects.

    Attributes:
        objects: which objects of the batch they show.
        pictures: (v, H, W, 4) BGR and mask.
        camera: (v, 3, 4) pixels from head mm.
    """

    objects: list[int]
    pictures: UInt8[torch.Tensor, "v h w 4"]
    camera: Float[torch.Tensor, "v 3 4"]


def truth_of(
    sdf: Float[torch.Tensor, "b n n n"], colour: UInt8[torch.Tensor, "b n n n 3"]
) -> Truth:
    """Grids of a data folder in the network's units.

    Args:
        sdf: mm.
        colour: sRGB, red first.
    """
    edge = float(FaceBox(sdf.shape[-1]).edges.max())
    distance = (sdf[:, None].float() / edge).clamp(-TRUNCATION_CELLS, TRUNCATION_CELLS)
    return Truth(distance, colour.permute(0, 4, 1, 2, 3).float() / 255)


def grid_loss(
    config: AvatarConfig, volume: Volume, truth: Truth
) -> tuple[Float[torch.Tensor, ""], Terms]:
    """L1 of distances and of colours near the surface, weighted, and each of them."""
    limit = TRUNCATION_CELLS
    size = truth.distance.abs()
    # Beyond the truncation nothing is known but that it is beyond.
    said = torch.where(size > limit - 1e-3, volume.shape.clamp(-limit, limit), volume.shape)
    weight = _FAR_WEIGHT + torch.exp(-size.square())
    error = (said - truth.distance).abs()
    distance = (weight * error).sum() / weight.sum()
    near = (size < _COLOUR_CELLS).float()
    misses = (volume.colour - truth.colour).abs().mean(1, keepdim=True)
    colour = (near * misses).sum() / near.sum().clamp(min=1.0)
    total = config.distance_weight * distance + config.colour_weight * colour
    return total, {"distance": distance.detach(), "colour": colour.detach()}


def view_loss(
    config: AvatarConfig,
    volume: Volume,
    views: Views,
    features: Features | None,
    *,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Float[torch.Tensor, ""], Terms]:
    """Perceptual, pixel and foreground loss of rendered views, weighted, and each of them.

    Args:
        config: weights and sizes.
        volume: decoded grids.
        views: true pictures of some of them.
        features: of the perceptual loss; None leaves it out.
        noise: deviation of noise on densities.
        generator: of all that is random.
    """
    size = config.view_size
    rays = pixel_rays(views.camera, size, views.pictures.shape[1])
    edge = float(FaceBox(config.cells).edges.max())
    distance = config.representation == "distance"
    seen = render(
        edge * volume.shape[views.objects] if distance else volume.shape[views.objects],
        volume.colour[views.objects],
        rays,
        config.samples,
        width_mm=edge * _SURFACE_WIDTH_CELLS if distance else None,
        noise=noise,
        generator=generator,
    )
    truth = views.pictures.permute(0, 3, 1, 2).float() / 255
    mask = truth[:, 3:]
    colour = truth[:, :3].flip(1) * mask
    if truth.shape[-1] != size:
        colour, mask = (
            functional.interpolate(part, (size, size), mode="bilinear", antialias=True)
            for part in (colour, mask)
        )
    drawn = seen.colour.view(-1, 3, size, size)
    pixel = (drawn - colour).abs().mean()
    foreground = (seen.occupancy.view(-1, 1, size, size) - mask).abs().mean()
    total = config.pixel_weight * pixel + config.foreground_weight * foreground
    terms = {"pixel": pixel.detach(), "foreground": foreground.detach()}
    if features is not None and config.perceptual_weight:
        perceptual = perceptual_loss(features, drawn, colour)
        total = total + config.perceptual_weight * perceptual
        terms["perceptual"] = perceptual.detach()
    return total, terms
