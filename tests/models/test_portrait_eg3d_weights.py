"""EG3D's published generators: loaded key for key, and equal to a plain second reading of them."""

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors.torch import save_file  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from mien.models.errors import InputError  # noqa: E402
from mien.models.portrait.cameras import orbit_label, rays  # noqa: E402
from mien.models.portrait.eg3d_weights import load_eg3d  # noqa: E402
from mien.tools.portrait.models import Files, load_generator  # noqa: E402

INIT = {
    "z_dim": 12, "c_dim": 25, "w_dim": 16, "img_resolution": 512, "img_channels": 3,
    "channel_base": 1024, "channel_max": 8, "num_fp16_res": 0, "conv_clamp": None,
    "sr_num_fp16_res": 4, "fused_modconv_default": "inference_only",
    "mapping_kwargs": {"num_layers": 2},
    "sr_kwargs": {"channel_base": 32768, "channel_max": 512},
}  # fmt: skip
RENDERING = {
    "superresolution_module": "training.superresolution.SuperresolutionHybrid8XDC",
    "c_gen_conditioning_zero": False, "c_scale": 1, "superresolution_noise_mode": "none",
    "density_reg": 0.25, "sr_antialias": True, "depth_resolution": 8,
    "depth_resolution_importance": 8, "ray_start": 2.25, "ray_end": 3.3, "box_warp": 1,
    "clamp_mode": "softplus", "white_back": False, "disparity_space_sampling": False,
    "decoder_lr_mul": 1,
}  # fmt: skip
LEVELS = tuple(2**k for k in range(2, 9))
Tensors = dict[str, Tensor]


def channels(level: int) -> int:
    return min(1024 // level, 8)


def published(seed: int = 0) -> Tensors:
    """Random tensors under the published names, with few channels in the backbone."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps) / 64
    tensors: Tensors = {"backbone.mapping.w_avg": normal(16)}

    def linear(name: str, inputs: int, outputs: int, bias: float = 0.0) -> None:
        tensors[f"{name}.weight"] = normal(outputs, inputs)
        tensors[f"{name}.bias"] = bias + 0.1 * normal(outputs)

    def layer(name: str, inputs: int, outputs: int, side: int) -> None:
        linear(f"{name}.affine", inputs=16, outputs=inputs, bias=1.0)
        tensors[f"{name}.weight"] = normal(outputs, inputs, 3, 3)
        tensors[f"{name}.bias"] = 0.1 * normal(outputs)
        tensors[f"{name}.noise_const"] = normal(side, side)
        tensors[f"{name}.noise_strength"] = 0.1 * normal()
        tensors[f"{name}.resample_filter"] = kernel.clone()

    def block(name: str, inputs: int, outputs: int, planes: int, side: int) -> None:
        tensors[f"{name}.resample_filter"] = kernel.clone()
        if inputs:
            layer(f"{name}.conv0", inputs, outputs, side)
        else:
            tensors[f"{name}.const"] = normal(outputs, side, side)
        layer(f"{name}.conv1", outputs, outputs, side)
        linear(f"{name}.torgb.affine", 16, outputs, 1.0)
        tensors[f"{name}.torgb.weight"] = normal(planes, outputs, 1, 1)
        tensors[f"{name}.torgb.bias"] = 0.1 * normal(planes)

    linear("backbone.mapping.embed", 25, 16)
    linear("backbone.mapping.fc0", 28, 16)
    linear("backbone.mapping.fc1", 16, 16)
    for name in ("fc0", "fc1"):
        tensors[f"backbone.mapping.{name}.weight"] *= 100  # of a hundredth of the learning rate
    before = 0
    for level in LEVELS:
        block(f"backbone.synthesis.b{level}", before, channels(level), 96, level)
        before = channels(level)
    linear("decoder.net.0", 32, 64)
    linear("decoder.net.2", 64, 33)
    block("superresolution.block0", 32, 256, 3, 256)
    block("superresolution.block1", 256, 128, 3, 512)
    return tensors


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return published()


@pytest.fixture
def write(tmp_path: Path, tensors: Tensors) -> Callable[..., Path]:
    """Writes the pair of files, after changes to either."""

    def make(change: Callable[[Tensors], object] = lambda _: None, **settings: Any) -> Path:
        some = dict(tensors)
        change(some)
        path = tmp_path / "ffhq.safetensors"
        save_file(some, path)
        table = {
            "init_kwargs": {**INIT, **settings.pop("init", {})},
            "rendering_kwargs": {**RENDERING, **settings},
            "neural_rendering_resolution": 128,
        }
        path.with_suffix(".json").write_text(json.dumps(table), encoding="utf-8")
        return path

    return make


# A second reading of the published network, as plainly as it can be written. --------------------


def linear(t: Tensors, name: str, x: Tensor, rate: float = 1.0) -> Tensor:
    weight = t[f"{name}.weight"]
    return x @ (weight * rate / math.sqrt(weight.shape[1])).T + t[f"{name}.bias"] * rate


def lrelu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def unit(x: Tensor) -> Tensor:
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def mapped(t: Tensors, z: Tensor, label: Tensor) -> Tensor:
    x = torch.cat([unit(z), unit(linear(t, "backbone.mapping.embed", label))], 1)
    for name in ("fc0", "fc1"):
        x = lrelu(linear(t, f"backbone.mapping.{name}", x, 0.01))
    return x


def filtered(x: Tensor, kernel: Tensor, pads: tuple[int, ...]) -> Tensor:
    kernel = (4 * kernel)[None, None].expand(x.shape[1], 1, 4, 4)
    return functional.conv2d(functional.pad(x, pads), kernel, groups=x.shape[1])


def layer(t: Tensors, name: str, x: Tensor, w: Tensor, up: bool) -> Tensor:
    style = linear(t, f"{name}.affine", w)[0]
    weight = t[f"{name}.weight"] * style[:, None, None]
    weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if up:
        x = functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        x = filtered(x, t[f"{name}.resample_filter"], (1, 1, 1, 1))
    else:
        x = functional.conv2d(x, weight, padding=1)
    x = x + t[f"{name}.noise_const"] * t[f"{name}.noise_strength"]
    return lrelu(x + t[f"{name}.bias"][:, None, None])


def planes(t: Tensors, ws: Tensor) -> Tensor:
    image, number = torch.zeros(()), 0
    x = t["backbone.synthesis.b4.const"][None]
    for level in LEVELS:
        name = f"backbone.synthesis.b{level}"
        for conv in ("conv0", "conv1") if level > 4 else ("conv1",):
            x = layer(t, f"{name}.{conv}", x, ws[:, number], conv == "conv0")
            number += 1
        if level > 4:
            spread = image.new_zeros(1, 96, level, level)
            spread[:, :, ::2, ::2] = image
            image = filtered(spread, t[f"{name}.resample_filter"], (2, 1, 2, 1))
        weight = t[f"{name}.torgb.weight"]
        style = linear(t, f"{name}.torgb.affine", ws[:, number])[0] / math.sqrt(weight.shape[1])
        added = functional.conv2d(x, weight * style[:, None, None])
        image = image + added + t[f"{name}.torgb.bias"][:, None, None]
    return image.view(3, 32, 256, 256)


def asked(t: Tensors, made: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Density before the softplus, and features, of points (n, 3); axes XY, XZ, ZX."""
    x, y, z = (2 * points).unbind(1)
    grid = torch.stack([torch.stack(pair, 1) for pair in ((x, y), (x, z), (z, x))])
    found = functional.grid_sample(made, grid[:, None], align_corners=False)[:, :, 0].mean(0).T
    hidden = functional.softplus(linear(t, "decoder.net.0", found))
    out = linear(t, "decoder.net.2", hidden)
    return out[:, 0], torch.sigmoid(out[:, 1:]) * 1.002 - 0.001


def seen(t: Tensors, made: Tensor, origin: Tensor, way: Tensor) -> Tensor:
    """Features of one ray, sample by sample."""

    def through(depths: list[float]) -> tuple[list[float], Tensor]:
        points = torch.stack([origin + d * way for d in depths])
        raw, features = asked(t, made, points)
        left, weights, total = 1.0, [], torch.zeros(32)
        for i in range(len(depths) - 1):
            density = math.log1p(math.exp(float(raw[i] + raw[i + 1]) / 2 - 1))
            alpha = 1 - math.exp(-density * (depths[i + 1] - depths[i]))
            weights.append(left * alpha)
            total = total + weights[-1] * (features[i] + features[i + 1]) / 2
            left *= 1 - alpha
        return weights, total

    step = (3.3 - 2.25) / 7
    first = [2.25 + (i + 0.5) * step for i in range(8)]
    weights, _ = through(first)
    padded = [weights[0], *weights, weights[-1]]
    largest = [max(padded[i], padded[i + 1]) for i in range(8)]
    smooth = [(largest[i] + largest[i + 1]) / 2 + 0.01 for i in range(7)]
    edges = [(first[i] + first[i + 1]) / 2 for i in range(7)]
    share = [w + 1e-5 for w in smooth[1:-1]]
    below = [0.0]
    for w in share:
        below.append(below[-1] + w / sum(share))
    second = []
    for k in range(8):
        u = k / 7
        i = max(j for j in range(6) if below[j] <= u + 1e-7)
        i = min(i, 4)
        second.append(edges[i] + (u - below[i]) / (below[i + 1] - below[i])
                      * (edges[i + 1] - edges[i]))  # fmt: skip
    return through(sorted(first + second))[1] * 2 - 1


def test_the_loaded_generator_is_the_published_one(
    write: Callable[..., Path], tensors: Tensors
) -> None:
    generator = load_eg3d(write())
    random = torch.Generator().manual_seed(3)
    z = torch.randn(1, 12, generator=random)
    label = torch.from_numpy(orbit_label(0.2, 0.1))[None]
    w = generator.map(z, label)
    assert torch.allclose(w, mapped(tensors, z, label), atol=1e-5)
    ws = w[:, None] + 0.3 * torch.randn(1, 14, 16, generator=random)
    ours = generator.planes(ws)
    expected = planes(tensors, ws)
    scale = float(expected.abs().mean())
    assert torch.allclose(ours.features[0], expected, atol=1e-3 * scale)
    origins, directions = rays(label, 3)
    found = generator.render_rays(ours, origins, directions)
    for number in (0, 4, 7):
        plain = seen(tensors, expected, origins[0, number], directions[0, number])
        assert torch.allclose(found.features[0, number], plain, atol=2e-3)
    assert generator.config.label_scale == 1.0
    assert (generator.config.clamp, generator.config.backbone_clamp) == (256.0, None)


def test_no_pose_conditioning_is_heeded(write: Callable[..., Path]) -> None:
    generator = load_eg3d(write(c_gen_conditioning_zero=True))
    z = torch.ones(1, 12)
    labels = [torch.from_numpy(orbit_label(yaw, 0.0))[None] for yaw in (0.0, 0.4)]
    assert torch.equal(generator.map(z, labels[0]), generator.map(z, labels[1]))


def spoil_filter(t: Tensors) -> None:
    t["backbone.synthesis.b8.resample_filter"] = torch.full((4, 4), 1 / 16)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("decoder.net.0.bias"), "missing: decoder.net.0.bias"),
        (lambda t: t.update(more=torch.zeros(1)), "unexpected: more"),
        (lambda t: t.update({"decoder.net.0.bias": torch.zeros(3)}), "of another size"),
        (spoil_filter, "not the filter"),
    ],
)
def test_other_weights_are_refused(
    write: Callable[..., Path], change: Callable[[Tensors], object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        load_eg3d(write(change))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"white_back": True}, "white_back"),
        ({"superresolution_module": "x.SuperresolutionHybrid4X"}, "SuperresolutionHybrid4X"),
        ({"init": {"c_dim": 0}}, "labels of 0"),
        ({"init": {"z_dim": "many"}}, "settings of the generator"),
    ],
)
def test_other_generators_are_refused(
    write: Callable[..., Path], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        load_eg3d(write(**settings))


def test_pickles_are_never_opened(tmp_path: Path, write: Callable[..., Path]) -> None:
    ran = tmp_path / "ran"
    bomb = pickle.dumps(_Bomb(ran))
    for name in ("ffhqrebalanced512-128.pkl", "renamed.safetensors"):
        path = tmp_path / name
        path.write_bytes(bomb)
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            load_eg3d(path)
    assert not ran.exists()
    path = write()
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="no settings"):
        load_eg3d(path)


class _Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def test_the_command_takes_them_from_a_folder(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write()
    expected = load_eg3d(path).state_dict()
    folder = tmp_path / "weights"
    folder.mkdir()
    for suffix in (".safetensors", ".json"):
        path.with_suffix(suffix).replace(folder / f"generator{suffix}")
    found = load_generator(Files(folder), torch.device("cpu")).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
