"""Figures as the Markdown of a model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...models.face.bundle import BundleInfo
from ...models.synthetic.groups import in_order
from .labels import TrueFace, read_labels

REAL_SETS: Final = (
    ("helen", True),
    ("helen", False),
    ("dlib", True),
    ("dlib", False),
    ("pointing04", True),
    ("noface", False),
)
"""Name of a set, and whether its crops are made by the truth."""

Report = Mapping[str, Any]
Keep = Callable[[int, TrueFace], bool]
"""Whether a face counts, by its line and its label."""

_TOLD: Final = ("calibrated_on", "log_variance_offset", "precision")


def training_text(info: BundleInfo, curves: str) -> str:
    """What the bundle says of its training, and the picture of its curves, as the card names it."""
    facts = [f"- **Command**: `{info.command}`"]
    facts += [
        f"- **{name.replace('_', ' ').capitalize()}**: {value}"
        for name, value in info.training.items()
        if name not in _TOLD
    ]
    if "calibrated_on" in info.training:
        facts.append(
            f"- **Variances** made true on {info.training['calibrated_on']} "
            "(`log_variance_offset` in `bundle.toml`; the figures below are of other people)"
        )
    facts += ["", f"![Learning curves: losses, held-out errors, learning rate]({curves})"]
    return "\n".join(facts)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def real_text(reports: Mapping[tuple[str, bool], Report], folder: Path) -> str:
    """The table of the sets of real faces, from what ``mien evaluate --json`` wrote of each."""
    rows: list[list[str]] = []

    def add(label: str, command: str, result: str) -> None:
        rows.append([label, f"`mien evaluate {command}`", result])

    odd: Keep = lambda line, face: line % 2 == 1  # noqa: E731
    for name in ("helen", "dlib"):
        boxes, found = reports[name, True], reports[name, False]
        add(name, f"{name} --use-boxes", _nme(_chosen(boxes, folder / name)))
        add(
            f"{name}, odd lines",
            f"{name} --use-boxes --lines odd",
            _nme(_chosen(boxes, folder / name, odd)),
        )
        summary = found["summary"]
        add(
            f"{name}, found by itself",
            name,
            f"{summary['found']} of {summary['faces']} found, "
            f"{summary['false_detections']} false; {_nme(_chosen(found, folder / name))}",
        )
    for yaw in (60, 90):
        for parity, option in ((None, ""), (odd, " --lines odd")):
            limits = _limits(yaw, 30, parity)
            add(
                f"Pointing'04, yaw to {yaw}, pitch to 30 degrees{', odd lines' if parity else ''}",
                f"pointing04 --use-boxes --yaw-max {yaw} --pitch-max 30{option}",
                _pose(_chosen(reports["pointing04", True], folder / "pointing04", limits)),
            )
    false = reports["noface", False]["summary"]["false_detections"]
    add("pictures without a face", "noface", f"{false} false detections")
    return _table(("set", "command", "result"), rows)


def _limits(yaw: float, pitch: float, parity: Keep | None) -> Keep:
    def keep(line: int, face: TrueFace) -> bool:
        inside = abs(face.yaw_deg or 0.0) <= yaw and abs(face.pitch_deg or 0.0) <= pitch
        return inside and (parity is None or parity(line, face))

    return keep


def _chosen(report: Report, folder: Path, keep: Keep | None = None) -> list[Mapping[str, Any]]:
    """The found faces of a report that count."""
    labels = {
        (image.name, face.index): (line, face)
        for line, image in enumerate(read_labels(folder))
        for face in image.faces
    }
    return [
        face
        for face in report["faces"]
        if face["found"]
        and not face["ignore"]
        and (keep is None or keep(*labels[face["image"], face["index"]]))
    ]


def _nme(faces: Sequence[Mapping[str, Any]]) -> str:
    values = np.array([[face["nme"], face["nme_without_jaw"]] for face in faces], np.float64)
    whole, without = values.mean(axis=0)
    return f"NME {whole:.2f} % (median {np.median(values[:, 0]):.2f}), without jaw {without:.2f} %"


def _pose(faces: Sequence[Mapping[str, Any]]) -> str:
    yaw, pitch = (
        float(np.mean([face["angle_errors"][angle] for face in faces]))
        for angle in ("yaw", "pitch")
    )
    return f"yaw {yaw:.2f}, pitch {pitch:.2f} degrees ({len(faces)} faces)"


def rendered_text(summary: Mapping[str, Any]) -> str:
    """Landmarks, pose, shape, expression, eyes, presence and films of held-out rendered people."""
    parts = []
    if "shape" in summary:
        parts.append(_table(("measured", "result"), _picture_rows(summary)))
        parts.append(_expression_lines(summary["expression"]["blendshapes"]))
    if "films" in summary:
        parts.append(_film_table(summary["films"]))
    return "\n\n".join(parts)


def _picture_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    nme, rotation, shape = summary["nme"], summary["rotation"], summary["shape"]
    blink, gaze, presence = summary["blink"], summary["gaze"], summary["presence"]
    bins = " / ".join(_two(value) for value in nme["by_yaw"].values())
    turns = " / ".join(f"{row['mean']:.1f}" for row in rotation["by_yaw"].values())
    faces = presence["true_positive"] + presence["false_negative"]
    others = presence["true_negative"] + presence["false_positive"]
    return [
        ["faces", f"{summary['faces']} of {shape['people']} people"],
        ["NME", f"{nme['mean']:.2f} % ({bins} % for yaw to 30, 60, 90 degrees)"],
        ["rotation", f"{rotation['mean']:.1f} degrees ({turns})"],
        [
            "neutral 3D shape, similarity-aligned",
            f"{shape['a_picture_mm']:.2f} mm rms from a picture, {shape['a_person_mm']:.2f} from "
            f"the mean of six; the mean face gets {shape['floor_mean_face_mm']:.2f}, the best 40 "
            f"components {shape['best_40_components_mm']:.2f}",
        ],
        [
            "blendshapes",
            f"mean correlation {_two(summary['expression']['mean_correlation'])}, mean absolute "
            f"error {summary['expression']['mean_absolute_error']:.3f}",
        ],
        [
            "closed eyes at 0.5, yaw to 45 degrees",
            f"recall {_two(blink['recall'])}, precision {_two(blink['precision'])}, ROC area "
            f"{_two(blink['roc_area'])}; {_two(blink['winks_in_the_right_eye_only'])} of "
            f"{blink['winks']} winks right in both eyes",
        ],
        [
            "gaze, yaw to 45 degrees",
            f"{gaze['mean_deg']:.1f} degrees; a constant gets {gaze['floor_mean_deg']:.1f}",
        ],
        [
            "presence",
            f"{presence['false_negative']} of {faces} faces missed, "
            f"{presence['false_positive']} of {others} others taken for one",
        ],
        [
            "normalised error squared (1 where variances are true)",
            ", ".join(
                f"{name} {value:.2f}" for name, value in summary["normalised_error_squared"].items()
            ),
        ],
    ]


def _expression_lines(units: Mapping[str, Mapping[str, Any]]) -> str:
    cells = (f"{name} {_two(unit['correlation'])}" for name, unit in units.items())
    return "Correlation of each blendshape: " + ", ".join(cells) + "."


def _film_table(films: Mapping[str, Mapping[str, Any]]) -> str:
    heads = (
        ("nme", "NME %"),
        ("rotation_deg", "rotation, degrees"),
        ("stability", "stability %"),
        ("still_jitter", "jitter on a still face %"),
        ("lag_ms", "lag ms"),
        ("rotation_nees", "NEES rotation"),
        ("translation_nees", "NEES translation"),
    )
    rows = [[name, *(_two(row[key]) for key, _ in heads)] for name, row in films.items()]
    some = next(iter(films.values()))
    return (
        _table(("smoothing", *(head for _, head in heads)), rows)
        + f"\n\nOf {some['frames']} frames {some['missed']} were missed, {some['extra']} rows were "
        f"no face's, and a face changed its number {some['switched']} times."
    )


def group_text(summary: Mapping[str, Any]) -> str:
    """NME by group."""
    rows = [
        [
            division,
            ", ".join(
                f"{name} {table[name]['mean']:.2f} ± {table[name]['standard_error']:.2f} "
                f"({table[name]['count']})"
                for name in in_order(table)
            ),
        ]
        for division, table in summary.get("nme_by_group", {}).items()
    ]
    return _table(("told apart by", "NME in %, its standard error, faces"), rows)


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
