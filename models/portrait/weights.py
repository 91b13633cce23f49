"""The portrait's networks on disk: safetensors with a JSON header, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

import torch

from ..documents import json_of
from ..errors import InputError
from ..learning.checkpoint_file import unpacking
from ..learning.layout import channels_last
from ..learning.tensor_file import check_state, read_tensors, write_tensors
from .config import PortraitConfig
from .generator import Generator

Part = Literal["generator", "prior", "identity", "light", "attributes", "words"]
_HEADER: Final = "mien"
"""Of the metadata: a JSON object with the network's kind, its sizes and what is known of it."""
_EXTRA: Final = "extra."
_Network = TypeVar("_Network", bound=torch.nn.Module)
"""Begins the names of tensors beside a network's own."""


class StoredWeights(NamedTuple):
    """What a file holds.

    Attributes:
        config: sizes of the network, as JSON has them.
        facts: what is to be known of the weights: data, budget, figures.
        tensors: the network's, by name.
        extras: others, by name.
    """

    config: dict[str, Any]
    facts: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    extras: dict[str, torch.Tensor]


def shipped(part: Part) -> Path:
    """Where the weights that come with mien lie."""
    package = __name__.rsplit(".", 2)[0] + ".weights"
    return Path(str(resources.files(package))) / "portrait" / f"{part}.safetensors"


def save_part(
    path: Path,
    part: Part,
    network: torch.nn.Module,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    extras: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a network; a file of that name stays whole until the new one is.

    Args:
        path: ends ``.safetensors``.
        part: which one it is.
        network: whose weights.
        config: its sizes, as JSON has them.
        facts: what is to be known of them.
        extras: further tensors.

    Raises:
        InputError: safetensors is not installed.
        OutputError: it cannot be written.
    """
    tensors = dict(network.state_dict())
    tensors |= {_EXTRA + name: value for name, value in (extras or {}).items()}
    header = {"kind": f"portrait-{part}-1", "config": dict(config), "facts": dict(facts)}
    write_tensors(path, tensors, {_HEADER: json.dumps(header)})


def load_part(path: Path, part: Part) -> StoredWeights:
    """Read a file of :func:`save_part`.

    Raises:
        InputError: it is missing, damaged, a pickle, or of another network.
    """
    about, tensors = read_tensors(path)
    kind = f"portrait-{part}-1"
    try:
        header = json_of(about.get(_HEADER, "{}"))
        found = header.get("kind", "other weights")
        if found != kind:
            raise InputError(f"{path}: holds {found!r:.60}, expected {kind}")
        config, facts = dict(header["config"]), dict(header["facts"])
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its header is damaged") from error
    own = {name: value for name, value in tensors.items() if not name.startswith(_EXTRA)}
    extras = {n.removeprefix(_EXTRA): v for n, v in tensors.items() if n.startswith(_EXTRA)}
    return StoredWeights(config, facts, own, extras)


def save_weights(
    path: Path,
    model: Generator,
    facts: Mapping[str, Any],
    extras: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a generator; see :func:`save_part`."""
    save_part(path, "generator", model, asdict(model.config), facts, extras)


def load_weights(path: Path) -> Generator:
    """A generator in evaluation mode, its weights frozen.

    Raises:
        InputError: the file is missing, damaged, of another network, or its weights are not all
            there, more than asked for, or of other sizes.
    """
    stored = load_part(path, "generator")
    with unpacking(path), torch.device("meta"):
        model = Generator(PortraitConfig.of_table(stored.config))
    fill(model, stored.tensors, path)
    return frozen(model)


def read_facts(path: Path, part: Part = "generator") -> dict[str, Any]:
    """What a file says about itself.

    Raises:
        InputError: it is no such file.
    """
    return load_part(path, part).facts


def fill(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Give a network (on any device, ``meta`` too) exactly these weights, in single precision.

    Raises:
        InputError: weights are missing, unexpected, of other sizes or not finite.
    """
    check_state(path, "this network", model.state_dict(), tensors)
    model.load_state_dict(
        {name: value.float() for name, value in tensors.items()}, strict=True, assign=True
    )


def filled(
    make: Callable[[], _Network], tensors: Mapping[str, torch.Tensor], path: Path
) -> _Network:
    """A network of a header's sizes with a file's weights; made once the file is seen to have them.

    Raises:
        InputError: see :func:`fill`.
    """
    with unpacking(path), torch.device("meta"):
        state = make().state_dict()
    check_state(path, "this network", state, tensors)
    network = make()
    fill(network, tensors, path)
    return network


def frozen(model: Generator) -> Generator:
    """Evaluation mode, no gradients to weights, convolutions in the order processors like."""
    channels_last(model)
    return model.eval().requires_grad_(False)
