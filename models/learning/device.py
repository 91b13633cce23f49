"""Where a network runs: what the names that a person gives a device mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from ..errors import InputError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
_NAMES: Final = get_args(Device)


def check_device(name: str) -> None:
    """Refuse what names no device, whether or not it is here.

    Raises:
        InputError: it is neither ``auto`` nor ``cpu`` nor ``cuda``.
    """
    if name not in _NAMES:
        raise InputError(f"no device {name!r}: expected auto, cpu or cuda")


def find_device(name: str | None = None) -> torch.device:
    """The device that a name means; ``auto`` or None: CUDA where there is one.

    Raises:
        InputError: no device has that name, or CUDA is asked for and there is none.
    """
    import torch

    name = name or "auto"
    check_device(name)
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise InputError("device cuda: torch finds no such device here; expected auto or cpu")
    return torch.device("cuda" if there and name != "cpu" else "cpu")
