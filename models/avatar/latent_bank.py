"""Latents of a whole data folder, encoded once before the diffusion trains in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Int64, UInt8
from tqdm import tqdm

from ..documents import json_of, one_line
from ..errors import InputError, OutputError
from .avatar import Avatar, pooled_seen
from .dataset import CLEAN, ScanFolder, ScannedPerson
from .words import NAME as CAPTIONS
from .words import caption_vectors

LATENTS_NAME: Final = "latents.npy"
_MADE_OF_NAME: Final = "latents.json"
VECTORS: Final = ("blendshapes", "expression", "shape")
"""What may condition; of a person's shape there is one for all expressions. Captions, too, where
they were recorded."""


@dataclass(frozen=True)
class LatentBank:
    """Latents by person and entry: the expressions first, then the scans of the neutral.

    Attributes:
        latents: (P, E + K, c, l, l, l), in a file on disk.
        seen: (P, K, 1, l, l, l) share of the cells that each scan observed.
        vectors: coefficients (P, E, n) by the name of their set.
        kinds: (P, K) kind of each scan.
        training: rows of the persons to train on.
        validation: rows of those held out.
        expressions: E.
    """

    latents: Float[np.ndarray, "P _ c l l l"]
    seen: Float16[np.ndarray, "P K 1 l l l"]
    vectors: dict[str, Float32[np.ndarray, "P E _"]]
    kinds: UInt8[np.ndarray, "P K"]
    training: Int64[np.ndarray, " T"]
    validation: Int64[np.ndarray, " H"]
    expressions: int

    @property
    def scans(self) -> int:
        """K."""
        return self.seen.shape[1]

    def sample_latents(self, count: int, seed: int = 0) -> Float32[np.ndarray, "n c l l l"]:
        """Latents of training persons, any entry: what the normalisation is fitted to."""
        rng = np.random.default_rng(seed)
        rows = rng.choice(self.training, count)
        entries = rng.integers(self.latents.shape[1], size=count)
        return self.latents[rows, entries].astype(np.float32)

    def pairs(
        self, rows: Int64[np.ndarray, " B"], clean_share: float, rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " B"], Int64[np.ndarray, " B"]]:
        """For persons: an expression, and the entry whose latent is the neutral's (0 or a scan)."""
        targets = rng.integers(self.expressions, size=len(rows))
        neutrals = np.zeros(len(rows), np.int64)
        if self.scans:
            scans = self.expressions + rng.integers(self.scans, size=len(rows))
            neutrals = np.where(rng.random(len(rows)) < clean_share, 0, scans)
        return targets, neutrals

    def observed(
        self, rows: Int64[np.ndarray, " B"], entries: Int64[np.ndarray, " B"]
    ) -> Float32[np.ndarray, "B 1 l l l"]:
        """Shares of observed cells of neutrals; 1 where the neutral is a clean grid."""
        cells = self.seen.shape[-1]
        found = np.ones((len(rows), 1, cells, cells, cells), np.float32)
        scanned = entries >= self.expressions
        found[scanned] = self.seen[rows[scanned], entries[scanned] - self.expressions]
        return found


@torch.no_grad()
def fill_bank(avatar: Avatar, folder: ScanFolder, out: Path) -> LatentBank:
    """Encode every grid and every scan; of an autodecoder take the latents of its embeddings.

    Args:
        avatar: with an encoder, or an autodecoder of this folder's training persons.
        folder: of the data.
        out: folder for the file of the latents.

    Raises:
        InputError: the autodecoder was trained on other data, or is one of moving parts.
        OutputError: the latents cannot be written.
    """
    encoder = avatar.encoder is not None
    if not encoder:
        _check_autodecoder(avatar, folder)
    numbers = [*folder.training, *(folder.validation if encoder else ())]
    e, k = folder.expressions, folder.scans if encoder else 0
    config = avatar.config
    cells = config.latent_cells
    shape = (len(numbers), e + k, config.latent_channels, cells, cells, cells)
    # Free embeddings have latents with tails beyond half precision.
    kind = np.float16 if encoder else np.float32
    path = out / LATENTS_NAME
    made_of = {
        "weights": digest(without_denoiser(avatar)),
        "data": str(folder.path.resolve()),
        "shape": list(shape),
    }
    made = out / _MADE_OF_NAME
    known = is_made_of(made, made_of)
    try:
        if not known:
            made.unlink(missing_ok=True)
        latents = np.lib.format.open_memmap(path, "r+" if known else "w+", kind, shape)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written: {one_line(error)}") from error
    seen = np.ones((len(numbers), k, 1, cells, cells, cells), np.float16)
    vectors: list[dict[str, np.ndarray]] = []
    kinds: list[np.ndarray] = []
    for row, number in enumerate(tqdm(numbers, desc="latents", unit="person", disable=None)):
        person = folder.person(number)
        vectors.append(_vectors(person, e))
        kinds.append(person.scan_kind[:k])
        if encoder and k:
            seen[row] = pooled_seen(torch.from_numpy(person.scan_seen), cells).numpy()
        if known:
            continue
        if encoder:
            latents[row] = _encoded(avatar, person)
        else:
            objects = torch.arange(row * e, (row + 1) * e, device=avatar.device)
            latents[row] = avatar.embedded(objects).cpu().numpy()
    latents.flush()
    made.write_text(json.dumps(made_of))
    rows = np.arange(len(numbers))
    split = len(folder.training)
    return LatentBank(
        latents=latents,
        seen=seen,
        vectors={
            name: np.stack([of_person[name] for of_person in vectors])
            for name in (*VECTORS, CAPTIONS)
            if all(name in of_person for of_person in vectors)
        },
        kinds=np.stack(kinds),
        training=rows[:split],
        validation=rows[split:] if encoder else rows[:split],
        expressions=e,
    )


def _check_autodecoder(avatar: Avatar, folder: ScanFolder) -> None:
    """See that an autodecoder has a latent for each training grid of a folder.

    Raises:
        InputError: it has not.
    """
    if avatar.keypoints is not None:
        raise InputError(
            "avatar: a non-rigid autodecoder has a latent for each person, none for an expression; "
            "its latents cannot be diffused to expressions"
        )
    wanted = len(folder.training) * folder.expressions
    if avatar.objects != wanted:
        raise InputError(
            f"{folder.path}: {wanted} training grids, the autodecoder was trained on "
            f"{avatar.objects}"
        )


def _vectors(person: ScannedPerson, expressions: int) -> dict[str, np.ndarray]:
    """What may condition each of a person's expressions."""
    found = {name: getattr(person, name) for name in VECTORS}
    rows = {
        name: np.repeat(values[None], expressions, 0) if values.ndim == 1 else values
        for name, values in found.items()
    }
    if person.caption is not None:
        rows[CAPTIONS] = caption_vectors(person.caption, person.blendshapes)
    return rows


def _encoded(avatar: Avatar, person: ScannedPerson) -> np.ndarray:
    sdf = np.concatenate([person.sdf, person.scan_sdf]).astype(np.float32)
    clean = np.full(person.sdf.shape, CLEAN, np.uint8)
    seen = np.concatenate([clean, person.scan_seen])
    colour = np.concatenate([person.colour, person.scan_colour])
    return avatar.encode(sdf, seen, colour).cpu().numpy()


def without_denoiser(avatar: Avatar) -> dict[str, torch.Tensor]:
    """All weights that latents depend on."""
    state = avatar.state_dict()
    return {name: value for name, value in state.items() if not name.startswith("diffusion.")}


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """Of numbers by their names."""
    total = hashlib.sha256()
    for name, value in state.items():
        total.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def is_made_of(made: Path, made_of: dict[str, Any]) -> bool:
    """Whether a folder's latents are complete, and of these weights and data."""
    try:
        return json_of(made.read_bytes()) == made_of
    except (OSError, ValueError):
        return False
