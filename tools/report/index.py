"""The index of a report: a table of all videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from ...stream.digest import Digest
from .page import clock, document, text, tiled

CELLS: Final = 75
"""Parts of the strip that shows where faces were seen."""
_WIDTH: Final = 150
_HEIGHT: Final = 14


@dataclass(frozen=True)
class Entry:
    """A line of the index.

    Attributes:
        name: of the annotation, with ``/``.
        page: place of its page below the report's folder; "" where there is none.
        problem: why there is none.
        frames: of the film.
        seen: of these, the ones with an observed face.
        seconds: how long the film is.
        blinks_per_minute: None where it is unknown.
        n_lost: stretches without a face.
        lost_s: how long these are together.
        worst_confidence: None where it is unknown.
        decode_errors: None where it is unknown.
        stopped: as in the sidecar; "" where there is none.
        coverage: share of frames with a face, in :data:`CELLS` parts of the film.
    """

    name: str
    page: str = ""
    problem: str = ""
    frames: int = 0
    seen: int = 0
    seconds: float = 0.0
    blinks_per_minute: float | None = None
    n_lost: int = 0
    lost_s: float = 0.0
    worst_confidence: float | None = None
    decode_errors: int | None = None
    stopped: str = ""
    coverage: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, name: str, page: str, facts: Digest, decode_errors: int | None, stopped: str
    ) -> Entry:
        """The line of a film that has a page."""
        return cls(
            name=name,
            page=page,
            frames=facts.frames,
            seen=facts.seen,
            seconds=facts.seconds,
            blinks_per_minute=facts.blinks_per_minute,
            n_lost=facts.n_lost,
            lost_s=facts.lost_s,
            worst_confidence=facts.worst_confidence,
            decode_errors=decode_errors,
            stopped=stopped,
            coverage=tuple(round(_HEIGHT * share) for share in facts.coverage(CELLS)),
        )

    @property
    def share(self) -> float:
        """Of the frames, those with an observed face."""
        return self.seen / self.frames if self.frames else 0.0


_COLUMNS: Final = (
    ("video", "text"),
    ("length", "number"),
    ("frames", "number"),
    ("with a face", "number"),
    ("where", ""),
    ("blinks / min", "number"),
    ("times lost", "number"),
    ("lost for, s", "number"),
    ("least confidence", "number"),
    ("errors", "number"),
    ("stopped", "text"),
)


def index_page(entries: Sequence[Entry], title: str) -> str:
    """The page with the table."""
    frames, seen = sum(e.frames for e in entries), sum(e.seen for e in entries)
    seconds = sum(entry.seconds for entry in entries)
    failed = sum(bool(entry.problem) for entry in entries)
    low = sum(not entry.problem and entry.share < 0.5 for entry in entries)
    broken = sum(entry.stopped not in ("end", "") for entry in entries)
    share = f"{100 * seen / frames:.1f} %" if frames else "–"
    tiles = [
        ("Videos", str(len(entries)), "", False),
        ("Length", clock(seconds), "", False),
        ("Frames with a face", share, "", False),
        ("With a face in under half", str(low), "", low > 0),
        ("Broke off", str(broken), "", broken > 0),
    ]
    if failed:
        tiles.append(("Cannot be read", str(failed), "", True))
    head = "".join(
        f'<th scope="col" data-kind="{kind}"><button type="button">{name}</button></th>'
        if kind
        else f'<th scope="col">{name}</th>'
        for name, kind in _COLUMNS
    )
    body = "\n".join(_line(entry) for entry in entries)
    return document(
        title,
        f'<div class="crumb">Report of an annotation</div><h1>{text(title)}</h1>'
        f"{tiled(tiles)}"
        '<h2>Videos</h2><div class="tools">'
        '<input type="search" id="filter" placeholder="Filter by name" aria-label="Filter by name">'
        '<span class="hint">Click a heading to sort.</span></div>'
        f'<div class="scroll"><table class="videos"><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>",
        ["index.js"],
    )


def _line(entry: Entry) -> str:
    if entry.problem:
        span = len(_COLUMNS) - 1
        # Empty cells, so that the columns can be sorted; the reason stands below the name.
        empty = '<td data-key=""></td>' * span
        reason = f'<br><span class="odd">{text(entry.problem)}</span>'
        return f"<tr><td>{text(entry.name)}{reason}</td>{empty}</tr>"
    link = quote(os.fsencode(entry.page))
    stopped = {"end": "the end", "truncated": "a break"}.get(entry.stopped, entry.stopped)
    odd_end = entry.stopped not in ("end", "")
    cells = [
        f'<td><a href="{link}">{text(entry.name)}</a></td>',
        _number(entry.seconds, clock(entry.seconds)),
        _number(entry.frames, str(entry.frames)),
        _number(entry.share, f"{100 * entry.share:.1f} %", odd=entry.share < 0.5),
        f"<td>{_strip(entry)}</td>",
        _number(entry.blinks_per_minute, f"{entry.blinks_per_minute or 0:.1f}"),
        _number(entry.n_lost, str(entry.n_lost)),
        _number(entry.lost_s, f"{entry.lost_s:.1f}"),
        _number(entry.worst_confidence, f"{entry.worst_confidence or 0:.2f}"),
        _number(entry.decode_errors, str(entry.decode_errors), odd=bool(entry.decode_errors)),
        f"<td{' class=odd' if odd_end else ''}>{text(stopped)}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _number(value: float | None, shown: str, *, odd: bool = False) -> str:
    if value is None:
        return '<td data-key="">–</td>'
    return f'<td data-key="{value:.6g}"{" class=odd" if odd else ""}>{shown}</td>'


def _strip(entry: Entry) -> str:
    """Where in the film faces were seen, as a small picture: equal neighbours are one bar."""
    bars, start = [], 0
    cells = entry.coverage
    for i in range(1, len(cells) + 1):
        if i == len(cells) or cells[i] != cells[start]:
            if cells[start]:
                x, width = start * _WIDTH // CELLS, (i - start) * _WIDTH // CELLS
                bars.append(f"M{x} {_HEIGHT}v-{cells[start]}h{width}v{cells[start]}z")
            start = i
    return (
        f'<svg class="strip" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{100 * entry.share:.0f} % of the frames have a face">'
        f'<rect class="back" width="{_WIDTH}" height="{_HEIGHT}"/><path d="{"".join(bars)}"/></svg>'
    )
