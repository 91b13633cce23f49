"""Surfaces as maps: where a person begins and ends along each pixel's ray.

Three channels: the depths of the first and of the last surface, in the cube's coordinates, and a
logit of there being any. Most of a person lies between two surfaces: of true ones, 64 px across,
heads have an intersection over union of 0.94, bodies of 0.89. What lies twice along a ray, an arm
before a trunk, stays filled between: the implicit networks add little (``most_added``).

The constants here are part of what weights mean: a file does not hold them.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float
from torch.nn import functional

STEEPNESS: Final = 100.0
"""Of the logits along the ray, for half of the cube's side."""
_TOLD_AT_MOST: Final = 5.0
_TOLD_SCALE: Final = 10.0
_COVER_WEIGHT: Final = 0.02


def logits_between(
    drawn: Float[torch.Tensor, "b p 3"], depth: Float[torch.Tensor, "b p"]
) -> Float[torch.Tensor, "b p"]:
    """Logits of points being between two surfaces: 0 on either.

    Args:
        drawn: the channels, at the points' pixels.
        depth: of the points, in the cube's coordinates.
    """
    front, back, cover = drawn.unbind(-1)
    return (STEEPNESS * (depth - front)).minimum(STEEPNESS * (back - depth)).minimum(cover)


def told_of(
    drawn: Float[torch.Tensor, "b p 3"], depth: Float[torch.Tensor, "b p"]
) -> Float[torch.Tensor, "b p 3"]:
    """What an implicit network is told of a point: how far behind the first surface it lies, how
    far before the last one, and the logit of there being any.

    Args:
        drawn: the channels, at the points' pixels.
        depth: of the points.
    """
    front, back, cover = drawn.unbind(-1)
    behind, before = _TOLD_SCALE * (depth - front), _TOLD_SCALE * (back - depth)
    return torch.stack([behind, before, cover], -1).clamp(-_TOLD_AT_MOST, _TOLD_AT_MOST)


def surface_loss(
    drawn: Float[torch.Tensor, "b 3 w w"],
    depths: Float[torch.Tensor, "b 2 w w"],
    cover: Float[torch.Tensor, "b w w"],
) -> Float[torch.Tensor, ""]:
    """Mean absolute error of depths, of thickness and of slopes, and cross-entropy of the outline.

    The median, which the absolute error asks for, is one place: a person of unknown depth keeps
    the thickness that is known.

    Args:
        drawn: the channels.
        depths: true ones, in the cube's coordinates; NaN where none is known.
        cover: share of each pixel that shows the person.
    """
    known = depths.isfinite()
    count = known.sum().clamp(min=1)
    error = (drawn[:, :2] - depths.nan_to_num()) * known
    total = error.abs().sum() / count
    total = total + (error[:, 0] - error[:, 1]).abs().sum() / count
    for axis in (-1, -2):
        pairs = known.shape[axis] - 1
        both = known.narrow(axis, 1, pairs) & known.narrow(axis, 0, pairs)
        total = total + (error.diff(dim=axis) * both).abs().sum() / count
    outline = functional.binary_cross_entropy_with_logits(drawn[:, 2], cover)
    return total + _COVER_WEIGHT * outline


def rays_in_head(
    head_from_cube: Float[torch.Tensor, "b 3 4"], size: int
) -> Float[torch.Tensor, "b 6 s s"]:
    """Where each pixel's ray crosses the cube's middle, and where it goes, in head units.

    Args:
        head_from_cube: transforms to the head's axes (:mod:`.pose`).
        size: pixels across the picture.
    """
    axis = (2 * torch.arange(size, device=head_from_cube.device) + 1) / size - 1
    down, right = torch.meshgrid(axis, axis, indexing="ij")
    columns = head_from_cube[..., None, None].unbind(2)
    crossing = columns[0] * right + columns[1] * down + columns[3]  # no product of matrices: exact
    going = columns[2].expand_as(crossing)
    return torch.cat([crossing, going], 1)
