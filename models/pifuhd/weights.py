"""PIFuHD's weights on disk: safetensors of its own, and the published ``pifuhd.pt``."""

from __future__ import annotations

import argparse
import json
import pickle
import warnings
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import torch

from ..documents import json_of, one_line
from ..errors import InputError
from ..learning.checkpoint_file import DAMAGE, program_fault, words_of
from ..learning.tensor_file import check_state, read_tensors, write_tensors
from .config import PifuhdConfig, preset
from .network import Pifuhd

WEIGHTS_FORMAT: Final = "mien-pifuhd-1"
"""Kind and version of the file's layout."""
WEIGHTS_NAME: Final = "weights.safetensors"

Subject = Literal["head", "body"]


def shipped(subject: Subject) -> Path:
    """Where the weights that come with mien lie.

    Args:
        subject: ``head`` or ``body``.
    """
    package = __name__.rsplit(".", 2)[0] + ".weights"
    return Path(str(resources.files(package))) / f"pifuhd_{subject}" / WEIGHTS_NAME


def save_weights(
    path: Path, model: Pifuhd, facts: Mapping[str, Any], *, half: bool = False
) -> None:
    """Write a model; a file of that name stays whole until the new one is.

    Args:
        path: ends ``.safetensors``.
        model: whose weights.
        facts: what is to be known of them: data, budget, figures; as JSON has it.
        half: in half precision.

    Raises:
        OutputError: it cannot be written.
    """
    kind = torch.float16 if half else torch.float32
    tensors = {name: value.to(kind) for name, value in model.state_dict().items()}
    about = {
        "format": WEIGHTS_FORMAT,
        "config": json.dumps(model.config.as_dict()),
        "facts": json.dumps(dict(facts)),
    }
    write_tensors(path, tensors, about)


def load_weights(path: Path) -> Pifuhd:
    """A model in evaluation mode, from mien's own file or the published ``pifuhd.pt``.

    Args:
        path: ``.safetensors`` as :func:`save_weights` writes, else the published checkpoint.

    Raises:
        InputError: the file is missing, damaged, of another kind, or its weights are not all
            there, more than asked for, or of other sizes.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected {WEIGHTS_NAME} or pifuhd.pt")
    if path.suffix == ".safetensors":
        about, tensors = _read_safetensors(path)
        try:
            config = PifuhdConfig.from_dict(json_of(about["config"]))
            with torch.device("meta"):
                model = Pifuhd(config)
        except DAMAGE as error:
            raise InputError(f"{path}: its header is damaged: {one_line(error)}") from error
    else:
        tensors = _read_published(path)
        with torch.device("meta"):
            model = Pifuhd(preset("paper"))
    check_state(path, "this PIFuHD", model.state_dict(), tensors)
    tensors = {name: value.float() for name, value in tensors.items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def read_facts(path: Path) -> dict[str, Any]:
    """What a file of :func:`save_weights` says about itself.

    Raises:
        InputError: it is no such file.
    """
    try:
        return dict(json_of(_read_safetensors(path, tensors=False)[0]["facts"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its header is damaged: {one_line(error)}") from error


def _read_safetensors(
    path: Path, *, tensors: bool = True
) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    about, read = read_tensors(path, tensors=tensors)
    if about.get("format") != WEIGHTS_FORMAT:
        raise InputError(f"{path}: not weights of PIFuHD of format {WEIGHTS_FORMAT}")
    return about, read


def _read_published(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in ``pifuhd.pt``; of its objects only ``argparse.Namespace`` is admitted."""
    try:
        fault = program_fault(path)
        if fault:
            raise pickle.UnpicklingError(fault)
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(action="ignore", category=UserWarning),
        ):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: not opened: {words_of(error)}; expected the published pifuhd.pt"
        ) from error
    except (OSError, *DAMAGE) as error:
        raise InputError(f"{path}: not a checkpoint of PIFuHD: {words_of(error)}") from error
    weights = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(map(torch.is_tensor, weights.values())):
        raise InputError(f"{path}: not a checkpoint of PIFuHD: it has no model_state_dict")
    return {str(name).removeprefix("module."): value for name, value in weights.items()}
