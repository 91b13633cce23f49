"""Layers that several networks are made of."""

from __future__ import annotations

from torch import nn


def activated(convolution: nn.Conv2d) -> list[nn.Module]:
    """A convolution, batch normalisation, ReLU: what :func:`.onnx_graph.folded` folds."""
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)]
