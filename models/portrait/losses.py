"""What an edit is judged by while it is made, and how terms are weighed against each other.

FaceDNeRF (Zhang et al. 2023, 3.2): reconstruction in a feature space and identity from the input's
camera, distillation and illumination from a random side camera.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional

from ..errors import InputError
from . import sh
from .identity import Embedder
from .light import Illumination, light_distance

Distance = Callable[
    [Float[torch.Tensor, "b 3 h w"], Float[torch.Tensor, "b 3 h w"]], Float[torch.Tensor, " b"]
]
"""Of pictures in a feature space."""
_TINY = 1e-12


@dataclass(frozen=True)
class Weights:
    """Weights of the terms.

    Attributes:
        reconstruction: l_rec.
        identity: l_id.
        sds: share that the gradient of distillation has of that of the terms before, on the code;
            the published 6e-5 fits latents of Stable Diffusion at guidance 100 alone.
        sds_fixed: a plain factor instead; None: by the share.
        light: the same share of the illumination's gradient.
        pixels: of the mean absolute difference of pixels, beside the features' distance; without
            effect where the light is to change.
        cloud: of the code's distance from the middle of the codes' cloud.
        noise: of the noise maps' regulariser.
        words: of how much less the code is read as the words say than where the edit began, where
            what words add to codes is known.
    """

    reconstruction: float = 0.6
    identity: float = 0.6
    sds: float = 2.0
    sds_fixed: float | None = None
    light: float = 0.7
    pixels: float = 0.5
    cloud: float = 2e-3
    noise: float = 1e3
    words: float = 10.0

    def __post_init__(self) -> None:
        if min(value or 0.0 for value in astuple(self)) < 0:
            raise InputError("weights of losses must not be negative")


@dataclass(frozen=True)
class Judges:
    """Networks that look at the pictures.

    Attributes:
        features: distance of pictures.
        identity: unit vectors.
        light: nine coefficients.
    """

    features: Distance
    identity: Embedder
    light: Illumination


@dataclass
class GradientRatio:
    """Weighs a term so that its gradient is a given share of a reference's.

    Attributes:
        share: wanted.
        decay: share of the old logarithm of the weight that is kept; the first estimate counts
            whole.
        weight: the present one; None before the first estimate.
    """

    share: float
    decay: float = 0.8
    weight: float | None = field(default=None)

    def update(self, reference: torch.Tensor, other: torch.Tensor) -> float:
        """Take in gradients of the two with regard to the same values; the weight.

        A reference of no size gives nothing to compare with: the weight stays, or is the share.
        """
        size, against = float(other.norm()), float(reference.norm())
        if size < _TINY or against < _TINY:
            return self.weight if self.weight is not None else self.share
        now = self.share * against / size
        if self.weight is None or self.weight <= 0:
            self.weight = now
        else:
            old = float(np.log(self.weight))
            self.weight = float(np.exp(self.decay * old + (1 - self.decay) * np.log(now)))
        return self.weight


def balance(
    ratios: Mapping[str, GradientRatio],
    plain: Mapping[str, torch.Tensor],
    beside: Mapping[str, torch.Tensor],
    moved: torch.Tensor,
) -> None:
    """Weigh the side camera's terms against reconstruction and identity, by their gradients.

    Args:
        ratios: of the terms of ``beside``, by name.
        plain: terms of the input's camera.
        beside: terms of the side camera, not weighed.
        moved: what the gradients are taken with regard to.
    """
    known = [plain[name] for name in ("rec", "id") if name in plain]
    if not known:
        return
    (reference,) = torch.autograd.grad(torch.stack(known).sum(), moved, retain_graph=True)
    for name, value in beside.items():
        (other,) = torch.autograd.grad(value, moved, retain_graph=True)
        ratios[name].update(reference, other)


def identity_loss(
    embedder: Embedder,
    image: Float[torch.Tensor, "1 3 h w"],
    known: Float[torch.Tensor, "1 512"],
) -> Float[torch.Tensor, ""]:
    """1 - cos of a picture's vector and a known one."""
    return 1 - functional.cosine_similarity(embedder(image).float(), known).mean()


def illumination_loss(
    estimator: Illumination,
    image: Float[torch.Tensor, "1 3 h w"],
    light: Float[np.ndarray, " 9"],
    label: Float[np.ndarray, " 25"],
) -> Float[torch.Tensor, ""]:
    """How far the light in a view is from the wanted one, turned into that view's axes.

    Args:
        estimator: of light.
        image: of one camera.
        light: wanted, axes of the world.
        label: of that camera.
    """
    wanted = torch.from_numpy(sh.seen_from(light, label).astype(np.float32))[None]
    return light_distance(estimator(image).float(), wanted.to(image.device)).mean()


def reconstruction_loss(
    distance: Distance,
    image: Float[torch.Tensor, "1 3 h w"],
    target: Float[torch.Tensor, "1 3 h w"],
    mask: Float[torch.Tensor, "1 1 h w"] | None,
    pixels: float,
) -> Float[torch.Tensor, ""]:
    """Distance of features, and of pixels if wanted; what the mask leaves out counts as right."""
    if mask is not None:
        image = target + mask * (image - target)
    total = distance(image, target).mean()
    return total + pixels * (image - target).abs().mean() if pixels > 0 else total
