"""The stage of training that fits the denoiser in a fixed latent.

Examples are pairs: the neutral of a training person, as its clean grid or one of its scans was
encoded, and the clean grid of an expression of the same person. With ``residual`` the difference of
the two latents is diffused: identity is then kept by construction, and what a scan lacks is added
by the same step that moves the face.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8

from ..errors import InputError
from ..scans.sensor import COMPLETE
from ..scans.template import TEMPLATE, HeadTemplate
from .avatar import Avatar, Grids
from .config import DiffusionConfig
from .dataset import ScanFolder, ScannedPerson
from .diffusion import loss_weight, training_sigmas
from .figures import distance_at, moved
from .guide import Guide
from .guide_bank import GuideBank, fill_guides
from .latent_bank import fill_bank
from .pictures import draw_grids, stack_rows
from .train_config import AvatarTrainConfig
from .unet import Condition, LatentDiffusion
from .weights import load_weights
from .words import NAME as CAPTIONS
from .words import fewer_words

_LOOK_STEPS: Final = 8
_FIT_COUNT: Final = 512
_SHOWN: Final = 6


@dataclass(frozen=True)
class LatentBatch:
    """Examples of the diffusion.

    Attributes:
        target: latents of what is to be generated.
        neutral: latents of the neutrals.
        seen: share of the neutral's cells that were observed.
        vectors: coefficients by the name of their set.
        guide: latents of what guides; None where nothing does.
    """

    target: Float32[np.ndarray, "B c l l l"]
    neutral: Float32[np.ndarray, "B c l l l"]
    seen: Float32[np.ndarray, "B 1 l l l"]
    vectors: dict[str, Float32[np.ndarray, "B _"]]
    guide: Float32[np.ndarray, "B c l l l"] | None = None


@dataclass(frozen=True)
class _Case:
    """A held-out pair, with what is needed to measure it."""

    batch: LatentBatch
    truth: list[ScannedPerson]
    expressions: list[int]
    moved: list[Bool[np.ndarray, " V"]]


class DiffusionStage:
    """Fits the denoiser.

    Args:
        config: of the training.
        folder: of the data.
        device: where to train.
    """

    def __init__(self, config: AvatarTrainConfig, folder: ScanFolder, device: torch.device) -> None:
        assert config.init is not None
        self.config, self._folder, self._device = config, folder, device
        self.avatar = load_weights(config.init, diffusion=False).to(device)
        sizes = self.avatar.config
        if sizes.cells != folder.cells:
            raise InputError(
                f"{config.init}: weights for {sizes.cells}^3 cells, the data have {folder.cells}^3"
            )
        self.sizes: DiffusionConfig = config.denoiser(sizes.latent_cells)
        if CAPTIONS in dict(self.sizes.token_sets):
            folder.need_captions()
        self.bank = fill_bank(self.avatar, folder, config.out)
        self._guides = self._filled_guides() if self.sizes.guide else None
        torch.manual_seed(config.seed)
        self.model = LatentDiffusion(self.sizes, sizes.latent_channels, sizes.latent_cells)
        self._fit_normalisation()
        self.model.to(device)
        self.average = deepcopy(self.model).requires_grad_(False).eval()
        self.learning_rate, self.betas = self.sizes.learning_rate, (0.9, 0.999)
        self.clip, self.average_decay = self.sizes.clip, self.sizes.average_decay
        self.examples = self.sizes.batch
        self._case = self._held_out_case() if self.sizes.neutral else None

    def batch(self, rng: np.random.Generator) -> LatentBatch:
        """Pairs of training persons."""
        rows = rng.choice(self.bank.training, self.sizes.batch)
        targets, neutrals = self._pairs(rows, rng)
        if dict(self.sizes.token_sets).keys() == {"shape"}:
            targets[:] = 0
        found = self._batch(rows, targets, neutrals)
        if CAPTIONS in found.vectors:
            fewer = fewer_words(found.vectors[CAPTIONS], rng)
            found = replace(found, vectors={**found.vectors, CAPTIONS: fewer})
        if len(found.vectors) > 1:
            # Each kind of vector must do alone too.
            keep = rng.choice([*found.vectors, "all"], p=_shares(len(found.vectors)))
            if keep != "all":
                found = replace(found, vectors={keep: found.vectors[keep]})
        return found

    def loss(
        self, batch: LatentBatch, generator: torch.Generator, step: int, done: float
    ) -> tuple[Float[torch.Tensor, ""], dict[str, Float[torch.Tensor, ""]]]:
        """Of a batch: Karras et al. 2022, eq. 2, its weight so that an untrained network has 1."""
        sizes = self.sizes
        target, condition = self._given(batch)
        value = self.model.target(target, self.model.start(condition))
        count = len(value)
        sigma = training_sigmas(sizes, count, generator).to(self._device)
        noise = torch.randn(value.shape, generator=generator).to(self._device)
        dropped = (torch.rand(count, generator=generator) < sizes.dropout).to(self._device)
        if sizes.regression:
            said = self.model(torch.zeros_like(value), sigma, condition)
            cost = (said - value).square().mean()
            return cost, {"squared_error": cost.detach()}
        spread = sigma.view(-1, 1, 1, 1, 1)
        said = self.model(value + spread * noise, sigma, condition, dropped)
        error = (said - value).square().flatten(1).mean(1)
        cost = (loss_weight(sigma, sizes.sigma_data) * error).mean()
        loud = sigma > sizes.sigma_data
        terms = {"loss": cost.detach(), "squared_error": error.detach().mean()}
        if bool(loud.any()):
            # Far into the noise the condition alone must say what comes out.
            terms["squared_error_in_noise"] = error[loud].detach().mean()
        return cost, terms

    def result(self) -> Avatar:
        """All networks, the denoiser with averaged weights."""
        self.avatar.diffusion = self.average
        return self.avatar

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """Over what moves by more than 2 mm of held-out persons, complete scans; mm.

        ``moved_mm``: distance of the true surface from the generated one; ``copy_mm`` from the
        neutral's; ``ceiling_mm`` from the truth's own reconstruction; ``guide_mm`` from the guide's
        where there is one.
        """
        if self._case is None:
            return {}
        case = self._case
        target, condition = self._given(case.batch)
        made = self.avatar.grids(self._sampled(condition))
        copied = self.avatar.grids(case_neutral(condition))
        ceiling = self.avatar.grids(target)
        guided = {}
        if condition.guide is not None:
            guided["guide_mm"] = self._error(self.avatar.grids(condition.guide))
        return {
            **guided,
            "moved_mm": self._error(made),
            "copy_mm": self._error(copied),
            "ceiling_mm": self._error(ceiling),
        }

    def picture(self) -> UInt8[np.ndarray, "H W 3"]:
        """Neutrals, generated expressions and truths of held-out persons; or whatever is made."""
        if self._case is None:
            return stack_rows([("generated", draw_grids(self._free_samples()))])
        case = self._case
        _, condition = self._given(_first(case.batch, _SHOWN))
        truth = Grids(
            np.stack([p.sdf[e].astype(np.float32) for p, e in self._shown(case)]),
            np.stack([p.colour[e] for p, e in self._shown(case)]),
        )
        return stack_rows(
            [
                ("neutral", draw_grids(self.avatar.grids(case_neutral(condition)))),
                ("generated", draw_grids(self.avatar.grids(self._sampled(condition)))),
                ("truth", draw_grids(truth)),
            ]
        )

    def _shown(self, case: _Case) -> list[tuple[ScannedPerson, int]]:
        return list(zip(case.truth, case.expressions, strict=True))[:_SHOWN]

    def _sampled(self, condition: Condition) -> torch.Tensor:
        assert condition.neutral is not None
        return self.average.sample(
            condition, len(condition.neutral), steps=_LOOK_STEPS, guidance=1.0
        )

    def _free_samples(self) -> Grids:
        vectors = {
            name: torch.from_numpy(self.bank.vectors[name][self.bank.validation[:_SHOWN], 0])
            for name, _ in self.sizes.token_sets
        }
        vectors = {name: value.to(self._device) for name, value in vectors.items()}
        count = min([len(value) for value in vectors.values()], default=_SHOWN)
        latent = self.average.sample(Condition(vectors), count, steps=_LOOK_STEPS, guidance=1.0)
        return self.avatar.grids(latent)

    def _error(self, grids: Grids) -> float:
        assert self._case is not None
        case = self._case
        errors = [
            distance_at(sdf, person.vertices[e][far])
            for sdf, person, e, far in zip(
                grids.sdf, case.truth, case.expressions, case.moved, strict=True
            )
        ]
        return float(np.concatenate(errors).mean())

    def _held_out_case(self) -> _Case | None:
        """Held-out pairs of which something moves; None where nothing does."""
        bank = self.bank
        rng = np.random.default_rng(7_777)
        rows: list[int] = []
        targets: list[int] = []
        entries: list[int] = []
        people, regions = [], []
        numbers = (*self._folder.training, *self._folder.validation)
        for _ in range(4 * self.config.held_out):
            row = int(rng.choice(bank.validation))
            e = int(rng.integers(bank.expressions))
            person = self._folder.person(numbers[row])
            far = moved(person, e)
            if far.sum() < 10:
                continue
            complete = np.flatnonzero(bank.kinds[row] == COMPLETE)
            rows.append(row)
            targets.append(e)
            entry = bank.expressions + int(rng.choice(complete)) if len(complete) else 0
            entries.append(entry if self._guides is None else int(self._guides.sources[row, e]))
            people.append(person)
            regions.append(far)
            if len(rows) == self.config.held_out:
                break
        if not rows:
            return None
        batch = self._batch(np.array(rows), np.array(targets), np.array(entries))
        return _Case(batch, people, targets, regions)

    def _batch(self, rows: np.ndarray, targets: np.ndarray, neutrals: np.ndarray) -> LatentBatch:
        bank = self.bank
        return LatentBatch(
            target=bank.latents[rows, targets].astype(np.float32),
            neutral=bank.latents[rows, neutrals].astype(np.float32),
            seen=bank.observed(rows, neutrals),
            vectors={name: bank.vectors[name][rows, targets] for name, _ in self.sizes.token_sets},
            guide=(
                None
                if self._guides is None
                else self._guides.latents[rows, targets].astype(np.float32)
            ),
        )

    def _pairs(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Expressions for persons, and the entries of their neutrals: those that guides are of."""
        targets, neutrals = self.bank.pairs(rows, self.config.clean_share, rng)
        if self._guides is not None:
            neutrals = self._guides.sources[rows, targets]
        return targets, neutrals

    def _filled_guides(self) -> GuideBank:
        """Of all persons; the template lies beside the data.

        Raises:
            InputError: it does not.
        """
        path = self._folder.path / TEMPLATE
        if not path.is_file():
            raise InputError(f"{path}: no such file; 'mien synthesize scans' adds it to its data")
        template = HeadTemplate.load(path)
        self.avatar.guide = Guide(template, self.avatar.box)
        share = self.config.clean_share
        return fill_guides(self.avatar, template, self._folder, share, self.config.out)

    def _given(self, batch: LatentBatch) -> tuple[torch.Tensor, Condition]:
        def to(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array).to(self._device)

        vectors = {name: to(values) for name, values in batch.vectors.items()}
        if not self.sizes.neutral:
            return to(batch.target), Condition(vectors)
        guide = None if batch.guide is None else to(batch.guide)
        return to(batch.target), Condition(vectors, to(batch.neutral), to(batch.seen), guide=guide)

    def _fit_normalisation(self) -> None:
        """To latents of training persons, and the residuals' scale to pairs of them."""
        sizes, bank = self.sizes, self.bank
        normalisation = self.model.normalisation
        normalisation.fit(
            torch.from_numpy(bank.sample_latents(_FIT_COUNT)),
            robust=sizes.robust,
            per_channel=sizes.per_channel,
        )
        rng = np.random.default_rng(1)
        rows = rng.choice(bank.training, _FIT_COUNT)
        batch = self._batch(rows, *self._pairs(rows, rng))
        start = batch.neutral if batch.guide is None else batch.guide
        normalisation.fit_residuals(torch.from_numpy(batch.target), torch.from_numpy(start))


def case_neutral(condition: Condition) -> torch.Tensor:
    """The neutral of a condition that has one."""
    assert condition.neutral is not None
    return condition.neutral


def _first(batch: LatentBatch, count: int) -> LatentBatch:
    vectors = {name: values[:count] for name, values in batch.vectors.items()}
    guide = None if batch.guide is None else batch.guide[:count]
    return LatentBatch(
        batch.target[:count], batch.neutral[:count], batch.seen[:count], vectors, guide
    )


def _shares(count: int) -> list[float]:
    return [0.5 / count] * count + [0.5]
