"""The page of ``summary.py``, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from summary_figures import Figure
from summary_questions import SECTIONS, Absent, Outcome

HEAD = (
    "| question | ratio | of | goal | met | absolute | command |",
    "|---|---:|---|---|---|---|---|",
)
INTRODUCTION = (
    "The figures are ratios, of two things measured in one run where both could be: absolutes are "
    "of this machine. *Recorded*: the peer was measured once, on these very pictures. Runs are "
    "short here, and films few, so a goal may be met or missed by chance: [live.md](live.md) and "
    "[smoothing.md](smoothing.md) have long ones, and [README.md](README.md) says what each script "
    "asks."
)


@dataclass(frozen=True)
class About:
    """What stands at the head of the page.

    Attributes:
        command: that made it.
        date: of the day.
        machine: processor, cores, memory.
        versions: by name.
        minutes: that it took.
        busy: how busy the machine was, sentences.
        peers: name, and which one it was, or why there was none.
    """

    command: str
    date: str
    machine: str
    versions: dict[str, str]
    minutes: float
    busy: str
    peers: dict[str, str] = field(default_factory=dict)


def ratio_text(value: float) -> str:
    """Three figures, never an exponent."""
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


def row(figure: Figure, command: str) -> str:
    """A line of a table."""
    goal = met = "-"
    if figure.goal is not None:
        goal = figure.goal.text
        if figure.ratio is not None:
            met = "yes" if figure.goal.met(figure.ratio) else "**no**"
    ratio = "not measured" if figure.ratio is None else ratio_text(figure.ratio)
    cells = (figure.what, ratio, figure.of, goal, met, figure.absolute, f"`{command}`")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def section(name: str, outcomes: Sequence[Outcome], absent: Sequence[Absent]) -> list[str]:
    """Its table, and what is not in it."""
    own = [one for one in outcomes if one.question.section == name]
    rows = [row(figure, one.question.shown) for one in own for figure in one.figures]
    lines = ["", f"## {name}", ""]
    if rows:
        lines += [*HEAD, *rows, ""]
    lines += [f"- Not measured: {one.what}: {one.why}." for one in absent if one.section == name]
    lines += [f"- Failed: `{one.question.shown}`." for one in own if one.failed is not None]
    return lines


def failures(outcomes: Sequence[Outcome]) -> list[str]:
    """Each with its last line."""
    lines = [
        f"- `{one.question.shown}` after {one.seconds:.0f} s: {one.failed}"
        for one in outcomes
        if one.failed is not None
    ]
    return ["", "## What failed", "", *(lines or ["Nothing."])]


def verdict(outcomes: Sequence[Outcome]) -> str:
    """How many goals are met."""
    found = [
        figure.goal.met(figure.ratio)
        for one in outcomes
        for figure in one.figures
        if figure.goal is not None and figure.ratio is not None
    ]
    failed = sum(one.failed is not None for one in outcomes)
    return (
        f"Of {len(found)} figures with a goal {sum(found)} meet it; {failed} of {len(outcomes)} "
        "commands failed."
    )


def page(about: About, outcomes: Sequence[Outcome], absent: Sequence[Absent]) -> str:
    """All of it."""
    versions = ", ".join(f"{name} {version}" for name, version in about.versions.items())
    lines = [
        "# Bench summary",
        "",
        f"`{about.command}`, {about.date}, {about.minutes:.1f} minutes. {about.machine}; "
        f"{versions}. {about.busy}",
        "",
        verdict(outcomes),
        "",
        INTRODUCTION,
    ]
    for name in SECTIONS:
        lines += section(name, outcomes, absent)
    lines += ["", "## Peers", ""]
    lines += [f"- {name}: {text}" for name, text in about.peers.items()]
    lines += failures(outcomes)
    text = "\n".join([*lines, ""])
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text
