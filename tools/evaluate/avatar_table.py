"""The tables of ``mien evaluate-models avatar``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

HEADINGS: Final[Mapping[str, Mapping[str, tuple[str, int]]]] = {
    "where the truth moves by more than 2 mm, mm from it": {
        "copy_mm": ("copied neutral", 2),
        "copy_clean_mm": ("copied, clean grid", 2),
        "ceiling_mm": ("autoencoded truth", 2),
        "guide_mm": ("statistical head", 2),
        "moved_mm": ("generated", 2),
        "grid_mm": ("true grid itself", 2),
        "seed_spread_mm": ("between seeds", 2),
    },
    "whole surfaces: autoencoded truth, autoencoded scan of the neutral, generated": {
        "colour_db": ("truth: colour PSNR, dB", 1),
        "iou": ("truth: IoU", 3),
        "to_truth_mm": ("truth: made to true, mm", 2),
        "from_truth_mm": ("truth: true to made, mm", 2),
        "chamfer_mm": ("truth: Chamfer, mm", 2),
        "scan_colour_db": ("scan: colour PSNR, dB", 1),
        "scan_iou": ("scan: IoU", 3),
        "scan_to_truth_mm": ("scan: made to true, mm", 2),
        "scan_from_truth_mm": ("scan: true to made, mm", 2),
        "scan_chamfer_mm": ("scan: Chamfer, mm", 2),
        "made_colour_db": ("generated: PSNR, dB", 1),
        "made_iou": ("generated: IoU", 3),
        "made_to_truth_mm": ("generated: to true, mm", 2),
        "made_from_truth_mm": ("generated: from true, mm", 2),
        "made_chamfer_mm": ("generated: Chamfer, mm", 2),
    },
    "identity: where the truth stays, and where neutral is asked for, mm": {
        "drift_mm": ("drift from the copy", 2),
        "guide_drift_mm": ("statistical head: drift", 2),
        "still_mm": ("generated: from the truth", 2),
        "still_copy_mm": ("copy from the truth", 2),
        "still_ceiling_mm": ("autoencoded truth", 2),
        "neutral_drift_mm": ("neutral: drift", 2),
        "neutral_copy_mm": ("neutral: copy from truth", 2),
        "neutral_mm": ("neutral: from the truth", 2),
    },
    "expression following: correlation with what was asked": {
        "following": ("generated", 3),
        "ceiling_following": ("autoencoded truth", 3),
        "truth_following": ("true renders", 3),
        "explained": ("explained: generated", 3),
        "ceiling_explained": ("explained: autoencoded", 3),
        "truth_explained": ("explained: true renders", 3),
        "agreement": ("as true renders: generated", 3),
        "ceiling_agreement": ("as true: autoencoded", 3),
        "found": ("share of faces found", 2),
    },
    "half a face scanned: where nothing was seen, mm from the truth": {
        "half_copy_mm": ("copied scan", 2),
        "half_guide_mm": ("statistical head", 2),
        "half_ceiling_mm": ("autoencoded truth", 2),
        "half_made_mm": ("generated", 2),
        "half_best_mm": ("best of the seeds", 2),
        "half_mean_mm": ("mean of the seeds", 2),
        "half_spread_mm": ("between seeds", 2),
    },
    "a scan with holes: the same": {
        "holes_copy_mm": ("copied scan", 2),
        "holes_guide_mm": ("statistical head", 2),
        "holes_ceiling_mm": ("autoencoded truth", 2),
        "holes_made_mm": ("generated", 2),
        "holes_best_mm": ("best of the seeds", 2),
        "holes_mean_mm": ("mean of the seeds", 2),
        "holes_spread_mm": ("between seeds", 2),
    },
    "time": {"seconds": ("s a sample", 2)},
}
"""Figures by section, with their headings and digits."""
RATIOS: Final[Mapping[str, tuple[str, str]]] = {
    "to_ceiling": ("moved_mm", "x autoencoded"),
    "to_copy": ("moved_mm", "x copied"),
    "following_share": ("following", "of true renders"),
    "ceiling_following_share": ("ceiling_following", "of true renders"),
    "drift_share": ("drift_mm", "x copy from the truth"),
    "neutral_drift_share": ("neutral_drift_mm", "x copy from the truth"),
}
"""After which figure a ratio stands, and its heading."""
SETS: Final[Mapping[str, str]] = {
    "made": "generated",
    "ceiling": "autoencoded",
    "copy": "copied",
}
GENERATION: Final[Mapping[str, tuple[str, int]]] = {
    "frechet": ("Frechet", 3),
    "coverage": ("coverage", 2),
    "diversity": ("diversity", 2),
}
SWEPT: Final = ("moved_mm", "following", "drift_mm", "seconds")
"""Figures of the table over steps."""
_FIRST, _WIDTH = 30, 18


def table(methods: Mapping[str, Any]) -> str:
    """A line a figure, a column a method; means over people with their deviations."""
    lines = [" " * _FIRST + "".join(f"{name:>{_WIDTH}}" for name in methods)]
    for section, headings in HEADINGS.items():
        found: list[str] = []
        for name, (heading, digits) in headings.items():
            found += _line(
                heading, [_cell(m["figures"].get(name), digits) for m in methods.values()]
            )
            for ratio, (after, said) in RATIOS.items():
                if after == name:
                    cells = [_number(m["ratios"].get(ratio), 2) for m in methods.values()]
                    found += _line(f"  {said}", cells)
        if found:
            lines += [section, *found]
    sets: list[str] = []
    for name, (heading, digits) in GENERATION.items():
        for what, said in SETS.items():
            figures = [m["generation"].get(what, {}).get(name) for m in methods.values()]
            sets += _line(f"{heading}, {said}", [_number(value, digits) for value in figures])
    if sets:
        lines += ["sets of pictures against true ones, in the regressor's features", *sets]
    return "\n".join(lines)


def steps_table(sweep: Mapping[int, Any]) -> str:
    """A line a number of steps of the sampler."""
    flat = {name: pair for part in HEADINGS.values() for name, pair in part.items()}
    names = ["moved, mm", "following", "drift, mm", "s a sample", "Frechet", "coverage"]
    lines = [f"{'steps':<{_FIRST}}" + "".join(f"{name:>{_WIDTH}}" for name in names)]
    for steps, found in sweep.items():
        cells = [_cell(found["figures"].get(name), flat[name][1]) for name in SWEPT]
        made = found["generation"].get("made", {})
        cells += [_number(made.get(name), GENERATION[name][1]) for name in ("frechet", "coverage")]
        lines.append(f"{steps:<{_FIRST}}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells))
    return "\n".join(lines)


def _line(heading: str, cells: list[str]) -> list[str]:
    """A line of the table, if any method has the figure."""
    if all(cell == "-" for cell in cells):
        return []
    return [f"  {heading:<{_FIRST - 2}}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)]


def _cell(spread: Mapping[str, float] | None, digits: int) -> str:
    if spread is None or not spread["count"]:
        return "-"
    text = f"{spread['mean']:.{digits}f}"
    return text + (f" +- {spread['deviation']:.{digits}f}" if spread["count"] > 1 else "")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
