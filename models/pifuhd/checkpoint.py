"""Checkpoints of PIFuHD's parts, as plain tensors and containers, and the model of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from ..errors import InputError
from ..learning.checkpoint_file import load_content, save_content, unpacking
from ..learning.pace import CHECKPOINT_NAME
from .config import PifuhdConfig
from .network import Pifuhd
from .train_config import PARTS, Part
from .weights import WEIGHTS_NAME, load_weights, save_weights

CHECKPOINT_FORMAT: Final = "pifuhd-part-1"
"""Kind and version of the file's layout."""
PREFIXES: Final[dict[Part, tuple[str, ...]]] = {
    "normals-front": ("netG.netF.",),
    "normals-back": ("netG.netB.",),
    "coarse": ("netG.image_filter.", "netG.mlp."),
    "fine": ("image_filter.", "mlp."),
}
"""How the names of each part's weights begin in the whole model."""


@dataclass
class PartProgress:
    """How far a part's training is: optimiser steps, pictures seen, seconds over all its runs."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class PartCheckpoint:
    """A part that can be trained on, or be put together with the others.

    Attributes:
        part: which.
        config: sizes of the whole model.
        weights: of the part, under their names in the whole.
        optimiser: its state.
        progress: how far it is.
        true_normals: whether it was given true normals.
        figures: of the last validation.
        begun_with: name and hash of the weights that it began with; "" for none.
    """

    part: Part
    config: PifuhdConfig
    weights: Mapping[str, torch.Tensor]
    optimiser: Mapping[str, Any]
    progress: PartProgress
    true_normals: bool
    figures: Mapping[str, float]
    begun_with: str = ""

    def save(self, out: Path) -> Path:
        """Write the file into the part's folder; an old one stays whole until this one is.

        Raises:
            OutputError: it cannot be written.
        """
        path = part_path(out, self.part)
        content = {
            "format": CHECKPOINT_FORMAT,
            "part": self.part,
            "config": self.config.as_dict(),
            "weights": {name: value.detach().cpu() for name, value in self.weights.items()},
            "optimiser": dict(self.optimiser),
            "progress": asdict(self.progress),
            "true_normals": self.true_normals,
            "figures": dict(self.figures),
            "begun_with": self.begun_with,
        }
        save_content(path, content)
        return path

    @classmethod
    def load(cls, path: Path) -> PartCheckpoint:
        """Read a checkpoint; nothing but tensors and plain containers is unpickled.

        Raises:
            InputError: the file is missing, damaged, or of another kind.
        """
        content = load_content(path, CHECKPOINT_FORMAT)
        with unpacking(path):
            return cls(
                part=content["part"],
                config=PifuhdConfig.from_dict(content["config"]),
                weights=content["weights"],
                optimiser=content["optimiser"],
                progress=PartProgress(**content["progress"]),
                true_normals=bool(content["true_normals"]),
                figures=content["figures"],
                begun_with=str(content.get("begun_with", "")),
            )


def part_path(out: Path, part: Part) -> Path:
    """Where the checkpoint of a part lies."""
    return out / part / CHECKPOINT_NAME


def find_part(part: Part, out: Path, earlier: Path | None) -> Path | None:
    """The checkpoint of a part, in the training's own folder or in the earlier one's."""
    paths = [part_path(folder, part) for folder in (out, earlier) if folder is not None]
    return next((path for path in paths if path.is_file()), None)


def need_part(part: Part, out: Path, earlier: Path | None) -> PartCheckpoint:
    """As :func:`find_part`, read.

    Raises:
        InputError: there is none.
    """
    path = find_part(part, out, earlier)
    if path is None:
        stage, _, side = part.partition("-")
        named = f"--stage {stage}" + (f" --side {side}" if side else "")
        raise InputError(f"{out}: no {part}/{CHECKPOINT_NAME}: train it first ({named})")
    return PartCheckpoint.load(path)


def take_part(model: Pifuhd, checkpoint: PartCheckpoint, source: Path) -> None:
    """Put a part's weights into a model.

    Args:
        model: changed.
        checkpoint: of the part.
        source: named in messages.

    Raises:
        InputError: they are of other sizes.
    """
    with unpacking(source):
        wanted = part_weights(model, checkpoint.part)
        same = wanted.keys() == checkpoint.weights.keys() and all(
            wanted[name].shape == value.shape for name, value in checkpoint.weights.items()
        )
        found, config = checkpoint.config, model.config
        if checkpoint.part == "coarse":  # what it adds at most, no size shows
            same = same and found.coarse_implicit == config.coarse_implicit
        if checkpoint.part == "fine":
            same = same and found.fine_implicit == config.fine_implicit
    if not same:
        raise InputError(f"{source}: its {checkpoint.part} is of other sizes or another preset")
    with unpacking(source):
        model.load_state_dict(dict(checkpoint.weights), strict=False)


def begin_part(model: Pifuhd, part: Part, path: Path) -> None:
    """Begin a part with the weights of another model, such as one of heads for bodies.

    An implicit network that is told other things than the other model's, such as where the head's
    axes are, keeps its own weights.

    Args:
        model: changed.
        part: which.
        path: weights of a whole model.

    Raises:
        InputError: they cannot be read, or the part's encoder or generator has other sizes.
    """
    wanted, found = part_weights(model, part), load_weights(path).state_dict()
    taken: dict[str, torch.Tensor] = {}
    for prefix in PREFIXES[part]:  # an encoder before what reads its features
        own = {name: value for name, value in wanted.items() if name.startswith(prefix)}
        if all(name in found and found[name].shape == value.shape for name, value in own.items()):
            taken |= {name: found[name] for name in own}
        elif not taken:
            raise InputError(f"{path}: its {part} has other sizes or inputs, or another preset")
    model.load_state_dict(taken, strict=False)


def part_weights(model: Pifuhd, part: Part) -> dict[str, torch.Tensor]:
    """Weights of a part under their names in the whole model."""
    prefixes = PREFIXES[part]
    return {n: value for n, value in model.state_dict().items() if n.startswith(prefixes)}


def export(
    out: Path, facts: Mapping[str, Any] | None = None, *, earlier: Path | None = None
) -> Path | None:
    """Put the parts of a training together into ``weights.safetensors``, in half precision.

    Args:
        out: folder of the training.
        facts: what is to be known of them beside each part's own figures.
        earlier: folder of a training that holds the parts that ``out`` lacks.

    Returns:
        the file, or None while parts that the model needs are not trained.

    Raises:
        InputError: parts do not belong together.
        OutputError: the file cannot be written.
    """
    path = find_part("fine", out, None)
    if path is None:
        return None
    last = PartCheckpoint.load(path)
    config = last.config
    parts: list[Part] = [
        part
        for part in PARTS
        if not (part == "coarse" and config.fine_only)
        and not (part.startswith("normals") and not config.use_normals)
    ]
    paths = {part: find_part(part, out, earlier) for part in parts}
    with torch.device("meta"):
        model = Pifuhd(config)
    model = model.to_empty(device="cpu")
    about: dict[str, Any] = {"true_normals": last.true_normals}
    for part, found in paths.items():
        if found is None:
            return None
        checkpoint = PartCheckpoint.load(found)
        take_part(model, checkpoint, found)
        about[part] = {**asdict(checkpoint.progress), **checkpoint.figures}
        if checkpoint.begun_with:
            about[part]["begun_with"] = checkpoint.begun_with
    written = out / WEIGHTS_NAME
    save_weights(written, model, {**about, **(facts or {})}, half=True)
    return written
