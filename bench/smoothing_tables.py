"""Tables and curves of the smoothing bench: what each method at each setting came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from smoothing_measures import UNITS, Figures, Quantity
from smoothing_picture import Line, Panel, front

PICTURED: Final = ("rotation", "translation", "landmarks", "blendshapes")
MEASURES: Final = ("jitter", "wobble")
OWN: Final = ("raw", "mien", "mien, offline")


@dataclass(frozen=True)
class Run:
    """A method at one setting, measured."""

    family: str
    setting: str
    figures: Figures

    def quantity(self, name: str) -> Quantity | None:
        return self.figures.quantities.get(name)

    def delay_ms(self, name: str) -> float:
        """Lag, and the wait for frames to come."""
        quantity = self.quantity(name)
        return float("nan") if quantity is None else quantity.lag_ms + self.figures.wait_ms


def quantity_lines(name: str, runs: Sequence[Run]) -> list[str]:
    """Raw, moving averages, and each of mien's strengths over its rivals that lag no more."""
    unit = f", {UNITS[name]}" if UNITS[name] else ""
    head = ["rms", "fast", "jitter", "wobble", "lag ms", "more ms"]
    if name == "lids":
        head.append("blink peak kept (10th percentile)")
    lines = [f"## {name.capitalize()}{unit}", "", f"| method | setting | {' | '.join(head)} |"]
    lines.append("|---|---|" + "---:|" * len(head))
    reference = runs[0].delay_ms(name)

    def add(run: Run, emphasis: str = "") -> None:
        q = run.quantity(name)
        if q is None:
            return
        cells = [f"{v:.4g}" for v in (q.rms, q.fast, q.jitter, q.wobble)]
        cells += [f"{run.delay_ms(name):.1f}", f"{run.delay_ms(name) - reference:.1f}"]
        if name == "lids":
            kept, least = run.figures.blinks
            cells.append(f"{kept:.2f} ({least:.2f})")
        title = f"{emphasis}{run.family}{emphasis}"
        lines.append(f"| {title} | {run.setting} | {' | '.join(cells)} |".replace("nan", "-"))

    for family in ("raw", "moving average", "mien, offline"):
        for run in runs:
            if run.family == family:
                add(run)
    for own in [run for run in runs if run.family == "mien"]:
        add(own, "**")
        for family in ("One Euro", "One Euro on pixels", "plain Kalman"):
            rival = steadiest(name, family, runs, own.delay_ms(name))
            if rival is not None:
                add(rival)
    return lines


def steadiest(name: str, family: str, runs: Sequence[Run], most_ms: float) -> Run | None:
    """The setting of a family with the least jitter that lags no more."""
    ready = [
        (quantity.jitter, i)
        for i, run in enumerate(runs)
        if run.family == family
        and (quantity := run.quantity(name)) is not None
        and run.delay_ms(name) <= most_ms
    ]
    return runs[min(ready)[1]] if ready else None


def honesty_lines(runs: Sequence[Run]) -> list[str]:
    lines = [
        "## Stated variance",
        "",
        "Normalised error squared per degree of freedom, 1 where it is true; the unknown size of "
        "the head is part of the position's.",
        "",
        "| method | rotation | translation |",
        "|---|---:|---:|",
    ]
    for run in runs:
        turn, shift = run.figures.nees
        if np.isfinite(turn):
            lines.append(f"| {run.family} {run.setting} | {turn:.2f} | {shift:.2f} |")
    return lines


def dominance_lines(runs: Sequence[Run]) -> list[str]:
    """Which settings of the rivals are better in both lag and steadiness than a strength."""
    rivals = ("One Euro", "One Euro on pixels", "plain Kalman", "moving average")
    lines = [
        "## Is any setting of a rival better in both lag and steadiness?",
        "",
        "Settings that lag less and are steadier than the strength, of all that were swept; in "
        "brackets by how much the best of them has less jitter (wobble).",
        "",
        f"| quantity | mien | measure | {' | '.join(rivals)} |",
        "|---|---|---|" + "---|" * len(rivals),
    ]
    beaten: list[str] = []
    for name in UNITS:
        for own in [run for run in runs if run.family == "mien"]:
            for measure in MEASURES:
                cells = []
                for family in rivals:
                    swept = [r for r in runs if r.family == family and r.quantity(name)]
                    ratios = better(name, own, swept, measure)
                    if not swept:
                        cells.append("-")
                    elif not ratios:
                        cells.append("none")
                    else:
                        cells.append(f"{len(ratios)} of {len(swept)} ({1 - min(ratios):.0%})")
                        if family == "One Euro":
                            beaten.append(f"{name} {own.setting} ({measure})")
                lines.append(f"| {name} | {own.setting} | {measure} | {' | '.join(cells)} |")
    verdict = (
        "No setting of One Euro is better in both lag and steadiness than any of mien's strengths."
        if not beaten
        else "One Euro is better in both at some setting than: " + "; ".join(beaten) + "."
    )
    return [*lines, "", verdict]


def better(name: str, own: Run, swept: Sequence[Run], measure: str) -> list[float]:
    """Steadiness over our own, of all settings that beat it in both."""
    mine = own.quantity(name)
    assert mine is not None
    found = []
    for run in swept:
        theirs = run.quantity(name)
        assert theirs is not None
        ratio = getattr(theirs, measure) / max(getattr(mine, measure), 1e-12)
        if run.delay_ms(name) < own.delay_ms(name) and ratio < 1.0:
            found.append(ratio)
    return found


def run_figures(runs: Sequence[Run]) -> dict[str, Any]:
    """Of raw and of mien's strengths, on line and off; beside the former, One Euro's."""
    own = {f"{r.family} {r.setting}".strip(): r for r in runs if r.family in OWN}
    figures: dict[str, Any] = {name: {} for name in UNITS}
    for name, found in figures.items():
        swept = [run for run in runs if run.family == "One Euro" and run.quantity(name)]
        for title, run in own.items():
            quantity = run.quantity(name)
            if quantity is None:
                continue
            found[title] = {key: getattr(quantity, key) for key in ("fast", "jitter", "wobble")}
            found[title]["delay_ms"] = run.delay_ms(name)
            if run.family == "mien":
                rival = steadiest(name, "One Euro", runs, run.delay_ms(name))
                theirs = rival.quantity(name) if rival else None
                found[title] |= {
                    "one_euro_jitter": theirs.jitter if theirs else None,
                    "one_euro_better": len(better(name, run, swept, "jitter")),
                    "one_euro_swept": len(swept),
                }
    figures["blinks"] = {title: run.figures.blinks for title, run in own.items()}
    figures["nees"] = {title: run.figures.nees for title, run in own.items()}
    return figures


def panels(runs: Sequence[Run]) -> list[Panel]:
    """Each rival's settings that none of its own beats in both."""
    found = []
    for name in PICTURED:
        lines = []
        for family in dict.fromkeys(run.family for run in runs):
            own = [(run, q) for run in runs if run.family == family and (q := run.quantity(name))]
            points = [(run.delay_ms(name), q.jitter) for run, q in own]
            if not points:
                continue
            labelled = family in ("mien", "mien, offline", "raw")
            order = list(range(len(points))) if labelled else front(points)
            names = [own[i][0].setting or own[i][0].family for i in order] if labelled else []
            lines.append(Line(family, tuple(points[i] for i in order), tuple(names)))
        unit = f", {UNITS[name]}" if UNITS[name] else ""
        found.append(Panel(f"{name}: jitter on still stretches{unit}", tuple(lines)))
    return found
