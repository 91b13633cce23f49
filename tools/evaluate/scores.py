"""From matched faces to the figures of ``mien evaluate``: the summary and its table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Float64

from ...models.face import metrics
from ...models.face.names import LANDMARK_GROUPS
from ...models.face.rotation import angle_between_deg, matrix_from_yaw_pitch_roll, pan_tilt
from .labels import TrueFace

ANGLES: Final = ("yaw", "pitch", "roll", "pan", "tilt")
BIN_NAMES: Final = ("0-30", "30-60", "60-90")


@dataclass(frozen=True)
class Estimate:
    """What mien says of a face in a still.

    Attributes:
        box_px: (4,) tight box x, y, w, h of the landmarks.
        landmarks_px: (68, 2).
        yaw_deg: apparent, relative to the ray through the face.
        pitch_deg: apparent.
        roll_deg: apparent.
        confidence: probability that a face is present; None where the bundle has none.
        blendshapes: (52,) 0 to 1; None where the bundle has none.
    """

    box_px: Float64[np.ndarray, " 4"]
    landmarks_px: Float64[np.ndarray, "68 2"]
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    confidence: float | None = None
    blendshapes: Float[np.ndarray, " 52"] | None = None

    @property
    def pan_deg(self) -> float:
        """Direction of the nose about the vertical."""
        return float(pan_tilt(np.array(self.yaw_deg), np.array(self.pitch_deg))[0])

    @property
    def tilt_deg(self) -> float:
        """Direction of the nose, up."""
        return float(pan_tilt(np.array(self.yaw_deg), np.array(self.pitch_deg))[1])


@dataclass(frozen=True)
class Scored:
    """A true face with what was found of it, and by how much that is off.

    Attributes:
        image: name of the image.
        truth: the label.
        estimate: None where the face was missed.
        nme: percent, None without true landmarks.
        nme_without_jaw: percent.
        errors: absolute error of each angle that the label gives, degrees.
    """

    image: str
    truth: TrueFace
    estimate: Estimate | None
    nme: float | None = None
    nme_without_jaw: float | None = None
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def badness(self) -> float:
        """For the sheet of worst cases: missed first, then NME in percent or degrees.

        Where all three angles are known the degrees are those of the turn between both attitudes:
        near 90 degrees of yaw, pitch and roll differ widely between attitudes that hardly do.
        """
        if self.estimate is None:
            return float("inf")
        truth = self.truth
        angles = self.errors.values()
        if not (truth.yaw_deg is None or truth.pitch_deg is None or truth.roll_deg is None):
            both = np.array(
                [
                    (truth.yaw_deg, truth.pitch_deg, truth.roll_deg),
                    (self.estimate.yaw_deg, self.estimate.pitch_deg, self.estimate.roll_deg),
                ]
            )
            true, said = matrix_from_yaw_pitch_roll(both)
            angles = [float(angle_between_deg(true, said))]
        return max([self.nme or 0.0, *angles])

    @property
    def binning_yaw_deg(self) -> float | None:
        """The label's yaw, else the estimate's; None for a missed face without a label."""
        if self.truth.yaw_deg is not None:
            return self.truth.yaw_deg
        return None if self.estimate is None else self.estimate.yaw_deg


def score(image: str, truth: TrueFace, estimate: Estimate | None) -> Scored:
    """Measure one face."""
    if estimate is None:
        return Scored(image, truth, None)
    nme = without = None
    if truth.landmarks_px is not None:
        nme = float(metrics.nme_percent(estimate.landmarks_px, truth.landmarks_px))
        without = float(metrics.nme_percent(estimate.landmarks_px, truth.landmarks_px, jaw=False))
    errors = {}
    for angle in ANGLES:
        true, found = getattr(truth, f"{angle}_deg"), getattr(estimate, f"{angle}_deg")
        if true is not None:
            errors[angle] = float(metrics.angle_error_deg(np.array(found), np.array(true)))
    return Scored(image, truth, estimate, nme, without, errors)


def summarise(faces: Sequence[Scored], false_detections: int) -> dict[str, Any]:
    """All figures of a set; faces to ignore are left out of every one."""
    counted = [face for face in faces if not face.truth.ignore]
    found = [face for face in counted if face.estimate is not None]
    summary: dict[str, Any] = {
        "faces": len(counted),
        "found": len(found),
        "missed": len(counted) - len(found),
        "ignored": len(faces) - len(counted),
        "false_detections": false_detections,
    }
    marked = [face for face in found if face.nme is not None]
    if marked:
        summary["nme"] = _statistics(marked, lambda face: face.nme or 0.0)
        summary["nme_without_jaw"] = _statistics(marked, lambda face: face.nme_without_jaw or 0.0)
        summary["nme_by_part"] = _parts(marked)
    for angle in ANGLES:
        labelled = [face for face in found if angle in face.errors]
        if labelled:
            summary[angle] = _angle(labelled, angle)
    return summary


def _statistics(faces: Sequence[Scored], value: Callable[[Scored], float]) -> dict[str, Any]:
    values = np.array([value(face) for face in faces])
    bins = metrics.mean_by_yaw(values, np.array([face.binning_yaw_deg for face in faces]))
    return {
        "count": len(values),
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "p90": float(np.percentile(values, 90)),
        "by_yaw": dict(zip(BIN_NAMES, bins.means, strict=True)),
        "count_by_yaw": dict(zip(BIN_NAMES, bins.counts, strict=True)),
        "mean_of_bins": bins.mean,
    }


def _angle(faces: Sequence[Scored], angle: str) -> dict[str, Any]:
    signed = []
    for face in faces:
        difference = getattr(face.estimate, f"{angle}_deg") - getattr(face.truth, f"{angle}_deg")
        signed.append((difference + 180.0) % 360.0 - 180.0)
    return _statistics(faces, lambda face: face.errors[angle]) | {"bias": float(np.mean(signed))}


def _parts(faces: Sequence[Scored]) -> dict[str, float]:
    """Mean error of each part of the face in percent of the box's size."""
    parts: dict[str, list[float]] = {name: [] for name in LANDMARK_GROUPS}
    for face in faces:
        truth, estimate = face.truth.landmarks_px, face.estimate
        if truth is None or estimate is None:
            continue
        error = np.linalg.norm(estimate.landmarks_px - truth, axis=-1)
        error *= 100.0 / float(metrics.box_size_px(truth))
        for name, points in LANDMARK_GROUPS.items():
            parts[name].append(float(error[points].mean()))
    return {name: float(np.mean(values)) for name, values in parts.items()}


def table(summary: dict[str, Any]) -> str:
    """The summary for people."""
    lines = [
        f"faces {summary['faces']}: found {summary['found']}, missed {summary['missed']}"
        f" (ignored {summary['ignored']}); false detections {summary['false_detections']}"
    ]
    rows = [
        (key, label, unit)
        for key, label, unit in (
            ("nme", "NME, 68 points", "%"),
            ("nme_without_jaw", "NME without jaw", "%"),
            ("yaw", "yaw error", "deg"),
            ("pitch", "pitch error", "deg"),
            ("roll", "roll error", "deg"),
            ("pan", "same label as pan", "deg"),
            ("tilt", "same label as tilt", "deg"),
        )
        if key in summary
    ]
    if rows:
        heads = ("mean", "median", "90 %", *(f"|yaw| {name}" for name in BIN_NAMES), "of bins")
        lines.append(" " * 24 + "".join(f"{head:>13}" for head in heads))
    for key, label, unit in rows:
        row = summary[key]
        values = (row["mean"], row["median"], row["p90"], *row["by_yaw"].values())
        cells = "".join(_cell(value) for value in (*values, row["mean_of_bins"]))
        lines.append(f"{f'{label} ({unit})':<24}{cells}")
    if "nme_by_part" in summary:
        parts = ", ".join(f"{name} {value:.2f}" for name, value in summary["nme_by_part"].items())
        lines.append(f"by part (%): {parts}")
    for angle in ANGLES:
        if angle in summary:
            lines.append(f"{angle} bias (estimate - truth): {summary[angle]['bias']:+.2f} deg")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return f"{'-' if value is None else f'{value:.2f}':>13}"


def face_entry(face: Scored) -> dict[str, Any]:
    """The JSON of one true face."""
    entry: dict[str, Any] = {
        "image": face.image,
        "index": face.truth.index,
        "found": face.estimate is not None,
        "ignore": face.truth.ignore,
    }
    estimate = face.estimate
    if estimate is None:
        return entry
    blendshapes = estimate.blendshapes
    return entry | {
        "box": estimate.box_px.tolist(),
        "yaw": estimate.yaw_deg,
        "pitch": estimate.pitch_deg,
        "roll": estimate.roll_deg,
        "landmarks": estimate.landmarks_px.tolist(),
        "blendshapes": None if blendshapes is None else blendshapes.tolist(),
        "confidence": estimate.confidence,
        "nme": face.nme,
        "nme_without_jaw": face.nme_without_jaw,
        "angle_errors": face.errors,
    }
