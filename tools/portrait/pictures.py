"""Pictures of an edited portrait: its sheet, novel views, the film."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8

if TYPE_CHECKING:
    from ...models.portrait.edit_options import Edit, Portrait

VIEWS_DEG: Final = (-30.0, -15.0, 0.0, 15.0, 30.0)
FRAMES: Final = 60
RATE: Final = 20
_TILE_PX: Final = 192
_GAP: Final = 6
_CAPTION: Final = 18
_LINE: Final = 17
_PAPER: Final = (30, 27, 25)
_INK: Final = (232, 230, 228)
_Picture = UInt8[np.ndarray, "S S 3"]


def seen(portrait: Portrait, labels: Float[np.ndarray, "v 25"]) -> list[_Picture]:
    """Pictures from cameras, BGR."""
    images = [portrait.seen(label[None]).image for label in labels]
    return [bgr(image[0].cpu().numpy()) for image in images]


def bgr(image: Float[np.ndarray, "3 S S"]) -> _Picture:
    """A picture of a network (RGB, -1 to 1) as bytes, BGR."""
    pixels = np.rint((np.clip(image, -1, 1) + 1) * 127.5).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)[..., ::-1])


def side_views() -> Float[np.ndarray, "v 25"]:
    """Labels of the novel views."""
    from ...models.portrait.cameras import orbit_label

    return np.stack([orbit_label(float(np.radians(yaw)), 0.0) for yaw in VIEWS_DEG])


def before_and_after(
    made: Edit,
    shown: _Picture,
    label: Float[np.ndarray, " 25"],
    lines: Sequence[str],
) -> UInt8[np.ndarray, "H W 3"]:
    """A sheet: the input, the inverted head and the edited one, from its camera and others.

    Args:
        made: the edit.
        shown: the input's crop, BGR.
        label: its camera.
        lines: what is to be known, in words.
    """
    here, others = label[None], side_views()
    rows = []
    for name, portrait in (("inverted", made.before), ("edited", made.after)):
        own = seen(portrait, here)[0]
        tiles = [("input", shown)]
        if name == "edited":
            apart = np.abs(own.astype(int) - seen(made.before, here)[0].astype(int))
            tiles = [("changed", np.minimum(2 * apart, 255).astype(np.uint8))]
        tiles.append((f"{name}, its camera", own))
        degrees = [f"{name}, {yaw:+.0f} deg" for yaw in VIEWS_DEG]
        tiles += list(zip(degrees, seen(portrait, others), strict=True))
        rows.append(np.hstack([_tile(*tile) for tile in tiles]))
    return np.vstack([_text(lines, rows[0].shape[1]), *rows])


def side_by_side(
    shown: _Picture,
    label: Float[np.ndarray, " 25"],
    edits: Sequence[tuple[str, Edit]],
    name: str,
) -> UInt8[np.ndarray, "H W 3"]:
    """Several edits of one input in a block: from its camera, and below from one side.

    Args:
        shown: the input's crop, BGR.
        label: its camera.
        edits: each with what was wanted, in words.
        name: of the input.
    """
    labels = np.stack([label, side_views()[-1]])
    columns = [np.vstack([_tile("input", shown), _tile(name, np.full_like(shown, _PAPER))])]
    heads = [("inverted", edits[0][1].before), *((words, made.after) for words, made in edits)]
    for words, portrait in heads:
        own, aside = seen(portrait, labels)
        columns.append(np.vstack([_tile(words, own), _tile(f"{VIEWS_DEG[-1]:+.0f} deg", aside)]))
    return np.hstack(columns)


def film(made: Edit, side: int = 320) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Frames of both heads side by side while the camera swings around them."""
    from ...models.portrait.cameras import turntable_labels

    for label in turntable_labels(FRAMES):
        pair = [seen(portrait, label[None])[0] for portrait in (made.before, made.after)]
        yield np.hstack([cv2.resize(p, (side, side), interpolation=cv2.INTER_CUBIC) for p in pair])


def _tile(name: str, image: _Picture) -> UInt8[np.ndarray, "H W 3"]:
    canvas = np.full((_TILE_PX + _CAPTION, _TILE_PX + _GAP, 3), _PAPER, np.uint8)
    kind = cv2.INTER_AREA if len(image) > _TILE_PX else cv2.INTER_CUBIC
    canvas[:_TILE_PX, _GAP // 2 : _GAP // 2 + _TILE_PX] = cv2.resize(
        image, (_TILE_PX, _TILE_PX), interpolation=kind
    )
    _write(canvas, name, (_GAP // 2 + 2, _TILE_PX + 13))
    return canvas


def _text(lines: Sequence[str], width: int) -> UInt8[np.ndarray, "H W 3"]:
    canvas = np.full((_LINE * len(lines) + 10, width, 3), _PAPER, np.uint8)
    for number, line in enumerate(lines):
        _write(canvas, line, (6, _LINE * number + 17))
    return canvas


def _write(canvas: np.ndarray, words: str, at: tuple[int, int]) -> None:
    # The letters of OpenCV are those of ASCII.
    plain = words.encode("ascii", "replace").decode()
    cv2.putText(canvas, plain, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _INK, 1, cv2.LINE_AA)
