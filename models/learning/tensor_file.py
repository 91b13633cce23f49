"""Weights on disk: safetensors with a header of text, never a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from ..documents import one_line, shown
from ..errors import InputError, OutputError, how_to_install
from ..writing import make_folder, whole_file

_INSTALL: Final = how_to_install("heavy")
_SHOWN: Final = 4
"""Names in a message."""
_LONGEST: Final = 100
"""Characters of each."""
_NUMBERS: Final = frozenset(
    {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool}
    | {torch.int8, torch.int16, torch.int32, torch.int64}
    | {torch.uint8, torch.uint16, torch.uint32, torch.uint64}
)
"""Types of weights; torch can hardly do anything with others."""


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
            f"{path}: not a safetensors file (pickles are not opened): {one_line(error)}"
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
        InputError: weights are missing, unexpected, of other sizes or types, not finite, or more
            than the file has numbers for.
    """
    odd = [
        f"{name} {tuple(found[name].shape)} for {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(found))
        if found[name].shape != wanted[name].shape
    ]
    same = {
        name: value
        for name, value in found.items()
        if name in wanted and wanted[name].shape == value.shape
    }
    strange = [name for name, value in same.items() if not _is_plain(value)]
    plain = {name: value for name, value in same.items() if name not in strange}
    repeated = [name for name, value in plain.items() if _is_repeated(value)]
    endless = [
        name
        for name, value in plain.items()
        if name not in repeated and value.is_floating_point() and not torch.isfinite(value).all()
    ]
    faults = []
    for kind, names in (
        ("missing", sorted(set(wanted) - set(found))),
        ("unexpected", sorted(set(found) - set(wanted))),
        ("of another size", odd),
        ("of another type", strange),
        ("repeating fewer numbers", repeated),
        ("not finite", endless),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            first = ", ".join(shown(name, _LONGEST) for name in names[:_SHOWN])
            faults.append(f"{len(names)} {kind}: {first}{more}")
    if faults:
        raise InputError(f"{path}: not the weights of {what}: {'; '.join(faults)}")


def check_content(path: Path, content: Any) -> None:
    """Refuse what a checkpoint holds besides weights where it is larger in use than in the file.

    Args:
        path: for the message.
        content: tensors and plain containers, however they stand in each other.

    Raises:
        InputError: a tensor repeats fewer numbers, or has none in memory.
    """
    waiting, seen = [content], set[int]()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:  # a list may hold itself
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, torch.Tensor):
            what = f"{path}: a tensor {list(value.shape)!s:.40}"
            if not _is_plain(value):
                raise InputError(f"{what} is not of plain numbers ({value.dtype})")
            if _is_repeated(value):
                raise InputError(f"{what} repeats fewer numbers")


def _is_plain(value: torch.Tensor) -> bool:
    """Whether it is numbers in memory, rather than sparse, quantised or only told of."""
    return value.dtype in _NUMBERS and value.layout is torch.strided and not value.is_meta


def _is_repeated(value: torch.Tensor) -> bool:
    """Whether strides make more of a file's numbers than there are: copied, they fill memory."""
    return value.numel() * value.itemsize > value.untyped_storage().nbytes()
