"""Score distillation: a diffusion model says how a picture should change to fit a sentence.

Poole et al. (DreamFusion, 2022), as FaceDNeRF uses it. With noise n and
``z_t = sqrt(abar) z + sqrt(1 - abar) n`` the gradient is ``w(t) (eps - n)``, ``w(t) = 1 - abar``,
and the guided estimate of the noise
``eps = eps_text + g (eps_text - eps_empty)``. No gradient passes through the denoiser: the loss
``0.5 |z - (z - gradient).detach()|^2`` has the gradient wanted with regard to z.

``abar`` is Stable Diffusion's schedule (1000 steps, beta from 0.00085 to 0.012 linear in the root);
t runs from 0 to 1 along it. A denoiser in Karras' parametrisation sees the same noise-to-signal
ratio: ``x = z + sigma n`` with ``sigma = sigma_data sqrt((1 - abar) / abar)``, and
``eps = (x - D(x; sigma)) / sigma``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch.nn import functional

from ..errors import InputError
from .prior import CaptionedDiffusion, tokens_of

STEPS: Final = 1000
_BETA_FIRST, _BETA_LAST = 0.00085, 0.012
PAPER_RANGE: Final = (0.02, 0.98)
"""Shares of the schedule between which t is drawn."""
PAPER_GUIDANCE: Final = 100.0
SMALL_GUIDANCE: Final = 20.0
"""For the small prior of our own: 100 moves classifiers, and leaves no face."""

Latent = Float[torch.Tensor, "b c y x"]


@cache
def alpha_bars() -> Float[torch.Tensor, " 1000"]:
    """Stable Diffusion's schedule: share of the signal's power that is left at each step."""
    betas = torch.linspace(_BETA_FIRST**0.5, _BETA_LAST**0.5, STEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()


@runtime_checkable
class ScorePrior(Protocol):
    """A text-to-image diffusion model, as distillation uses it."""

    def condition(self, text: str) -> Any:
        """What it makes of a sentence.

        Raises:
            InputError: it does not understand it.
        """
        ...

    def latent(self, images: Float[torch.Tensor, "b 3 h w"]) -> Latent:
        """What is diffused, of pictures (RGB, -1 to 1); differentiable."""
        ...

    def noise(
        self, latent: Latent, noise: Latent, step: int, condition: Any, guidance: float
    ) -> Latent:
        """Guided estimate of the noise that was added to a latent."""
        ...


class Distillation(NamedTuple):
    """One estimate.

    Attributes:
        latent: z, with its graph.
        gradient: of it, detached.
        step: of the schedule.
    """

    latent: Latent
    gradient: Latent
    step: int


class SmallPrior:
    """Our own captioned diffusion; its latent is the picture at its own size."""

    def __init__(self, network: CaptionedDiffusion) -> None:
        self.network = network

    def condition(self, text: str) -> torch.Tensor:
        """Tokens of a sentence in the vocabulary."""
        return tokens_of([text], next(self.network.parameters()).device)

    def latent(self, images: Float[torch.Tensor, "b 3 h w"]) -> Latent:
        """The picture at the network's size."""
        side = (self.network.config.side, self.network.config.side)
        if images.shape[-1] >= side[0]:
            return functional.interpolate(images, side, mode="area")
        return functional.interpolate(images, side, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def noise(
        self, latent: Latent, noise: Latent, step: int, condition: Any, guidance: float
    ) -> Latent:
        """From D, by ``eps = (x - D) / sigma``."""
        abar = float(alpha_bars()[step])
        sigma = self.network.sigma_data * ((1 - abar) / abar) ** 0.5
        x = latent + sigma * noise
        tokens = condition.expand(len(x), -1)
        # eps_text + g (eps_text - eps_empty) is what guidance by 1 + g is elsewhere.
        clean = self.network.guided(x, x.new_full((len(x),), sigma), tokens, 1.0 + guidance)
        return (x - clean) / sigma


class StableDiffusion:
    """A user's Stable Diffusion: a folder in diffusers' layout, read locally and never fetched.

    The weights' licence (OpenRAIL for 2.1) is for the user to mind.

    Args:
        folder: with ``unet``, ``vae``, ``text_encoder``, ``tokenizer`` (safetensors).
        device: where to; half precision on a graphics card.

    Raises:
        InputError: diffusers is not installed, or the folder is not complete.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        lacking = [
            name for name in ("unet", "vae", "text_encoder", "tokenizer")
            if not (folder / name).is_dir()
        ]  # fmt: skip
        if lacking:
            raise InputError(
                f"{folder}: lacks {', '.join(lacking)}; expected a folder of Stable Diffusion 2.1 "
                "in diffusers' layout"
            )
        try:
            from diffusers import AutoencoderKL, UNet2DConditionModel  # pyright: ignore
            from transformers import CLIPTextModel, CLIPTokenizer  # pyright: ignore
        except ImportError as error:
            raise InputError(
                "--stable-diffusion needs diffusers and transformers: "
                "pip install diffusers transformers"
            ) from error
        self._type = torch.float16 if device.type == "cuda" else torch.float32
        own: dict[str, Any] = {
            "local_files_only": True, "use_safetensors": True, "torch_dtype": self._type,
        }  # fmt: skip
        try:
            self._tokenizer = CLIPTokenizer.from_pretrained(
                str(folder / "tokenizer"), local_files_only=True
            )
            self._text = CLIPTextModel.from_pretrained(str(folder / "text_encoder"), **own)
            self._vae = AutoencoderKL.from_pretrained(str(folder / "vae"), **own)
            self._unet = UNet2DConditionModel.from_pretrained(str(folder / "unet"), **own)
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: cannot be read: {str(error).splitlines()[0]}") from error
        for part in (self._text, self._vae, self._unet):
            part.to(device).requires_grad_(False).eval()
        self._device = device

    @torch.no_grad()
    def condition(self, text: str) -> torch.Tensor:
        """Embeddings of the sentence, then of the empty one: (2, tokens, width)."""
        found = self._tokenizer(
            [text, ""], padding="max_length", truncation=True, return_tensors="pt",
            max_length=self._tokenizer.model_max_length,
        )  # fmt: skip
        return self._text(found.input_ids.to(self._device))[0]

    def latent(self, images: Float[torch.Tensor, "b 3 h w"]) -> Latent:
        """The autoencoder's mean of the picture at 512 px, scaled."""
        larger = functional.interpolate(images, (512, 512), mode="bilinear", align_corners=False)
        mean = self._vae.encode(larger.to(self._type)).latent_dist.mean
        return (mean * self._vae.config.scaling_factor).float()

    @torch.no_grad()
    def noise(
        self, latent: Latent, noise: Latent, step: int, condition: Any, guidance: float
    ) -> Latent:
        """The U-Net's estimate."""
        abar = float(alpha_bars()[step])
        noisy = (abar**0.5 * latent + (1 - abar) ** 0.5 * noise).to(self._type)
        t = torch.full((2 * len(noisy),), step, device=self._device)
        embedded = condition.repeat_interleave(len(noisy), 0)
        said, empty = self._unet(torch.cat([noisy, noisy]), t, embedded).sample.float().chunk(2)
        return said + guidance * (said - empty)


def sds_gradient(
    prior: ScorePrior,
    images: Float[torch.Tensor, "b 3 h w"],
    condition: Any,
    t_range: tuple[float, float],
    guidance: float,
    generator: torch.Generator,
) -> Distillation:
    """One estimate of the gradient of distillation.

    Args:
        prior: the diffusion model.
        images: RGB, -1 to 1.
        condition: of the prior.
        t_range: shares of the schedule between which t is drawn, uniformly.
        guidance: g.
        generator: of t and of the noise, on the processor: the same on every device.

    Raises:
        InputError: the range is not within 0 to 1.
    """
    low, high = t_range
    if not 0.0 <= low <= high <= 1.0:
        raise InputError(f"distillation: t from {low} to {high}, expected within 0 to 1")
    share = low + (high - low) * float(torch.rand((), generator=generator))
    step = min(STEPS - 1, max(0, round(share * (STEPS - 1))))
    latent = prior.latent(images)
    noise = torch.randn(latent.shape, generator=generator).to(latent.device)
    estimate = prior.noise(latent.detach(), noise, step, condition, guidance)
    weight = 1.0 - float(alpha_bars()[step])
    return Distillation(latent, torch.nan_to_num(weight * (estimate - noise)), step)


def sds_loss(found: Distillation) -> Float[torch.Tensor, ""]:
    """A number whose gradient with regard to the latent is the one that was found."""
    target = (found.latent - found.gradient).detach()
    return 0.5 * (found.latent - target).square().sum()


def annealed(
    share: float, first: tuple[float, float] = PAPER_RANGE, last_high: float = 0.5
) -> tuple[float, float]:
    """The range of t, whose upper end falls along the optimisation.

    Args:
        share: of the steps that are over.
        first: range at the beginning.
        last_high: upper end at the end.
    """
    low, high = first
    return low, max(low, high + (min(last_high, high) - high) * min(max(share, 0.0), 1.0))
