"""``mien evaluate-models portrait``: inversions, edits and lights of held-out people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import tyro

from ...models.errors import InputError
from ...models.learning.device import Device, find_device
from ..files import check_place, write_png
from ..json_file import write_json
from ..options import BundleOption, choices, need_heavy
from ..portrait.models import Files

if TYPE_CHECKING:
    import numpy as np

    from ...models.portrait.attributes import AttributeClassifier
    from ...models.portrait.edit_options import Edit, EditOptions
    from ...models.portrait.evaluation import Case, Networks
    from ...models.portrait.invert import Inversion
    from ...stream.tracker import FaceTracker

COLUMNS: Final[Mapping[str, tuple[str, int]]] = {
    "inversion_psnr_db": ("inversion PSNR, dB", 2),
    "novel_psnr_db": ("other views PSNR, dB", 2),
    "inversion_feature_distance": ("feature distance", 3),
    "tuned_psnr_db": ("tuned PSNR, dB", 2),
    "identity_cosine_before": ("identity before", 3),
    "identity_cosine_after": ("identity after", 3),
    "attribute_shift": ("attribute shift", 3),
    "light_before_shading": ("light error before", 3),
    "light_after_shading": ("light error after", 3),
    "light_before_direction_deg": ("direction before, deg", 1),
    "light_after_direction_deg": ("direction after, deg", 1),
    "retracked_yaw_deg": ("re-tracked yaw, deg", 2),
    "retracked_relative_deg": ("between views, deg", 2),
    "retracked_share": ("views re-tracked", 2),
}
"""Figures with their headings and digits."""
_EDITS: Final = (
    "a person with glasses;a person with grey hair;dark skin;a man with a beard;a hat;bald;"
    "blond hair;long hair;an old person;smiling;mouth open;surprised"
)
_LIGHTS: Final = "left,right,above"


@dataclass(frozen=True)
class _Wish:
    """One edit: by words, or by a light's name."""

    text: str | None = None
    name: str | None = None

    @property
    def words(self) -> str:
        return self.text or f"lit from {self.name}"

    @property
    def light(self) -> np.ndarray | None:
        from ...models.portrait import sh

        return None if self.name is None else sh.named_light(self.name)

    def row(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        """What is told of it: of a relit one the light, of others all figures."""
        if self.name is None:
            return {"text": self.text, **figures}
        return {"wanted_light": self.name, "light": figures["light"]}


@dataclass(frozen=True)
class EvaluatePortrait:
    """Invert, edit and relight held-out people, and judge it (needs torch: mien[heavy]).

    Each picture gets one edit by words and one by light, or all of them with --every. Attributes
    are judged by classifiers that are in no loss (attributes.safetensors), poses by the tracker,
    identity and light by the networks of the losses. The variants leave out what the paper's
    ablations leave out.

    Attributes:
        data: folder of "mien synthesize portraits".
        keyframes: folders of key frames or pictures, to be judged beside them (no true views).
        weights_dir: folder with the networks; default: those that mien ships.
        count: held-out people, at most.
        first: held-out people to pass over.
        edits: sentences, separated by semicolons; each picture gets one that is not so already.
            all: each value of the slots that are judged, but for those of light.
        lights: names of lights, separated by commas, by turns; empty: none, as --edits may be.
        every: each picture gets every sentence and every light; its sheet is a block a picture.
        variants: full, no_identity, no_reconstruction, no_sds, no_directions, planes; separated by
            commas.
        seeds: repetitions of each with another seed, for the spread.
        strength: how far the words are followed; default: as mien portrait.
        steps: of an edit; inversion and tuning take the same share of their usual steps.
        stable_diffusion: folder of Stable Diffusion in place of mien's prior.
        arcface: ONNX file in place of mien's identity (for --data: with the mean face's points).
        dpr: DPR's file in place of mien's light estimator.
        lpips: VGG-16's weights in place of the regressor's features.
        json: file for all figures.
        sheet: PNG file for pictures before and after.
        threads: processor threads.
        device: where to; auto takes the graphics card where there is one.
        bundle: folder of the model bundle of the tracker; default: the one that mien ships.
    """

    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    keyframes: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="KEYFRAMES|PICTURE")] = ()
    weights_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    count: int = 8
    first: int = 0
    edits: str = _EDITS
    lights: str = _LIGHTS
    every: bool = False
    variants: str = "full"
    seeds: int = 1
    strength: float | None = None
    steps: int = 300
    stable_diffusion: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    arcface: Annotated[Path | None, tyro.conf.arg(metavar="FILE.onnx")] = None
    dpr: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    lpips: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None
    threads: int = 1
    device: Device = "auto"
    bundle: BundleOption = None

    def run(self) -> int:
        """Evaluate, print the table, write what is asked for."""
        check_place(self.json)
        check_place(self.sheet)
        if self.data is None and not self.keyframes:
            raise InputError("nothing to evaluate on: give --data, --keyframes, or both")
        if min(self.count, self.seeds, self.steps, self.threads) < 1:
            raise InputError("--count, --seeds, --steps and --threads: expected 1 or more")
        if self.first < 0:
            raise InputError(f"--first is {self.first}, expected 0 or more")
        files = Files(self.weights_dir, self.stable_diffusion, self.arcface, self.dpr, self.lpips)
        files.check()
        need_heavy("mien evaluate-models portrait")
        from ...models.learning.pace import processor_threads
        from ...models.portrait import sh
        from ...models.portrait.evaluation import VARIANTS, sentences_of

        variants = choices(self.variants, VARIANTS, "--variants")
        sentences = sentences_of(self.edits)
        names = choices(self.lights, sh.LIGHT_NAMES, "--lights") if self.lights.strip() else []
        if not sentences and not names:
            raise InputError("--edits and --lights are both empty: nothing to do")
        with processor_threads(self.threads):
            report, strips = self._evaluated(files, variants, sentences, names)
        people = report["people"]
        print(f"{people} pictures, {self.seeds} seeds, {self.steps} steps of edit")
        print(table(report["variants"]))
        if report["sentences"]:
            print(sentence_table(report["sentences"]))
        if self.json is not None:
            write_json(self.json, report)
        if self.sheet is not None and strips:
            import numpy as np

            write_png(self.sheet, np.concatenate(strips))
        return 0

    def _evaluated(
        self, files: Files, variants: Sequence[str], sentences: Sequence[str], names: Sequence[str]
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        from tqdm import tqdm

        from ...models.face.camera import Camera
        from ...models.face.eg3d_camera import FOCAL
        from ...models.portrait.evaluation import (
            ENLARGED,
            evaluate_case,
            inversion_of,
            variant_options,
        )
        from ...stream.tracker import FaceTracker
        from ..options import load_bundle
        from ..portrait.models import load_generator

        device = find_device(self.device)
        generator = load_generator(files, device)
        cases = self._cases(generator.config.image_size)
        options = self._edit_options()
        # Counted from the first of all held-out people: parts of a count ask what the whole does.
        held_out = len(cases) - len(self.keyframes)
        turns = (*range(self.first, self.first + held_out), *range(len(self.keyframes)))
        wishes = [
            self._wishes(turn, case, sentences, names)
            for turn, case in zip(turns, cases, strict=True)
        ]
        rows: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
        strips: list[np.ndarray] = []
        found: dict[tuple[int, int], Inversion] = {}  # of a case's number and a seed
        side = generator.config.image_size * ENLARGED
        middle = (side - 1) / 2
        camera = Camera(FOCAL * side, FOCAL * side, middle, middle, side, side)
        total = len(variants) * self.seeds * sum(map(len, wishes))
        with (
            FaceTracker(load_bundle(self.bundle), camera=camera, max_faces=1) as tracker,
            tqdm(total=total, unit="edit", disable=None, leave=False) as bar,
        ):
            networks = self._networks(files, device, generator, tracker)
            for variant, (number, case), seed in product(
                variants, enumerate(cases), range(self.seeds)
            ):
                own = replace(variant_options(variant, options), seed=seed)
                if (number, seed) not in found:
                    found[number, seed] = inversion_of(networks, case, own)
                inversion = found[number, seed]
                edits: list[tuple[str, Edit]] = []
                for wish in wishes[number]:
                    figures, made = evaluate_case(
                        networks, case, wish.text, wish.light, own, inversion=inversion
                    )
                    rows[variant].append({"case": case.name, "seed": seed, **wish.row(figures)})
                    edits.append((wish.words, made))
                    bar.update()
                if variant == variants[0] and seed == 0:
                    strips += _strips(case, edits, self.every)
        report = self._report(len(cases), files, rows)
        report["sentences"] = self._by_sentence(rows[variants[0]], networks.classifier)
        return report, strips

    def _wishes(
        self, number: int, case: Case, sentences: Sequence[str], names: Sequence[str]
    ) -> list[_Wish]:
        """What a picture is asked for."""
        from ...models.portrait.evaluation import sentence_for

        if self.every:
            return [*(_Wish(text=t) for t in sentences), *(_Wish(name=n) for n in names)]
        wishes = []
        if sentences:
            wishes.append(_Wish(text=sentence_for(case, sentences, number)))
        if names:
            wishes.append(_Wish(name=names[number % len(names)]))
        return wishes

    def _edit_options(self) -> EditOptions:
        """Those of an edit, every stage in the share that --steps is of the usual."""
        from ...models.portrait.edit_options import EditOptions

        usual = EditOptions()
        share = self.steps / usual.steps
        return replace(
            usual,
            steps=self.steps,
            strength=usual.strength if self.strength is None else self.strength,
            invert_steps=max(1, round(share * usual.invert_steps)),
            tuning_steps=round(share * usual.tuning_steps),
        )

    def _report(
        self, people: int, files: Files, rows: Mapping[str, list[dict[str, Any]]]
    ) -> dict[str, Any]:
        from ...models.portrait.evaluation import summary

        return {
            "people": people,
            "seeds": self.seeds,
            "steps": self.steps,
            "networks": files.digests(True, True) | files.judge_digest(),
            "variants": {variant: summary(found) for variant, found in rows.items()},
            "rows": rows,
        }

    def _by_sentence(
        self, rows: Sequence[dict[str, Any]], classifier: AttributeClassifier | None
    ) -> dict[str, dict[str, float]]:
        """What each sentence moved its classifiers by, and how far apart these hold true pictures.

        The latter, ``reach``, is left out without --data: there are no true pictures.
        """
        from ...models.portrait.evaluation import summary
        from ...models.portrait.judge_reach import judge_reach
        from ...models.portrait.pictures import load_pictures
        from ...models.portrait.vocabulary import parse

        if classifier is None:
            return {}
        pictures = None if self.data is None else load_pictures(self.data, held_out=True)
        found: dict[str, dict[str, float]] = {}
        for text in dict.fromkeys(row["text"] for row in rows if "text" in row):
            shifts = [row for row in rows if row.get("text") == text]
            shift = summary(shifts).get("attribute_shift")
            if shift is None:
                continue
            found[text] = shift
            reach = None if pictures is None else judge_reach(classifier, pictures, parse(text))
            if reach is not None:
                found[text]["reach"] = reach
        return found

    def _networks(
        self, files: Files, device: Any, generator: Any, tracker: FaceTracker
    ) -> Networks:
        import numpy as np

        from ...models.face.eg3d_camera import (
            StandardFace,
            five_points,
            frontal_label,
            project,
        )
        from ...models.portrait.evaluation import Networks
        from ..options import load_bundle
        from ..portrait.models import load_classifier, load_directions, load_judges, load_prior

        model = load_bundle(self.bundle).face_model
        standard = StandardFace.of(model)
        marks = model.mean[model.landmark_vertices].astype(np.float64)
        seen = project(frontal_label(), standard.world_from_head(five_points(marks)), 1)
        judges = load_judges(files, device, seen + 0.5)

        def yaw(image: np.ndarray) -> float | None:
            found = tracker.fit(image)
            return float(found[0].yaw) if found else None

        return Networks(
            generator, load_prior(files, device), judges, load_classifier(files, device), yaw,
            load_directions(files, generator, device),
        )  # fmt: skip

    def _cases(self, size: int) -> list[Case]:
        import numpy as np
        import torch

        from ...models.portrait.evaluation import Case, held_out_cases
        from ..portrait.inputs import Choice, read_input

        cases = [] if self.data is None else held_out_cases(self.data, self.count, size, self.first)
        for place in self.keyframes:
            given = read_input(place, Choice(bundle=self.bundle), size)
            rgb = np.ascontiguousarray(given.cut.image[..., ::-1].transpose(2, 0, 1))
            mask = torch.from_numpy(given.cut.mask.astype(np.float32) / 255)[None, None]
            cases.append(
                Case(
                    name=f"real: {given.name}",
                    image=torch.from_numpy(rgb).float()[None] / 127.5 - 1,
                    mask=mask.clamp(min=0.3),
                    label=given.aligned.label,
                    words={},
                    others=torch.zeros(0, 3, size, size),
                    other_labels=np.zeros((0, 25)),
                )
            )
        return cases


def _strips(case: Case, edits: Sequence[tuple[str, Edit]], every: bool) -> list[np.ndarray]:
    from ..portrait.pictures import before_and_after, bgr, side_by_side

    shown = bgr(case.image[0].numpy())
    if every:
        return [side_by_side(shown, case.label, edits, case.name)]
    return [
        before_and_after(made, shown, case.label, [f"{case.name}: {words}"])
        for words, made in edits
    ]


def table(variants: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A line a figure, a column a variant; means with their deviations."""
    width = 20
    lines = [" " * 24 + "".join(f"{name:>{width}}" for name in variants)]
    for name, (heading, digits) in COLUMNS.items():
        cells = [_cell(found.get(name), digits) for found in variants.values()]
        if any(cell != "-" for cell in cells):
            lines.append(f"{heading:<24}" + "".join(f"{cell:>{width}}" for cell in cells))
    return "\n".join(lines)


def sentence_table(sentences: Mapping[str, Mapping[str, float]]) -> str:
    """A line a sentence: how far it moved its classifiers, and how far true pictures are apart."""
    lines = [f"{'words':<28}{'attribute shift':>20}{'edits':>7}{'true pictures apart by':>24}"]
    for text, found in sentences.items():
        reach = f"{found['reach']:.2f}" if "reach" in found else "-"
        lines.append(f"{text:<28}{_cell(found, 2):>20}{found['count']:>7}{reach:>24}")
    return "\n".join(lines)


def _cell(figure: Mapping[str, float] | None, digits: int) -> str:
    if figure is None or not math.isfinite(figure["mean"]):
        return "-"
    text = f"{figure['mean']:.{digits}f}"
    return text + (f" +- {figure['deviation']:.{digits}f}" if figure["count"] > 1 else "")
