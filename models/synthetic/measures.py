"""Figures that only synthetic truth allows: shape, expression, blink, gaze, stated variance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from ..face.agreement import (
    angle_between_gazes_deg,
    confusion,
    correlations,
    normalised_error_squared,
    roc_area,
)
from ..face.morphable import FaceModel
from ..face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES
from ..makehuman.expression import gaze_degrees
from ..makehuman.head import align
from .groups import in_order

_SIDES: Final = ("Left", "Right")
_SEEN_YAW_DEG: Final = 45.0
"""Both eyes are seen up to here."""


def aligned_rms_mm(source: Float[np.ndarray, "N 3"], target: Float[np.ndarray, "N 3"]) -> float:
    """Rms distance of corresponding points after the best similarity, in the target's mm."""
    moved = align(source, target).apply(source)
    return float(np.sqrt(np.mean(np.sum((moved - target) ** 2, axis=1, dtype=np.float64))))


def shape_figures(
    model: FaceModel,
    predicted: Float[np.ndarray, "n 40"],
    true: Float[np.ndarray, "n 40"],
    person: Int[np.ndarray, " n"],
    neutral: Float[np.ndarray, "P N 3"],
) -> dict[str, Any]:
    """Scale-aligned 3D error of the neutral face, mm rms, of one picture and of a person's mean.

    Args:
        model: the face model.
        predicted: shape coefficients of n pictures, standard deviations.
        true: of the same.
        person: row of ``neutral`` of each picture.
        neutral: true neutral faces, mm.
    """
    faces = [neutral[row].astype(np.float64) for row in person]

    def decoded(shape: np.ndarray) -> Float64[np.ndarray, "N 3"]:
        return model.decode(shape.astype(np.float32)).astype(np.float64)

    shown, first = np.unique(person, return_index=True)
    mean_face = model.mean.astype(np.float64)
    averaged = [decoded(predicted[person == row].mean(axis=0)) for row in shown]
    return {
        "people": len(shown),
        "a_picture_mm": _mean_rms([decoded(row) for row in predicted], faces),
        "a_person_mm": _mean_rms(averaged, [faces[i] for i in first]),
        "floor_mean_face_mm": _mean_rms([mean_face] * len(first), [faces[i] for i in first]),
        "best_40_components_mm": _mean_rms(
            [decoded(true[i]) for i in first], [faces[i] for i in first]
        ),
        "coefficient_correlation": _mean(correlations(predicted, true)),
    }


def _mean_rms(sources: list[np.ndarray], targets: list[np.ndarray]) -> float:
    return float(np.mean([aligned_rms_mm(s, t) for s, t in zip(sources, targets, strict=True)]))


def _mean(values: np.ndarray) -> float | None:
    """Mean of what is known."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def expression_figures(
    predicted: Float[np.ndarray, "n 52"], true: Float[np.ndarray, "n 52"]
) -> dict[str, Any]:
    """Correlation and mean absolute error of every blendshape."""
    correlation = correlations(predicted, true)
    error = np.abs(predicted - true).mean(axis=0)
    deviation = true.std(axis=0)
    return {
        "mean_correlation": _mean(correlation),
        "mean_absolute_error": float(error.mean()),
        "blendshapes": {
            name: {
                "correlation": _number(correlation[i]),
                "mean_absolute_error": float(error[i]),
                "true_deviation": float(deviation[i]),
            }
            for i, name in enumerate(BLENDSHAPE_NAMES)
        },
    }


def component_figures(
    predicted: Float[np.ndarray, "n 10"], true: Float[np.ndarray, "n 10"]
) -> dict[str, Any]:
    """Correlation and mean absolute error (standard deviations) of the expression components."""
    return {
        "correlation": [_number(value) for value in correlations(predicted, true)],
        "mean_absolute_error": np.abs(predicted - true).mean(axis=0).tolist(),
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def blink_figures(
    predicted: Float[np.ndarray, "n 52"],
    true: Float[np.ndarray, "n 52"],
    yaw_deg: Float[np.ndarray, " n"],
) -> dict[str, Any]:
    """Closed at 0.5 or not, each eye of faces that show both; winks apart."""
    seen = np.abs(yaw_deg) <= _SEEN_YAW_DEG
    columns = [BLENDSHAPE_INDEX["eyeBlink" + side] for side in _SIDES]
    said, closure = predicted[seen][:, columns], true[seen][:, columns]
    figures = _decisions(said.ravel(), closure.ravel())
    wink = (closure.max(axis=1) >= 0.6) & (closure.min(axis=1) <= 0.3)
    right = ((said >= 0.5) == (closure >= 0.5)).all(axis=1)
    return figures | {
        "winks": int(wink.sum()),
        "winks_in_the_right_eye_only": float(right[wink].mean()) if wink.any() else None,
    }


def _decisions(said: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"]) -> dict[str, Any]:
    closed = true >= 0.5
    counts = confusion(said >= 0.5, closed)
    both = closed.any() and not closed.all()
    return asdict(counts) | {
        "recall": _number(counts.recall),
        "precision": _number(counts.precision),
        "false_alarm_rate": _number(counts.false_alarm_rate),
        "roc_area": roc_area(said, closed) if both else None,
    }


def gaze_figures(
    predicted: Float[np.ndarray, "n 52"],
    true: Float[np.ndarray, "n 52"],
    yaw_deg: Float[np.ndarray, " n"],
) -> dict[str, Any]:
    """Error of the direction of each open eye of faces that show both, degrees, from the head.

    The floor is what a constant, the mean direction, would get.
    """
    seen = np.abs(yaw_deg) <= _SEEN_YAW_DEG
    said, truth = [], []
    for side in _SIDES:
        is_open = seen & (true[:, BLENDSHAPE_INDEX["eyeBlink" + side]] < 0.4)
        for rows, out in ((predicted, said), (true, truth)):
            out += [gaze_degrees(row.astype(np.float32), side) for row in rows[is_open]]
    if not truth:
        return {"eyes": 0}
    estimate, target = np.array(said), np.array(truth)
    error = angle_between_gazes_deg(estimate, target)
    floor = angle_between_gazes_deg(np.broadcast_to(target.mean(axis=0), target.shape), target)
    sideways, up = correlations(estimate, target)
    return {
        "eyes": len(error),
        "mean_deg": float(error.mean()),
        "median_deg": float(np.median(error)),
        "floor_mean_deg": float(floor.mean()),
        "correlation_sideways": _number(sideways),
        "correlation_up": _number(up),
    }


def presence_figures(
    presence: Float[np.ndarray, " n"], face: Bool[np.ndarray, " n"], threshold: float = 0.5
) -> dict[str, Any]:
    """Faces and non-faces told apart."""
    counts = confusion(presence >= threshold, face)
    return asdict(counts) | {
        "roc_area": roc_area(presence, face) if face.any() and not face.all() else None
    }


def variance_figures(
    error: Float[np.ndarray, "n 62"], variance: Float[np.ndarray, "n 62"]
) -> dict[str, Any]:
    """Normalised error squared of the parameters, 1 where the stated variances are true."""
    parts = {
        "matrix": [0, 1, 2, 4, 5, 6, 8, 9, 10],
        "shift": [3, 7],
        "shape": list(range(12, 52)),
        "expression": list(range(52, 62)),
    }
    return {
        name: float(normalised_error_squared(error[:, columns], variance[:, columns]).mean())
        for name, columns in parts.items()
    }


def group_means(
    values: Float[np.ndarray, " n"], groups: Mapping[str, np.ndarray]
) -> dict[str, dict[str, dict[str, float]]]:
    """Mean, standard error and count of a measure in every group of every division."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for division, group in groups.items():
        table[division] = {}
        for name in in_order(group.tolist()):
            inside = values[group == name]
            table[division][name] = {
                "mean": float(inside.mean()),
                "standard_error": float(inside.std() / np.sqrt(len(inside))),
                "count": len(inside),
            }
    return table
