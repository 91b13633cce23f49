"""A new object for a trained autodecoder: its embedding is found while all networks stay fixed.

About 3000 steps of Adam, first of size 1e-2, then of 1e-3 (Ntavelis et al. 2023, 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from tqdm import tqdm

from ..errors import InputError
from .avatar import Avatar
from .losses import Truth, Views, grid_loss, view_loss
from .perceptual import Features

STEPS: Final = 3000
_RATES: Final = (1e-2, 1e-3)
_COARSE_SHARE: Final = 2 / 3


@dataclass(frozen=True)
class Inverted:
    """An object that was found.

    Attributes:
        embedding: (1, d).
        loss: of the last step.
    """

    embedding: Float[torch.Tensor, "1 d"]
    loss: float


def invert(
    avatar: Avatar,
    truth: Truth | None = None,
    views: Views | None = None,
    features: Features | None = None,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> Inverted:
    """Find the embedding of an object that was not trained on.

    Args:
        avatar: with an autodecoder.
        truth: the object's grid, if it is known.
        views: pictures of it, if there are any (their ``objects`` all 0).
        features: of the perceptual loss.
        steps: of Adam.
        seed: of the views' sampling.

    Raises:
        InputError: there is no autodecoder, or neither grid nor views.
    """
    if avatar.g1 is None or avatar.embeddings is None:
        raise InputError("avatar: these weights have no autodecoder to invert")
    if truth is None and views is None:
        raise InputError("inversion: neither a grid nor views are given")
    avatar.eval().requires_grad_(False)
    # From the mean of what the generator knows.
    objects = torch.arange(min(avatar.objects, 1024), device=avatar.device)
    embedding = avatar.embeddings(objects).mean(0, keepdim=True).clone().requires_grad_(True)
    optimiser = torch.optim.Adam([embedding], _RATES[0])
    generator = torch.Generator().manual_seed(seed)
    last = 0.0
    for step in tqdm(range(steps), desc="inversion", disable=None):
        for group in optimiser.param_groups:
            group["lr"] = _RATES[0] if step < _COARSE_SHARE * steps else _RATES[1]
        volume = avatar.decode(avatar.g1(embedding))
        total = volume.shape.new_zeros(())
        if truth is not None:
            total = total + grid_loss(avatar.config, volume, truth)[0]
        if views is not None:
            cost, _ = view_loss(avatar.config, volume, views, features, generator=generator)
            total = total + cost
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        last = float(total.detach())
    return Inverted(embedding.detach(), last)
