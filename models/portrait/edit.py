"""From a picture, a sentence and a light to an edited portrait: invert, edit, tune; resumable.

1. *invert*: the code that shows the input from its camera (:mod:`.invert`): the pivot.
2. *edit*: from the pivot the code is optimised under all terms of :mod:`.losses`.
3. *tune*: the code stands, and the generator's weights move a little, so that the pivot shows the
   input exactly (pivotal tuning, Roich et al. 2022) while the edit keeps to its terms, or, where
   words have changed the picture, stays as it is there; what the code could not hold of the person
   comes into both.

All randomness is drawn from the seed and the number of the step: a resumed run ends where an
uninterrupted one does.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ..errors import InputError
from ..learning.checkpoint_file import load_content, save_content, unpacking
from .cameras import side_labels
from .edit_options import Edit, EditOptions, Portrait, Report, Stage, Terms, Wish
from .edit_start import invert_input, start_of
from .generator import Generator, Planes
from .invert import Inversion, code_cloud, noise_regularity
from .losses import (
    GradientRatio,
    Judges,
    balance,
    identity_loss,
    illumination_loss,
    reconstruction_loss,
)
from .sds import ScorePrior, annealed, sds_gradient, sds_loss
from .word_directions import WordDirections

FORMAT: Final = "portrait-edit-1"
_SAVE_SECONDS: Final = 60.0


def edit(
    generator: Generator,
    prior: ScorePrior | None,
    judges: Judges,
    wish: Wish,
    options: EditOptions,
    report: Report | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    directions: WordDirections | None = None,
    inversion: Inversion | None = None,
) -> Edit:
    """Make an edit.

    Args:
        generator: frozen.
        prior: understands the sentence; None where there is none.
        judges: networks of the losses.
        wish: what is wanted.
        options: how.
        report: told after every step.
        checkpoint: file for the state, written each minute; None for none.
        resume: go on from it, where it is there.
        directions: what words add to the generator's codes; None: distillation finds it alone.
        inversion: of this input, by :func:`~.edit_start.invert_input` with the same options, so
            that several edits of one input need not find it again.

    Raises:
        InputError: neither sentence nor light is given, or the checkpoint is of another edit.
        OutputError: the checkpoint cannot be written.
    """
    if wish.light is None and (wish.condition is None or prior is None):
        raise InputError("nothing to change: give a text, a light, or both")
    editor = _Editor(
        generator, prior, judges, wish, options, report, checkpoint, directions, inversion
    )
    if resume and checkpoint is not None and checkpoint.is_file():
        editor.restore(checkpoint)
    try:
        editor.run()
    except KeyboardInterrupt:
        editor.save()
        raise
    return editor.result()


class _Editor:
    """The state of one edit."""

    def __init__(
        self,
        generator: Generator,
        prior: ScorePrior | None,
        judges: Judges,
        wish: Wish,
        options: EditOptions,
        report: Report | None,
        checkpoint: Path | None,
        directions: WordDirections | None,
        inversion: Inversion | None,
    ) -> None:
        self._directions, self._inversion = directions, inversion
        self._given = self._generator = generator
        self._prior, self._judges, self._wish = prior, judges, wish
        self._options, self._report, self._checkpoint = options, report, checkpoint
        self._stage: Stage = "invert"
        self._worded: torch.Tensor | None = None
        self._done = 0
        self._history: list[Terms] = []
        self._mean, self._root = code_cloud(generator)
        self._inverse = torch.linalg.pinv(self._root.double(), rtol=1e-3).float()
        self._label = torch.from_numpy(np.asarray(wish.label, np.float32))[None]
        self._label = self._label.to(wish.image.device)
        self._saved = time.monotonic()

    # -- the stages

    def run(self) -> None:
        """All stages that are not over."""
        options = self._options
        if self._stage == "invert":
            self._invert()
            self._begin_edit()
            self.save()
        if self._stage == "edit":
            self._steps(options.steps)
            self._begin_tuning()
            self.save()
        self._steps(options.tuning_steps)
        self.save()

    def _invert(self) -> None:
        found = self._inversion or invert_input(
            self._given, self._judges, self._wish, self._options, self._report
        )
        self._pivot = found.ws
        self._pivot_noise = [field.clone() for field in found.noise]

    def _begin_edit(self) -> None:
        self._stage, self._done = "edit", 0
        options = self._options
        self._begin, self._kept, self._known, worded = start_of(
            self._given, self._directions, self._judges, self._wish, options, self._pivot,
            self._pivot_noise,
        )  # fmt: skip
        rate = options.worded_reach / options.steps if worded else options.learning_rate
        weights = options.weights
        self._ratios = {"sds": GradientRatio(weights.sds), "light": GradientRatio(weights.light)}
        self._away = torch.zeros_like(self._begin, requires_grad=True)
        self._noise = [field.clone().requires_grad_(True) for field in self._pivot_noise]
        with torch.no_grad():
            features = self._given.planes(self._begin, self._noise).features
        self._plane_scale = float(features.std())
        self._delta = torch.zeros_like(features)
        if options.space == "planes":
            self._away.requires_grad_(False)
            self._delta.requires_grad_(True)
            groups = [{"params": [self._delta], "lr": options.planes_rate}]
            self._peaks = [options.planes_rate]
        else:
            groups = [
                {"params": [self._away], "lr": rate},
                {"params": self._noise, "lr": 0.3 * rate},
            ]
            self._peaks = [rate, 0.3 * rate]
        self._optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))

    def _begin_tuning(self) -> None:
        self._stage, self._done = "tune", 0
        self._away.requires_grad_(False)
        self._delta.requires_grad_(False)
        self._noise = [field.detach() for field in self._noise]
        with torch.no_grad():
            edited = self._given.render(self._planes(self._codes()), self._label).image
        # The identity, whose embedder takes a hat for another person, would tune it away.
        self._worded = edited if bool((self._kept < self._wish.mask).any()) else None
        self._generator = copy.deepcopy(self._given)
        parts = (self._generator.backbone.synthesis, self._generator.decoder,
                 self._generator.superresolution)  # fmt: skip
        moved = [weight for part in parts for weight in part.parameters()]
        for weight in moved:
            weight.requires_grad_(True)
        self._peaks = [self._options.tuning_rate]
        self._optimiser = torch.optim.Adam(moved, lr=self._options.tuning_rate)

    # -- one step

    def _steps(self, total: int) -> None:
        while self._done < total:
            terms = self._step(total)
            self._done += 1
            self._history.append(terms)
            if self._report is not None:
                self._report(self._stage, self._done, total, terms)
            if time.monotonic() - self._saved > _SAVE_SECONDS:
                self.save()

    def _step(self, total: int) -> Terms:
        options, share = self._options, self._done / total
        tuning = self._stage == "tune"
        number = self._done + (options.steps if tuning else 0)
        random = torch.Generator().manual_seed(options.seed * 1_000_003 + number)
        side = side_labels(
            1, np.random.default_rng([options.seed, number]), options.spread_rad
        )  # fmt: skip
        factor = 1.0 if tuning else min(1.0, share / 0.05 + 0.02, (1 - share) / 0.25 + 0.02)
        for group, peak in zip(self._optimiser.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        ws = self._codes()
        planes = self._planes(ws)
        cameras = torch.cat([self._label, torch.from_numpy(side).to(self._label.device)])
        drawn = self._generator.render(planes, cameras)
        if tuning and self._worded is not None:
            return self._follow({"pivot": self._pivot_term(), "local": self._local(drawn.image)})
        plain = self._plain_terms(drawn.image[:1], ws)
        beside = self._side_terms(drawn.image[1:], side[0], 1.0 if tuning else share, random)
        if not tuning and self._done % options.balance_every == 0:
            balance(self._ratios, plain, beside, ws if options.space == "code" else self._delta)
        terms = {**plain, **{k: self._weight(k) * value for k, value in beside.items()}}
        if tuning:
            terms["pivot"] = self._pivot_term()
        elif options.space == "code":
            terms["noise"] = options.weights.noise * noise_regularity(self._noise)
        return self._follow(terms)

    def _follow(self, terms: dict[str, torch.Tensor]) -> Terms:
        loss = torch.stack(list(terms.values())).sum()
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        return {name: float(value.detach()) for name, value in terms.items()}

    def _codes(self) -> torch.Tensor:
        return self._begin + self._away @ self._root

    def _planes(self, ws: torch.Tensor) -> Planes:
        made = self._generator.planes(ws, self._noise)
        if self._options.space == "code":
            return made
        return made._replace(features=made.features + self._plane_scale * self._delta)

    def _plain_terms(self, image: torch.Tensor, ws: torch.Tensor) -> dict[str, torch.Tensor]:
        """Terms of the input's camera, weighed."""
        weights, wish = self._options.weights, self._wish
        terms: dict[str, torch.Tensor] = {}
        if weights.reconstruction > 0:
            pixels = weights.pixels if wish.light is None else 0.0
            terms["rec"] = weights.reconstruction * reconstruction_loss(
                self._judges.features, image, wish.image, self._kept, pixels
            )
        if weights.identity > 0:
            off = identity_loss(self._judges.identity, image, self._known)
            terms["id"] = weights.identity * off
        if weights.cloud > 0 and self._options.space == "code":
            away = (ws - self._mean) @ self._inverse
            terms["cloud"] = weights.cloud * away.square().mean()
        if self._directions is not None and wish.said is not None and self._options.known_words:
            less = self._directions.shortfall(ws, self._begin, wish.said)
            terms["words"] = weights.words * less
        return terms

    def _side_terms(
        self, image: torch.Tensor, label: np.ndarray, share: float, random: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Terms of the side camera, not weighed yet."""
        options, wish = self._options, self._wish
        terms: dict[str, torch.Tensor] = {}
        if self._prior is not None and wish.condition is not None and self._sds_wanted():
            span = annealed(share, options.t_range, options.last_high)
            found = sds_gradient(
                self._prior, image, wish.condition, span, options.guidance, random
            )  # fmt: skip
            terms["sds"] = sds_loss(found)
        if wish.light is not None and options.weights.light > 0:
            terms["light"] = illumination_loss(self._judges.light, image, wish.light, label)
        return terms

    def _sds_wanted(self) -> bool:
        fixed = self._options.weights.sds_fixed
        return (self._ratios["sds"].share if fixed is None else fixed) > 0

    def _weight(self, name: str) -> float:
        if name == "sds" and self._options.weights.sds_fixed is not None:
            return self._options.weights.sds_fixed
        ratio = self._ratios[name]
        return ratio.share if ratio.weight is None else ratio.weight

    def _pivot_term(self) -> torch.Tensor:
        """How far the tuned generator is from the input at the unedited code."""
        wish = self._wish
        planes = self._generator.planes(self._pivot, self._pivot_noise)
        image = self._generator.render(planes, self._label).image
        return reconstruction_loss(self._judges.features, image, wish.image, wish.mask, 5.0)

    def _local(self, image: torch.Tensor) -> torch.Tensor:
        """How far the tuned edit is from the untuned one, where words changed the input."""
        assert self._worded is not None
        return 5.0 * ((image[:1] - self._worded) * (1 - self._kept)).abs().mean()

    # -- files and results

    def save(self) -> None:
        """Write the state.

        Raises:
            OutputError: it cannot be written.
        """
        if self._checkpoint is None or self._stage == "invert":
            return
        content = {
            "format": FORMAT,
            "options": self._options.table(),
            "stage": self._stage,
            "done": self._done,
            "pivot": self._pivot,
            "pivot_noise": self._pivot_noise,
            "away": self._away.detach(),
            "delta": self._delta.detach(),
            "noise": [field.detach() for field in self._noise],
            "optimiser": self._optimiser.state_dict(),
            "ratios": {name: ratio.weight for name, ratio in self._ratios.items()},
            "generator": self._generator.state_dict() if self._stage == "tune" else {},
            "wish": self._wish.table(),
            "history": self._history,
        }
        save_content(self._checkpoint, content)
        self._saved = time.monotonic()

    def restore(self, path: Path) -> None:
        """Go on from a state.

        Raises:
            InputError: it is of another edit, or damaged.
        """
        content = load_content(path, FORMAT)
        with unpacking(path):
            self._restore(content, path)

    def _restore(self, content: dict[str, Any], path: Path) -> None:
        if content["options"] != self._options.table() or not self._wish.is_of(content["wish"]):
            raise InputError(f"{path}: of another edit; leave --resume out to begin anew")
        device = self._wish.image.device
        self._pivot = content["pivot"].to(device)
        self._pivot_noise = [field.to(device) for field in content["pivot_noise"]]
        self._begin_edit()
        if content["stage"] == "tune":
            self._fill(content)
            self._begin_tuning()
            self._generator.load_state_dict(content["generator"])
        else:
            self._fill(content)
        self._optimiser.load_state_dict(content["optimiser"])
        self._done = int(content["done"])
        for name, weight in content["ratios"].items():
            self._ratios[name].weight = weight
        self._history = list(content["history"])

    def _fill(self, content: dict[str, Any]) -> None:
        with torch.no_grad():
            self._away.copy_(content["away"])
            self._delta.copy_(content["delta"])
            for mine, stored in zip(self._noise, content["noise"], strict=True):
                mine.copy_(stored)

    @torch.no_grad()
    def result(self) -> Edit:
        """What came of it."""
        tuned = self._generator.requires_grad_(False)
        ws = self._codes().detach()
        return Edit(
            Portrait(self._given, self._given.planes(self._pivot, self._pivot_noise), self._pivot),
            Portrait(tuned, tuned.planes(self._pivot, self._pivot_noise), self._pivot),
            Portrait(tuned, self._planes(ws), ws),
            tuple(self._history),
        )
