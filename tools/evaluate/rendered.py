"""All figures of a rendered set, and their table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...models.errors import InputError
from ...models.face.bundle import Bundle
from ...models.face.names import BLENDSHAPE_NAMES
from ...models.synthetic.evaluation import clip_paths
from ...stream.detector.choice import open_detector
from ...stream.detector_names import DEFAULT_DETECTOR, DetectorName
from ...stream.smoother import PRESETS
from .estimator import Estimator
from .films import film_table, measure_films
from .held_out import count_pictures, measure_shards
from .scores import Scored, summarise, table


@dataclass(frozen=True)
class Rendered:
    """What a rendered set came to.

    Attributes:
        summary: every figure, by name.
        faces: of the pictures.
        false: crops without a face that were taken for one.
        table: the figures for people.
    """

    summary: dict[str, Any]
    faces: list[Scored]
    false: list[dict[str, Any]]
    table: str


def measure_rendered(
    folder: Path,
    bundle: Bundle,
    camera: str,
    threads: int,
    detector: DetectorName = DEFAULT_DETECTOR,
) -> Rendered:
    """Measure on the pictures and films of a folder, with a progress bar.

    The detector is asked in films only; a picture's crop is made by its truth.

    Raises:
        InputError: the folder holds neither, or a file of it is damaged.
        BundleError: the detector is not installed, or damaged.
    """
    from tqdm import tqdm

    films, pictures = clip_paths(folder), count_pictures(folder)
    if not films and not pictures:
        raise InputError(f"{folder}: no finished shard and no film in it")
    if films:
        open_detector(detector, bundle, threads)  # one that cannot be had is told before the work
    summary: dict[str, Any] = {}
    faces: list[Scored] = []
    false: list[dict[str, Any]] = []
    parts = []
    total = pictures + len(films) * len(PRESETS)
    with tqdm(total=total, unit="item", disable=None, leave=False) as bar:
        if pictures:
            estimator = Estimator(bundle, camera, threads)
            measured = measure_shards(folder, bundle, estimator, bar.update)
            faces, false = measured.faces, measured.false
            summary = summarise(faces, len(false)) | measured.figures
            parts += [table(summary), picture_table(measured.figures)]
        if films:
            summary["films"] = measure_films(films, bundle, threads, bar.update, detector=detector)
            parts.append(film_table(summary["films"]))
    return Rendered(summary, faces, false, "\n".join(parts))


def picture_table(figures: dict[str, Any]) -> str:
    """Shape, expression, blink, gaze, presence, variances and groups for people."""
    if not figures.get("shape"):
        return "no face was read"
    shape, expression, blink = figures["shape"], figures["expression"], figures["blink"]
    gaze, presence = figures["gaze"], figures["presence"]
    units = expression["blendshapes"]
    ranked = sorted(BLENDSHAPE_NAMES, key=lambda name: -(units[name]["correlation"] or 0.0))
    lines = [
        f"rotation error {figures['rotation']['mean']:.2f} deg",
        f"3D shape, similarity-aligned (mm rms): a picture {shape['a_picture_mm']:.2f}, a person's "
        f"mean {shape['a_person_mm']:.2f}; the mean face {shape['floor_mean_face_mm']:.2f}, the "
        f"best of the model {shape['best_40_components_mm']:.2f}",
        f"expression: mean correlation {_two(expression['mean_correlation'])}, mean absolute error "
        f"{expression['mean_absolute_error']:.3f}",
        "  best: " + ", ".join(f"{name} {_two(units[name]['correlation'])}" for name in ranked[:5]),
        "  worst: "
        + ", ".join(f"{name} {_two(units[name]['correlation'])}" for name in ranked[-5:]),
        f"closed eyes at 0.5: recall {_two(blink['recall'])}, precision {_two(blink['precision'])},"
        f" ROC area {_two(blink['roc_area'])}; winks in the right eye only "
        f"{_two(blink['winks_in_the_right_eye_only'])} of {blink['winks']}",
        "gaze: no open eye"
        if not gaze["eyes"]
        else f"gaze: {gaze['mean_deg']:.1f} deg, a constant {gaze['floor_mean_deg']:.1f} deg; "
        f"correlation sideways {_two(gaze['correlation_sideways'])}, up "
        f"{_two(gaze['correlation_up'])}",
        f"presence: {presence['false_negative']} of "
        f"{presence['true_positive'] + presence['false_negative']} faces missed, "
        f"{presence['false_positive']} of "
        f"{presence['true_negative'] + presence['false_positive']} others taken for one",
        "normalised error squared: "
        + ", ".join(
            f"{name} {value:.2f}" for name, value in figures["normalised_error_squared"].items()
        ),
        "NME by group (%, standard error, faces):",
    ]
    for division, rows in figures["nme_by_group"].items():
        cells = (
            f"{name} {row['mean']:.2f}±{row['standard_error']:.2f} ({row['count']})"
            for name, row in rows.items()
        )
        lines.append(f"  {division}: " + ", ".join(cells))
    return "\n".join(lines)


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
