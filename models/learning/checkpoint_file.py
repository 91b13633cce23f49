"""Checkpoints on disk: plain tensors and containers under the name of their format."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError


def save_content(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; an old one of that name stays whole until this one is.

    Args:
        path: the file.
        content: tensors and plain containers, with the format's name under ``format``.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    torch.save(content, temporary)
    temporary.replace(path)


def load_content(path: Path, kind: object) -> dict[str, Any]:
    """Read a checkpoint; nothing but tensors and plain containers is unpickled.

    Args:
        path: the file.
        kind: the format that is expected.

    Raises:
        InputError: the file is missing, damaged or of another format.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it breaks off"
        raise InputError(f"{path}: not a checkpoint: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != kind:
        raise InputError(f"{path}: not a checkpoint of format {kind}")
    return content
