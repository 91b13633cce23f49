"""What a level says of points: logits of what it draws, and what its implicit network adds."""

from __future__ import annotations

import torch
from jaxtyping import Float

from .config import EncoderConfig
from .feature_map import FeatureMap
from .implicit import ImplicitNetwork


def values_told(encoder: EncoderConfig) -> int:
    """Values that an encoder tells of a point: features, and what it reads off what is drawn."""
    return encoder.outputs + encoder.told


def known_of(
    seen: FeatureMap,
    points: Float[torch.Tensor, "b p 3"],
    context: Float[torch.Tensor, "b p c"],
    stack: int = -1,
) -> tuple[Float[torch.Tensor, "b p i"], Float[torch.Tensor, "b p"] | None]:
    """What an implicit network is told of points, and the logits that it adds to.

    Args:
        seen: the level's features.
        points: in the cube's coordinates.
        context: what is known of them beside these features.
        stack: which map's features.
    """
    told = [seen.at(points[..., :2], stack), context]
    drawn = seen.base_at(points, stack)
    if drawn is None:
        return torch.cat(told, -1), None
    return torch.cat([*told, drawn[1]], -1), drawn[0]


def asked(
    network: ImplicitNetwork,
    seen: FeatureMap,
    points: Float[torch.Tensor, "b p 3"],
    context: Float[torch.Tensor, "b p c"],
    base: Float[torch.Tensor, "b p"] | None,
    inner_share: float,
) -> list[Float[torch.Tensor, "b _"]]:
    """Logits of a level: its volume's, its inner stacks', its last stack's, which is the answer.

    Surfaces are not among them: they learn by themselves (:func:`~.surfaces.surface_loss`).

    Args:
        network: of points.
        seen: the level's features.
        points: in the cube's coordinates.
        context: what is known of them beside these features.
        base: logits of the level before, to which this one adds; None: it begins anew.
        inner_share: share of the points, from the first on, that stacks but the last are asked
            for; 0 leaves out all but the answer.
    """
    inner = round(inner_share * points.shape[1])
    last = len(seen.stacks) - 1
    found = []
    for stack in range(0 if inner else last, last + 1):
        n = points.shape[1] if stack == last else inner
        known, given = known_of(seen, points[:, :n], context[:, :n], stack)
        if base is not None:
            given = base[:, :n] if given is None else base[:, :n] + given
        if inner and seen.bins and stack == last and given is not None:
            found.insert(0, given)
        found.append(network(known, given)[0])
    return found
