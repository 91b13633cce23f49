"""Features in space from three planes, and the decoder that makes density and colour of them."""

from __future__ import annotations

from typing import Any, Final

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from .backbone import FullyConnected
from .config import PlaneAxes

_AXES: Final[dict[PlaneAxes, tuple[tuple[int, int], ...]]] = {
    "xy_xz_yz": ((0, 1), (0, 2), (1, 2)),
    # EG3D's paper says XY, XZ and YZ; what its released code does, and its weights were trained
    # with, is ZX for the third: y is seen by one plane alone.
    "xy_xz_zx": ((0, 1), (0, 2), (2, 0)),
}
MARGIN: Final = 0.001
"""By which colours may exceed 0 to 1, so that their sigmoid need not saturate."""


class TriplaneDecoder(nn.Module):
    """Averaged features of a point to its density and colour, by one hidden layer."""

    def __init__(self, channels: int, hidden: int, features: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            FullyConnected(channels, hidden), nn.Softplus(), FullyConnected(hidden, 1 + features)
        )

    def forward(
        self, features: Float[torch.Tensor, "... c"]
    ) -> tuple[Float[torch.Tensor, ...], Float[torch.Tensor, "... f"]]:
        """Density before its softplus, and features from 0 to 1, colour (RGB) first.

        What is seen of them is a little more, see :func:`widened`.
        """
        out = self.net(features)
        out = out if out.dtype == torch.float64 else out.float()
        return out[..., 0], torch.sigmoid(out[..., 1:])


def widened(
    features: Float[torch.Tensor, "... f"], mask: Float[torch.Tensor, ...] | None = None
) -> Float[torch.Tensor, "... f"]:
    """Features of 0 to 1 stretched by the margin on both sides, composited ones by their mask."""
    low = MARGIN if mask is None else MARGIN * mask[..., None]
    return features * (1 + 2 * MARGIN) - low


def sample_planes(
    planes: Float[torch.Tensor, "b 3 c h w"],
    points: Float[torch.Tensor, "b n 3"],
    axes: PlaneAxes,
    box: float,
) -> Float[torch.Tensor, "b n c"]:
    """Features of points: the mean of the three planes, each interpolated linearly.

    A plane's columns run along the first of its two axes and its rows along the second, cell
    centres inside the box; beyond the planes everything is 0.

    Args:
        planes: features.
        points: world units; no gradient flows to them on the processor.
        axes: which coordinates the planes take.
        box: side of the cube around the origin that they cover.
    """
    scaled = points * (2.0 / box)
    if planes.device.type == "cpu" and planes.dtype == torch.float32 and not points.requires_grad:
        return _Sampled.apply(planes, scaled, _AXES[axes])
    return _sampled_by_grid(planes, scaled, axes)


def _sampled_by_grid(
    planes: Float[torch.Tensor, "b 3 c h w"],
    scaled: Float[torch.Tensor, "b n 3"],
    axes: PlaneAxes,
) -> Float[torch.Tensor, "b n c"]:
    """:func:`sample_planes` by torch's own sampling, on any device; points from -1 to 1."""
    grid = torch.stack([scaled[..., pair] for pair in _AXES[axes]], dim=1)
    batch, _, channels = planes.shape[:3]
    sampled = functional.grid_sample(
        planes.flatten(0, 1), grid.flatten(0, 1)[:, None], padding_mode="zeros",
        align_corners=False,
    )  # fmt: skip
    return sampled.view(batch, 3, channels, -1).mean(dim=1).transpose(1, 2)


class _Sampled(torch.autograd.Function):
    """The same on the processor, some times as fast: a point's channels lie side by side."""

    @staticmethod
    def forward(
        ctx: Any, planes: torch.Tensor, scaled: torch.Tensor, pairs: tuple[tuple[int, int], ...]
    ) -> torch.Tensor:
        from ._triplane_kernel import gather

        # Of a backbone in channels-last order this copies nothing.
        cells = planes.permute(0, 3, 4, 1, 2).contiguous()
        points = scaled.detach().contiguous()
        ctx.save_for_backward(points)
        ctx.shape, ctx.pairs = cells.shape, pairs
        out = torch.empty(*points.shape[:2], cells.shape[-1])
        gather(cells.detach().numpy(), points.numpy(), pairs, out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        from ._triplane_kernel import scatter

        (points,) = ctx.saved_tensors
        cells = torch.zeros(ctx.shape)
        scatter(gradients[0].contiguous().numpy(), points.numpy(), ctx.pairs, cells.numpy())
        return cells.permute(0, 3, 4, 1, 2), None, None
