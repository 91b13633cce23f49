"""Who is in a picture, as a unit vector of 512: an embedder of our own, or a user's ArcFace.

The own embedder is trained with ArcFace's margin (Deng et al. 2019) on synthetic people, and knows
synthetic people only. It sees the inner part of the portrait's crop. A user's ArcFace network is an
ONNX file; what its makers allow is for the user to mind (InsightFace's are for research).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import nn
from torch.nn import functional

from ..errors import InputError
from .convnet import Convnet, ConvnetConfig
from .weights import filled, load_part, save_part

EMBEDDING: Final = 512
DEFAULT: Final = ConvnetConfig(side=48, margin=0.1, widths=(32, 64, 128), blocks=1)
ARCFACE_SIDE: Final = 112
ARCFACE_POINTS: Final = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
)  # fmt: skip
"""Where ArcFace wants the eyes (the picture's left one first), the nose and the mouth's corners."""


@runtime_checkable
class Embedder(Protocol):
    """Pictures of the portrait's crop to unit vectors."""

    def __call__(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b 512"]:
        """RGB from -1 to 1 to unit vectors; differentiable."""
        ...


class IdentityEmbedder(nn.Module):
    """Our own embedder.

    Args:
        config: sizes of its trunk.
    """

    def __init__(self, config: ConvnetConfig = DEFAULT) -> None:
        super().__init__()
        self.trunk = Convnet(config)
        width, side = config.widths[-1], self.trunk.last_side
        self.narrow = nn.Conv2d(width, 48, 1, bias=False)
        self.project = nn.Linear(48 * side * side, EMBEDDING, bias=False)
        self.norm = nn.BatchNorm1d(EMBEDDING)

    def forward(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b 512"]:
        """Unit vectors of pictures (RGB, -1 to 1) of the portrait's crop, any size."""
        x = functional.silu(self.narrow(self.trunk(images)))
        return functional.normalize(self.norm(self.project(x.flatten(1))), dim=1)

    def features(self, images: Float[torch.Tensor, "b 3 h w"]) -> list[torch.Tensor]:
        """Features of the trunk's levels, for a perceptual distance."""
        return self.trunk.features(images)

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the weights.

        Raises:
            OutputError: the file cannot be written.
        """
        save_part(path, "identity", self, self.trunk.config.table(), facts)

    @classmethod
    def load(cls, path: Path) -> IdentityEmbedder:
        """Read the weights; ready to judge.

        Raises:
            InputError: the file is missing, damaged or other weights.
        """
        stored = load_part(path, "identity")
        config = ConvnetConfig.of_table(stored.config)
        network = filled(lambda: cls(config), stored.tensors, path)
        return network.eval().requires_grad_(False)


class ArcFaceHead(nn.Module):
    """Additive angular margin: the logit of the true person is ``s cos(theta + m)``.

    Args:
        persons: of the training.
        scale: s.
        margin: m, radians.
    """

    def __init__(self, persons: int, scale: float = 24.0, margin: float = 0.3) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(persons, EMBEDDING) * 0.05)
        self.scale, self.margin = scale, margin

    def forward(
        self,
        embedded: Float[torch.Tensor, "b 512"],
        person: Int64[torch.Tensor, " b"],
        margin: float | None = None,
    ) -> tuple[torch.Tensor, Float[torch.Tensor, "b p"]]:
        """Cross-entropy with the margin, and the cosines without it."""
        m = self.margin if margin is None else margin
        cosine = functional.linear(embedded, functional.normalize(self.centres, dim=1))
        true = cosine.gather(1, person[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        turned = true * math.cos(m) - (1 - true.square()).sqrt() * math.sin(m)
        # Beyond pi - m the turned cosine would rise again: there it falls linearly.
        turned = torch.where(true > math.cos(math.pi - m), turned, true - math.sin(m) * m)
        logits = self.scale * cosine.scatter(1, person[:, None], turned)
        return functional.cross_entropy(logits, person), cosine


def arcface_alignment(
    five_px: Float[np.ndarray, "5 2"], size: int = ARCFACE_SIDE
) -> Float64[np.ndarray, "2 3"]:
    """The similarity from a picture's pixels to ArcFace's crop (Umeyama's least squares).

    Args:
        five_px: eyes (the picture's left one first), nose, corners of the mouth.
        size: side of the crop, px.

    Raises:
        InputError: the points coincide.
    """
    source = np.asarray(five_px, np.float64)
    target = ARCFACE_POINTS * (size / ARCFACE_SIDE)
    mean_s, mean_t = source.mean(0), target.mean(0)
    x, y = (source - mean_s).T, (target - mean_t).T
    power = float((x * x).sum())
    if power < 1e-9:
        raise InputError("identity: the five points of the face coincide")
    a = float((x * y).sum()) / power
    b = float((x[0] * y[1] - x[1] * y[0]).sum()) / power
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, mean_t - turn @ mean_s])


def aligned(
    images: Float[torch.Tensor, "b 3 h w"],
    crop_from_image: Float[np.ndarray, "2 3"],
    size: int = ARCFACE_SIDE,
) -> Float[torch.Tensor, "b 3 s s"]:
    """Pictures resampled by a similarity; differentiable, black outside."""
    height, width = images.shape[2:]
    inverse = np.linalg.inv(np.vstack([crop_from_image, [0.0, 0.0, 1.0]]))
    steps = np.arange(size, dtype=np.float64)
    u, v = np.meshgrid(steps, steps)
    points = np.stack([u, v, np.ones_like(u)], -1) @ inverse[:2].T
    # Pixel centres at integers, to grid_sample's -1 .. 1 between the outer borders.
    grid = (points + 0.5) * 2 / np.array([width, height]) - 1
    grid = torch.from_numpy(grid.astype(np.float32)).to(images.device)
    grid = grid[None].expand(len(images), -1, -1, -1)
    return functional.grid_sample(images + 1, grid, align_corners=False) - 1


class OnnxArcFace:
    """A user's ArcFace network (ONNX, one input (b, 3, 112, 112) RGB -1 to 1, 512 numbers out).

    onnxruntime gives no gradients: the graph is rebuilt in torch where the file's operators are
    those of residual networks, and refused with their names otherwise.

    Args:
        path: the file.
        five_px: where a picture of side 1 has its eyes, nose and mouth corners: rows of x, y from
            0 to 1, in the order of :data:`ARCFACE_POINTS`.
    """

    def __init__(self, path: Path, five: Float[np.ndarray, "5 2"]) -> None:
        from .onnx_torch import OnnxModule

        self._five = np.asarray(five, np.float64)
        self.network = OnnxModule.load(path).eval().requires_grad_(False)
        with torch.no_grad():
            shape = self.network(torch.zeros(1, 3, ARCFACE_SIDE, ARCFACE_SIDE)).shape
        if tuple(shape) != (1, EMBEDDING):
            raise InputError(f"{path}: gives {tuple(shape)}, expected (1, {EMBEDDING})")

    def __call__(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b 512"]:
        """Unit vectors of pictures (RGB, -1 to 1) of the portrait's crop."""
        size = images.shape[-1]
        crops = aligned(images, arcface_alignment(self._five * size - 0.5))
        return functional.normalize(self.network(crops), dim=1)
