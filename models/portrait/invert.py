"""From a picture to a code: optimise the code under given losses, then tune the weights briefly.

After FaceDNeRF (Zhang et al. 2023, 3) and pivotal tuning (Roich et al. 2022): a code for every
layer and the noise maps by Adam, with noise on the code that fades; then, around the code that was
found, the generator's own weights at a small rate.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional

from ..errors import InputError
from .cameras import frontal_label
from .generator import Generator, Planes, Rendering
from .mapping import GaussianMapping

_DRAWN_CODES = 600
_SMALLEST_NOISE = 8
"""Side of the noise map whose scales are no longer halved."""


@dataclass(frozen=True)
class InversionOptions:
    """How long and how fast.

    Attributes:
        steps: for the code.
        learning_rate: of the code, in deviations of the codes' cloud.
        noise_rate: of the noise maps; 0 leaves them fixed.
        noise_weight: of their regulariser, which keeps them noise.
        code_noise: deviation of the noise on the code at the start, in that of the cloud.
        calm_from: share of the steps after which there is none.
        warm_up: share of the steps over which the rate rises.
        ramp_down: share over which it falls at the end.
        per_layer: whether every layer gets a code of its own.
        tuning_steps: for the weights; 0 leaves them.
        tuning_rate: of the weights.
        seed: of the noise.
    """

    steps: int = 300
    learning_rate: float = 0.05
    noise_rate: float = 0.01
    noise_weight: float = 1e3
    code_noise: float = 0.02
    calm_from: float = 0.75
    warm_up: float = 0.05
    ramp_down: float = 0.25
    per_layer: bool = True
    tuning_steps: int = 100
    tuning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.tuning_steps) < 0 or self.steps + self.tuning_steps == 0:
            raise InputError("inversion: steps and tuning steps must not be negative, nor both 0")
        if self.learning_rate <= 0 or self.tuning_rate <= 0 or self.noise_rate < 0:
            raise InputError("inversion: rates must be positive")


class Probe(NamedTuple):
    """What losses look at.

    Attributes:
        share: of all steps that are over, 0 to 1.
        tuning: whether the weights are being tuned.
        ws: (1, l, w) codes.
        planes: of them; render them from elsewhere with ``generator.render``.
        drawn: from the input's camera.
        generator: the one in use; not the one that was given, while its weights are tuned.
    """

    share: float
    tuning: bool
    ws: Float[torch.Tensor, "1 l w"]
    planes: Planes
    drawn: Rendering
    generator: Generator


Loss = Callable[[Probe], Float[torch.Tensor, ""]]
"""One term, weighted."""
Terms = dict[str, float]


class Inversion(NamedTuple):
    """What was found.

    Attributes:
        ws: (1, l, w) codes.
        noise: maps of the backbone.
        generator: tuned, or the given one.
        history: the terms of every step; ``loss`` is their sum.
    """

    ws: Float[torch.Tensor, "1 l w"]
    noise: tuple[Float[torch.Tensor, "1 1 _ _"], ...]
    generator: Generator
    history: tuple[Terms, ...]


def invert(
    generator: Generator,
    label: Float[torch.Tensor, "1 25"],
    losses: Mapping[str, Loss],
    options: InversionOptions,
    start: Float[torch.Tensor, "1 w"] | Float[torch.Tensor, "1 l w"] | None = None,
    report: Callable[[int, Terms], object] | None = None,
) -> Inversion:
    """Find the code of a picture.

    Args:
        generator: frozen.
        label: the picture's camera.
        losses: terms by name, already weighted; one at least.
        options: how long and how fast.
        start: codes to begin from; default: the mean of the cloud.
        report: told after each step how many are done, and the terms.

    Raises:
        InputError: there is no loss.
    """
    if not losses:
        raise InputError("inversion: no loss to follow")
    search = _Search(generator, label, losses, options, start, report)
    for _ in range(options.steps):
        search.step()
    if options.tuning_steps:
        search.begin_tuning()
        for _ in range(options.tuning_steps):
            search.step()
    return search.result()


class _Search:
    """The state of one inversion."""

    def __init__(
        self,
        generator: Generator,
        label: Float[torch.Tensor, "1 25"],
        losses: Mapping[str, Loss],
        options: InversionOptions,
        start: torch.Tensor | None,
        report: Callable[[int, Terms], object] | None,
    ) -> None:
        self._generator, self._label, self._losses = generator, label, losses
        self._options, self._report = options, report
        self._random = torch.Generator().manual_seed(options.seed)
        mean, self._root = code_cloud(generator)
        begin = mean if start is None else start
        begin = (generator.repeated(begin) if begin.ndim == 2 else begin).detach().clone()
        self._begin = begin if options.per_layer else begin.mean(1, keepdim=True)
        # Steps are taken where the cloud is round: along its thin axes they are short.
        self._away = torch.zeros_like(self._begin, requires_grad=True)
        self._noise = [field.clone() for field in generator.noise_maps()]
        parameters = [{"params": [self._away], "lr": options.learning_rate}]
        if options.noise_rate > 0:
            for field in self._noise:
                field.requires_grad_(True)
            parameters.append({"params": self._noise, "lr": options.noise_rate})
        self._optimiser = torch.optim.Adam(parameters, betas=(0.9, 0.999))
        self._peaks = [group["lr"] for group in self._optimiser.param_groups]
        self._done, self._tuning = 0, False
        self._history: list[Terms] = []

    def codes(self) -> Float[torch.Tensor, "1 l w"]:
        """As they are now."""
        ws = self._begin + self._away @ self._root
        return ws.expand(-1, self._generator.config.n_ws, -1)

    def begin_tuning(self) -> None:
        """From here on the weights move, those of a copy, and the code stands."""
        self._tuning, self._done = True, 0
        self._away.requires_grad_(False)
        self._noise = [field.detach() for field in self._noise]
        self._generator = copy.deepcopy(self._generator)
        parts = (self._generator.backbone.synthesis, self._generator.decoder,
                 self._generator.superresolution)  # fmt: skip
        moved = [weight for part in parts for weight in part.parameters()]
        for weight in moved:
            weight.requires_grad_(True)
        self._optimiser = torch.optim.Adam(moved, lr=self._options.tuning_rate)
        self._peaks = [self._options.tuning_rate]

    def step(self) -> None:
        """One step of the code, or of the weights."""
        options = self._options
        total = options.tuning_steps if self._tuning else options.steps
        share = self._done / total
        factor = 1.0 if self._tuning else _pace(share, options.warm_up, options.ramp_down)
        for group, peak in zip(self._optimiser.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        ws = self.codes() if self._tuning else self._shaken(share)
        planes = self._generator.planes(ws, self._noise)
        drawn = self._generator.render(planes, self._label)
        probe = Probe(share, self._tuning, ws, planes, drawn, self._generator)
        terms = {name: loss(probe) for name, loss in self._losses.items()}
        if options.noise_rate > 0 and not self._tuning:
            terms["noise"] = options.noise_weight * noise_regularity(self._noise)
        loss = torch.stack(list(terms.values())).sum()
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        if options.noise_rate > 0 and not self._tuning:
            _normalise(self._noise)
        self._done += 1
        figures = {name: float(value.detach()) for name, value in terms.items()}
        self._history.append({**figures, "loss": float(loss.detach())})
        if self._report is not None:
            self._report(len(self._history), self._history[-1])

    def _shaken(self, share: float) -> Float[torch.Tensor, "1 l w"]:
        ws, options = self.codes(), self._options
        strength = options.code_noise * max(0.0, 1 - share / max(options.calm_from, 1e-9)) ** 2
        if strength <= 0:
            return ws
        shake = torch.randn(ws.shape, generator=self._random).to(ws.device)
        return ws + strength * shake @ self._root

    def result(self) -> Inversion:
        """What was found."""
        return Inversion(
            self.codes().detach().clone(),
            tuple(field.detach() for field in self._noise),
            self._generator.requires_grad_(False),
            tuple(self._history),
        )


def code_cloud(
    generator: Generator,
) -> tuple[Float[torch.Tensor, "1 w"], Float[torch.Tensor, "w w"]]:
    """Mean of a generator's codes, and a symmetric root of their covariance.

    An auto-decoder knows both, and adds what lights do; of a mapping network they are those of
    600 codes under the frontal camera, as if every axis had the same deviation.
    """
    mapping = generator.mapping
    with torch.no_grad():
        if isinstance(mapping, GaussianMapping):
            covariance = mapping.factor @ mapping.factor.T
            for layer in (mapping.light, mapping.tint):
                scale = 1.0 if layer is mapping.light else 0.15
                covariance = covariance + scale**2 * layer.weight @ layer.weight.T
            values, vectors = torch.linalg.eigh(covariance.double())
            root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
            return mapping.mean[None].clone(), root.float()
        random = torch.Generator().manual_seed(0)
        z = torch.randn(_DRAWN_CODES, generator.config.z_dim, generator=random)
        device = next(generator.parameters()).device
        label = torch.from_numpy(frontal_label())[None].to(device)
        codes = generator.map(z.to(device), label)
        spread = codes.std(0).square().mean().sqrt()
        eye = torch.eye(generator.config.w_dim, device=device)
        return codes.mean(0, keepdim=True), spread * eye


def noise_regularity(
    noise: Sequence[Float[torch.Tensor, "1 1 _ _"]],
) -> Float[torch.Tensor, ""]:
    """How far maps are from white noise: squared correlation of neighbours, at all scales."""
    total = noise[0].new_zeros(())
    for field in noise:
        scale = field
        while True:
            for axis in (2, 3):
                total = total + (scale * scale.roll(1, axis)).mean().square()
            if scale.shape[-1] <= _SMALLEST_NOISE:
                break
            scale = functional.avg_pool2d(scale, 2)
    return total


def reconstruction(
    target: Float[torch.Tensor, "1 3 S S"],
    distance: Callable[[torch.Tensor, torch.Tensor], Float[torch.Tensor, " b"]] | None = None,
    weights: tuple[float, float] = (1.0, 0.2),
    mask: Float[torch.Tensor, "1 1 S S"] | None = None,
) -> Loss:
    """A loss: how far the picture from the input's camera is from the input.

    Args:
        target: the input, RGB, -1 to 1, of the finished picture's size.
        distance: of features, such as :meth:`.features.RegressorFeatures.distance`.
        weights: of the mean absolute difference of pixels, and of the distance.
        mask: where the input is to be believed, 0 to 1; None for everywhere.
    """

    def loss(probe: Probe) -> Float[torch.Tensor, ""]:
        image = probe.drawn.image
        if mask is not None:
            image = target + mask * (image - target)
        raw = functional.interpolate(target, probe.drawn.raw.shape[-2:], mode="area")
        off = probe.drawn.raw - raw
        if mask is not None:
            off = off * functional.interpolate(mask, raw.shape[-2:], mode="area")
        total = weights[0] * ((image - target).abs().mean() + 0.5 * off.abs().mean())
        if distance is not None:
            total = total + weights[1] * distance(image, target).mean()
        return total

    return loss


def cloud_distance(generator: Generator, weight: float) -> Loss:
    """A loss: how far codes are from the middle of the cloud, in its deviations, squared."""
    mean, root = code_cloud(generator)
    inverse = torch.linalg.pinv(root.double(), rtol=1e-3).float()

    def loss(probe: Probe) -> Float[torch.Tensor, ""]:
        return weight * ((probe.ws - mean) @ inverse).square().mean()

    return loss


def _pace(share: float, warm_up: float, ramp_down: float) -> float:
    """Factor of the rate: up along a line, down along half a cosine (StyleGAN2's projector)."""
    down = min(1.0, (1.0 - share) / max(ramp_down, 1e-9))
    return (0.5 - 0.5 * float(np.cos(down * np.pi))) * min(1.0, share / max(warm_up, 1e-9) + 1e-3)


@torch.no_grad()
def _normalise(noise: Sequence[torch.Tensor]) -> None:
    for field in noise:
        field.sub_(field.mean()).mul_((field.square().mean() + 1e-12).rsqrt())
