"""EG3D's published generators, from a safetensors file that their owner converted.

The published file is a pickle that carries source code and runs it; it is never opened here. Who
has it and EG3D's code converts it there::

    import json, pickle, safetensors.torch
    G = pickle.load(open("ffhqrebalanced512-128.pkl", "rb"))["G_ema"]
    tensors = {name: value.contiguous() for name, value in G.state_dict().items()}
    safetensors.torch.save_file(tensors, "ffhqrebalanced512-128.safetensors")
    settings = {"init_kwargs": dict(G.init_kwargs), "rendering_kwargs": dict(G.rendering_kwargs),
                "neural_rendering_resolution": G.neural_rendering_resolution}
    json.dump(settings, open("ffhqrebalanced512-128.json", "w"), default=str)

The licence of those weights (research, not commercial) holds for what is made with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from ..documents import json_of
from ..errors import InputError
from ..learning.tensor_file import read_tensors
from .backbone import resample_filter
from .config import LABEL_SIZE, PortraitConfig
from .generator import Generator
from .weights import fill, frozen

_SUPER_CHANNELS: Final = {
    "SuperresolutionHybrid8XDC": (256, 128),
    "SuperresolutionHybrid8X": (128, 64),
}
"""Super-resolution modules of two doubling blocks."""
_SUPER_INPUT: Final = 128
_UNUSED: Final = "superresolution.resample_filter"
_CLAMP: Final = 256.0
_FEATURES, _HIDDEN, _PLANES = 32, 64, 256
_EXPECTED: Final[dict[str, Any]] = {
    "clamp_mode": "softplus",
    "white_back": False,
    "disparity_space_sampling": False,
    "superresolution_noise_mode": "none",
    "sr_antialias": True,
    "decoder_lr_mul": 1,
    "density_noise": 0,
}
"""Rendering settings that cannot be chosen here."""


def load_eg3d(weights: Path, settings: Path | None = None) -> Generator:
    """A published generator, frozen.

    Args:
        weights: the converted ``.safetensors``.
        settings: the JSON beside it; default: the same name ending ``.json``.

    Raises:
        InputError: a file is missing, damaged, a pickle, or of a generator that is built
            otherwise; or weights are missing, unexpected or of other sizes.
    """
    if weights.suffix != ".safetensors":
        raise InputError(
            f"{weights}: EG3D's weights are taken from a converted .safetensors file; its pickle "
            "carries code and is not opened"
        )
    tensors = read_tensors(weights)[1]
    config = read_settings(settings or weights.with_suffix(".json"))
    tensors.pop(_UNUSED, None)
    _check_filters(tensors, weights)
    with torch.device("meta"):
        model = Generator(config)
    fill(model, tensors, weights)
    return frozen(model)


def read_settings(path: Path) -> PortraitConfig:
    """Sizes of a generator by its file of settings.

    Raises:
        InputError: the file cannot be read, or is of a generator that cannot be had here.
    """
    try:
        table = json_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no settings of an EG3D generator: {error}") from error
    return eg3d_config(table, path)


def eg3d_config(table: object, path: Path) -> PortraitConfig:
    """Sizes of a generator by its settings: init arguments and rendering settings.

    Raises:
        InputError: something is missing or cannot be had here; ``path`` is named.
    """
    if not isinstance(table, dict) or not isinstance(table.get("init_kwargs"), dict):
        raise InputError(f"{path}: expected an object with init_kwargs and rendering_kwargs")
    made = table["init_kwargs"]
    inner, outer = made.get("rendering_kwargs", {}), table.get("rendering_kwargs", {})
    if not isinstance(inner, dict) or not isinstance(outer, dict):
        raise InputError(f"{path}: rendering_kwargs: expected an object")
    drawn = {**inner, **outer}
    for name, expected in _EXPECTED.items():
        if drawn.get(name, expected) != expected:
            raise InputError(
                f"{path}: rendering setting {name} is {drawn[name]!r}, expected {expected!r}"
            )
    module = str(drawn.get("superresolution_module", "")).rsplit(".", 1)[-1]
    if module not in _SUPER_CHANNELS:
        raise InputError(
            f"{path}: super-resolution {module or 'unnamed'}, expected one of "
            f"{', '.join(_SUPER_CHANNELS)}"
        )
    if made.get("c_dim", LABEL_SIZE) != LABEL_SIZE:
        raise InputError(f"{path}: camera labels of {made['c_dim']} numbers, expected {LABEL_SIZE}")
    try:
        return _config(made, drawn, _SUPER_CHANNELS[module])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(f"{path}: settings of the generator: {error}") from error


def _config(
    made: Mapping[str, Any], drawn: Mapping[str, Any], super_channels: tuple[int, ...]
) -> PortraitConfig:
    no_pose = bool(drawn.get("c_gen_conditioning_zero", False))
    clamp = made.get("conv_clamp", _CLAMP)
    return PortraitConfig(
        name="eg3d",
        z_dim=int(made["z_dim"]),
        w_dim=int(made["w_dim"]),
        mapping="network",
        mapping_layers=int(made.get("mapping_kwargs", {}).get("num_layers", 8)),
        label_scale=0.0 if no_pose else float(drawn.get("c_scale", 0)),
        plane_size=_PLANES,
        plane_channels=_FEATURES,
        plane_axes="xy_xz_zx",
        channel_base=int(made.get("channel_base", 32768)),
        channel_max=int(made.get("channel_max", 512)),
        decoder_hidden=_HIDDEN,
        feature_channels=_FEATURES,
        render_size=_SUPER_INPUT,
        super_channels=super_channels,
        near=float(drawn["ray_start"]),
        far=float(drawn["ray_end"]),
        box=float(drawn["box_warp"]),
        coarse=int(drawn["depth_resolution"]),
        fine=int(drawn["depth_resolution_importance"]),
        clamp=_CLAMP if int(made.get("sr_num_fp16_res", 0)) > 0 else None,
        backbone_clamp=None if clamp is None else float(clamp),
    )


def _check_filters(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """The low-pass filter is built in: another one would be another network."""
    own = resample_filter()
    for name, value in tensors.items():
        if name.endswith("resample_filter") and (
            value.shape != own.shape or not torch.allclose(value.float(), own, atol=1e-5)
        ):
            raise InputError(f"{path}: {name} is not the filter (1 3 3 1)")
