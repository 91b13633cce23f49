"""What the guide says of every expression of a data folder, encoded once beside the latents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int64
from tqdm import tqdm

from ..documents import one_line
from ..errors import InputError, OutputError
from ..learning.prefetch import Prefetch
from ..scans.sensor import COMPLETE
from ..scans.template import HeadTemplate
from .avatar import Avatar, Grids
from .dataset import CLEAN, ScanFolder, ScannedPerson
from .guide import Guide
from .latent_bank import digest, is_made_of, without_denoiser

GUIDES_NAME: Final = "guides.npy"
_MADE_OF_NAME: Final = "guides.json"
_AHEAD: Final = 4


@dataclass(frozen=True)
class GuideBank:
    """Latents of guides by person and expression.

    Attributes:
        latents: (P, E, c, l, l, l), in a file on disk.
        sources: (P, E) entry of the bank of latents from which each was made: 0 for the clean
            neutral, or that of a scan.
    """

    latents: Float[np.ndarray, "P E c l l l"]
    sources: Int64[np.ndarray, "P E"]


@torch.no_grad()
def fill_guides(
    avatar: Avatar, template: HeadTemplate, folder: ScanFolder, clean_share: float, out: Path
) -> GuideBank:
    """Fit the template to neutrals of all persons, move it, put it into grids and encode these.

    Each expression of a training person is guided by one neutral by chance: the clean one or a
    scan; those of the held-out ones by a complete scan.

    Args:
        avatar: with an encoder.
        template: the statistical head.
        folder: of the data.
        clean_share: chance of the clean neutral.
        out: folder for the file.

    Raises:
        InputError: the avatar has no encoder.
        OutputError: the file cannot be written.
    """
    if avatar.encoder is None:
        raise InputError("avatar: a guide is encoded; these weights have no encoder of scans")
    numbers = [*folder.training, *folder.validation]
    people = [folder.person(number) for number in numbers[:1]]
    config, e = avatar.config, folder.expressions
    shape = (len(numbers), e, config.latent_channels, *3 * (config.latent_cells,))
    sources = _sources(folder, people[0], clean_share)
    path, made = out / GUIDES_NAME, out / _MADE_OF_NAME
    made_of = {
        "weights": digest(without_denoiser(avatar)),
        "template": digest_of(template),
        "data": str(folder.path.resolve()),
        "shape": list(shape),
        "clean_share": clean_share,
    }
    known = is_made_of(made, made_of)
    try:
        if not known:
            made.unlink(missing_ok=True)
        latents = np.lib.format.open_memmap(path, "r+" if known else "w+", np.float16, shape)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written: {one_line(error)}") from error
    if not known:
        guide = Guide(template, avatar.box)
        with Prefetch(_grids(guide, folder, numbers, sources), _AHEAD) as ahead:
            steps = tqdm(ahead, desc="guides", total=len(numbers), unit="person", disable=None)
            for row, grids in enumerate(steps):
                clean = np.full(grids.sdf.shape, CLEAN, np.uint8)
                latents[row] = avatar.encode(grids.sdf, clean, grids.colour).cpu().numpy()
        latents.flush()
        made.write_text(json.dumps(made_of))
    return GuideBank(latents, sources)


def digest_of(template: HeadTemplate) -> str:
    """Of a template's numbers."""
    numbers = {"mean": template.mean, "shapes": template.shapes, "units": template.units}
    return digest({name: torch.from_numpy(values) for name, values in numbers.items()})


def _sources(
    folder: ScanFolder, first: ScannedPerson, clean_share: float
) -> Int64[np.ndarray, "P E"]:
    rng = np.random.default_rng(11)
    e, count = folder.expressions, len(folder.training) + len(folder.validation)
    if not folder.scans:
        return np.zeros((count, e), np.int64)
    found = e + rng.integers(folder.scans, size=(count, e))
    found[rng.random((count, e)) < clean_share] = 0
    complete = np.flatnonzero(first.scan_kind == COMPLETE)
    held_out = slice(len(folder.training), None)
    found[held_out] = e + complete[0] if len(complete) else 0
    return found


def _grids(
    guide: Guide, folder: ScanFolder, numbers: Sequence[int], sources: Int64[np.ndarray, "P E"]
) -> Iterator[Grids]:
    """The guide's grids of all expressions, person by person."""
    e = folder.expressions
    for row, number in enumerate(numbers):
        person = folder.person(number)
        rows: list[tuple[np.ndarray, np.ndarray] | None] = [None] * e
        for source in np.unique(sources[row]):
            if source < e:
                sdf, colour = person.sdf[0].astype(np.float32), person.colour[0]
                seen = np.full(sdf.shape, CLEAN, np.uint8)
            else:
                sdf = person.scan_sdf[source - e].astype(np.float32)
                seen, colour = person.scan_seen[source - e], person.scan_colour[source - e]
            fitted = guide.fit(sdf, seen)
            for entry in np.flatnonzero(sources[row] == source):
                values = person.blendshapes[entry].astype(np.float32)
                rows[entry] = guide.grid(fitted, values, seen, colour)
        made = [pair for pair in rows if pair is not None]
        yield Grids(np.stack([sdf for sdf, _ in made]), np.stack([light for _, light in made]))
