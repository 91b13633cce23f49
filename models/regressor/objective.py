"""What one step of a training minimises: a main loss, and landmark regularisation where asked for.

The paper's objectives (Guo et al. 2020): the parameter losses of :mod:`.parameter_losses`, their
vanilla joint (3.1), and landmark-regression regularisation (3.2), which is on wherever the network
has a landmark head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float32, UInt8
from torch import nn

from ..errors import InputError
from ..face.crop import CROP_SIZE
from ..face.names import N_LANDMARKS
from .dataset import Batch
from .losses import PointDecoder, Targets
from .network import FaceNetwork, RegressorOutput, TrainingOutput
from .parameter_losses import MeshDistance

Terms = dict[str, torch.Tensor]
"""Terms of a loss by name, detached and unweighted."""

ParameterCost = Literal["vdc", "fwpdc", "joint"]
PaperMethod = Literal["vdc", "fwpdc", "joint", "meta"]
ErrorUnit = Literal["whitened", "own"]


@dataclass(frozen=True)
class PaperLossConfig:
    """An objective of the paper; of the parameters alone, all other heads stay untrained.

    Attributes:
        method: ``vdc``, ``fwpdc``, their vanilla ``joint``, or ``meta``: whichever of the first
            two looks better after some steps, block by block.
        beta: share of fWPDC in the joint loss.
        look_ahead: steps of a block of ``meta``.
        error_unit: in which fWPDC measures parameters' errors. ``whitened`` counts a standard
            deviation of each alike; in their ``own`` units the translation (px) would drown the
            rotation (px per mm). The weights are the paper's either way.
    """

    method: PaperMethod = "meta"
    beta: float = 0.5
    look_ahead: int = 100
    error_unit: ErrorUnit = "whitened"

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise InputError(f"share of fWPDC in the joint loss is {self.beta}, expected 0 to 1")
        if self.look_ahead < 1:
            raise InputError(f"look-ahead is {self.look_ahead} steps, expected 1 or more")


@dataclass(frozen=True)
class TensorBatch:
    """A batch on the device that trains.

    Attributes:
        crops: (B, 120, 120, 3) BGR.
        targets: their labels.
    """

    crops: UInt8[torch.Tensor, "B 120 120 3"]
    targets: Targets

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> TensorBatch:
        """Copy a batch there; on the processor it is shared, not copied."""

        def moved(name: str) -> torch.Tensor:
            return torch.from_numpy(getattr(batch, name)).to(device, non_blocking=True)

        return cls(moved("crops"), Targets(*(moved(name) for name in Targets._fields)))


@runtime_checkable
class MainLoss(Protocol):
    """A loss of the network's heads."""

    def __call__(
        self, network: FaceNetwork, output: RegressorOutput, targets: Targets
    ) -> tuple[torch.Tensor, Terms]:
        """The loss, and its terms."""
        ...


class ParameterLoss(nn.Module):
    """VDC, fWPDC or both, over the faces of a batch.

    Args:
        distance: between meshes.
        cost: which.
        config: share and unit.
    """

    def __init__(
        self, distance: MeshDistance, cost: ParameterCost, config: PaperLossConfig
    ) -> None:
        super().__init__()
        self.distance = distance
        self.cost: ParameterCost = cost
        self.config = config

    def forward(
        self, network: FaceNetwork, output: RegressorOutput, targets: Targets
    ) -> tuple[torch.Tensor, Terms]:
        """The loss, VDC in px^2, and its parts; zero where no crop shows a face."""
        params, true = face_params(network, output, targets)
        if len(params) == 0:
            return output.params.sum() * 0.0, {}
        parts: Terms = {}
        if self.cost != "fwpdc":
            parts["vdc"] = self.distance.vdc(params, true).mean()
        if self.cost != "vdc":
            std = network.param_std if self.config.error_unit == "whitened" else None
            parts["fwpdc"] = self.distance.fwpdc(params, true, std).mean()
        if self.cost == "joint":
            beta = self.config.beta
            balance = _magnitude_ratio(parts["fwpdc"], parts["vdc"])
            total = beta * parts["fwpdc"] + (1 - beta) * balance * parts["vdc"]
        else:
            total = parts[self.cost]
        return total, {name: part.detach() for name, part in parts.items()}


class Objective(nn.Module):
    """A main loss, with landmark regularisation where the network has a landmark head.

    ``L = L_main + (|L_main| / |L_lrr|) L_lrr``, the ratio a constant (eq. 7): it keeps the two
    equally large.

    Args:
        main: the main loss.
        decoder: of the labelled points, the landmarks first.
    """

    def __init__(self, main: MainLoss, decoder: PointDecoder) -> None:
        super().__init__()
        self.main = main
        self.decoder = decoder

    def forward(
        self, network: FaceNetwork, output: TrainingOutput, targets: Targets
    ) -> tuple[torch.Tensor, Terms]:
        """The loss and its terms."""
        total, terms = self.main(network, output.heads, targets)
        if output.landmarks is None:
            return total, terms
        cost = self.landmark_cost(output.landmarks, targets)
        regularised = total + _magnitude_ratio(total, cost) * cost
        return regularised, terms | {"landmark_head": cost.detach()}

    def landmark_cost(
        self, landmarks: Float32[torch.Tensor, "B 68 2"], targets: Targets
    ) -> torch.Tensor:
        """Mean squared distance to the landmarks of the true parameters, in squared crop sides."""
        faces = targets.presence > 0
        if not bool(faces.any()):
            return landmarks.sum() * 0.0
        true = self.decoder(
            targets.pose[faces],
            targets.shape[faces],
            targets.expression[faces],
            targets.blendshapes[faces],
        ).by_expression[:, :N_LANDMARKS, :2]
        return (landmarks[faces] - true / CROP_SIZE).square().sum(-1).mean()


def face_params(
    network: FaceNetwork, output: RegressorOutput, targets: Targets
) -> tuple[Float32[torch.Tensor, "F 62"], Float32[torch.Tensor, "F 62"]]:
    """Predicted and true parameters of the crops with a face, in their own units."""
    faces = targets.presence > 0
    true = torch.cat([targets.pose.flatten(1), targets.shape, targets.expression], 1)
    return network.denormalised(output.params[faces]), true[faces]


def vertex_error(distance: MeshDistance, network: FaceNetwork, batch: TensorBatch) -> float:
    """Mean VDC of a network, in evaluation mode, over the faces of a batch, px^2; 0 without any."""
    training = network.training
    network.eval()
    with torch.inference_mode():
        params, true = face_params(network, network(batch.crops), batch.targets)
        error = float(distance.vdc(params, true).mean()) if len(params) else 0.0
    network.train(training)
    return error


def _magnitude_ratio(wanted: torch.Tensor, cost: torch.Tensor) -> torch.Tensor:
    """``|wanted| / |cost|``, a constant."""
    tiny = torch.finfo(cost.dtype).tiny
    return (wanted.abs() / cost.abs().clamp_min(tiny)).detach()
