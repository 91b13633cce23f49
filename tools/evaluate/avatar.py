"""``mien evaluate-models avatar``: expressions of held-out people, beside ceiling and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import tyro

from ...models.errors import InputError
from ...models.learning.device import Device, find_device
from ..files import check_place, write_png
from ..json_file import write_json
from ..options import BundleOption, load_bundle, need_heavy
from .avatar_table import steps_table, table

if TYPE_CHECKING:
    import numpy as np

    from ...models.avatar.contender import Contender, Settings
    from ...models.avatar.dataset import ScanFolder
    from ...models.avatar.evaluation import Evaluated
    from ...models.avatar.following import Calibration
    from ...models.avatar.looks import Watcher
    from ...models.face.bundle import Bundle
    from ...stream.tracker import FaceTracker

MAIN: Final = "diffusion"
REGRESSION: Final = "regression"


@dataclass(frozen=True)
class EvaluateAvatar:
    """Give held-out people expressions, and compare with their true faces (needs mien[heavy]).

    Rows: how far the generated surface is from the true one where that moves by more than 2 mm,
    beside the autoencoder's own error (the ceiling) and the copied neutral; reconstruction;
    identity drift; what mien's tracker reads off pictures of the surfaces, beside true renders;
    sets of pictures in the regressor's features; scans of which a part is missing. Columns: the
    diffusion, the deterministic regression, further weights. Figures are means over people with
    their standard deviations, of synthetic people. The same for the same seed.

    Attributes:
        data: folder of "mien synthesize scans"; only people whom no training sees are looked at.
        weights: encoder and diffusion, of "mien train avatar"; default: those that mien ships.
        regression: weights of the baseline, a deterministic regression; default: left out.
        also: further weights under names of their own, as NAME=FILE (ablations).
        count: held-out people, at most.
        expressions: of each, at most; those that move the face are chosen from.
        steps: of the sampler.
        steps_sweep: further numbers of steps for the diffusion, separated by commas: 8,16,64.
        guidance: how far beyond the condition, 1 for not at all; default: what the weights say.
        seeds: samples of the same request, for spread between them and for torn scans.
        seed: of the choice of expressions and scans, and of the noise.
        calibration: true renders of training people that the tracker's readings are mapped by.
        json: file for all figures, of every person too.
        sheet: PNG file for pictures: neutral, truth, autoencoded, generated.
        sheet_count: people on the sheet.
        threads: processor threads.
        device: where the networks run; auto takes a GPU if there is one.
        bundle: folder of the bundle of tracker and features; default: the one that mien ships.
    """

    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    regression: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    also: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=FILE")] = ()
    count: int = 12
    expressions: int = 4
    steps: int = 32
    steps_sweep: Annotated[str, tyro.conf.arg(metavar="LIST")] = ""
    guidance: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    seeds: int = 4
    seed: int = 0
    calibration: int = 160
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None
    sheet_count: int = 8
    threads: int = 1
    device: Device = "auto"
    bundle: BundleOption = None

    def run(self) -> int:
        """Evaluate, print the tables, write what is asked for."""
        need_heavy("mien evaluate-models avatar")
        settings = self._settings()
        files = self._files()
        from ...models.avatar.dataset import ScanFolder
        from ...models.avatar.evaluation_summary import summarise
        from ...models.learning.pace import processor_threads

        folder = ScanFolder(self.data)
        contenders = self._contenders(files, folder)
        with processor_threads(self.threads):
            done, calibration = self._evaluated(folder, contenders, settings)
        summary = summarise(done)
        print(
            f"{self.data.name or self.data}: {summary['expressions']} expressions of "
            f"{summary['persons']} held-out people (synthetic), {self.steps} steps"
        )
        print(table(summary["methods"]))
        if summary["sweep"]:
            swept = {self.steps: summary["methods"][contenders[0].name], **summary["sweep"]}
            summary["sweep"] = dict(sorted(swept.items()))
            print(steps_table(summary["sweep"]))
        self._write(folder, files, summary, done, calibration)
        return 0

    def _settings(self) -> Settings:
        """What is asked for, if it can be.

        Raises:
            InputError: it cannot.
            OutputError: there is no place for a file.
        """
        from ...models.avatar.contender import Settings

        check_place(self.json)
        check_place(self.sheet)
        for name in ("count", "expressions", "seeds", "calibration", "sheet_count", "threads"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise InputError(f"--{option} is {getattr(self, name)}, expected 1 or more")
        if self.seed < 0:
            raise InputError(f"--seed is {self.seed}, expected 0 or more")
        sweep = read_steps(self.steps_sweep)
        if min(self.steps, *sweep, self.steps) < 2:
            raise InputError("--steps and --steps-sweep: expected 2 or more")
        others = tuple(sorted(set(sweep) - {self.steps}))
        return Settings(self.steps, self.guidance, self.seed, self.seeds, others)

    def _files(self) -> dict[str, Path]:
        """Files of weights by the names of their columns."""
        from ...models.avatar.weights import shipped

        files = {MAIN: self.weights or shipped()}
        if self.weights is None and not files[MAIN].is_file():
            raise InputError("no weights of an avatar come with mien yet: name some with --weights")
        if self.regression is not None:
            files[REGRESSION] = self.regression
        for text in self.also:
            name, equals, file = text.partition("=")
            if not (name and equals and file):
                raise InputError(f"--also {text!r}: expected NAME=FILE")
            if name in files or name == REGRESSION:
                raise InputError(f"--also {name}: a name that is taken; give another")
            files[name] = Path(file)
        return files

    def _contenders(self, files: Mapping[str, Path], folder: ScanFolder) -> list[Contender]:
        from ...models.avatar.contender import Contender
        from ...models.avatar.weights import load_weights

        device = find_device(self.device)
        found = []
        for name, path in files.items():
            avatar = load_weights(path).to(device)
            if avatar.config.cells != folder.cells:
                raise InputError(
                    f"{path}: weights for {avatar.config.cells}^3 cells, the data have "
                    f"{folder.cells}^3"
                )
            contender = Contender(name, avatar)
            if avatar.encoder is None and avatar.diffusion is None:
                raise InputError(f"{path}: neither an encoder nor a diffusion to evaluate")
            if name == MAIN and avatar.encoder is None:
                raise InputError(f"{path}: no encoder of scans; its file belongs behind --also")
            if name == MAIN and contender.regression:
                raise InputError(f"{path}: a regression; its file belongs behind --regression")
            if name == REGRESSION and not contender.regression:
                raise InputError(f"{path}: no regression: train one with --regression")
            found.append(contender)
        return found

    def _evaluated(
        self, folder: ScanFolder, contenders: Sequence[Contender], settings: Settings
    ) -> tuple[list[Evaluated], Calibration]:
        from tqdm import tqdm

        from ...models.avatar.cases import held_out_cases
        from ...models.avatar.evaluation import Evaluator
        from ...models.avatar.following import fit_calibration

        bundle = load_bundle(self.bundle)
        people = min(self.count, len(folder.validation))
        with (
            picture_tracker(bundle) as tracker,
            tqdm(total=people, unit="person", disable=None, leave=False) as bar,
        ):
            watcher = _watcher(bundle, tracker)
            calibration = fit_calibration(
                folder, watcher, self.calibration, self.expressions, self.seed
            )
            evaluator = Evaluator(contenders, watcher, calibration, settings)
            done = []
            for case in held_out_cases(folder, self.count, self.expressions, self.seed):
                done.append(evaluator.case(case))
                bar.update()
        return done, calibration

    def _write(
        self,
        folder: ScanFolder,
        files: Mapping[str, Path],
        summary: Mapping[str, Any],
        done: Sequence[Evaluated],
        calibration: Calibration,
    ) -> None:
        if self.json is not None:
            from ...models.avatar.weights import read_facts

            about = {
                "data": {"name": self.data.name, "seed": folder.seed, "cells": folder.cells},
                "weights": {
                    name: {"name": path.name, "facts": read_facts(path)}
                    for name, path in files.items()
                },
                "steps": self.steps,
                "guidance": self.guidance,
                "seed": self.seed,
                "seeds": self.seeds,
                "calibration": calibration.renders,
            }
            people = [
                {"person": one.number, "expressions": list(one.entries), "methods": one.figures}
                for one in done
            ]
            write_json(self.json, about | dict(summary) | {"people": people})
        if self.sheet is not None:
            from ...models.avatar.evaluation_sheet import sheet

            write_png(self.sheet, sheet(done, self.sheet_count))


def read_steps(text: str) -> tuple[int, ...]:
    """Numbers separated by commas.

    Raises:
        InputError: a word is no whole number.
    """
    try:
        return tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError as error:
        raise InputError(
            f"--steps-sweep {text!r}: expected whole numbers separated by commas"
        ) from error


def picture_tracker(bundle: Bundle) -> FaceTracker:
    """What reads the pictures of :class:`..models.scans.picture.FacePicture`."""
    from ...models.face.camera import Camera
    from ...models.scans.picture import FacePicture
    from ...stream.tracker import FaceTracker

    lens = FacePicture().camera
    camera = Camera(lens.fx, lens.fy, lens.cx, lens.cy, lens.width, lens.height)
    return FaceTracker(bundle, camera, "raw")


def _watcher(bundle: Bundle, tracker: FaceTracker) -> Watcher:
    from ...models.avatar.looks import Watcher
    from ...models.avatar.perceptual import regressor_features

    def read(picture: np.ndarray) -> np.ndarray | None:
        rows = tracker.fit(picture)
        return rows[0].blendshapes if rows else None

    return Watcher(read, regressor_features(bundle.whole_regressor_path))
