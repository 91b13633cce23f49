"""Normals as trained networks draw them, of every view of a folder, made once and kept.

Both levels learn from drawn normals, as they will be used. Drawing them anew in every step would
take as long as learning; here each view's picture is varied once, drawn, and kept beside the
networks' checkpoints. The crop's place still varies in every step, with the normals in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Int8

from ..archives import fitted
from ..documents import one_line
from ..errors import InputError
from ..writing import make_folder, whole_file
from .augment import Augmentation, Placement, photograph, placed_picture
from .dataset import Subject
from .mapped import map_arrays
from .network import Pifuhd

_ARRAYS: Final = {"front": (np.int8, "V S S 3"), "back": (np.int8, "V S S 3")}
_BATCH: Final = 6
"""Pictures drawn at a time."""


def normals_digest(model: Pifuhd) -> str:
    """Eight letters that change with the normal networks' weights."""
    digest = hashlib.sha256()
    for network in (model.netG.netF, model.netG.netB):
        for value in network.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()[:8]


def draw_all(
    model: Pifuhd,
    subjects: Mapping[int, Subject],
    folder: Path,
    seed: int | None,
    bfloat16: bool,
) -> dict[int, tuple[Int8[np.ndarray, "V S S 3"], Int8[np.ndarray, "V S S 3"]]]:
    """Front and back normals of all views, times 127, from the folder or drawn into it.

    Args:
        model: whose normal networks draw.
        subjects: by number.
        folder: for a file a subject.
        seed: of the pictures' variation; None for pictures as they are.
        bfloat16: whether the networks run in bfloat16.

    Raises:
        OutputError: the folder cannot be written.
    """
    kind = "plain" if seed is None else f"varied-{seed}"
    place = folder / f"drawn-{normals_digest(model)}-{model.config.image_size}-{kind}"
    make_folder(place)
    for number, subject in subjects.items():
        path = place / f"{number:05d}.npz"
        if not path.is_file():
            front, back = _draw(model, subject, number, seed, bfloat16)
            with whole_file(path) as part:
                np.savez(part, front=front, back=back)
    found = {}
    for number in subjects:
        path = place / f"{number:05d}.npz"
        try:
            arrays = fitted(map_arrays(path), _ARRAYS)
            found[number] = (arrays["front"], arrays["back"])
        except (ValueError, KeyError) as error:
            raise InputError(f"{path}: not drawn normals: {one_line(error)}") from error
    return found


@torch.no_grad()
def _draw(
    model: Pifuhd, subject: Subject, number: int, seed: int | None, bfloat16: bool
) -> tuple[Int8[np.ndarray, "V S S 3"], Int8[np.ndarray, "V S S 3"]]:
    size = model.config.image_size
    device = next(model.parameters()).device
    varied = None if seed is None else Augmentation()
    rng = np.random.default_rng([seed or 0, number])
    pictures = [
        photograph(
            placed_picture(subject.images[v], Placement(), size),
            placed_picture(subject.mask[v], Placement(), size),
            varied,
            rng,
        )
        for v in range(subject.views)
    ]
    drawn: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for start in range(0, len(pictures), _BATCH):
        image = torch.from_numpy(np.stack(pictures[start : start + _BATCH])).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            normals = model.normals(image)
        for found, maps in zip(drawn, normals, strict=True):
            scaled = (127 * maps.float()).round().clamp(-127, 127).to(torch.int8)
            found.append(scaled.permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(drawn[0]), np.concatenate(drawn[1])
