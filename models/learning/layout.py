"""The order of a network's weights in memory."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

_LAYOUTS: Final = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By the number of axes of a convolution's weight."""


def channels_last(module: nn.Module) -> None:
    """Lay the weights of convolutions out as processors read them fastest, in place.

    Args:
        module: whose parameters of four or five axes, (out, in, ...), are laid out anew; their
            values and shapes stay.
    """
    for parameter in module.parameters():
        layout = _LAYOUTS.get(parameter.ndim)
        if layout is not None:
            parameter.data = parameter.data.contiguous(memory_format=layout)
