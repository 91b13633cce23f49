"""Which smoothing is the steadiest for its lag: mien's, One Euro, a moving average, plain Kalman?

    python bench/smoothing.py --films DIR [--clips DIR] [--bundle DIR] [--noise webcam]
        [--strength 1] [--table FILE.md] [--picture FILE.png] [--json FILE]

Films with exact truth (``mien synthesize evaluation-set``) are degraded and read by the
network once; every method smooths the same measurements. Rivals are swept over their settings, and
shown at their best: the steadiest setting that lags no more than each of mien's strengths. Real
clips have no truth: only steadiness and lag against what is not smoothed are measured there.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from figures import add_json_option, write_figures
from smoothing_clips import Clip, ClipRow, clip_lines, clip_paths, compare, own_share
from smoothing_measures import UNITS, Figures, Measures
from smoothing_methods import (
    NATURAL_SPEED,
    Measured,
    Method,
    moving_average,
    offline,
    one_euro,
    one_euro_on_pixels,
    ours,
    plain_kalman,
    raw,
    take_shape,
)
from smoothing_picture import draw
from smoothing_tables import (
    Run,
    dominance_lines,
    honesty_lines,
    panels,
    quantity_lines,
    run_figures,
)

from mien.models.errors import InputError
from mien.models.face.bundle import Bundle
from mien.models.noise.kinds import NOISE_KINDS
from mien.models.noise.video import VideoNoise
from mien.models.synthetic.evaluation import clip_paths as film_paths
from mien.models.synthetic.evaluation import load_clip
from mien.stream.detector.choice import open_detector
from mien.stream.detector_names import DEFAULT_DETECTOR
from mien.stream.fit import FaceFitter
from mien.stream.smoother import PRESETS, FaceSmoother, SmoothingConfig, resolve_smoothing
from mien.tools.tune_smoother.recorded_film import record_film, record_video

MIN_CUTOFFS: Final = np.geomspace(0.1, 10.0, 7)
BETAS: Final = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
FACTORS: Final = 10.0 ** np.arange(-3.0, 2.01, 0.5)
LOOK_AHEAD: Final = (1, 2, 3)
MOST_MS: Final = 160.0
"""Of the picture's lag."""


def main() -> None:
    args = arguments()
    cv2.setNumThreads(1)
    bundle = Bundle.load(args.bundle) if args.bundle else Bundle.default()
    fitter = FaceFitter.of_bundle(bundle)
    strengths = {name: config for name, config in PRESETS.items() if not config.publish_raw}
    strengths |= {Path(name).stem: resolve_smoothing(name) for name in args.smoothing}
    strengths = {name: config.tuned(bundle) for name, config in strengths.items()}
    default = SmoothingConfig().tuned(bundle)
    paths = film_paths(args.films)[: args.most_films]
    if not paths:
        raise InputError(f"{args.films}: holds no films (clip-00000.npz, ...)")
    noise = NOISE_KINDS[args.noise].scaled(degradation=args.strength)
    films = record(paths, noise, fitter, default)
    measures = Measures(films, raw)
    runs = run_all(measures, strengths | {"raw": PRESETS["raw"].tuned(bundle)}, films)
    lines = preface(args, films, measures)
    for name in UNITS:
        lines += ["", *quantity_lines(name, runs)]
    lines += ["", *honesty_lines(runs), ""]
    if args.kind_films:
        lines += [*kind_lines(paths[: args.kind_films], fitter, default), ""]
    lines += [*dominance_lines(runs), ""]
    costs = cost_us(films[0], strengths)
    lines += cost_lines(costs)
    figures = run_figures(runs) | {"median_and_99th_us": costs}
    if args.clips:
        clips, rows = on_clips(args.clips, fitter, default, strengths)
        lines += ["", *real_lines(clips, rows)]
        figures["clips"] = {
            name: {key: getattr(row["all"], key) for key in ("jitter", "rigid", "beside", "lag_ms")}
            for name, row in rows.items()
        }
    text = "\n".join([*lines, ""])
    print(text)
    if args.table is not None:
        args.table.write_text(text, "utf-8")
    if args.picture is not None and not cv2.imwrite(str(args.picture), draw(panels(runs), MOST_MS)):
        raise InputError(f"{args.picture}: cannot be written")
    write_figures(args.json, figures)


def record(
    paths: Sequence[Path], noise: VideoNoise, fitter: FaceFitter, config: SmoothingConfig
) -> list[Measured]:
    """Every film, degraded, as the network sees it."""
    films = []
    for number, path in enumerate(paths):
        film = record_film(load_clip(path), fitter, noise, np.random.default_rng([number, 1]))
        films.append(Measured.of(film, fitter, config))
        say(f"recorded {number + 1} of {len(paths)} films")
    return films


def kind_lines(paths: Sequence[Path], fitter: FaceFitter, config: SmoothingConfig) -> list[str]:
    """Whether the stated variance is true under each kind of noise."""
    lines = [
        "## Stated variance by kind of noise",
        "",
        f"The default strength, {len(paths)} films a kind; `models/noise/kinds.py` has the kinds.",
        "",
        "| noise | rotation, on line | translation | rotation, off line | translation |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind, noise in NOISE_KINDS.items():
        measures = Measures(record(paths, noise, fitter, config), raw)
        nees = [*measures.of(ours(config)).nees, *measures.of(offline(config)).nees]
        lines.append(f"| {kind} | " + " | ".join(f"{value:.2f}" for value in nees) + " |")
    return lines


def run_all(
    measures: Measures, strengths: dict[str, SmoothingConfig], films: Sequence[Measured]
) -> list[Run]:
    """All methods at all settings."""
    runs: list[Run] = []

    def add(family: str, setting: str, work: Callable[[], Figures], wait_ms: float = 0.0) -> None:
        start = time.monotonic()
        runs.append(Run(family, setting, replace(work(), wait_ms=wait_ms)))
        say(f"{family} {setting}: {time.monotonic() - start:.1f} s")

    def of(method: Method) -> Callable[[], Figures]:
        return lambda: measures.of(method)

    step_ms = 1e3 * float(np.median(np.concatenate([f.video.steps_s[1:] for f in films])))
    add("raw", "", of(ours(strengths["raw"])))
    for name, config in strengths.items():
        if config.publish_raw:
            continue
        add("mien", name, of(ours(config)))
        add("mien, offline", name, of(offline(config)))
    for n in LOOK_AHEAD:
        add("moving average", f"{n} before, {n} after", of(moving_average(n)), n * step_ms)
    for factor in FACTORS:
        add("plain Kalman", f"Q x {factor:.3g}", of(plain_kalman(factor)))
    for cutoff in MIN_CUTOFFS.tolist():
        for beta in BETAS:
            setting = f"min_cutoff {cutoff:.2g} Hz, beta {beta:g}"
            add("One Euro", setting, of(one_euro(cutoff, beta)))
            add("One Euro on pixels", setting, on_pixels(measures, cutoff, beta))
    return runs


def on_pixels(measures: Measures, cutoff: float, beta: float) -> Callable[[], Figures]:
    return lambda: measures.of_landmarks(
        lambda landmarks, film: one_euro_on_pixels(landmarks, film, cutoff, beta)
    )


def preface(args: argparse.Namespace, films: Sequence[Measured], measures: Measures) -> list[str]:
    frames = sum(len(film.measured) for film in films)
    missed = frames - sum(int(film.seen.sum()) for film in films)
    noise = NOISE_KINDS[args.noise].scaled(degradation=args.strength)
    still = (
        f"{measures.still_frames} frames count with a still head, {measures.resting_frames} with a "
        "face at rest as well (for landmarks; blendshapes and lids alike, each by its channels)"
        if measures.says_still
        else "no film says where it is still, so that jitter and wobble are of all frames"
    )
    clips = " with `--films` and `--clips`" if args.clips else " with `--films`"
    return [
        "# Smoothing: steadiness against lag",
        "",
        f"Made by `python bench/smoothing.py --noise {args.noise} --strength {args.strength:g}`"
        f"{clips}; {platform.machine()}, Python {platform.python_version()}, "
        f"numpy {version('numpy')}, onnxruntime {version('onnxruntime')}, one thread. "
        "How films are made: [README.md](README.md).",
        "",
        f"{len(films)} rendered films with exact truth, {frames} frames ({missed} without a face "
        f"found), {still}; {measures.blink_count} blinks of single eyes. Noise `{args.noise}` "
        f"times {args.strength:g}, new in each frame: sigma {noise.gaussian_sigma:g} of 255, "
        f"motion blur {noise.motion_blur_px:g} px, defocus {noise.defocus_px:g} px, shrunk by "
        f"{noise.shrink:g}, JPEG quality {100 - noise.compression:g}.",
        "",
        "**rms**: of the error. **fast**: of the error less its own moving mean of a second. "
        "**jitter**: on still stretches, from second differences (independent noise has its own "
        "standard deviation). **wobble**: on still stretches, about the moving mean of a second. "
        "**lag**: behind the truth; **more**: than raw's; what waits for frames to come has the "
        "wait in it. Rivals are swept "
        f"(One Euro: min_cutoff {MIN_CUTOFFS[0]:g} to {MIN_CUTOFFS[-1]:g} Hz, beta {BETAS[0]:g} to "
        f"{BETAS[-1]:g} Hz per natural speed, which is "
        f"{', '.join(f'{v:g}' for v in NATURAL_SPEED[[0, 3, 5, 6, 16]])} a second for rotation in "
        "rad, direction, log depth, expression in sd, blendshapes, and a box size for pixels); "
        "each stands below every strength of mien with its steadiest setting that lags no more.",
    ]


def cost_us(
    film: Measured, strengths: dict[str, SmoothingConfig]
) -> dict[str, tuple[float, float]]:
    """Of the filters alone, median and 99th percentile: the measurements are made before."""
    costs = {}
    seen = [
        (candidate, measured)
        for candidate, measured in zip(film.video.candidates, film.measured, strict=True)
        if candidate is not None and measured is not None
    ]
    for name, config in strengths.items():
        smoother, times = FaceSmoother(config), []
        for k in range(max(2000, len(seen))):
            candidate, measured = seen[k % len(seen)]
            start = time.thread_time_ns()
            smoother.predict(0.033)
            take_shape(smoother, candidate)
            smoother.update(measured)
            smoother.state(config.head_scale_sd)
            times.append((time.thread_time_ns() - start) / 1e3)
        costs[name] = float(np.median(times[200:])), float(np.percentile(times[200:], 99))
    return costs


def cost_lines(costs: dict[str, tuple[float, float]]) -> list[str]:
    lines = [
        "## Cost",
        "",
        "Processor time of predict, update_shape, update and state, a face a frame.",
    ]
    for name, (middle, slow) in costs.items():
        lines += ["", f"{name}: median {middle:.0f} us, 99th percentile {slow:.0f} us."]
    return lines


def on_clips(
    folder: Path,
    fitter: FaceFitter,
    default: SmoothingConfig,
    strengths: dict[str, SmoothingConfig],
) -> tuple[list[Clip], dict[str, dict[str, ClipRow]]]:
    """The clips with a face, and what each way makes of them."""
    detector = open_detector(DEFAULT_DETECTOR, Bundle.default())
    clips = []
    for path in clip_paths(folder):
        video = record_video(path, fitter, detector)
        clip = Clip.of(path, Measured.of(video, fitter, default))
        say(f"{path.name}: {'no face' if clip is None else clip.still_frames} still frames")
        if clip is not None:
            clips.append(clip)
    methods = {"raw": raw} | {name: ours(config) for name, config in strengths.items()}
    methods |= {"offline": offline(default)}
    return clips, compare(clips, methods)


def real_lines(clips: Sequence[Clip], rows: dict[str, dict[str, ClipRow]]) -> list[str]:
    return [
        "## Real clips",
        "",
        "Landmarks where the head holds still, as a ratio to raw (of all; of nose and eye corners "
        "alone, which speech does not move; of what these move beside the picture's own motion, as "
        "optical flow sees it); their middle's lag behind raw's. The picture's own motion there is "
        f"{own_share(clips):.2f} of raw: a head that holds still moves, and films repeat frames.",
        "",
        *clip_lines(clips, rows),
    ]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add: Any = parser.add_argument
    add("--films", type=Path, required=True, help="folder with clip-00000.npz, ...")
    add("--most-films", type=int, help="to take of these")
    add("--clips", type=Path, help="folder of real videos")
    add("--bundle", type=Path, help="default: the one that mien ships")
    add("--noise", choices=tuple(NOISE_KINDS), default="webcam")
    add("--kind-films", type=int, default=8, help="films for each kind of noise")
    add("--strength", type=float, default=1.0, help="factor of the noise")
    add("--smoothing", nargs="*", default=[], help="TOML files to compare beside the presets")
    add("--table", type=Path, help="takes the page")
    add("--picture", type=Path, help="takes jitter against lag, a curve a method")
    add_json_option(parser)
    args = parser.parse_args()
    for path in (args.table, args.picture):  # rather now than after the work
        if path is not None and not path.absolute().parent.is_dir():
            parser.error(f"{path}: there is no such folder")
    return args


if __name__ == "__main__":
    main()
