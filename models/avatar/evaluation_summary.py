"""Figures of persons put together: means and their spread, ratios, sets of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from ..pifuhd.figures import spread
from .evaluation import Evaluated
from .generation_figures import generation_figures

RATIOS: Final[Mapping[str, tuple[str, str]]] = {
    "to_ceiling": ("moved_mm", "ceiling_mm"),
    "to_copy": ("moved_mm", "copy_mm"),
    "following_share": ("following", "truth_following"),
    "ceiling_following_share": ("ceiling_following", "truth_following"),
    "drift_share": ("drift_mm", "still_copy_mm"),
    "neutral_drift_share": ("neutral_drift_mm", "neutral_copy_mm"),
}
"""Of the means of two figures."""


def summarise(done: Sequence[Evaluated]) -> dict[str, Any]:
    """All persons together.

    Returns:
        ``methods``: by name, ``figures`` (mean, deviation, worst and count over persons),
        ``ratios`` of means, ``generation`` (figures of sets of pictures, by ``made``, ``ceiling``
        and ``copy``); ``sweep``: the same of the first method by its steps.
    """
    names = list(done[0].figures) if done else []
    truth = _rows([one.features["truth"]["made"] for one in done])
    methods = {}
    for name in names:
        shown = {
            what: _rows([one.features[name][what] for one in done])
            for what in ("made", "ceiling", "copy")
            if all(what in one.features[name] for one in done)
        }
        methods[name] = _together([one.figures[name] for one in done], shown, truth)
    sweep = {
        steps: _together(
            [one.sweep[steps] for one in done],
            {"made": _rows([one.sweep_features[steps] for one in done])},
            truth,
        )
        for steps in (done[0].sweep if done else ())
    }
    return {
        "persons": len(done),
        "expressions": sum(len(one.entries) for one in done),
        "methods": methods,
        "sweep": sweep,
    }


def _together(
    figures: Sequence[Mapping[str, float]],
    shown: Mapping[str, Float[np.ndarray, "_ d"]],
    truth: Float[np.ndarray, "_ d"],
) -> dict[str, Any]:
    known = list(dict.fromkeys(name for one in figures for name in one))
    columns = {name: np.array([one.get(name, np.nan) for one in figures]) for name in known}
    spreads = {name: asdict(spread(values)) for name, values in columns.items()}
    ratios = {
        name: spreads[above]["mean"] / spreads[below]["mean"]
        for name, (above, below) in RATIOS.items()
        if above in spreads and spreads.get(below, {}).get("mean")
    }
    enough = len(truth) > 1
    return {
        "figures": spreads,
        "ratios": ratios,
        "generation": {what: generation_figures(rows, truth) for what, rows in shown.items()}
        if enough
        else {},
    }


def _rows(parts: Sequence[Float[np.ndarray, "_ d"]]) -> Float[np.ndarray, "_ d"]:
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
