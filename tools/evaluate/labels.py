"""Evaluation sets: a folder with ``labels.jsonl``, one image a line, and the images it names.

::

    {"image": "img/x.jpg", "faces": [{"box": [x, y, w, h], "yaw": 30, "pitch": 0, "roll": 0,
                                      "landmarks": [[x, y], ... 68], "ignore": false}]}

Every key of a face is optional. Pixels, the centre of the top-left pixel is (0, 0); degrees.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float64

from ...models.documents import json_of, one_line
from ...models.errors import LabelError
from ...models.face.crop import tight_box
from ...models.face.names import N_LANDMARKS
from ..options import Lines

LABELS_NAME: Final = "labels.jsonl"


@dataclass(frozen=True)
class TrueFace:
    """What is known of a face.

    Attributes:
        index: place among the faces of its image.
        landmarks_px: (68, 2) iBUG points, or None.
        given_box_px: (4,) x, y, w, h as the label has it, or None.
        yaw_deg: > 0 turns the nose to the picture's left edge; None where unknown.
        pitch_deg: > 0 is up.
        roll_deg: > 0 is clockwise in the picture.
        ignore: counts neither as found nor as missed.
    """

    index: int
    landmarks_px: Float64[np.ndarray, "68 2"] | None = None
    given_box_px: Float64[np.ndarray, " 4"] | None = None
    yaw_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    ignore: bool = False

    @property
    def pan_deg(self) -> float | None:
        """The yaw of a label without roll, read as the direction that the nose was to point in.

        Nominal labels (people looked at markers) mean that; ``pan_tilt`` in
        ``models/face/rotation.py`` says how it differs from yaw.
        """
        return self.yaw_deg if self.roll_deg is None and self.pitch_deg is not None else None

    @property
    def tilt_deg(self) -> float | None:
        """The pitch of such a label."""
        return self.pitch_deg if self.pan_deg is not None else None

    @property
    def box_px(self) -> Float64[np.ndarray, " 4"] | None:
        """Tight box of the landmarks where there are any, else the given box."""
        if self.landmarks_px is not None:
            return np.array(tight_box(self.landmarks_px))
        return self.given_box_px


@dataclass(frozen=True)
class LabelledImage:
    """One line of a set: the image's name as written, its file, and its faces."""

    name: str
    path: Path
    faces: tuple[TrueFace, ...]


def read_labels(folder: Path, lines: Lines = "all") -> list[LabelledImage]:
    """Read a set, or only its even (0, 2, 4, ...) or odd lines.

    Raises:
        LabelError: the set is absent, or a line is not in the format (it is named).
    """
    path = folder / LABELS_NAME
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise LabelError(f"{folder}: no evaluation set: {_why_unread(folder, error)}") from error
    except UnicodeDecodeError as error:
        raise LabelError(f"{path}: not UTF-8 text") from error
    step = {"all": (0, 1), "even": (0, 2), "odd": (1, 2)}[lines]
    images = []
    for number, row in list(enumerate(rows))[step[0] :: step[1]]:
        if not row.strip():
            continue
        try:
            images.append(_image(folder, json_of(row)))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise LabelError(f"{path}:{number + 1}: {_reason(error)}") from error
    return images


def _why_unread(folder: Path, error: OSError) -> str:
    """Why a set's labels cannot be read, in the user's terms."""
    wanted = f"a folder of pictures with {LABELS_NAME} (mien/tools/evaluate/labels.py describes it)"
    if not folder.exists():
        return f"no such folder; expected {wanted}"
    if not folder.is_dir():
        return f"is a file; expected {wanted}"
    if not isinstance(error, FileNotFoundError):
        return f"{LABELS_NAME}: {error.strerror}"
    return f"there is no {LABELS_NAME} in it; expected {wanted}, or one of rendered people"


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg}"
    return f"key {error} is missing" if isinstance(error, KeyError) else one_line(error)


def _image(folder: Path, row: dict[str, Any]) -> LabelledImage:
    faces = tuple(_face(index, face) for index, face in enumerate(row["faces"]))
    return LabelledImage(name=str(row["image"]), path=folder / row["image"], faces=faces)


def _face(index: int, face: dict[str, Any]) -> TrueFace:
    angles = {f"{key}_deg": _angle(face.get(key), key) for key in ("yaw", "pitch", "roll")}
    return TrueFace(
        index=index,
        landmarks_px=_array(face.get("landmarks"), (N_LANDMARKS, 2), "landmarks"),
        given_box_px=_array(face.get("box"), (4,), "box"),
        ignore=bool(face.get("ignore", False)),
        **angles,
    )


def _angle(value: Any, name: str) -> float | None:
    if value is None:
        return None
    angle = float(value)
    if not math.isfinite(angle):
        raise LabelError(f"{name} is {angle}, expected degrees")
    return angle


def _array(values: object, shape: tuple[int, ...], name: str) -> np.ndarray | None:
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape or not np.all(np.isfinite(array)):
        raise LabelError(f"{name} has shape {list(array.shape)}, expected finite {list(shape)}")
    return array
