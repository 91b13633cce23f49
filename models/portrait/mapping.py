"""From z to codes: the published mapping network, or the Gaussian of an auto-decoder's codes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn

from ..errors import InputError
from .backbone import FullyConnected
from .config import LABEL_SIZE, LIGHT_SIZE, PortraitConfig

_RATE = 0.01
"""Factor of the learning rate of the network's layers."""
_TINY = 1e-8


class MappingNetwork(nn.Module):
    """z and a camera label to a code, by fully connected layers (EG3D, 2 of them).

    The generator sees the camera as well, so that what goes with it in the data, such as smiles
    towards a frontal camera, is no part of the shape; render with any camera, condition with the
    frontal one.
    """

    w_avg: torch.Tensor

    def __init__(self, config: PortraitConfig) -> None:
        super().__init__()
        self.embed = FullyConnected(LABEL_SIZE, config.w_dim)
        widths = [config.z_dim + config.w_dim] + [config.w_dim] * config.mapping_layers
        self._count = config.mapping_layers
        self._label_scale = config.label_scale
        for number in range(self._count):
            layer = FullyConnected(widths[number], widths[number + 1], rate=_RATE, activated=True)
            self.add_module(f"fc{number}", layer)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(
        self,
        z: Float[torch.Tensor, "b z"],
        label: Float[torch.Tensor, "#b 25"],
        light: Float[torch.Tensor, "#b 9"] | None = None,
        truncation: float = 1.0,
    ) -> Float[torch.Tensor, "b w"]:
        """Codes; ``truncation`` below 1 draws them towards the mean.

        Raises:
            InputError: a light is given, which this network does not know.
        """
        if light is not None:
            raise InputError("this generator takes no light; its codes hold it")
        embedded = _normalised(self.embed(label * self._label_scale)).expand(len(z), -1)
        x = torch.cat([_normalised(z), embedded], dim=1)
        for number in range(self._count):
            x = self.get_submodule(f"fc{number}")(x)
        return self.w_avg.lerp(x, truncation) if truncation != 1.0 else x


class GaussianMapping(nn.Module):
    """Standard normal z to codes of an auto-decoder: mean and covariance of its table.

    A code is the sum of what a person is, what an expression adds and what a light adds, the last
    two linear in known numbers; z stands for all but the light.

    Attributes:
        mean: (w,) of the codes without light.
        factor: (w, z) with ``factor @ factor.T`` their covariance.
        light: what a light adds; of whitened coefficients.
        tint: what the light's colour adds: RGB of its mean over its luminance, less 1.
        expression: what 52 blendshapes add to a neutral face.
    """

    mean: torch.Tensor
    factor: torch.Tensor
    light_mean: torch.Tensor
    light_scale: torch.Tensor
    expression_mean: torch.Tensor

    def __init__(self, config: PortraitConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(config.w_dim))
        self.register_buffer("factor", torch.eye(config.w_dim))
        self.register_buffer("light_mean", torch.zeros(LIGHT_SIZE))
        self.register_buffer("light_scale", torch.ones(LIGHT_SIZE))
        self.register_buffer("expression_mean", torch.zeros(52))
        self.light = nn.Linear(LIGHT_SIZE, config.w_dim, bias=False)
        self.tint = nn.Linear(3, config.w_dim, bias=False)
        self.expression = nn.Linear(52, config.w_dim, bias=False)
        for layer in (self.light, self.tint, self.expression):
            nn.init.normal_(layer.weight, std=0.2)

    def forward(
        self,
        z: Float[torch.Tensor, "b z"],
        label: Float[torch.Tensor, "#b 25"] | None = None,
        light: Float[torch.Tensor, "#b 9"] | None = None,
        truncation: float = 1.0,
    ) -> Float[torch.Tensor, "b w"]:
        """Codes under a light (the mean one by default).

        Nothing in the training data goes with the camera, so the label says nothing here.
        """
        code = self.mean + truncation * z @ self.factor.T
        return code if light is None else code + self.light_code(light)

    def light_code(
        self, light: Float[torch.Tensor, "b 9"], tint: Float[torch.Tensor, "b 3"] | None = None
    ) -> Float[torch.Tensor, "b w"]:
        """What a light adds to a code; 0 for the mean light.

        Args:
            light: harmonics of luminance, axes of the world.
            tint: RGB of its mean over its luminance; None for a white light.
        """
        code = self.light((light - self.light_mean) / self.light_scale)
        return code if tint is None else code + self.tint(tint - 1)

    def expression_code(
        self, blendshapes: Float[torch.Tensor, "b 52"]
    ) -> Float[torch.Tensor, "b w"]:
        """What an expression adds to a code; 0 for the mean one."""
        return self.expression(blendshapes - self.expression_mean)

    @torch.no_grad()
    def fit(self, codes: Float[torch.Tensor, "n w"]) -> None:
        """Take mean and covariance of codes without light.

        Raises:
            InputError: fewer than two codes.
        """
        if len(codes) < 2:
            raise InputError(f"{len(codes)} codes, expected 2 or more for their covariance")
        mean = codes.mean(0)
        centred = (codes - mean).double()
        covariance = centred.T @ centred / (len(codes) - 1)
        values, vectors = torch.linalg.eigh(covariance)
        # The symmetric root: z and code keep one orientation.
        root = (vectors * values.clamp(min=0.0).sqrt()) @ vectors.T
        self.mean.copy_(mean)
        self.factor.copy_(root)

    def whitened(self, codes: Float[torch.Tensor, "b w"]) -> Float[torch.Tensor, "b z"]:
        """z of codes without light; directions that no code has come out as 0."""
        inverse = torch.linalg.pinv(self.factor.double(), rtol=1e-4).to(codes.dtype)
        return (codes - self.mean) @ inverse.T

    def within(
        self, codes: Float[torch.Tensor, "b w"], radius: float
    ) -> Float[torch.Tensor, "b w"]:
        """Codes drawn towards the mean until ``|z| <= radius * sqrt(z_dim)``."""
        z = self.whitened(codes)
        size = z.norm(dim=1, keepdim=True).clamp(min=_TINY)
        share = (radius * z.shape[1] ** 0.5 / size).clamp(max=1.0)
        return self.mean + (codes - self.mean) * share


def mapping_of(config: PortraitConfig) -> MappingNetwork | GaussianMapping:
    """The mapping that a configuration asks for."""
    return GaussianMapping(config) if config.mapping == "gaussian" else MappingNetwork(config)


def _normalised(x: Float[torch.Tensor, "b n"]) -> Float[torch.Tensor, "b n"]:
    """Unit second moment."""
    return x * (x.square().mean(dim=1, keepdim=True) + _TINY).rsqrt()
