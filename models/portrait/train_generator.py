"""Trains the tri-plane generator as an auto-decoder: a code a look, from views with known cameras.

A look's code is what its person is, plus what its expression and its light add, plus what is left;
the first and the last are tables that learn with the network. Afterwards the codes without light
are a cloud whose mean and covariance the weights keep, so that codes can be drawn and kept in it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import nn
from torch.nn import functional

from ..errors import InputError
from ..learning.layout import channels_last
from ..learning.training_log import Report
from .cameras import axis_share, rays
from .config import SMALL, PortraitConfig
from .dataset import Portraits, smaller_depth
from .features import RegressorFeatures
from .first_codes import first_codes
from .fitting import FitOptions, FitResult, fit
from .generator import Generator, Planes, Rendering
from .generator_sheet import generator_sheet, psnr, views_of
from .mapping import GaussianMapping
from .pictures import words_digest
from .renderer import RayColours
from .weights import save_weights

_SPACE_POINTS: Final = 1500
"""Points of each head at which density is to be smooth."""
_SMOOTH_STEP: Final = 0.01
"""World units between the two ends of which density is compared."""
_MEASURED_LOOKS: Final = 64
_OTHER_RAYS: Final = 0.08
"""Share of the rays far from the mask that are rendered all the same."""


@dataclass(frozen=True)
class GeneratorOptions(FitOptions):
    """One training of the generator; ``batch`` counts looks.

    Attributes:
        sizes: architecture.
        views: of each look, a step.
        samples: a ray of both passes, while it trains.
        bfloat16: whether convolutions run in bfloat16.
        perceptual: weight of the distance of the regressor's features.
        every: steps between two that have it; its weight is that much larger there.
        raw: weight of the picture before super-resolution.
        mask: weight of the mask.
        depth: weight of the depth, world units.
        smooth: weight of the density's smoothness.
        code: weight of the size of what is left in a look's code.
        regressor: exported regressor for the features; None for the one that mien ships.
    """

    batch: int = 6
    # Weights have unit variance: a step of a hundredth is a hundredth of them.
    learning_rate: float = 3e-2
    weight_decay: float = 0.0
    warmup_steps: int = 300
    average_decay: float = 0.998
    sizes: PortraitConfig = field(default_factory=lambda: SMALL)
    views: int = 1
    samples: tuple[int, int] = (10, 8)
    bfloat16: bool = True
    perceptual: float = 0.1
    every: int = 2
    raw: float = 0.5
    mask: float = 0.5
    depth: float = 0.5
    smooth: float = 2e-3
    code: float = 1e-4
    regressor: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sizes.mapping != "gaussian":
            raise InputError(
                f"preset {self.sizes.name}: its mapping network is trained adversarially; "
                "only presets with a gaussian mapping can be trained here: small"
            )
        if self.views < 1 or self.every < 1:
            raise InputError("training the generator needs views >= 1 and every >= 1")


class CodeTable(nn.Module):
    """The auto-decoder: a generator and the codes of the looks that it was shown.

    Args:
        sizes: of the generator.
        persons: how many.
        looks: how many.
    """

    def __init__(self, sizes: PortraitConfig, persons: int, looks: int) -> None:
        super().__init__()
        self.generator = Generator(sizes)
        self.persons = nn.Embedding(persons, sizes.w_dim)
        self.looks = nn.Embedding(looks, sizes.w_dim)
        nn.init.zeros_(self.persons.weight)
        nn.init.zeros_(self.looks.weight)

    @property
    def mapping(self) -> GaussianMapping:
        """Of the generator."""
        mapping = self.generator.mapping
        assert isinstance(mapping, GaussianMapping)
        return mapping

    def unlit(self, known: Known) -> Float[torch.Tensor, "b w"]:
        """Codes of looks without their light."""
        person, look = self.persons(known.person), self.looks(known.look)
        return person + look + self.mapping.expression_code(known.blendshapes)

    def codes(self, known: Known) -> Float[torch.Tensor, "b w"]:
        """Codes of looks."""
        return self.unlit(known) + self.mapping.light_code(known.light, known.tint)


class Known(NamedTuple):
    """What is known of looks.

    Attributes:
        look: number in the tables.
        person: likewise.
        blendshapes: ARKit's.
        light: harmonics.
        tint: RGB of the light's mean over its luminance.
    """

    look: Int64[torch.Tensor, " b"]
    person: Int64[torch.Tensor, " b"]
    blendshapes: Float[torch.Tensor, "b 52"]
    light: Float[torch.Tensor, "b 9"]
    tint: Float[torch.Tensor, "b 3"]


class Truth(NamedTuple):
    """Views of looks, those of one look together.

    Attributes:
        labels: cameras.
        image: RGB, -1 to 1, of the finished picture's size.
        raw: likewise, of the volume rendering's size.
        mask: 0 to 1, of that size.
        depth: along the camera's axis, of that size; 0 where unknown.
    """

    labels: Float[torch.Tensor, "v 25"]
    image: Float[torch.Tensor, "v 3 S S"]
    raw: Float[torch.Tensor, "v 3 s s"]
    mask: Float[torch.Tensor, "v 1 s s"]
    depth: Float[torch.Tensor, "v 1 s s"]


class Shown:
    """Portraits as tensors on a device, made of the arrays when asked for."""

    def __init__(self, portraits: Portraits, sizes: PortraitConfig, device: torch.device) -> None:
        self.portraits, self._sizes, self._device = portraits, sizes, device
        self._persons = np.unique(portraits.person)

    def known(self, looks: Int64[np.ndarray, " b"]) -> Known:
        """What is known of some looks."""
        data = self.portraits
        person = np.searchsorted(self._persons, data.person[looks])
        arrays = (looks, person, data.blendshapes[looks], data.light[looks], data.tint[looks])
        return Known(*(torch.from_numpy(array).to(self._device) for array in arrays))

    def truth(self, looks: Int64[np.ndarray, " b"], views: Int64[np.ndarray, "b n"]) -> Truth:
        """Some views of some looks."""
        data, small = self.portraits, self._sizes.render_size
        at = (looks[:, None], views)
        images = data.images[at].reshape(-1, data.size, data.size, 3)
        rgb = np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2))
        image = torch.from_numpy(rgb).to(self._device).float() / 127.5 - 1
        mask = data.mask[at].reshape(-1, 1, data.size, data.size)
        mask = torch.from_numpy(mask).to(self._device).float() / 255
        depth = smaller_depth(data.depth[at].reshape(-1, 1, data.size, data.size), small)
        share = data.size // small
        return Truth(
            labels=torch.from_numpy(data.cameras[at].reshape(-1, 25)).to(self._device),
            image=image,
            raw=functional.avg_pool2d(image, share),
            mask=functional.avg_pool2d(mask, share),
            depth=torch.from_numpy(depth).to(self._device),
        )


class _GeneratorTask:
    kind = "generator"

    def __init__(self, options: GeneratorOptions, device: torch.device) -> None:
        self._options, self._device = options, device
        sizes = options.sizes
        portraits = Portraits.load(options.data, sizes.image_size)
        train, _ = portraits.split()
        if train.views < 2:
            raise InputError(f"{options.data}: {train.views} view a look, expected 2 or more")
        persons = len(np.unique(train.person))
        if persons < 2:
            raise InputError(
                f"{options.data}: {persons} person to learn from, expected 2 or more "
                "(3 in all: one at least is held out)"
            )
        self._shown = Shown(train, sizes, device)
        self._looks, self._views = len(train), train.views
        self._words = words_digest(options.data)
        self.network = CodeTable(sizes, persons, len(train)).to(device)
        first = torch.from_numpy(first_codes(train, sizes.w_dim))
        self.network.persons.weight.data.copy_(first)
        mapping = self.network.mapping
        mapping.light_mean.copy_(torch.from_numpy(train.light.mean(0)))
        mapping.light_scale.copy_(torch.from_numpy(train.light.std(0) + 1e-3))
        mapping.expression_mean.copy_(torch.from_numpy(train.blendshapes.mean(0)))
        channels_last(self.network)
        self._features = RegressorFeatures(options.regressor).to(device)
        rng = np.random.default_rng(17)
        count = min(_MEASURED_LOOKS, self._looks)
        self._measured = np.sort(rng.choice(self._looks, count, replace=False))

    def terms(self, rng: np.random.Generator, batch: int) -> dict[str, torch.Tensor]:
        """Losses of some views, never the last, of some looks."""
        options = self._options
        looks = rng.choice(self._looks, min(batch, self._looks), replace=False)
        count = min(options.views, self._views - 1)
        views = np.stack([rng.choice(self._views - 1, count, replace=False) for _ in looks])
        known, truth = self._shown.known(looks), self._shown.truth(looks, views)
        jitter = torch.Generator().manual_seed(int(rng.integers(2**62)))
        with self._cast():
            codes = self.network.codes(known)
            planes = self.network.generator.planes(codes)
        near = _nearby(truth.mask, len(looks), jitter)
        drawn = self._rendered(planes, truth, near, jitter)
        terms = {
            "image": (drawn.image.float() - truth.image).abs().mean(),
            "raw": (drawn.raw - truth.raw).abs().mean(),
            "mask": (drawn.mask - truth.mask).square().mean(),
            "depth": _depth_loss(truth, drawn),
            "smooth": self._roughness(planes, jitter),
            "code": self.network.looks(known.look).square().mean(),
        }
        weights = {name: float(getattr(options, name, 1.0)) for name in terms}
        if rng.random() < 1 / options.every:
            with self._cast():
                distance = self._features.distance(drawn.image.float(), truth.image)
            terms["perceptual"] = distance.mean()
            weights["perceptual"] = options.perceptual * options.every
        terms["loss"] = torch.stack([weights[name] * terms[name] for name in weights]).sum()
        return terms

    def _cast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._options.bfloat16)

    def _rendered(
        self,
        planes: Planes,
        truth: Truth,
        near: list[Int64[torch.Tensor, " _"]],
        jitter: torch.Generator,
    ) -> Rendering:
        """Whole pictures of which only the chosen rays are rendered; the others see nothing."""
        generator, size = self.network.generator, self._options.sizes.render_size
        heads = len(near)
        origins, directions = (ray.reshape(heads, -1, 3) for ray in rays(truth.labels, size))
        count = origins.shape[1]
        parts = []
        # Head by head, since each has another number of rays.
        for head, chosen in enumerate(near):
            one = Planes(*(part[head : head + 1] for part in planes))
            start, way = (ray[head : head + 1, chosen] for ray in (origins, directions))
            seen = generator.render_rays(one, start, way, jitter, self._options.samples)
            parts.append(_whole(seen, chosen, count))
        whole = RayColours(*(torch.cat(part) for part in zip(*parts, strict=True)))
        with self._cast():
            return generator.picture(planes, whole, size)

    def _roughness(self, planes: Planes, jitter: torch.Generator) -> Float[torch.Tensor, ""]:
        """Mean change of density over a short step (EG3D's regularisation)."""
        box = self._options.sizes.box
        shape = (len(planes.w), _SPACE_POINTS, 3)
        at = (torch.rand(shape, generator=jitter) - 0.5) * box
        beside = at + torch.randn(shape, generator=jitter) * _SMOOTH_STEP
        points = torch.cat([at, beside], 1).to(self._device)
        density = functional.softplus(self.network.generator.field(planes, points)[0] - 1)
        first, second = density.chunk(2, dim=1)
        return (first - second).abs().mean()

    def measure(self, average: nn.Module) -> dict[str, float]:
        """PSNR on training views, and on the views of training people that were never shown."""
        assert isinstance(average, CodeTable)
        known = self._shown.known(self._measured)
        figures = {}
        for name, view in (("psnr_seen_view", 0), ("psnr_held_out_view", self._views - 1)):
            truth = self._shown.truth(self._measured, np.full((len(self._measured), 1), view))
            drawn = views_of(average.generator, average.codes(known), truth.labels)
            figures[name] = psnr(drawn.image, truth.image)
            if view:
                figures["psnr_held_out_raw"] = psnr(drawn.raw, truth.raw)
                figures["mask_error"] = float((drawn.mask - truth.mask).abs().mean())
        return figures

    def sheet(self, average: nn.Module) -> UInt8[np.ndarray, "H W 3"]:
        """Held-out views beside the truth, the same relit and turned, and drawn codes."""
        assert isinstance(average, CodeTable)
        self._keep_codes(average)
        looks = self._measured[:8]
        known = self._shown.known(looks)
        truth = self._shown.truth(looks, np.full((len(looks), 1), self._views - 1))
        unlit = average.unlit(known)
        return generator_sheet(
            average.generator, unlit, known.light, known.tint, truth.labels, truth.image
        )

    def write(self, path: Path, average: nn.Module, facts: Mapping[str, Any]) -> None:
        """The generator with the cloud of its codes, and the codes beside it."""
        assert isinstance(average, CodeTable)
        codes = self._keep_codes(average)
        model = copy.deepcopy(average.generator)
        persons = average.persons.num_embeddings
        about = {**facts, "data": "synthetic", "looks": self._looks, "persons": persons}
        about["words_sha256"] = self._words
        known = self._shown.known(np.arange(self._looks))
        save_weights(path, model, about, {"codes": codes, "person": known.person})

    def _keep_codes(self, average: CodeTable) -> Float[torch.Tensor, "n w"]:
        """The codes of all looks without light; their mean and covariance go to the mapping."""
        with torch.no_grad():
            codes = average.unlit(self._shown.known(np.arange(self._looks)))
            average.mapping.fit(codes)
        return codes


def _nearby(
    mask: Float[torch.Tensor, "v 1 s s"], heads: int, jitter: torch.Generator
) -> list[Int64[torch.Tensor, " _"]]:
    """Rays worth rendering of each head: those in and around its masks, and some others.

    What lies further from the mask is black, and now and then a ray sees to it that it stays so.

    Args:
        mask: of the views, those of one head together.
        heads: how many.
        jitter: which other rays.
    """
    around = functional.max_pool2d(mask, 3, 1, 1).view(heads, -1) > 0
    other = torch.rand(around.shape, generator=jitter).to(mask.device) < _OTHER_RAYS
    return [chosen.nonzero()[:, 0] for chosen in around | other]


def _whole(seen: RayColours, chosen: Int64[torch.Tensor, " k"], count: int) -> RayColours:
    """All rays of a head's pictures; those that were not chosen see nothing."""
    channels = seen.features.shape[-1]
    empty = seen.mask.new_zeros(1, count)
    return RayColours(
        features=seen.features.new_full((1, count, channels), -1.0).index_copy(
            1, chosen, seen.features
        ),
        depth=empty.index_copy(1, chosen, seen.depth),
        mask=empty.index_copy(1, chosen, seen.mask),
    )


def _depth_loss(truth: Truth, drawn: Rendering) -> Float[torch.Tensor, ""]:
    """Mean error of depth along the camera's axis, of all pixels; 0 where it is unknown."""
    size = truth.depth.shape[-1]
    share = axis_share(truth.labels, rays(truth.labels, size)[1]).view_as(truth.depth)
    error = (drawn.depth * share - truth.depth).abs()
    return (error * (truth.depth > 0)).mean()


def train(options: GeneratorOptions, report: Report | None = None) -> FitResult:
    """Train the generator; ``out/weights.safetensors`` is what the portrait reads.

    Args:
        options: what to do.
        report: told every line of the log.

    Raises:
        InputError: the data or the checkpoint cannot be used, or a package is missing.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    return fit(partial(_GeneratorTask, options), options, report)
