"""Which of 3DDFA_V2's objectives makes the most accurate and the steadiest regressor, on our data?

    python bench/ablation.py --shards DIR --out DIR [--face-model FILE.npz] [--evaluation DIR]
        [--real DIR] [--images 150000] [--seeds 3] [--width 0.25] [--table bench/ablation.md]
        [--runs bench/ablation.json]

Nine rows: VDC, fWPDC, their vanilla joint and meta-joint optimisation, each without and with
landmark regularisation, and short-video synthesis on the best of the eight. The best is the one
with the least mean NME on held-out synthetic pictures: no real picture chooses anything. Every
run leaves a JSON file in --out, and a training that was interrupted goes on from its checkpoint, so
the same command continues a bench that was stopped; the table is written anew after every run.
What --runs holds of the same settings is not trained again, and it takes up every run's figures.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from ablation_measures import JITTER_SIGMA, Figures, Measures

from mien.models.errors import InputError, MienError
from mien.models.face.morphable import FaceModel
from mien.models.learning.pace import CHECKPOINT_NAME
from mien.models.regressor.checkpoint import Checkpoint
from mien.models.regressor.dataset import AugmentationConfig
from mien.models.regressor.learner import OptimiserConfig
from mien.models.regressor.network import NetworkConfig
from mien.models.regressor.objective import PaperLossConfig, PaperMethod
from mien.models.regressor.photometry import PhotometricConfig
from mien.models.regressor.short_video_batches import ShortVideoConfig
from mien.models.regressor.train import train_regressor
from mien.models.regressor.train_config import TrainConfig
from mien.models.synthetic.shards import ShardFolder

METHODS: Final[dict[PaperMethod, str]] = {
    "vdc": "VDC",
    "fwpdc": "fWPDC",
    "joint": "vanilla joint",
    "meta": "meta-joint",
}
COLUMNS: Final = {
    "nme": "NME, held out (%)",
    "nme_bins": "mean of yaw bins (%)",
    "rotation_deg": "rotation (deg)",
    "real_even": "helen even (%)",
    "real_odd": "helen odd (%)",
    "real_odd_without_jaw": "odd, no jaw (%)",
    "film_nme": "films NME (%)",
    "film_stability": "films, stability (%)",
    "jitter": "jitter (%)",
    "images_per_s": "images per core-second",
}
OPTIMISERS: Final = {"adamw": OptimiserConfig(), "sgd": OptimiserConfig.of_the_paper()}
DESCRIPTIONS: Final = {
    "adamw": "AdamW (the paper's SGD learns next to nothing from so few pictures)",
    "sgd": "SGD with Nesterov momentum, gradient norm clipped to 1",
}
# Degradations are the short video's business: without it pixels are changed in tone and covered.
AUGMENTATION: Final = AugmentationConfig(
    photometric=PhotometricConfig(
        blur=0, motion=0, low_resolution=0, sharpen=0, noise=0, blotches=0, jpeg=0
    )
)


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    method: PaperMethod
    landmarks: bool
    short_video: bool = False

    @property
    def key(self) -> str:
        """For file names."""
        parts = [self.method, *(["lrr"] * self.landmarks), *(["video"] * self.short_video)]
        return "-".join(parts)


@dataclass(frozen=True)
class Settings:
    """What a run's figures depend on, besides row, seed and pictures."""

    images: int
    pictures: int
    width: float
    batch: int
    learning_rate: float
    optimiser: str
    look_ahead: int
    shards: str
    evaluation: str | None
    real: str | None


class Bench:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        shards = ShardFolder(args.shards, args.validation_shards)
        self.settings = Settings(
            images=args.images,
            pictures=sum(len(shard) for shard in shards.training),
            width=args.width,
            batch=args.batch,
            learning_rate=args.learning_rate,
            optimiser=args.optimiser,
            look_ahead=args.look_ahead,
            shards=args.shards.name,
            evaluation=args.evaluation.name if args.evaluation else None,
            real=args.real.name if args.real else None,
        )
        path = args.out / "settings.json"
        if path.is_file() and json.loads(path.read_text("utf-8")) != asdict(self.settings):
            raise InputError(f"{args.out}: holds a bench with other settings; give another --out")
        path.write_text(json.dumps(asdict(self.settings), indent=1), "utf-8")
        self._take_over(args.runs)
        self._measures = Measures(
            shards,
            args.evaluation,
            args.real,
            FaceModel.load(args.face_model),
            args.held_out,
        )

    def _take_over(self, path: Path) -> None:
        """Count the runs of a file done."""
        if not path.is_file():
            return
        known = json.loads(path.read_text("utf-8"))
        if known["settings"] != asdict(self.settings):
            raise InputError(f"{path}: holds runs with other settings; give another --runs")
        for run in known["runs"]:
            self._write(Row(**run["row"]), run["seed"], run["figures"])

    def write_runs(self, rows: Sequence[Row]) -> None:
        """Every run's figures, as a file that :meth:`_take_over` reads."""
        runs = [
            {"row": asdict(row), "seed": seed, "figures": figures}
            for row in rows
            for seed, figures in self.results(row).items()
        ]
        content = {"settings": asdict(self.settings), "runs": runs}
        self.args.runs.write_text(json.dumps(content, indent=1) + "\n", "utf-8")

    def results(self, row: Row) -> dict[int, Figures]:
        """Figures of the row's runs that are done, by seed."""
        found = {}
        for seed in range(self.args.seeds):
            path = self._path(row, seed)
            if path.is_file():
                found[seed] = json.loads(path.read_text("utf-8"))["figures"]
        return found

    def run(self, row: Row, seed: int) -> None:
        """Train and measure, unless that is done."""
        if seed in self.results(row):
            return
        config = self._config(row, seed)
        unfinished = config.out / CHECKPOINT_NAME
        before = Checkpoint.load(unfinished).progress.images if unfinished.is_file() else 0
        start = time.process_time()
        result = train_regressor(config)
        spent = time.process_time() - start
        network = Checkpoint.load(result.checkpoint).averaged_network()
        figures = self._measures.of(network)
        if result.images > before:
            figures["images_per_s"] = (result.images - before) / spent
        self._write(row, seed, figures)

    def _write(self, row: Row, seed: int, figures: Figures) -> None:
        content = {"row": asdict(row), "seed": seed, "figures": figures}
        path = self._path(row, seed)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=1), "utf-8")
        temporary.replace(path)

    def _config(self, row: Row, seed: int) -> TrainConfig:
        args = self.args
        return TrainConfig(
            shards=args.shards,
            out=args.out / f"{row.key}-{seed}",
            face_model=args.face_model,
            images=args.images,
            network=NetworkConfig(args.width, landmark_head=row.landmarks),
            losses=PaperLossConfig(row.method, look_ahead=args.look_ahead),
            optimiser=OPTIMISERS[args.optimiser],
            augmentation=AUGMENTATION,
            short_video=ShortVideoConfig() if row.short_video else None,
            batch=args.batch,
            learning_rate=args.learning_rate,
            warmup_images=max(args.batch, args.images // 50),
            average_decay=0.0,
            threads=args.threads,
            seed=seed,
            resume=True,
            validation_shards=args.validation_shards,
            validation_pictures=256,
            validate_images=args.images + 1,
            checkpoint_images=25_000,
        )

    def _path(self, row: Row, seed: int) -> Path:
        return self.args.out / f"{row.key}-{seed}.json"

    def best(self, rows: Sequence[Row]) -> Row | None:
        """The row with the least mean NME, once all seeds of all are done."""
        done = {row: self.results(row) for row in rows}
        if any(len(found) < self.args.seeds for found in done.values()):
            return None
        return min(rows, key=lambda row: np.mean([f["nme"] for f in done[row].values()]))


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(args)
    rows = [Row(method, landmarks) for method in METHODS for landmarks in (False, True)]
    # Seed by seed: a bench that was stopped has whole tables of fewer seeds.
    queue = [(row, seed) for seed in range(args.seeds) for row in rows]
    for number, (row, seed) in enumerate(queue):
        begin(bench, row, seed, number, 9 * args.seeds)
        write_table(bench, rows)
    best = bench.best(rows)
    if best is None:
        raise RuntimeError("a run is missing that was just made")
    video = Row(best.method, best.landmarks, short_video=True)
    for seed in range(args.seeds):
        begin(bench, video, seed, len(queue) + seed, 9 * args.seeds)
        write_table(bench, [*rows, video])
    print(args.table.read_text("utf-8"))


def begin(bench: Bench, row: Row, seed: int, number: int, count: int) -> None:
    start = time.monotonic()
    bench.run(row, seed)
    figures = bench.results(row)[seed]
    print(
        f"[{number + 1}/{count}] {row.key}, seed {seed}: NME {figures['nme']:.2f} %, "
        f"rotation {figures['rotation_deg']:.2f} deg, {time.monotonic() - start:.0f} s",
        flush=True,
    )


def write_table(bench: Bench, rows: Sequence[Row]) -> None:
    """The Markdown table of what is done so far."""
    results = {row: list(bench.results(row).values()) for row in rows}
    there = [figures for runs in results.values() for figures in runs]
    columns = {k: v for k, v in COLUMNS.items() if any(k in figures for figures in there)}
    lines = [
        "| objective | landmark regularisation | short video | seeds | "
        + " | ".join(columns.values())
        + " |",
        "|---|---|---|" + "---:|" * (len(columns) + 1),
    ]
    for row, runs in results.items():
        cells = [METHODS[row.method], "yes" if row.landmarks else "", "yes" * row.short_video]
        cells += [str(len(runs)), *(cell([f[k] for f in runs if k in f]) for k in columns)]
        lines.append("| " + " | ".join(cells) + " |")
    text = "\n".join([*preface(bench), "", *lines, ""])
    bench.args.table.write_text(text, "utf-8")
    bench.write_runs(rows)


def preface(bench: Bench) -> list[str]:
    s = bench.settings
    return [
        "# Ablation of 3DDFA_V2's objectives on mien's synthetic faces",
        "",
        f"Made by `python bench/ablation.py --images {s.images} --seeds {bench.args.seeds} "
        f"--width {s.width} --batch {s.batch}` with `--shards`, `--evaluation` and `--real`; "
        f"{platform.machine()}, torch {torch.__version__}, {bench.args.threads} thread(s).",
        "",
        f"MobileNet-V1 x{s.width}, {s.images} crops of {s.pictures} pictures a run (with short "
        f"video: an eighth as many pictures, 8 frames each), batch {s.batch}, "
        f"{DESCRIPTIONS[s.optimiser]}, learning rate {s.learning_rate} falling as a cosine after "
        f"2 % of warm-up; meta-joint looks {s.look_ahead} steps ahead, so it computes twice as "
        "much for the same crops. Mean and standard deviation over the seeds. Landmarks are "
        "decoded from the 62 parameters. Held out: synthetic pictures of other people. Helen: "
        "real faces, one crop by the truth; nothing was chosen by them. Stability: mean "
        "difference between predicted and true offsets of neighbouring frames, in percent of the "
        f"box. Jitter: of a still crop under fresh Gaussian noise of sigma {JITTER_SIGMA:g}. The "
        "row with short video repeats the best of the others by held-out NME.",
        "",
        "The pictures: `mien synthesize faces --out faces --count 19200 --assets makehuman-cc0`, "
        "of which `--validation-shards 3` are held out; the films: `mien synthesize evaluation-set "
        "films --pictures 0 --clips 10 --frames 180 --motion natural --rate 30 --seed 22 --assets "
        "makehuman-cc0`.",
    ]


def cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}"


def arguments() -> argparse.Namespace:
    shipped = Path(str(resources.files("mien.models.weights.default"))) / "face_model.npz"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Raw)
    add: Any = parser.add_argument
    add("--shards", type=Path, required=True, help="folder of training shards")
    add("--out", type=Path, required=True, help="folder for trainings and results")
    add("--face-model", type=Path, default=shipped, help="that the shards were made with")
    add("--evaluation", type=Path, help="folder of mien synthesize evaluation-set")
    add("--real", type=Path, help="set of real faces with landmarks, as ../shared/eval/helen")
    add("--images", type=int, default=150_000, help="crops a run")
    add("--seeds", type=int, default=3)
    add("--width", type=float, default=0.25)
    add("--batch", type=int, default=32)
    add("--learning-rate", type=float, default=2e-3)
    add("--optimiser", choices=sorted(OPTIMISERS), default="adamw")
    add("--look-ahead", type=int, default=100)
    add("--held-out", type=int, default=1500, help="held-out pictures at most")
    add("--validation-shards", type=int, default=4)
    add("--threads", type=int, default=1)
    add("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    add("--runs", type=Path, default=Path(__file__).with_suffix(".json"))
    return parser.parse_args()


class Raw(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the description's lines and shows defaults."""


if __name__ == "__main__":
    try:
        main()
    except MienError as error:
        raise SystemExit(f"ablation: {error}") from error
