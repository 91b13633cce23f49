"""The avatar's weights on disk: safetensors with their configuration and facts in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import torch

from ..documents import json_of, one_line
from ..errors import InputError
from ..learning.layout import channels_last
from ..learning.tensor_file import check_state, read_tensors, write_tensors
from ..scans.template import TEMPLATE, HeadTemplate
from .avatar import Avatar
from .config import AvatarConfig, DiffusionConfig
from .guide import Guide
from .keypoints import KeypointConfig

WEIGHTS_FORMAT: Final = "mien-avatar-1"
"""Kind and version of the file's layout."""
WEIGHTS_NAME: Final = "weights.safetensors"


def shipped() -> Path:
    """Where the weights that come with mien lie."""
    package = __name__.rpartition(".avatar.")[0] + ".weights"
    return Path(str(resources.files(package))) / "avatar" / WEIGHTS_NAME


def save_weights(
    path: Path, model: Avatar, facts: Mapping[str, Any], *, half: bool = False
) -> None:
    """Write networks with their normalisation; an old file stays whole until the new one is.

    Of networks with a guide its template is written beside them.

    Args:
        path: ends ``.safetensors``.
        model: whose weights.
        facts: what is to be known of them: data, budget, figures; as JSON has it.
        half: in half precision, all but the normalisation.

    Raises:
        OutputError: it cannot be written.
    """
    tensors = {}
    for name, value in model.state_dict().items():
        kind = torch.float16 if half and ".normalisation." not in name else torch.float32
        if not value.is_floating_point():
            kind = value.dtype
        tensors[name] = value.to(kind)
    parts = {
        "objects": model.objects,
        "keypoints": model.keypoints.config.as_dict() if model.keypoints else None,
        "encoder": model.encoder is not None,
        "diffusion": model.diffusion.config.as_dict() if model.diffusion else None,
    }
    about = {
        "format": WEIGHTS_FORMAT,
        "config": json.dumps(model.config.as_dict()),
        "parts": json.dumps(parts),
        "facts": json.dumps(dict(facts)),
    }
    write_tensors(path, tensors, about)
    if model.guide is not None:
        model.guide.template.save(path.with_name(TEMPLATE))


def load_weights(path: Path, *, diffusion: bool = True) -> Avatar:
    """Networks in evaluation mode.

    Args:
        path: as :func:`save_weights` writes it.
        diffusion: whether the denoiser is wanted, if there is one.

    Raises:
        InputError: the file is missing, damaged, of another kind, or its weights are not those that
            its header speaks of.
    """
    about, tensors = _read(path)
    try:
        config = AvatarConfig.from_dict(json_of(about["config"]))
        parts = json_of(about["parts"])
        table = parts["diffusion"]
        denoiser = DiffusionConfig.from_dict(table) if table else None
        objects, encoder = int(parts["objects"]), bool(parts["encoder"])
        moving = parts.get("keypoints")
        keypoints = KeypointConfig.from_dict(moving) if moving else None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: its header is damaged: {one_line(error)}") from error
    if not diffusion:
        denoiser = None
        tensors = {k: v for k, v in tensors.items() if not k.startswith("diffusion.")}
    try:
        with torch.device("meta"):
            model = Avatar(
                config, objects=objects, keypoints=keypoints, encoder=encoder, diffusion=denoiser
            )
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        why = one_line(error)
        raise InputError(f"{path}: its header describes no network: {why}") from error
    check_state(path, "this avatar", model.state_dict(), tensors)
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    channels_last(model)
    if denoiser is not None and denoiser.guide:
        model.guide = Guide(HeadTemplate.load(path.with_name(TEMPLATE)), model.box)
    return model.eval().requires_grad_(False)


def read_facts(path: Path) -> dict[str, Any]:
    """What a file of :func:`save_weights` says about itself.

    Raises:
        InputError: it is no such file.
    """
    try:
        facts = json_of(_read(path, tensors=False)[0].get("facts", "{}"))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: its header is damaged: {one_line(error)}") from error
    if not isinstance(facts, dict):
        raise InputError(f"{path}: its header is damaged: facts are no table")
    return facts


def _read(path: Path, *, tensors: bool = True) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; 'mien train avatar' writes {WEIGHTS_NAME}")
    about, read = read_tensors(path, tensors=tensors)
    if about.get("format") != WEIGHTS_FORMAT:
        raise InputError(f"{path}: not weights of an avatar of format {WEIGHTS_FORMAT}")
    return about, read
