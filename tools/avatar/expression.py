"""Expressions that ``mien avatar`` is asked for: annotations, vectors in files, sliders."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64

from ...models.documents import json_of
from ...models.errors import InputError
from ...models.face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES, N_BLENDSHAPES, N_EXPRESSION

Kind = Literal["blendshapes", "expression", "captions"]
LENGTHS: Final[dict[int, Kind]] = {N_BLENDSHAPES: "blendshapes", N_EXPRESSION: "expression"}
_ROWS: Final = (".parquet", ".jsonl")


@dataclass(frozen=True)
class Expressions:
    """A sequence of expressions, or one; or of people who are described.

    Attributes:
        vectors: (F, 52) blendshapes, (F, 10) components, or (F, W) words of captions.
        kind: which of these.
        times_s: (F,) from the first on; None for vectors without times.
        frames: (F,) number of each in its source.
        rotations: (F, 3, 3) camera_from_head where a head was tracked; None else.
        annotation: the rows they came from; None else.
    """

    vectors: Float32[np.ndarray, "F n"]
    kind: Kind
    times_s: Float64[np.ndarray, " F"] | None
    frames: Int64[np.ndarray, " F"]
    rotations: Float64[np.ndarray, "F 3 3"] | None = None
    annotation: Path | None = None

    def every(self, step: int) -> Expressions:
        """Each ``step``-th of them."""
        times, turned = self.times_s, self.rotations
        return Expressions(
            self.vectors[::step],
            self.kind,
            None if times is None else times[::step],
            self.frames[::step],
            None if turned is None else turned[::step],
            self.annotation,
        )


def described(text: str, count: int) -> Expressions:
    """So many people of one description, a second each.

    Raises:
        InputError: the text has words that are not in the vocabulary, or contradicts itself.
    """
    from ...models.avatar.words import caption_vector

    vectors = np.tile(caption_vector(text), (count, 1))
    return Expressions(vectors, "captions", np.arange(count, dtype=np.float64), np.arange(count))


def read_expressions(text: str, *, track: int | None = None) -> Expressions:
    """What ``--expression`` says.

    Args:
        text: an annotation (.parquet, .jsonl, or .csv with its columns), a file with vectors
            (.json: a list of numbers, a list of such, or an object name to value; .csv: a row a
            vector), 52 or 10 numbers separated by commas, or sliders
            ``jawOpen=0.5,mouthSmile=0.8`` (a name without Left or Right means both).
        track: face of an annotation; None: the one that is seen in most frames.

    Raises:
        InputError: nothing of that, a vector of another length, an unknown name, values that are
            not finite.
    """
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix in _ROWS or (suffix == ".csv" and _is_annotation(path)):
        return _annotated(path, track)
    if suffix in (".json", ".csv"):
        return _of_rows(_json(path) if suffix == ".json" else _csv(path), str(path))
    if "=" in text:
        return _of_rows(_sliders(text)[None], "--expression")
    words = [word.strip() for word in text.split(",")]
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise InputError(
            f"--expression {text!r:.80}: expected a .parquet, .jsonl, .json or .csv file, "
            f"{N_BLENDSHAPES} or {N_EXPRESSION} numbers, or sliders such as jawOpen=0.5"
        ) from error
    return _of_rows(np.array([values], np.float64), "--expression")


def _of_rows(rows: np.ndarray, where: str) -> Expressions:
    """Vectors as expressions."""
    kind = LENGTHS.get(rows.shape[1]) if rows.ndim == 2 else None
    if kind is None:
        raise InputError(
            f"{where}: a vector of {rows.shape[-1]} values; expected {N_BLENDSHAPES} (blendshapes) "
            f"or {N_EXPRESSION} (expression components)"
        )
    if not len(rows):
        raise InputError(f"{where}: no vector in it")
    if not np.isfinite(rows).all():
        raise InputError(f"{where}: values that are not finite numbers")
    if kind == "blendshapes" and (rows.min() < -0.01 or rows.max() > 1.01):
        raise InputError(
            f"{where}: blendshapes from {rows.min():.3g} to {rows.max():.3g}; expected 0 to 1"
        )
    return Expressions(rows.astype(np.float32), kind, None, np.arange(len(rows)))


def _sliders(text: str) -> Float64[np.ndarray, " 52"]:
    pairs: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise InputError(f"--expression: {part.strip()!r:.80} is not name=value")
        pairs[name.strip()] = value
    return _named(pairs, "--expression")


def _named(pairs: Mapping[str, Any], where: str) -> Float64[np.ndarray, " 52"]:
    """Blendshapes by name.

    Raises:
        InputError: a name that there is not (with the nearest ones), or a value that is no number.
    """
    row = np.zeros(N_BLENDSHAPES)
    for name, value in pairs.items():
        sides = [name] if name in BLENDSHAPE_INDEX else [name + "Left", name + "Right"]
        if sides[0] not in BLENDSHAPE_INDEX:
            stems = {n.removesuffix("Left").removesuffix("Right") for n in BLENDSHAPE_NAMES}
            folded = {n.lower(): n for n in (*BLENDSHAPE_NAMES, *sorted(stems))}
            near = difflib.get_close_matches(name.lower(), list(folded), n=3, cutoff=0.4)
            hint = ", ".join(folded[n] for n in near) or ", ".join(BLENDSHAPE_NAMES[:4]) + ", ..."
            raise InputError(f"{where}: no blendshape is called {name!r:.60}; nearest: {hint}")
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{where}: {name} is {value!r:.60}, expected a number") from error
        row[[BLENDSHAPE_INDEX[side] for side in sides]] = number
    return row


def _json(path: Path) -> np.ndarray:
    try:
        content = json_of(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if isinstance(content, Mapping):
        return _named(content, str(path))[None]
    try:
        return np.atleast_2d(np.array(content, np.float64))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: expected a list of numbers, a list of such lists, or names with values"
        ) from error


def _csv(path: Path) -> np.ndarray:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.reader(stream) if row]
        if rows and rows[0][0].strip() in BLENDSHAPE_INDEX:
            names = [name.strip() for name in rows[0]]
            named = [_named(dict(zip(names, row, strict=True)), str(path)) for row in rows[1:]]
            return np.array(named).reshape(-1, N_BLENDSHAPES)
        return np.array([[float(x) for x in row] for row in rows], np.float64)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except InputError:
        raise
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: expected rows of as many numbers each: {error}") from error


def _is_annotation(path: Path) -> bool:
    """Whether a CSV file has the columns of ``mien annotate``."""
    try:
        with path.open("rb") as stream:
            return stream.readline().startswith(b"frame,")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _annotated(path: Path, track: int | None) -> Expressions:
    from ...models.face.rotation import matrix_from_quaternion
    from ..annotate.annotated import Annotation
    from ..keyframes import main_track

    annotation = Annotation.open(path, path.stem)
    face = main_track(annotation) if track is None else track
    rows = [row for row in annotation.rows() if row.track == face]
    if not rows:
        raise InputError(f"{path}: no face {face} in it")
    rate = annotation.rate or 25.0
    times = np.array([r.frame / rate if r.t_media_ns is None else r.t_media_ns / 1e9 for r in rows])
    kind: Kind = "blendshapes"
    vectors = [row.blendshapes for row in rows if row.blendshapes is not None]
    if len(vectors) < len(rows):
        kind, vectors = "expression", [row.expression for row in rows]
    quats = np.array([(row.qw, row.qx, row.qy, row.qz) for row in rows])
    return Expressions(
        np.stack(vectors).astype(np.float32),
        kind,
        times - times[0],
        np.array([row.frame for row in rows], np.int64),
        np.asarray(matrix_from_quaternion(quats), np.float64),
        path,
    )
