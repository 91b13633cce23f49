"""Faces found by something else: a CSV of boxes that replaces the detector.

A header and one row a box: ``frame`` (from 0) and ``x, y, w, h`` in pixels, or mien's own
``box_x, box_y, box_w, box_h``; a column ``source`` (file name or path) where there are several
inputs. Other columns are passed over, so that an annotation in CSV can be given back.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32

from ...models.errors import InputError

_NAMES: Final = (("x", "y", "w", "h"), ("box_x", "box_y", "box_w", "box_h"))
_NO_BOX: Final = np.zeros((0, 4), np.float32)


@dataclass(frozen=True)
class Boxes:
    """Boxes by source and frame.

    Attributes:
        hash: SHA-256 of the file.
        by_place: boxes (K, 4) of (source, frame); source "" is every input.
    """

    hash: str
    by_place: dict[tuple[str, int], Float32[np.ndarray, "K 4"]]

    @classmethod
    def load(cls, path: Path) -> Boxes:
        """Read the CSV.

        Raises:
            InputError: it cannot be read, lacks a column, or a row is no box.
        """
        try:
            content = path.read_bytes()
            reader = csv.DictReader(content.decode("utf-8-sig").splitlines())
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not a CSV of boxes: not UTF-8 text") from error
        header = reader.fieldnames or ()
        names = next((names for names in _NAMES if set(names) <= set(header)), None)
        if names is None or "frame" not in header:
            raise InputError(
                f"{path}: not a CSV of boxes: its header needs frame, x, y, w, h"
                " (and source where there are several inputs)"
            )
        rows: dict[tuple[str, int], list[list[float]]] = defaultdict(list)
        for row in reader:
            try:
                box = [float(row[name]) for name in names]
                place = (row.get("source") or "", int(row["frame"]))
            except (TypeError, ValueError, OverflowError) as error:
                raise InputError(f"{path}:{reader.line_num}: not a box: {error}") from error
            if not np.all(np.isfinite(box)) or min(box[2:]) <= 0:
                raise InputError(f"{path}:{reader.line_num}: not a box: {box}")
            rows[place].append(box)
        by_place = {place: np.array(boxes, dtype=np.float32) for place, boxes in rows.items()}
        return cls(hashlib.sha256(content).hexdigest(), by_place)

    def of(self, path: Path, frame: int) -> Float32[np.ndarray, "K 4"]:
        """Boxes (x, y, w, h) of a frame of an input, pixels; none where the file names none."""
        for source in (str(path), path.name, ""):
            found = self.by_place.get((source, frame))
            if found is not None:
                return found
        return _NO_BOX
