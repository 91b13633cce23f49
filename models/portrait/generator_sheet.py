"""How a generator does, in figures and in pictures."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8

from .cameras import frontal_label, orbit_label
from .generator import Generator, Rendering
from .mapping import GaussianMapping

_AT_ONCE = 16
_YAWS_RAD = (-0.6, 0.0, 0.6)
_LIGHTS = 2


def psnr(first: Float[torch.Tensor, "b 3 h w"], second: Float[torch.Tensor, "b 3 h w"]) -> float:
    """Peak signal to noise, dB, of 8-bit pictures: mean over pictures; of size -1 to 1."""
    pairs = [((x.float().clamp(-1, 1) + 1) * 127.5).round() for x in (first, second)]
    error = (pairs[0] - pairs[1]).square().mean((1, 2, 3)).clamp(min=1e-2)
    return float((10 * torch.log10(255.0**2 / error)).mean())


@torch.no_grad()
def views_of(
    generator: Generator,
    ws: Float[torch.Tensor, "b w"] | Float[torch.Tensor, "b l w"],
    labels: Float[torch.Tensor, "b 25"],
    samples: tuple[int, int] | None = None,
) -> Rendering:
    """One picture of each code, some at once, without gradients.

    Args:
        generator: of them.
        ws: codes.
        labels: a camera for each.
        samples: a ray of both passes, instead of the configured ones.
    """
    parts = [
        generator.render(generator.planes(ws[i : i + _AT_ONCE]), labels[i : i + _AT_ONCE],
                         samples=samples)
        for i in range(0, len(ws), _AT_ONCE)
    ]  # fmt: skip
    return Rendering(*(torch.cat(images) for images in zip(*parts, strict=True)))


def bgr(images: Float[torch.Tensor, "b 3 h w"]) -> UInt8[np.ndarray, "b h w 3"]:
    """Pictures for OpenCV, of RGB from -1 to 1."""
    bytes_ = ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(bytes_.flip(1).permute(0, 2, 3, 1).cpu().numpy())


@torch.no_grad()
def generator_sheet(
    generator: Generator,
    unlit: Float[torch.Tensor, "b w"],
    light: Float[torch.Tensor, "b 9"],
    tint: Float[torch.Tensor, "b 3"],
    labels: Float[torch.Tensor, "b 25"],
    truth: Float[torch.Tensor, "b 3 S S"],
) -> UInt8[np.ndarray, "H W 3"]:
    """A row a look, BGR: truth, its view, depth; from the left, the front, the right; two lights
    of other looks; and the last column's codes are drawn from the cloud, under the look's light.

    Args:
        generator: with a gaussian mapping.
        unlit: codes of looks without light.
        light: of each look.
        tint: of each light.
        labels: a camera of each look.
        truth: what it saw, RGB, -1 to 1.
    """
    mapping = generator.mapping
    assert isinstance(mapping, GaussianMapping)
    device, count = unlit.device, len(unlit)
    codes = unlit + mapping.light_code(light, tint)
    frontal = torch.from_numpy(frontal_label()).to(device).expand(count, -1)
    own = views_of(generator, codes, labels)
    columns = [bgr(truth), bgr(own.image), _grey(own.depth, own.mask, own.image.shape[-1])]
    for yaw in _YAWS_RAD:
        label = torch.from_numpy(orbit_label(yaw, 0.0)).to(device).expand(count, -1)
        columns.append(bgr(views_of(generator, codes, label).image))
    for step in range(1, _LIGHTS + 1):
        other = unlit + mapping.light_code(light.roll(step, 0), tint.roll(step, 0))
        columns.append(bgr(views_of(generator, other, frontal).image))
    z = torch.randn(count, mapping.factor.shape[1], generator=torch.Generator().manual_seed(3))
    drawn = mapping(z.to(device), None, light, 0.7)
    columns.append(bgr(views_of(generator, drawn, frontal).image))
    return np.concatenate([np.concatenate(list(column), 0) for column in columns], 1)


def _grey(
    depth: Float[torch.Tensor, "b 1 s s"], mask: Float[torch.Tensor, "b 1 s s"], size: int
) -> UInt8[np.ndarray, "b S S 3"]:
    """Depth as grey, near bright, enlarged."""
    near = ((3.05 - depth) / 0.7).clamp(0, 1) * mask
    large = torch.nn.functional.interpolate(near, (size, size), mode="nearest")
    return bgr(large.expand(-1, 3, -1, -1) * 2 - 1)
