"""MobileNet-V1 with four heads: a 120x120 BGR crop to parameters, blendshapes and presence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn

from ..errors import InputError
from ..face.names import N_BLENDSHAPES, N_LANDMARKS, N_PARAMS
from ..learning.layers import activated

_BLOCKS: Final = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)
"""Output channels and stride of each depthwise-separable block at width 1."""

_STEM_CHANNELS: Final = 32
_GRID: Final = 4
"""Side of the last feature map for a 120-pixel crop."""

Pooling = Literal["average", "weighted"]


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture of :class:`FaceNetwork`.

    Attributes:
        width: multiplies every channel count; 1.0 costs 183 million multiply-adds, 0.5 a quarter.
        pooling: ``average`` over the last 4x4 map, or ``weighted``: learned weights for each
            channel and place (a depthwise 4x4 convolution), which keeps where a feature was.
        landmark_head: whether a further head regresses the 68 landmarks while training, which
            regularises the features (Guo et al. 2020, 3.2); no export has it.
    """

    width: float = 0.5
    pooling: Pooling = "weighted"
    landmark_head: bool = False

    def __post_init__(self) -> None:
        if not 0.1 <= self.width <= 2.0:
            raise InputError(f"network width is {self.width}, expected 0.1 to 2")


class RegressorOutput(NamedTuple):
    """What the network says about a batch of crops, in whitened units.

    Attributes:
        params: (B, 62) whitened: ``value = mean + std * params``.
        log_variance: (B, 62) logarithm of the variance of ``params``, whitened.
        blendshapes: (B, 52) in [0, 1].
        presence: (B,) logit of there being a face.
    """

    params: Float32[torch.Tensor, "B 62"]
    log_variance: Float32[torch.Tensor, "B 62"]
    blendshapes: Float32[torch.Tensor, "B 52"]
    presence: Float32[torch.Tensor, " B"]


class TrainingOutput(NamedTuple):
    """What a training sees of a batch.

    Attributes:
        heads: what the network says.
        landmarks: (B, 68, 2) of the landmark head, in crop sides from the middle of the top-left
            pixel; None where the network has no such head.
    """

    heads: RegressorOutput
    landmarks: Float32[torch.Tensor, "B 68 2"] | None


class StridedDepthwise(nn.Conv2d):
    """A depthwise convolution of stride 2 that stays in single precision under autocast.

    Its backward pass in bfloat16 has no fast path on the processor: 69 against 13 milliseconds.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H / 2, W / 2) of the same dtype."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float()).to(input.dtype)


class FaceNetwork(nn.Module):
    """MobileNet-V1 and its heads; holds the whitening of its parameters."""

    log_variance_range: Final = (-12.0, 8.0)

    param_mean: torch.Tensor
    param_std: torch.Tensor

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        channels = _scaled(_STEM_CHANNELS, self.config.width)
        layers = activated(nn.Conv2d(3, channels, 3, 2, 1, bias=False))
        for wide, stride in _BLOCKS:
            outputs = _scaled(wide, self.config.width)
            layers += separable(channels, outputs, stride)
            channels = outputs
        self.trunk = nn.Sequential(*layers)
        self.pool = _pooling(channels, self.config.pooling)
        self.params_head = nn.Linear(channels, N_PARAMS)
        self.log_variance_head = nn.Linear(channels, N_PARAMS)
        self.blendshapes_head = nn.Linear(channels, N_BLENDSHAPES)
        self.presence_head = nn.Linear(channels, 1)
        self.register_buffer("param_mean", torch.zeros(N_PARAMS))
        self.register_buffer("param_std", torch.ones(N_PARAMS))
        self._initialise()
        # Last, so that the other weights begin alike with it and without it.
        self.landmark_head: nn.Linear | None = None
        if self.config.landmark_head:
            self.landmark_head = nn.Linear(channels, 2 * N_LANDMARKS)
            nn.init.normal_(self.landmark_head.weight, std=0.01)
            nn.init.constant_(self.landmark_head.bias, 0.5)  # the middle of the crop

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module is not self.pool:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                module.weight.data = module.weight.data.contiguous(
                    memory_format=torch.channels_last
                )
        for head in (self.params_head, self.log_variance_head, self.presence_head):
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
        nn.init.normal_(self.blendshapes_head.weight, std=0.01)
        nn.init.constant_(self.blendshapes_head.bias, -2.0)  # most units are near zero

    def set_whitening(
        self, mean: Float32[np.ndarray, " 62"], std: Float32[np.ndarray, " 62"]
    ) -> None:
        """Fix ``value = mean + std * output`` (pose in crop pixels per mm, the rest in sd)."""
        self.param_mean.copy_(torch.from_numpy(mean))
        self.param_std.copy_(torch.from_numpy(std))

    def features(self, crops: UInt8[torch.Tensor, "B 120 120 3"]) -> torch.Tensor:
        """(B, C) float32 pooled features of BGR crops."""
        # NHWC memory seen as NCHW is channels-last, which the processor convolves fastest.
        pixels = crops.permute(0, 3, 1, 2).float()
        pooled = self.pool(self.trunk((pixels - 127.5) / 128))
        return pooled.flatten(1).float()

    def forward(self, crops: UInt8[torch.Tensor, "B 120 120 3"]) -> RegressorOutput:
        """Heads for a batch of BGR crops. The variance head sends no gradient into the trunk."""
        return self._heads(self.features(crops))

    def training_output(self, crops: UInt8[torch.Tensor, "B 120 120 3"]) -> TrainingOutput:
        """:meth:`forward`, and what the landmark head says where there is one."""
        features = self.features(crops)
        if self.landmark_head is None:
            return TrainingOutput(self._heads(features), None)
        with torch.autocast(features.device.type, enabled=False):
            landmarks = self.landmark_head(features).view(-1, N_LANDMARKS, 2)
        return TrainingOutput(self._heads(features), landmarks)

    def _heads(self, features: torch.Tensor) -> RegressorOutput:
        with torch.autocast(features.device.type, enabled=False):
            return RegressorOutput(
                params=self.params_head(features),
                log_variance=self.log_variance_head(features.detach()).clamp(
                    *self.log_variance_range
                ),
                blendshapes=torch.sigmoid(self.blendshapes_head(features)),
                presence=self.presence_head(features).squeeze(1),
            )

    def denormalised(self, params: Float32[torch.Tensor, "B 62"]) -> Float32[torch.Tensor, "B 62"]:
        """Whitened parameters in their own units."""
        return self.param_mean + self.param_std * params


def without_landmark_head(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A network's state without the landmark head's part."""
    return {name: value for name, value in state.items() if not name.startswith("landmark_head.")}


def count_parameters(network: nn.Module) -> int:
    """Number of learned values."""
    return sum(parameter.numel() for parameter in network.parameters())


def _scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width))


def separable(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """A depthwise 3x3 convolution, then a pointwise one: a block of MobileNet-V1."""
    kind = nn.Conv2d if stride == 1 else StridedDepthwise
    depthwise = kind(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
    return activated(depthwise) + activated(nn.Conv2d(inputs, outputs, 1, bias=False))


def _pooling(channels: int, pooling: Pooling) -> nn.Module:
    if pooling == "average":
        return nn.AdaptiveAvgPool2d(1)
    weighted = nn.Conv2d(channels, channels, _GRID, groups=channels, bias=False)
    # Starts as the plain average plus enough noise to break the symmetry of places.
    nn.init.normal_(weighted.weight, mean=1 / _GRID**2, std=0.5 / _GRID**2)
    return weighted
