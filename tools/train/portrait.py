"""``mien train portrait``: fits the networks behind a portrait from words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ...models.errors import InputError
from ...models.learning.device import Device
from ..options import need_torch
from .bar import training_bar

if TYPE_CHECKING:
    from ...models.portrait.fitting import FitResult
    from ...models.portrait.train_generator import GeneratorOptions

Stage = Literal["generator", "prior", "identity", "light", "attributes", "words"]


@dataclass(frozen=True)
class TrainPortrait:
    """Train a network of the portrait on "mien synthesize portraits" (needs torch: mien[heavy]).

    Stages, in any order: generator (heads in 3D from codes), prior (pictures from words), identity
    (who it is), light (nine spherical harmonics of a picture), attributes (what is seen, which
    judges edits and is in no loss), and words (what each adds to the codes of a generator; takes
    seconds and no budget, with --attributes some minutes). Each writes checkpoint.pt, log.jsonl,
    curves.png and sheet.png into --out while it runs, and weights.safetensors at its end; an
    interrupted stage goes on with --resume.

    Attributes:
        data: folder of the portraits.
        out: folder of the training; made where it is absent. A folder a stage.
        stage: what to train.
        minutes: minutes to train in all.
        steps: optimiser steps to train in all; one of --minutes and --steps must be given.
        batch: looks (of the generator) or pictures a step; by default what suits the stage.
        views: views of each look a step, of the generator.
        learning_rate: at its peak; by default what suits the stage.
        seed: of everything random.
        threads: processor threads.
        device: where to train; auto takes the graphics card where there is one.
        regressor: exported regressor whose features judge the generator's pictures; default: the
            one that mien ships.
        generator: weights of the generator that words are fitted to, trained on the same portraits.
        attributes: weights of the classifiers by which it is measured how far each word has to go
            in pictures; default: as far as its codes are read. Of --stage words.
        resume: go on from the checkpoint in --out; a training that is there is not replaced.
    """

    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    stage: Stage
    minutes: Annotated[float | None, tyro.conf.arg(metavar="MIN")] = None
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    batch: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    views: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    learning_rate: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    seed: int = 0
    threads: int = 1
    device: Device = "auto"
    regressor: Annotated[Path | None, tyro.conf.arg(metavar="FILE.onnx")] = None
    generator: Annotated[Path | None, tyro.conf.arg(metavar="FILE.safetensors")] = None
    attributes: Annotated[Path | None, tyro.conf.arg(metavar="FILE.safetensors")] = None
    resume: bool = False

    def run(self) -> int:
        """Train, and print what it came to."""
        need_torch("train")
        if self.stage != "generator" and (self.views is not None or self.regressor is not None):
            raise InputError("train: --views and --regressor are of the generator's stage")
        if (self.stage == "words") != (self.generator is not None):
            raise InputError("train: --stage words needs --generator, and no other stage has it")
        if self.attributes is not None and self.generator is None:
            raise InputError("train: --attributes is of --stage words")
        if self.generator is not None:
            self._refuse_budget()
            return self._fit_words(self.generator)
        with training_bar() as report:
            result = self._train(report)
        figures = ", ".join(f"{name} {value:.4g}" for name, value in result.figures.items())
        print(f"{self.stage}: {result.steps} steps in {result.seconds / 60:.1f} min; {figures}")
        print(f"wrote {result.weights}")
        return 0

    def _refuse_budget(self) -> None:
        """The words are fitted in closed form: nothing is trained step by step."""
        given = {
            "--minutes": self.minutes, "--steps": self.steps, "--batch": self.batch,
            "--learning-rate": self.learning_rate, "--resume": self.resume or None,
            "--device": None if self.device == "auto" else self.device,
        }  # fmt: skip
        named = [name for name, value in given.items() if value is not None]
        if named:
            raise InputError(f"train: --stage words is fitted at once, and takes no {named[0]}")

    def _fit_words(self, generator: Path) -> int:
        from tqdm import tqdm

        from ...models.portrait.train_words import WordOptions, train
        from ...models.portrait.word_directions import COLUMNS

        options = WordOptions(self.data, self.out, generator, self.attributes, self.threads)
        if self.attributes is None:
            result = train(options)
        else:
            with tqdm(total=len(COLUMNS), unit="word", disable=None) as bar:
                result = train(options, bar.update)
        figures = ", ".join(f"{name} {value:.2f}" for name, value in result.figures.items())
        print(f"words, as read off the codes (balanced accuracy): {figures}")
        print(f"wrote {result.weights}")
        return 0

    def _train(self, report: Any) -> FitResult:
        common = {
            "data": self.data,
            "out": self.out,
            "minutes": self.minutes,
            "steps": self.steps,
            "seed": self.seed,
            "threads": self.threads,
            "device": self.device,
            "resume": self.resume,
        }
        # What is not said stays as the stage has it.
        said = {"batch": self.batch, "learning_rate": self.learning_rate}
        common |= {name: value for name, value in said.items() if value is not None}
        if self.stage == "generator":
            from ...models.portrait import train_generator

            return train_generator.train(self._generator_options(common), report)
        if self.stage == "prior":
            from ...models.portrait import train_prior

            return train_prior.train(train_prior.PriorOptions(**common), report)
        if self.stage == "identity":
            from ...models.portrait import train_identity

            return train_identity.train(train_identity.IdentityOptions(**common), report)
        if self.stage == "light":
            from ...models.portrait import train_light

            return train_light.train(train_light.LightOptions(**common), report)
        from ...models.portrait import train_attributes

        return train_attributes.train(train_attributes.AttributeOptions(**common), report)

    def _generator_options(self, common: dict[str, Any]) -> GeneratorOptions:
        from ...models.portrait.train_generator import GeneratorOptions

        own = {"views": self.views, "regressor": self.regressor}
        own = {name: value for name, value in own.items() if value is not None}
        return GeneratorOptions(**common, **own)
