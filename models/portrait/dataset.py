"""A folder of rendered portraits, for training; split by person, and one view a look held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from ..archives import fitted, read_npz
from ..documents import json_of, one_line
from ..errors import InputError

_META: Final = "meta.json"
_HELD_OUT: Final = 0.15
"""Share of the persons whom no training sees."""
_MOST_STEP: Final = 0.02
"""World units between depths that lie on one surface."""


@dataclass(frozen=True)
class Portraits:
    """Looks of persons, each seen by several cameras. A look is an expression and a light.

    Attributes:
        images: BGR over black.
        mask: 0 to 255.
        depth: along the camera's axis, world units; 0 where unknown.
        cameras: labels.
        light: spherical harmonics of luminance, axes of the world.
        tint: RGB of the light's mean, over its luminance; ones where the folder does not say.
        blendshapes: ARKit's.
        person: number of the person of each look, from 0 in the order of the files.
    """

    images: UInt8[np.ndarray, "L V S S 3"]
    mask: UInt8[np.ndarray, "L V S S"]
    depth: Float32[np.ndarray, "L V S S"]
    cameras: Float32[np.ndarray, "L V 25"]
    light: Float32[np.ndarray, "L 9"]
    tint: Float32[np.ndarray, "L 3"]
    blendshapes: Float32[np.ndarray, "L 52"]
    person: Int64[np.ndarray, " L"]

    def __len__(self) -> int:
        """Looks."""
        return len(self.images)

    @property
    def views(self) -> int:
        """Of each look."""
        return self.images.shape[1]

    @property
    def size(self) -> int:
        """Side of the pictures, px."""
        return self.images.shape[2]

    def chosen(self, looks: Bool[np.ndarray, " L"]) -> Portraits:
        """Some of the looks; persons keep their numbers."""
        return Portraits(**{field.name: getattr(self, field.name)[looks] for field in fields(self)})

    @classmethod
    def load(
        cls,
        folder: Path,
        size: int | None = None,
        report: Callable[[int, int], object] | None = None,
    ) -> Portraits:
        """Read all persons of a folder of ``mien synthesize portraits``.

        Args:
            folder: with ``meta.json`` and ``person-00000.npz``, ...
            size: side to which pictures are brought, px; None for their own. Theirs must be a
                multiple of it.
            report: told after each file how many are read, of how many.

        Raises:
            InputError: the folder or a file cannot be read, is no such data, or is empty.
        """
        _check_meta(folder)
        paths = sorted(folder.glob("person-*.npz"))
        if not paths:
            raise InputError(f"{folder}: no person-00000.npz in it; mien synthesize portraits "
                             "makes them")  # fmt: skip
        parts = []
        for number, path in enumerate(paths):
            parts.append(_person(path, number, size))
            if report is not None:
                report(number + 1, len(paths))
        shapes = {(part.views, part.size) for part in parts}
        if len(shapes) > 1:
            raise InputError(f"{folder}: persons of different views and sizes: {sorted(shapes)}")
        return cls(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            }
        )

    def split(self) -> tuple[Portraits, Portraits]:
        """Looks of persons to train on, and those of the last 15 % of the persons.

        Raises:
            InputError: fewer than two persons.
        """
        train, held_out = split(int(self.person.max()) + 1 if len(self) else 0)
        return (
            self.chosen(np.isin(self.person, train)),
            self.chosen(np.isin(self.person, held_out)),
        )


def split(persons: int) -> tuple[Int64[np.ndarray, " T"], Int64[np.ndarray, " H"]]:
    """Numbers of the persons to train on, and of the held-out ones: the last 15 %, one at least.

    Raises:
        InputError: fewer than two persons.
    """
    if persons < 2:
        raise InputError(f"{persons} persons, expected 2 or more: one at least is held out")
    held_out = max(1, round(_HELD_OUT * persons))
    numbers = np.arange(persons, dtype=np.int64)
    return numbers[:-held_out], numbers[-held_out:]


def _check_meta(folder: Path) -> None:
    try:
        meta = json_of((folder / _META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: no portraits in it (no {_META}); mien synthesize portraits makes them"
        ) from error
    if not isinstance(meta, dict) or meta.get("kind") != "portraits":
        raise InputError(f"{folder}: {_META} is not of portraits")


_NEEDED: Final = ("images", "mask", "depth", "cameras", "light", "blendshapes")
_ARRAYS: Final = {
    "images": (np.uint8, "N V S S 3"), "mask": (np.uint8, "N V S S"),
    "depth": (np.float32, "N V S S"), "cameras": (np.float32, "N V 25"),
    "light": (np.float32, "N 9"), "blendshapes": (np.float32, "N 52"),
    "light_rgb": (np.float32, "N 9 3"),
}  # fmt: skip


def _person(path: Path, number: int, size: int | None) -> Portraits:
    try:
        return _portraits(
            fitted(read_npz(path, list(_NEEDED), list(_ARRAYS)), _ARRAYS), number, size
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{path}: {error}") from error
        raise InputError(f"{path}: not a person's portraits: {one_line(error)}") from error


def _portraits(file: Any, number: int, size: int | None) -> Portraits:
    images, mask = file["images"], file["mask"]
    depth = file["depth"].astype(np.float32)
    if size is not None and size != images.shape[2]:
        images, mask, depth = _smaller(images, mask, depth, size)
    light = file["light"].astype(np.float32)
    tint = np.ones((len(light), 3), np.float32)
    if "light_rgb" in file:
        constant = file["light_rgb"][:, 0].astype(np.float32)
        tint = constant / np.maximum(light[:, :1], 1e-3)
    return Portraits(
        images=images,
        mask=mask,
        depth=depth,
        cameras=file["cameras"].astype(np.float32),
        light=light,
        tint=tint,
        blendshapes=file["blendshapes"].astype(np.float32),
        person=np.full(len(light), number, np.int64),
    )


def _smaller(
    images: UInt8[np.ndarray, "N V S S 3"],
    mask: UInt8[np.ndarray, "N V S S"],
    depth: Float32[np.ndarray, "N V S S"],
    size: int,
) -> tuple[
    UInt8[np.ndarray, "N V s s 3"], UInt8[np.ndarray, "N V s s"], Float32[np.ndarray, "N V s s"]
]:
    own = images.shape[2]
    if own % size:
        raise InputError(f"pictures of {own} px cannot be brought to {size} px")
    looks, views = images.shape[:2]

    def shrunk(pictures: np.ndarray) -> np.ndarray:
        flat = pictures.reshape(looks * views, *pictures.shape[2:])
        made = [cv2.resize(p, (size, size), interpolation=cv2.INTER_AREA) for p in flat]
        return np.stack(made).reshape(looks, views, size, size, *pictures.shape[4:])

    return shrunk(images), shrunk(mask), smaller_depth(depth, size)


def smaller_depth(
    depth: Float32[np.ndarray, "... S S"], size: int
) -> Float32[np.ndarray, "... s s"]:
    """Mean depth of blocks that lie on one surface; 0 for those that do not, or have holes."""
    own = depth.shape[-1]
    share = own // size
    blocks = depth.reshape(*depth.shape[:-2], size, share, size, share)
    low, high = blocks.min(axis=(-3, -1)), blocks.max(axis=(-3, -1))
    whole = (low > 0) & (high - low < _MOST_STEP)
    return np.where(whole, blocks.mean(axis=(-3, -1)), 0).astype(np.float32)
