"""Weights on disk: safetensors with a header of text, never a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

from ..documents import one_line
from ..errors import InputError, OutputError, how_to_install
from ..writing import make_folder, whole_file

_INSTALL: Final = how_to_install("heavy")
_SHOWN: Final = 4
"""Names in a message."""


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, str]
) -> None:
    """Write tensors; a file of that name stays whole until the new one is.

    Args:
        path: ends ``.safetensors``; its folder is made where it is absent.
        tensors: by name; copied, since some may be views, share memory, or lie in another order.
        about: the header.

    Raises:
        InputError: safetensors is not installed.
        OutputError: it cannot be written.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import save_file
    except ImportError as error:
        raise InputError(f"{path}: writing it needs safetensors: {_INSTALL}") from error
    plain = {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }
    make_folder(path.parent)
    with whole_file(path) as part:
        try:
            save_file(plain, part, dict(about))
        except SafetensorError as error:  # of a full disk
            raise OutputError(f"{path}: cannot be written: {one_line(error)}") from error
        part.chmod(0o644)


def read_tensors(
    path: Path, *, tensors: bool = True
) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Header and tensors of a file.

    Args:
        path: the file.
        tensors: whether they are wanted; else none are read.

    Raises:
        InputError: it is missing or another kind of file, a pickle for instance.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise InputError(f"{path}: reading it needs safetensors: {_INSTALL}") from error
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a .safetensors file")
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            return about, {name: file.get_tensor(name) for name in file.keys() if tensors}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path}: not a safetensors file (pickles are not opened): {error}"
        ) from error


def check_state(
    path: Path,
    what: str,
    wanted: Mapping[str, torch.Tensor],
    found: Mapping[str, torch.Tensor],
) -> None:
    """Refuse weights that are not exactly a network's, in one message.

    Args:
        path: for the message.
        what: likewise, such as ``this network``.
        wanted: the network's own state, on any device.
        found: the weights.

    Raises:
        InputError: weights are missing, unexpected, of other sizes or not finite.
    """
    odd = [
        f"{name} {tuple(found[name].shape)} for {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(found))
        if found[name].shape != wanted[name].shape
    ]
    endless = [
        name
        for name, value in found.items()
        if name in wanted and wanted[name].shape == value.shape and not _is_finite(value)
    ]
    faults = []
    for kind, names in (
        ("missing", sorted(set(wanted) - set(found))),
        ("unexpected", sorted(set(found) - set(wanted))),
        ("of another size", odd),
        ("not finite", endless),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            faults.append(f"{len(names)} {kind}: {', '.join(names[:_SHOWN])}{more}")
    if faults:
        raise InputError(f"{path}: not the weights of {what}: {'; '.join(faults)}")


def _is_finite(value: torch.Tensor) -> bool:
    """Whether all numbers are; those that a file's strides repeat are looked at once."""
    for axis, step in enumerate(value.stride()):
        if step == 0 and value.shape[axis] > 1:
            value = value.narrow(axis, 0, 1)
    return not value.is_floating_point() or bool(torch.isfinite(value).all())
