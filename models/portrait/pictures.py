"""Folders of rendered portraits in memory, and batches of them with what spoils real pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch.nn import functional

from ..archives import fitted, read_npz
from ..documents import json_of, one_line
from ..errors import InputError
from . import sh
from .dataset import split
from .synthesize import read_meta
from .vocabulary import SLOTS, Description


@dataclass(frozen=True)
class Pictures:
    """All pictures of some persons, flat: picture i is of ``person[i]`` and ``look[i]``.

    Attributes:
        images: (I, S, S, 3) BGR over black.
        masks: (I, S, S) 0 to 255.
        cameras: (I, 25) labels.
        light: (I, 9) luminance, in the axes of the picture's own view.
        person: (I,) from 0.
        look: (I,) from 0, over all persons.
        words: properties of each picture, by slot.
        numbers: the number of each person in its folder.
    """

    images: UInt8[np.ndarray, "I S S 3"]
    masks: UInt8[np.ndarray, "I S S"]
    cameras: Float32[np.ndarray, "I 25"]
    light: Float32[np.ndarray, "I 9"]
    person: Int64[np.ndarray, " I"]
    look: Int64[np.ndarray, " I"]
    words: tuple[dict[str, str], ...]
    numbers: tuple[int, ...]

    @property
    def size(self) -> int:
        """Side, px."""
        return self.images.shape[1]

    def batch(
        self, index: Int64[np.ndarray, " b"]
    ) -> tuple[Float[torch.Tensor, "b 3 S S"], Float[torch.Tensor, "b 1 S S"]]:
        """Pictures as networks take them (RGB, -1 to 1), and masks from 0 to 1."""
        rgb = np.ascontiguousarray(self.images[index][..., ::-1].transpose(0, 3, 1, 2))
        images = torch.from_numpy(rgb).float().div_(127.5).sub_(1.0)
        masks = torch.from_numpy(self.masks[index][:, None]).float().div_(255.0)
        return images, masks

    def of_slot(self, slot: str) -> Int64[np.ndarray, " I"]:
        """Number of the slot's value in each picture; -1 where it is not said."""
        values = SLOTS[slot]
        return np.array([values.index(w[slot]) if slot in w else -1 for w in self.words], np.int64)

    def tokens(self) -> Int64[np.ndarray, "I T"]:
        """All that is known of each picture, as tokens."""
        return np.stack([Description(words).tokens() for words in self.words])


_ARRAYS: Final = {
    "images": (np.uint8, "N V S S 3"), "mask": (np.uint8, "N V S S"),
    "cameras": (np.float32, "N V 25"), "light": (np.float32, "N 9"), "identity": (np.int64, ""),
}  # fmt: skip


def load_pictures(folder: Path, held_out: bool) -> Pictures:
    """The training pictures of a folder, or those of its held-out persons.

    Raises:
        InputError: the folder holds no portraits, or a file is damaged.
    """
    meta = read_meta(folder)
    files = sorted(folder.glob("person-[0-9]*.npz"))
    train, kept = split(len(files))
    chosen = [files[i] for i in (kept if held_out else train)]
    rows = [_person(path, int(meta["size"])) for path in chosen]
    other = [p for p, row in zip(chosen, rows, strict=True)
             if row["images"].shape != rows[0]["images"].shape]  # fmt: skip
    if other:
        raise InputError(f"{other[0]}: has more or fewer pictures than {chosen[0].name}")
    looks, per_person = rows[0]["images"].shape[:2], len(rows[0]["images"])
    views = looks[1]
    words = tuple(word for row in rows for word in row["words"])
    count = len(rows) * per_person * views
    flat = {
        name: np.concatenate([row[name].reshape(-1, *row[name].shape[2:]) for row in rows])
        for name in ("images", "mask", "cameras")
    }
    light = np.concatenate([np.repeat(row["light"], views, axis=0) for row in rows])
    return Pictures(
        images=flat["images"],
        masks=flat["mask"],
        cameras=flat["cameras"],
        light=_seen(light, flat["cameras"]),
        person=np.arange(count, dtype=np.int64) // (per_person * views),
        look=np.arange(count, dtype=np.int64) // views,
        words=words,
        numbers=tuple(int(row["identity"]) for row in rows),
    )


def load_words(folder: Path) -> tuple[dict[str, str], ...]:
    """Properties of every look of a folder's training persons, by slot; none of a single view.

    Raises:
        InputError: the folder holds no portraits, or a file is damaged.
    """
    found: list[dict[str, str]] = []
    for path, text in _told(folder):
        try:
            found += _checked([_properties(look) for look in json_of(text)])
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: cannot be read: {one_line(error)}") from error
    return tuple(found)


def words_digest(folder: Path) -> str | None:
    """SHA-256 of what is told of a folder's training persons, by which it is known again.

    None where the files tell nothing in words: a generator learns of them all the same.
    """
    digest = hashlib.sha256()
    try:
        for _, text in _told(folder):
            digest.update(text.encode("utf-8", "surrogatepass"))
    except InputError:
        return None
    return digest.hexdigest()


def _told(folder: Path) -> Iterator[tuple[Path, str]]:
    """File and attributes (as JSON) of every training person."""
    read_meta(folder)
    files = sorted(folder.glob("person-[0-9]*.npz"))
    for path in (files[i] for i in split(len(files))[0]):
        try:
            yield path, str(read_npz(path, ("attributes",))["attributes"])
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {one_line(error)}") from error


def _properties(look: dict[str, Any]) -> dict[str, str]:
    return {slot: value for slot, value in look.items() if slot in SLOTS}


def _checked(words: list[dict[str, str]]) -> list[dict[str, str]]:
    odd = [v for word in words for s, v in word.items() if s in SLOTS and v not in SLOTS[s]]
    if odd:
        raise ValueError(f"no property {odd[0]!r:.40}")
    return words


def _person(path: Path, size: int) -> dict[str, Any]:
    try:
        read = dict(read_npz(path, (*_ARRAYS, "attributes")))
        said = json_of(str(read.pop("attributes")))
        words = _checked([{**_properties(look), **view} for look in said for view in look["views"]])
        row: dict[str, Any] = {**fitted(read, _ARRAYS), "words": words}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read: {one_line(error)}") from error
    looks, views = row["images"].shape[:2]
    if row["images"].shape[2:] != (size, size, 3) or len(words) != looks * views:
        raise InputError(f"{path}: does not fit the folder's meta.json")
    return row


def _seen(
    light: Float32[np.ndarray, "I 9"], cameras: Float32[np.ndarray, "I 25"]
) -> Float32[np.ndarray, "I 9"]:
    """Lights of the world in the axes of each view."""
    turns = [sh.rotation_of_coefficients(sh.view_from_world(camera)) for camera in cameras]
    return np.einsum("ijk,ik->ij", np.stack(turns), light).astype(np.float32)


@dataclass(frozen=True)
class Spoiling:
    """How much :func:`spoil` does.

    Attributes:
        shift: largest shift and change of scale, of the picture's half side.
        tone: deviation of gain, contrast and tint.
        blur: largest loss of resolution, as a factor.
        noise: deviation at most, of -1 to 1.
        backdrop: share of pictures before something else than black.
    """

    shift: float = 0.06
    tone: float = 0.08
    blur: float = 2.5
    noise: float = 0.06
    backdrop: float = 0.5


def spoil(
    images: Float[torch.Tensor, "b 3 S S"],
    masks: Float[torch.Tensor, "b 1 S S"],
    by: Spoiling,
    rng: np.random.Generator,
) -> Float[torch.Tensor, "b 3 S S"]:
    """Pictures as crops of trackers and cheap cameras are: shifted, tinted, soft, noisy."""
    b, _, size, _ = images.shape
    behind = torch.from_numpy(_backdrops(b, size, by.backdrop, rng))
    images = images + (1 - masks) * (behind + 1)  # black is -1
    if by.shift > 0:
        theta = np.zeros((b, 2, 3), np.float32)
        theta[:, 0, 0] = theta[:, 1, 1] = np.exp(rng.normal(0, by.shift, b))
        theta[:, :, 2] = rng.normal(0, by.shift, (b, 2))
        grid = functional.affine_grid(
            torch.from_numpy(theta), [b, 3, size, size], align_corners=False
        )
        images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if by.tone > 0:
        gain = np.exp(rng.normal(0, by.tone, (b, 1, 1, 1))) * np.exp(
            rng.normal(0, by.tone / 2, (b, 3, 1, 1))
        )
        gamma = np.exp(rng.normal(0, by.tone, (b, 1, 1, 1)))
        tones = ((images + 1) / 2).clamp(1e-4, 1.0) ** torch.from_numpy(gamma.astype(np.float32))
        images = (tones * torch.from_numpy(gain.astype(np.float32))).clamp(0, 1) * 2 - 1
    if by.blur > 1 and rng.random() < 0.5:
        coarse = max(8, round(size / rng.uniform(1, by.blur)))
        images = functional.interpolate(images, (coarse, coarse), mode="area")
        images = functional.interpolate(images, (size, size), mode="bilinear", align_corners=False)
    if by.noise > 0:
        level = rng.uniform(0, by.noise, (b, 1, 1, 1)).astype(np.float32)
        noise = rng.standard_normal((b, 3, size, size), dtype=np.float32)
        images = images + torch.from_numpy(level * noise)
    return images.clamp(-1, 1)


def _backdrops(
    count: int, size: int, share: float, rng: np.random.Generator
) -> Float32[np.ndarray, "b 3 S S"]:
    """Black, or soft coloured clouds; -1 to 1."""
    coarse = torch.from_numpy(rng.uniform(-1, 1, (count, 3, 4, 4)).astype(np.float32))
    clouds = functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)
    clouds = clouds + torch.from_numpy(rng.uniform(-1, 1, (count, 3, 1, 1)).astype(np.float32))
    chosen = rng.random((count, 1, 1, 1)) < share
    return np.where(chosen, clouds.clamp(-1, 1).numpy(), np.float32(-1.0)).astype(np.float32)
