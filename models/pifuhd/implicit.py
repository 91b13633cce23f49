"""From what is known about a point to whether it lies inside (PIFuHD, section 3)."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from .config import ImplicitConfig


class ImplicitNetwork(nn.Module):
    """A fully connected network over points, with its input given again to later layers.

    Leaky ReLU between layers, no normalisation, a sigmoid at the end. Layers are stored as
    convolutions of width 1 under ``filters``, as in the published checkpoint.

    Args:
        config: widths.
        inputs: values known about a point.
    """

    def __init__(self, config: ImplicitConfig, inputs: int) -> None:
        super().__init__()
        self.config = config
        widths = [inputs, *config.hidden, 1]
        self.filters = nn.ModuleList(
            nn.Conv1d(width + (inputs if i in config.skips else 0), following, 1)
            for i, (width, following) in enumerate(pairwise(widths))
        )
        for layer in self.filters:
            weight = cast(nn.Conv1d, layer).weight
            nn.init.kaiming_normal_(weight, 0.01, nonlinearity="leaky_relu")

    def logits(
        self, known: Float[torch.Tensor, "b n i"]
    ) -> tuple[Float[torch.Tensor, "b n"], Float[torch.Tensor, "b n e"]]:
        """What the network itself says, and the embedding Omega.

        Args:
            known: what is known about each point.
        """
        x = known
        embedding = known
        last = len(self.filters) - 1
        for i, module in enumerate(self.filters):
            if i in self.config.skips:
                x = torch.cat([x, known], -1)
            layer = cast(nn.Conv1d, module)
            x = functional.linear(x, layer.weight[..., 0], layer.bias)
            if i < last:
                x = functional.leaky_relu(x)
            if i == self.config.embedding:
                embedding = x
        return x[..., 0], embedding

    def forward(
        self,
        known: Float[torch.Tensor, "b n i"],
        base: Float[torch.Tensor, "b n"] | None = None,
    ) -> tuple[Float[torch.Tensor, "b n"], Float[torch.Tensor, "b n e"]]:
        """Logits of the occupancy, 0 at the surface, and the embedding Omega.

        In single precision but for training, which follows the caller's autocast: bfloat16 loses
        half a millimetre of depth, which a surface shows and a gradient's noise hides.

        Args:
            known: what is known about each point.
            base: logits that the network adds to.
        """
        device = "cuda" if known.is_cuda else "cpu"
        lower = self.training and torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=lower, dtype=torch.get_autocast_dtype(device)):
            logits, embedding = self.logits(known.float())
        logits = logits.float()
        if base is not None:
            if most := self.config.most_added:
                logits = most * (logits / most).tanh()
            logits = base + logits
        return logits, embedding.float()
