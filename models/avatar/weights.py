"""The avatar's weights on disk: safetensors with their configuration and facts in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import torch

from ..documents import json_of, one_line
from ..errors import InputError, OutputError
from ..learning.layout import channels_last
from .avatar import Avatar
from .config import AvatarConfig, DiffusionConfig

WEIGHTS_FORMAT: Final = "mien-avatar-1"
"""Kind and version of the file's layout."""
WEIGHTS_NAME: Final = "weights.safetensors"
_SHOWN: Final = 4
"""Names in a message."""


def shipped() -> Path:
    """Where the weights that come with mien lie."""
    package = __name__.rpartition(".avatar.")[0] + ".weights"
    return Path(str(resources.files(package))) / "avatar" / WEIGHTS_NAME


def save_weights(
    path: Path, model: Avatar, facts: Mapping[str, Any], *, half: bool = False
) -> None:
    """Write networks with their normalisation; an old file stays whole until the new one is.

    Args:
        path: ends ``.safetensors``.
        model: whose weights.
        facts: what is to be known of them: data, budget, figures; as JSON has it.
        half: in half precision, all but the normalisation.

    Raises:
        OutputError: it cannot be written.
    """
    from safetensors.torch import save_file

    tensors = {}
    for name, value in model.state_dict().items():
        kind = torch.float16 if half and ".normalisation." not in name else torch.float32
        if not value.is_floating_point():
            kind = value.dtype
        tensors[name] = value.detach().to("cpu", kind, copy=True).contiguous()
    parts = {
        "objects": model.objects,
        "encoder": model.encoder is not None,
        "diffusion": model.diffusion.config.as_dict() if model.diffusion else None,
    }
    about = {
        "format": WEIGHTS_FORMAT,
        "config": json.dumps(model.config.as_dict()),
        "parts": json.dumps(parts),
        "facts": json.dumps(dict(facts)),
    }
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, about)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


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
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its header is damaged: {one_line(error)}") from error
    if not diffusion:
        denoiser = None
        tensors = {k: v for k, v in tensors.items() if not k.startswith("diffusion.")}
    try:
        with torch.device("meta"):
            model = Avatar(config, objects=objects, encoder=encoder, diffusion=denoiser)
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        why = one_line(error)
        raise InputError(f"{path}: its header describes no network: {why}") from error
    _check(path, model.state_dict(), tensors)
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    channels_last(model)
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
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise InputError(
            f"{path}: reading it needs safetensors: pip install 'mien[heavy]'"
        ) from error
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            read = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a safetensors file: {error}") from error
    if about.get("format") != WEIGHTS_FORMAT:
        raise InputError(f"{path}: not weights of an avatar of format {WEIGHTS_FORMAT}")
    return about, read


def _check(
    path: Path, wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]
) -> None:
    """Refuse weights that are missing, unexpected, of other sizes or not finite."""
    odd = [
        f"{name} {tuple(found[name].shape)} for {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(found))
        if found[name].shape != wanted[name].shape
    ]
    endless = [
        name for name, value in found.items()
        if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]  # fmt: skip
    faults = []
    for what, names in (
        ("missing", sorted(set(wanted) - set(found))),
        ("unexpected", sorted(set(found) - set(wanted))),
        ("of another size", odd),
        ("not finite", endless),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            faults.append(f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{more}")
    if faults:
        raise InputError(f"{path}: not the weights of this avatar: {'; '.join(faults)}")
