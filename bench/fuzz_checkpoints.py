"""Parsers of trainings' checkpoints, and of PIFuHD's weights.

Seeds' tensors are one number each, repeated by their strides: files stay small.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fuzz_parser import Parser, in_file

if TYPE_CHECKING:
    import torch

    from mien.models.pifuhd.config import PifuhdConfig

_PROGRESS: Final = {"step": 3, "images": 96, "seconds": 1.5}


def _flat(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same shapes, each of one zero."""
    import torch

    return {n: torch.zeros((), dtype=v.dtype).expand(v.shape) for n, v in state.items()}


def _saved(content: Mapping[str, Any]) -> list[bytes]:
    import torch

    out = io.BytesIO()
    torch.save(dict(content), out)
    return [out.getvalue()]


def _regressor(_: Path) -> Sequence[bytes]:
    import torch

    from mien.models.regressor.network import FaceNetwork, NetworkConfig

    config = NetworkConfig(width=0.1)
    state = _flat(FaceNetwork(config).state_dict())
    sampler = {"chunk": 1, "dealt": 2, "seen": {0: torch.zeros(3, dtype=torch.int32)}}
    origin = {"command": "none", "seed": 0, "images": 0, "device": "cpu"}
    return _saved(
        {"format": 1, "network": asdict(config), "weights": state, "averaged": state,
         "optimiser": {}, "progress": _PROGRESS, "sampler": sampler, "optimiser_kind": "adamw",
         "history": [origin]}
    )  # fmt: skip


def _read_regressor(path: Path) -> object:
    from mien.models.regressor.checkpoint import Checkpoint

    return Checkpoint.load(path).averaged_network()


def _detector(_: Path) -> Sequence[bytes]:
    from mien.models.detector.network import DetectorNetwork, DetectorNetworkConfig

    config = DetectorNetworkConfig(width=0.1, deep=8, decoder=(4, 4, 4))
    state = _flat(DetectorNetwork(config).state_dict())
    return _saved(
        {"format": "detector-1", "network": asdict(config), "weights": state, "averaged": state,
         "optimiser": {}, "progress": _PROGRESS, "threshold": 0.5}
    )  # fmt: skip


def _read_detector(path: Path) -> object:
    from mien.models.detector.checkpoint import DetectorCheckpoint

    return DetectorCheckpoint.load(path).averaged_network()


def _blendshapes(_: Path) -> Sequence[bytes]:
    from mien.models.blendshapes.network import BlendshapeNetwork

    state = _flat(BlendshapeNetwork().state_dict())
    return _saved(
        {"format": "blendshapes-1", "weights": state, "averaged": state, "optimiser": {},
         "progress": _PROGRESS}
    )  # fmt: skip


def _read_blendshapes(path: Path) -> object:
    from mien.models.blendshapes.checkpoint import BlendshapeCheckpoint

    return BlendshapeCheckpoint.load(path).averaged_network()


def _tiny() -> PifuhdConfig:
    from mien.models.pifuhd.config import ImplicitConfig, NormalConfig, preset

    small = preset("small")
    encoder = replace(
        small.coarse, size=32, stem=8, middle=8, channels=8, outputs=4, stacks=1, depth=1, groups=4
    )
    return replace(
        small, image_size=32, normal=NormalConfig(32, 4, 1, 1),
        coarse=encoder, fine=encoder, coarse_implicit=ImplicitConfig((8, 4), (), 0),
        fine_implicit=ImplicitConfig((8,), (), 0),
    )  # fmt: skip


def _part(_: Path) -> Sequence[bytes]:
    import torch

    from mien.models.pifuhd.checkpoint import part_weights
    from mien.models.pifuhd.network import Pifuhd

    config = _tiny()
    with torch.device("meta"):
        weights = _flat(part_weights(Pifuhd(config), "coarse"))
    return _saved(
        {"format": "pifuhd-part-1", "part": "coarse", "config": config.as_dict(),
         "weights": weights, "optimiser": {}, "progress": _PROGRESS, "true_normals": False,
         "figures": {"iou": 0.5}}
    )  # fmt: skip


_models: list[Any] = []


def _read_part(path: Path) -> object:
    from mien.models.pifuhd.checkpoint import PartCheckpoint, take_part
    from mien.models.pifuhd.network import Pifuhd

    if not _models:
        _models.append(Pifuhd(_tiny()))
    checkpoint = PartCheckpoint.load(path)
    return take_part(_models[0], checkpoint, path)


def _pifuhd(folder: Path) -> Sequence[bytes]:
    from mien.models.pifuhd.network import Pifuhd
    from mien.models.pifuhd.weights import save_weights

    path = folder / "p.safetensors"
    save_weights(path, Pifuhd(_tiny()), {"seed": 0}, half=True)
    return [path.read_bytes()]


def _published(_: Path) -> Sequence[bytes]:
    import torch

    from mien.models.pifuhd.config import preset
    from mien.models.pifuhd.network import Pifuhd

    with torch.device("meta"):
        state = Pifuhd(preset("paper")).state_dict()
    options = argparse.Namespace(name="fuzz", gpu_id=0)
    state = {f"module.{name}": value for name, value in _flat(state).items()}
    return _saved({"opt": options, "model_state_dict": state})


def _read_pifuhd(path: Path) -> object:
    from mien.models.pifuhd.weights import load_weights, read_facts

    facts = read_facts(path) if path.suffix == ".safetensors" else None
    return facts, load_weights(path).config


def _parts(folder: Path) -> Sequence[bytes]:
    """The portrait's smaller networks, each of the least size."""
    from mien.models.portrait.convnet import ConvnetConfig
    from mien.models.portrait.identity import IdentityEmbedder
    from mien.models.portrait.light import LightEstimator
    from mien.models.portrait.prior import CaptionedDiffusion, PriorConfig
    from mien.models.portrait.word_directions import WordDirections

    path = folder / "p.safetensors"
    config = ConvnetConfig(side=8, widths=(4, 4, 4))
    prior = CaptionedDiffusion(PriorConfig(side=8, channels=(8, 8), width=8))
    found = []
    for network in (IdentityEmbedder(config), LightEstimator(config), prior, WordDirections(8)):
        network.save(path, {"seed": 0})
        found.append(path.read_bytes())
    return found


def _read_parts(path: Path) -> object:
    """As whichever of them the file says that it is; by others it is refused at once."""
    from mien.models.errors import InputError
    from mien.models.portrait.attributes import AttributeClassifier
    from mien.models.portrait.identity import IdentityEmbedder
    from mien.models.portrait.light import LightEstimator
    from mien.models.portrait.prior import CaptionedDiffusion
    from mien.models.portrait.word_directions import WordDirections

    last: InputError | None = None
    for kind in (
        AttributeClassifier, LightEstimator, CaptionedDiffusion, IdentityEmbedder, WordDirections,
    ):  # fmt: skip
        try:
            return kind.load(path)
        except InputError as error:
            last = error
    assert last is not None
    raise last


def _vgg(_: Path) -> Sequence[bytes]:
    import torch

    return _saved({"features.0.weight": torch.zeros(()).expand(64, 3, 3, 3)})


def _read_vgg(path: Path) -> object:
    from mien.models.pifuhd.perceptual import VggDistance

    return VggDistance(path)


def _parser(
    name: str, seeds: Callable[[Path], Sequence[bytes]], read: Callable[[Path], object],
    share: float,
) -> Parser:  # fmt: skip
    suffix, form = ("safetensors",) * 2 if name.startswith("weights") else ("pt", "zip")
    needs = ("torch", "safetensors")
    return Parser(name, form, seeds, in_file(f"c.{suffix}", read), share=share, needs=needs)


PARSERS: Final = (
    _parser("checkpoint-regressor", _regressor, _read_regressor, 0.1),
    _parser("checkpoint-detector", _detector, _read_detector, 0.1),
    _parser("checkpoint-blendshapes", _blendshapes, _read_blendshapes, 0.1),
    _parser("checkpoint-part", _part, _read_part, 0.1),
    _parser("checkpoint-pifuhd", _published, _read_pifuhd, 0.003),
    _parser("weights-pifuhd", _pifuhd, _read_pifuhd, 0.05),
    _parser("weights-parts", _parts, _read_parts, 0.05),
    _parser("checkpoint-vgg-pifuhd", _vgg, _read_vgg, 0.005),
)
