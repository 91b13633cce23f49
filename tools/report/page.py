"""The page of one video: facts, curves, pictures and settings in one HTML file."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np

from ...stream.digest import SERIES, Digest, FaceDigest, turn_deviation_deg
from ..annotate.annotated import Annotation
from . import assets as report_assets
from .pictures import Shot

FACES: Final = 12
"""So many faces have curves: the ones seen most."""
_ANGLES: Final = ("yaw", "pitch", "roll")
_NO_ANGLE: Final = -32768
_NO_UNIT: Final = 255
_U4: Final = 0xFFFFFFFF
_STRETCHES: Final = 12
# Whatever a name holds, the page loads nothing and sends nothing.
_POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


def asset(name: str) -> str:
    """The text of a style sheet or script."""
    return resources.files(report_assets).joinpath(name).read_text(encoding="utf-8")


def document(title: str, body: str, scripts: Iterable[str], data: object = None) -> str:
    """A whole HTML page that needs no other file.

    Args:
        title: plain text.
        body: HTML.
        scripts: names of assets.
        data: plain values for the scripts, under the id ``data``; None: none.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(title)}</title>",
        f"<style>\n{asset('report.css')}</style></head>",
        f"<body><main>\n{body}\n</main>",
    ]
    if data is not None:
        packed = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
        parts.append(f'<script type="application/json" id="data">{packed}</script>')
    parts += [f"<script>\n{asset(name)}</script>" for name in scripts]
    return "\n".join([*parts, "</body></html>", ""])


def text(value: object) -> str:
    """Any text as HTML; what is not Unicode in a file name becomes a replacement sign."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def clock(seconds: float, digits: int = 0) -> str:
    """Hours (where there are any), minutes and seconds."""
    scale = 10**digits
    ticks = round(seconds * scale)
    whole, part = divmod(ticks, scale)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{rest:02d}" + (f".{part:0{digits}d}" if digits else "")


def video_page(
    annotation: Annotation, facts: Digest, shots: Sequence[Shot], missing: str, home: str
) -> str:
    """The page of one video.

    Args:
        annotation: what it shows.
        facts: of its rows.
        shots: moments with their pictures.
        missing: why there are no pictures; "" where there are.
        home: where the index lies, as a link.
    """
    title = annotation.source or annotation.name
    drawn = facts.frames > 1 and bool(facts.bins)
    body = [
        f'<div class="crumb"><a href="{text(home)}">All videos</a></div>',
        f"<h1>{text(title)}</h1>",
        f'<div class="sub">{text(_subtitle(annotation, facts))}</div>',
        _facts(annotation, facts),
        _ending(annotation),
    ]
    if drawn:
        body += [
            "<h2>Over time</h2>",
            '<div class="tools"><span id="faces"></span>',
            '<button class="plain" type="button" id="reset" hidden>Show all</button></div>',
            '<div class="plots" id="plots"></div>',
            f'<p class="hint">{_curves_note(facts, pictures=any(shot.jpeg for shot in shots))}</p>',
        ]
    body += [_pictures(shots, missing), '<div class="split">']
    body += [_lost_table(facts), _faces_table(facts), "</div>", _settings(annotation)]
    scripts = [*(["curves.js"] if drawn else []), "pictures.js"]
    return document(title, "\n".join(filter(None, body)), scripts, _data(facts, shots))


def _subtitle(annotation: Annotation, facts: Digest) -> str:
    known = annotation.source and PurePosixPath(annotation.source).stem == annotation.name
    parts = [] if known else [annotation.name]
    if annotation.size is not None:
        parts.append("{} × {} px".format(*annotation.size))
    if annotation.rate is not None:
        parts.append(f"{annotation.rate:.4g} frames a second")
    return " · ".join([*parts, *([f"{facts.frames} frames"] if facts.frames != 1 else [])])


def _facts(annotation: Annotation, facts: Digest) -> str:
    sidecar = annotation.sidecar
    share = f"{100 * facts.share:.1f} %"
    tiles = [
        ("Frames with a face", share, f"{facts.seen} of {facts.frames}", facts.share < 0.5),
        ("Length", clock(facts.seconds, 1), "", False),
        ("Blinks a minute", _known(facts.blinks_per_minute, ".1f"), "", False),
        ("Stretches without a face", str(facts.n_lost), f"{facts.lost_s:.1f} s", False),
        ("Least confidence", _known(facts.worst_confidence, ".2f"), "", False),
        ("Faces", str(len(facts.faces)), "", False),
    ]
    if sidecar is not None:
        errors = sidecar.decode_errors
        tiles.append(("Decoding errors", str(errors), "", errors > 0))
        tiles.append(("Stopped at", _STOPS.get(sidecar.stopped, sidecar.stopped), "", False))
    if facts.frames <= 1:
        of_films = ("Length", "Blinks a minute", "Stretches without a face")
        tiles = [tile for tile in tiles if tile[0] not in of_films]
    return tiled(tiles)


def tiled(tiles: Sequence[tuple[str, str, str, bool]]) -> str:
    """Facts in a frame: name, value, what more there is to say, and whether it is odd."""
    shown = [
        f"<div{' class=warn' if odd else ''}><dt>{text(name)}</dt><dd>{text(value)}"
        f"{f'<small>{text(more)}</small>' if more else ''}</dd></div>"
        for name, value, more, odd in tiles
    ]
    columns = len(tiles) if len(tiles) <= 6 else 4
    return f'<dl class="facts" style="--columns: {columns}">{"".join(shown)}</dl>'


_STOPS: Final = {"end": "the end", "truncated": "a break"}


def _ending(annotation: Annotation) -> str:
    sidecar = annotation.sidecar
    if sidecar is None:
        return (
            '<p class="note">There is no sidecar beside the rows: counts are those of the rows.</p>'
        )
    words = {
        "truncated": "The video broke off: what came before is shown.",
        "interrupted": "The annotation was interrupted: what came before is shown.",
        "failed": "The annotation failed: what came before is shown.",
    }.get(sidecar.stopped)
    return "" if words is None else f'<p class="note">{words}</p>'


def _curves_note(facts: Digest, *, pictures: bool) -> str:
    notes = ["Drag to zoom, double-click to see all."]
    if facts.lost:
        notes.append("Tinted: no face was seen.")
    if pictures:
        notes.append("Triangles: the pictures below.")
    if facts.width > 1:
        notes.append(f"Least and greatest values of each {facts.width} frames.")
    if len(facts.faces) > FACES:
        notes.append(f"The {FACES} faces seen most, of {len(facts.faces)}.")
    return " ".join(notes)


def _pictures(shots: Sequence[Shot], missing: str) -> str:
    if missing:
        return f'<h2>Pictures</h2><p class="note">No pictures: {text(missing)}.</p>'
    pictures = [_figure(shot) for shot in shots if shot.jpeg]
    if not pictures:
        return ""
    one = len(pictures) == 1
    kind, title = ("shots one", "Picture") if one else ("shots", "Worst and best moments")
    return f'<h2>{title}</h2><div class="{kind}">{"".join(pictures)}</div>'


def _figure(shot: Shot) -> str:
    moment = shot.moment
    picture = base64.b64encode(shot.jpeg).decode()
    lines = []
    for row in shot.rows[:3]:
        surety = "" if row.confidence is None else f" · confidence {row.confidence:.2f}"
        sigma_deg = turn_deviation_deg(row)
        surety = ("" if sigma_deg is None else f" · ± {sigma_deg:.1f}°") + surety
        state = "" if row.observed else " · predicted"
        lines.append(
            f"yaw {row.yaw:z.0f}°, pitch {row.pitch:z.0f}°, roll {row.roll:z.0f}°<br>"
            f"face {row.track}{surety}{state}"
        )
    if len(shot.rows) > 3:
        lines.append(f"and {len(shot.rows) - 3} more faces")
    where = f"{clock(moment.t_s, 2)}</strong> · frame {moment.frame}"
    return (
        f'<figure data-t="{moment.t_s:.4f}">'
        f'<img src="data:image/jpeg;base64,{picture}" alt="frame {moment.frame}">'
        f'<figcaption><span class="tag {moment.kind}">{text(moment.note)}</span><strong>{where}'
        f"{''.join(f'<br>{line}' for line in lines)}</figcaption></figure>"
    )


def _lost_table(facts: Digest) -> str:
    if not facts.lost or facts.frames <= 1:
        return ""
    longest = sorted(facts.lost, key=lambda s: (-s.seconds, s.first))[:_STRETCHES]
    rows = [
        f"<tr><td>{clock(s.begin_s, 2)}</td><td>{s.seconds:.2f} s</td>"
        f"<td>{s.first} to {s.last}</td></tr>"
        for s in sorted(longest, key=lambda s: s.first)
    ]
    title = "Stretches without a face"
    if facts.n_lost > len(rows):
        title += f", the {len(rows)} longest of {facts.n_lost}"
    head = "<tr><th>from</th><th>for</th><th>frames</th></tr>"
    return _table(title, head, rows)


def _faces_table(facts: Digest) -> str:
    if not facts.faces or facts.frames <= 1:
        return ""
    rows = []
    for face in _most_seen(facts):
        low, high = _extent(face)
        rows.append(
            f"<tr><td>face {face.track}</td><td>{clock(face.first_s, 1)}</td>"
            f"<td>{clock(face.last_s, 1)}</td><td>{face.observed}</td><td>{face.blinks}</td>"
            + "".join(f"<td>{a:z.0f}° to {b:z.0f}°</td>" for a, b in zip(low, high, strict=True))
            + "</tr>"
        )
    names = ("", "from", "to", "frames", "blinks", *_ANGLES)
    head = f"<tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>"
    title = "Faces" if len(facts.faces) <= FACES else f"The {FACES} faces seen most"
    return _table(title, head, rows)


def _table(title: str, head: str, rows: Sequence[str]) -> str:
    body = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<section><h2>{text(title)}</h2><div class="scroll">{body}</div></section>'


def _extent(face: FaceDigest) -> tuple[list[float], list[float]]:
    low = np.min([bin_.low[:3] for bin_ in face.curves], axis=0)
    high = np.max([bin_.high[:3] for bin_ in face.curves], axis=0)
    return low.tolist(), high.tolist()


def _settings(annotation: Annotation) -> str:
    values: dict[str, object] = {}
    _flatten("", annotation.options, values)
    if annotation.camera_matrix is not None:
        (fx, _, cx), (_, fy, cy), _ = annotation.camera_matrix
        values["camera matrix"] = f"fx {fx:.2f}, fy {fy:.2f}, cx {cx:.2f}, cy {cy:.2f} px"
    values["bundle hash"] = annotation.bundle_hash
    values["rows"] = annotation.rows_path.name
    lines = [
        f"<dt>{text(name)}</dt><dd>{text('none' if value is None else value)}</dd>"
        for name, value in values.items()
    ]
    return f'<h2>Settings</h2><dl class="settings">{"".join(lines)}</dl>'


def _flatten(before: str, values: Mapping[str, Any], into: dict[str, object]) -> None:
    for name, value in values.items():
        label = f"{before}{str(name).replace('_', ' ')}"
        if isinstance(value, Mapping):
            _flatten(f"{label}: ", value, into)
        elif isinstance(value, list):
            into[label] = ", ".join(map(str, value))
        elif isinstance(value, bool):
            into[label] = "yes" if value else "no"
        else:
            into[label] = value


def _most_seen(facts: Digest) -> list[FaceDigest]:
    """The faces that have curves, by number."""
    most = sorted(facts.faces.values(), key=lambda face: (-face.observed, face.track))[:FACES]
    return sorted(most, key=lambda face: face.track)


def _data(facts: Digest, shots: Sequence[Shot]) -> dict[str, Any] | None:
    """What the curves are drawn from; numbers as base64 of little-endian arrays."""
    if not facts.bins:
        return None
    place = {bin_.index: i for i, bin_ in enumerate(facts.bins)}
    return {
        "seconds": facts.seconds,
        "bin_seconds": facts.width / facts.rate,
        "times": _pack(np.array([bin_.t_s for bin_ in facts.bins], dtype="<f8")),
        "lost": [[round(s.begin_s, 4), round(s.end_s, 4)] for s in facts.lost],
        "shots": [{"t": shot.moment.t_s, "kind": shot.moment.kind} for shot in shots if shot.jpeg],
        "faces": [_face_data(face, place) for face in _most_seen(facts)],
    }


def _face_data(face: FaceDigest, place: Mapping[int, int]) -> dict[str, Any]:
    low = np.array([bin_.low for bin_ in face.curves], dtype=np.float64)
    high = np.array([bin_.high for bin_ in face.curves], dtype=np.float64)
    curves = {
        name: [_quantised(name, low[:, i]), _quantised(name, high[:, i])]
        for i, name in enumerate(SERIES)
        if not np.isnan(low[:, i]).all()
    }
    return {
        "label": f"face {face.track}",
        # Only neighbours are told from others by these: the lowest bits do.
        "bins": _pack(np.array([bin_.index & _U4 for bin_ in face.curves], dtype="<u4")),
        "at": _pack(np.array([place[bin_.index] for bin_ in face.curves], dtype="<u4")),
        "seen": _pack(np.array([bin_.observed > 0 for bin_ in face.curves], dtype="u1")),
        "curves": curves,
    }


def _quantised(name: str, values: np.ndarray) -> str:
    absent = np.isnan(values)
    filled = np.where(absent, 0.0, values)
    if name in _ANGLES:
        return _pack(np.where(absent, _NO_ANGLE, np.rint(filled * 100)).astype("<i2"))
    return _pack(np.where(absent, _NO_UNIT, np.rint(np.clip(filled, 0, 1) * 250)).astype("u1"))


def _pack(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _known(value: float | None, form: str) -> str:
    return "–" if value is None or math.isnan(value) else format(value, form)
