"""What do PIFuHD's parts contribute, on our people, at a fifth of the shipped budget?

    python bench/pifuhd_ablation.py --data DIR --out DIR [--steps NORMALS COARSE FINE]
        [--share 0.2] [--seeds 3] [--count 24] [--table bench/pifuhd_ablation.md]

Rows: both levels; the coarse level only (of the same training); the fine level only (as many steps
as both levels together); both levels without normals, and the coarse one of these; both levels
trained on and given true normals, the ceiling; and the mean shape fitted into the mask, which
learns nothing. Measured on held-out identities. Every run leaves a JSON file in --out and trainings
go on from their checkpoints, so the same command continues a bench that was stopped; the table is
written anew after every run.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from mien.models.errors import InputError, MienError
from mien.models.learning.device import find_device
from mien.models.learning.pace import processor_threads
from mien.models.pifuhd.baselines import MeanShape
from mien.models.pifuhd.cases import held_out_cases
from mien.models.pifuhd.dataset import PeopleFolder
from mien.models.pifuhd.evaluation import Evaluated, Evaluator, Row
from mien.models.pifuhd.figures import FIGURES, HIGHER_IS_BETTER, Truth
from mien.models.pifuhd.train import train_pifuhd
from mien.models.pifuhd.train_config import PifuhdTrainConfig, Stage
from mien.models.pifuhd.weights import load_weights, read_facts, shipped
from mien.tools.evaluate.pifuhd import summarise

COLUMNS: Final[Mapping[str, tuple[str, int]]] = {
    "iou": ("IoU", 3),
    "chamfer_percent": ("Chamfer (% of height)", 2),
    "chamfer_mm": ("Chamfer (mm)", 2),
    "point_to_surface_mm": ("point to surface (mm)", 2),
    "back_chamfer_mm": ("back half, Chamfer (mm)", 2),
    "front_normal": ("front normals (L2)", 3),
    "back_normal": ("back normals (L2)", 3),
    "front_normal_deg": ("front (deg)", 1),
    "back_normal_deg": ("back (deg)", 1),
    "largest_share": ("largest piece", 3),
}


@dataclass(frozen=True)
class Variant:
    """A way to train; ``measured`` are the evaluation's rows, with what the table calls them."""

    key: str
    measured: Mapping[Row, str]
    use_normals: bool = True
    true_normals: bool = False
    fine_only: bool = False


VARIANTS: Final = (
    Variant("full", {"full": "coarse and fine, drawn normals", "coarse": "coarse only"}),
    Variant("fine-only", {"full": "fine only"}, fine_only=True),
    Variant(
        "no-normals",
        {"full": "coarse and fine, no normals", "coarse": "coarse only, no normals"},
        use_normals=False,
    ),
    Variant("true-normals", {"true normals": "coarse and fine, true normals"}, true_normals=True),
)
BASELINE: Final = "mean shape in the mask's box"

Run = dict[str, dict[str, float]]
"""Figures by the table's rows."""


@dataclass(frozen=True)
class Settings:
    """What a run's figures depend on, besides variant, seed and people."""

    data: str
    steps: tuple[int, int, int]
    share: float
    batch: int
    points: int
    count: int
    resolution: int


class Bench:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.people = PeopleFolder(args.data)
        whole = tuple(args.steps) if args.steps else shipped_steps(args.preset)
        normals, coarse, fine = (max(1, round(args.share * steps)) for steps in whole)
        self.settings = Settings(
            data=args.data.name,
            steps=(normals, coarse, fine),
            share=args.share,
            batch=args.batch,
            points=args.points,
            count=min(args.count, len(self.people.held_out)),
            resolution=args.resolution,
        )
        path = args.out / "settings.json"
        mine = json.dumps(asdict(self.settings), indent=1)
        if path.is_file() and path.read_text("utf-8") != mine:
            raise InputError(f"{args.out}: holds a bench with other settings; give another --out")
        path.write_text(mine, "utf-8")

    def found(self, variant: Variant, seed: int) -> Run | None:
        """Figures of a run that is done."""
        path = self._path(variant, seed)
        return json.loads(path.read_text("utf-8")) if path.is_file() else None

    def run(self, variant: Variant, seed: int) -> Run:
        """Train and measure, unless that is done."""
        found = self.found(variant, seed)
        if found is not None:
            return found
        normals, coarse, fine = self.settings.steps
        earlier = self.args.out / f"normals-{seed}" if variant.use_normals else None
        if earlier is not None:
            self._train(Variant("normals", {}), seed, "normals", normals, None)
        if not variant.fine_only:
            self._train(variant, seed, "coarse", coarse, earlier)
        steps = coarse + fine if variant.fine_only else fine
        weights = self._train(variant, seed, "fine", steps, earlier)
        if weights is None:
            raise RuntimeError("a part is missing that was just trained")
        run = self._measured(variant, weights)
        path = self._path(variant, seed)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(run, indent=1), "utf-8")
        temporary.replace(path)
        return run

    def baseline(self) -> dict[str, float]:
        """Figures of the mean shape, measured once."""
        path = self.args.out / "mean-shape.json"
        if not path.is_file():
            mean = MeanShape.of_training(self.people)
            size = next(iter(self.people.held_out.values())).images.shape[1]
            found = []
            for case in held_out_cases(self.people, size, self.settings.count):
                truth = Truth(case.truth, case.mm_per_unit, case.height_mm)
                found.append(asdict(truth.compare(mean.fitted(case.cube_from_subject, case.mask))))
            figures = {name: float(np.mean([f[name] for f in found])) for name in FIGURES}
            path.write_text(json.dumps(figures, indent=1), "utf-8")
        return json.loads(path.read_text("utf-8"))

    def _train(
        self, variant: Variant, seed: int, stage: Stage, steps: int, earlier: Path | None
    ) -> Path | None:
        args = self.args
        config = PifuhdTrainConfig(
            data=args.data,
            out=args.out / f"{variant.key}-{seed}",
            stage=stage,
            steps=steps,
            batch=args.batch,
            points=args.points,
            seed=seed,
            threads=args.threads,
            device=args.device,
            resume=True,
            earlier=earlier,
            use_normals=variant.use_normals,
            true_normals=variant.true_normals,
            fine_only=variant.fine_only,
            save_seconds=300.0,
        )
        return train_pifuhd(config).weights

    def _measured(self, variant: Variant, weights: Path) -> Run:
        model = load_weights(weights).to(find_device(self.args.device))
        rows = tuple(variant.measured)
        evaluator = Evaluator(model, None, self.settings.resolution, rows)
        cases = held_out_cases(self.people, model.config.image_size, self.settings.count)
        done: list[Evaluated] = []
        with processor_threads(self.args.threads):
            done.extend(evaluator.evaluate(cases))
        summary = summarise(done)
        run: Run = {}
        for row, title in variant.measured.items():
            spreads = summary["rows"][row]["figures"]
            run[title] = {name: spread["mean"] for name, spread in spreads.items()}
        if variant.key == "full":
            parts = summary["normals"]
            run["normal networks"] = {name: spread["mean"] for name, spread in parts.items()}
        return run

    def _path(self, variant: Variant, seed: int) -> Path:
        return self.args.out / f"{variant.key}-{seed}.json"


def shipped_steps(preset: str) -> tuple[int, int, int]:
    """Steps that the shipped weights were trained for: normals, coarse, fine."""
    path = shipped("head" if preset == "head" else "body")
    facts = read_facts(path)
    parts = ("normals-front", "coarse", "fine")
    try:
        normals, coarse, fine = (int(facts[part]["step"]) for part in parts)
    except KeyError as error:
        raise InputError(f"{path}: does not say its steps; give --steps") from error
    return normals, coarse, fine


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(args)
    # Seed by seed: a bench that was stopped has whole tables of fewer seeds.
    queue = [(variant, seed) for seed in range(args.seeds) for variant in VARIANTS]
    for number, (variant, seed) in enumerate(queue):
        start = time.monotonic()
        run = bench.run(variant, seed)
        write_table(bench)
        first = next(iter(run.items()))
        print(
            f"[{number + 1}/{len(queue)}] {variant.key}, seed {seed}: {first[0]}: IoU "
            f"{first[1]['iou']:.3f}, Chamfer {first[1]['chamfer_percent']:.2f} %, "
            f"{time.monotonic() - start:.0f} s",
            flush=True,
        )
    print(args.table.read_text("utf-8"))


def write_table(bench: Bench) -> None:
    """The Markdown tables of what is done so far."""
    seeds = range(bench.args.seeds)
    runs: dict[str, dict[int, dict[str, float]]] = {}
    for variant in VARIANTS:
        for seed in seeds:
            for title, figures in (bench.found(variant, seed) or {}).items():
                runs.setdefault(title, {})[seed] = figures
    networks = runs.pop("normal networks", {})
    heading = "| | seeds | " + " | ".join(name for name, _ in COLUMNS.values()) + " |"
    rule = "|---|" + "---:|" * (len(COLUMNS) + 1)
    lines = [heading, rule, line(BASELINE, [bench.baseline()])]
    lines += [line(title, list(found.values())) for title, found in runs.items()]
    whole = runs.get(next(iter(VARIANTS[0].measured.values())), {})
    lines += [
        "",
        "Paired by seed, the whole model against each (**bold**: better by more than the standard "
        "deviation over seeds of the difference):",
        "",
        heading,
        rule,
    ]
    lines += [
        difference(title, whole, found) for title, found in runs.items() if found is not whole
    ]
    lines += [difference(BASELINE, whole, dict.fromkeys(whole, bench.baseline()))]
    if networks:
        front, back, flat = (
            cell([f[name] for f in networks.values()], 1)
            for name in ("front_deg", "back_deg", "flat_deg")
        )
        lines += [
            "",
            f"Normal networks against the true maps: front {front} deg, back {back} deg (normals "
            f"that all face the camera: {flat} deg).",
        ]
    bench.args.table.write_text("\n".join([*preface(bench), "", *lines, ""]), "utf-8")


def line(title: str, runs: Sequence[Mapping[str, float]]) -> str:
    cells = [cell([run[name] for run in runs], digits) for name, (_, digits) in COLUMNS.items()]
    return f"| {title} | {len(runs)} | " + " | ".join(cells) + " |"


def difference(
    title: str, whole: Mapping[int, Mapping[str, float]], other: Mapping[int, Mapping[str, float]]
) -> str:
    """Whole model minus another, by seed; where it is clearly better in bold."""
    seeds = sorted(set(whole) & set(other))
    cells = []
    for name, (_, digits) in COLUMNS.items():
        apart = [whole[seed][name] - other[seed][name] for seed in seeds]
        text = cell(apart, digits, signed=True)
        gain = float(np.mean(apart)) * (1 if name in HIGHER_IS_BETTER else -1) if apart else 0.0
        clear = len(apart) > 1 and gain > np.std(apart, ddof=1)
        cells.append(f"**{text}**" if clear else text)
    return f"| {title} | {len(seeds)} | " + " | ".join(cells) + " |"


def cell(values: Sequence[float], digits: int, signed: bool = False) -> str:
    if not values:
        return "-"
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):{'+' if signed else ''}.{digits}f}{spread}"


def preface(bench: Bench) -> list[str]:
    s, people = bench.settings, bench.people
    normals, coarse, fine = s.steps
    return [
        "# Ablation of PIFuHD on mien's synthetic people",
        "",
        f"Made by `python bench/pifuhd_ablation.py --share {s.share:g} --seeds {bench.args.seeds} "
        f"--count {s.count}` with `--data` and `--out`; {platform.machine()}, torch "
        f"{torch.__version__}, {bench.args.threads} thread(s).",
        "",
        f"{people.meta.get('kind', 'people')} of {len(people.training)} identities to train on; "
        f"figures are means over {s.count} held-out ones, one picture each, and mean ± standard "
        f"deviation over seeds. Normal networks: {normals} steps each; coarse level: {coarse}; "
        f"fine level: {fine}; fine only: {coarse + fine}; {s.batch} pictures a step, the preset "
        "small. 'Coarse only' is the coarse level of the same training. The mean shape is of "
        "training identities, is told the direction of view, and fitted to the box of the mask. "
        f"Octree of {s.resolution} cells; IoU on 128 cells of the cube; back half: surfaces that "
        "face away from the camera; normals: L2 of rendered maps, as in the paper. All people are "
        "synthetic.",
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Raw)
    add: Any = parser.add_argument
    add("--data", type=Path, required=True, help="folder of mien synthesize heads or bodies")
    add("--out", type=Path, required=True, help="folder for trainings and results")
    add("--preset", choices=("head", "body"), default="head", help="whose shipped steps to divide")
    add("--steps", type=int, nargs=3, help="of normals, coarse and fine, instead of the shipped's")
    add("--share", type=float, default=0.2, help="of those steps")
    add("--seeds", type=int, default=3)
    add("--batch", type=int, default=4)
    add("--points", type=int, default=2500)
    add("--count", type=int, default=24, help="held-out people at most")
    add("--resolution", type=int, default=128)
    add("--threads", type=int, default=1)
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    return parser.parse_args()


class Raw(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the description's lines and shows defaults."""


if __name__ == "__main__":
    try:
        main()
    except MienError as error:
        raise SystemExit(f"pifuhd_ablation: {error}") from error
