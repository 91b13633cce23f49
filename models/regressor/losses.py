"""What the regressor's training minimises: distances of points first, parameters a little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from jaxtyping import Float32
from torch import nn
from torch.nn import functional

from ..face.morphable import LinearPoints
from ..face.names import BLENDSHAPE_NAMES, N_LANDMARKS, N_POSE, N_SHAPE
from .network import FaceNetwork, RegressorOutput

_OPENINGS: Final = ((37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65))
"""Upper and lower landmark of each measure of an eye's or the mouth's opening."""

_DEPTH_OFFSET: Final = 11
"""Index of t_z, which no picture shows."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms; distances are in shares of the face's box, as NME is.

    Attributes:
        landmarks: mean absolute error of the 68 landmarks.
        points: of the other labelled points.
        openings: of the vectors across eyes and mouth.
        vdc: mean squared distance in space of all labelled points (vertex distance cost).
        params: smooth absolute error of the whitened parameters.
        blendshapes: relative entropy of the 52 units, with more weight on blinks, jaw and gaze. (An
            absolute error drives the seldom-used units to their median, 0, where the sigmoid
            passes no gradient, and they are never learned.)
        presence: binary cross-entropy.
        uncertainty: Gaussian negative log-likelihood; trains the variance head alone.
        turned: how much more than a frontal face's the points of one in full profile count. Most
            faces are nearly frontal, and an uncertain yaw would be read too small.
        blendshape_share: of the point losses that goes through the decode by blendshapes, which is
            the published mesh; the rest goes through the ten expression components.
    """

    landmarks: float = 1.0
    points: float = 0.5
    openings: float = 1.0
    vdc: float = 2.0
    params: float = 0.01
    blendshapes: float = 0.2
    presence: float = 0.05
    uncertainty: float = 0.02
    turned: float = 1.5
    blendshape_share: float = 0.6


class Targets(NamedTuple):
    """Labels of B crops as tensors; see :class:`.dataset.Batch` for units.

    Attributes:
        pose: (B, 3, 4).
        shape: (B, 40).
        expression: (B, 10).
        blendshapes: (B, 52).
        points: (B, K, 2), NaN where not known.
        presence: (B,).
    """

    pose: Float32[torch.Tensor, "B 3 4"]
    shape: Float32[torch.Tensor, "B 40"]
    expression: Float32[torch.Tensor, "B 10"]
    blendshapes: Float32[torch.Tensor, "B 52"]
    points: Float32[torch.Tensor, "B K 2"]
    presence: Float32[torch.Tensor, " B"]


class Decoded(NamedTuple):
    """Points in crop pixels, x right, y down, z into the picture.

    Attributes:
        by_blendshapes: (B, K, 3) from shape and blendshapes.
        by_expression: (B, K, 3) from shape and expression.
    """

    by_blendshapes: Float32[torch.Tensor, "B K 3"]
    by_expression: Float32[torch.Tensor, "B K 3"]


class PointDecoder(nn.Module):
    """The face model's labelled points, decoded and projected for a batch.

    Args:
        points: the labelled points of the face model.
    """

    mean: torch.Tensor
    shape_basis: torch.Tensor
    expression_basis: torch.Tensor
    blendshape_basis: torch.Tensor

    def __init__(self, points: LinearPoints) -> None:
        super().__init__()
        self.count = len(points.mean)
        for name in ("mean", "shape_basis", "expression_basis", "blendshape_basis"):
            rows = torch.from_numpy(getattr(points, name)).float()
            self.register_buffer(name, rows.reshape(-1, 3 * self.count))

    def forward(
        self,
        pose: Float32[torch.Tensor, "B 3 4"],
        shape: Float32[torch.Tensor, "B 40"],
        expression: Float32[torch.Tensor, "B 10"],
        blendshapes: Float32[torch.Tensor, "B 52"],
    ) -> Decoded:
        """Both decodes of a batch, in crop pixels."""
        neutral = self.mean + shape @ self.shape_basis
        moved = torch.stack(
            [
                neutral + blendshapes @ self.blendshape_basis,
                neutral + expression @ self.expression_basis,
            ],
            1,
        )
        head = moved.reshape(len(pose), 2 * self.count, 3)
        image = head @ pose[:, :, :3].transpose(1, 2) + pose[:, None, :, 3]
        return Decoded(image[:, : self.count], image[:, self.count :])


def whitened(network: FaceNetwork, targets: Targets) -> Float32[torch.Tensor, "B 62"]:
    """True parameters in the network's own units."""
    values = torch.cat([targets.pose.flatten(1), targets.shape, targets.expression], 1)
    return (values - network.param_mean) / network.param_std


def split_params(
    params: Float32[torch.Tensor, "B 62"],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pose (B, 3, 4), shape (B, 40) and expression (B, 10) of parameters in their own units."""
    pose = params[:, :N_POSE].reshape(-1, 3, 4)
    return pose, params[:, N_POSE : N_POSE + N_SHAPE], params[:, N_POSE + N_SHAPE :]


def box_sides(points: Float32[torch.Tensor, "B K 2"]) -> Float32[torch.Tensor, " B"]:
    """Geometric mean of width and height of the box of the 68 landmarks, px (NME's divisor)."""
    landmarks = points[:, :N_LANDMARKS]
    extent = landmarks.amax(1) - landmarks.amin(1)
    return extent.prod(1).sqrt().clamp_min(1.0)


class RegressorLoss(nn.Module):
    """All terms of the training loss.

    Args:
        decoder: of the labelled points.
        config: weights.
    """

    unit_weights: torch.Tensor

    def __init__(self, decoder: PointDecoder, config: LossConfig) -> None:
        super().__init__()
        self.decoder = decoder
        self.config = config
        self.register_buffer("unit_weights", _unit_weights())

    def forward(
        self, network: FaceNetwork, output: RegressorOutput, targets: Targets
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The weighted sum, and each unweighted term, detached, by its name in the configuration.

        Crops without a face count in the presence term alone.
        """
        terms = {
            "presence": functional.binary_cross_entropy_with_logits(
                output.presence, targets.presence
            )
        }
        faces = targets.presence > 0
        if bool(faces.any()):
            present = RegressorOutput(*(field[faces] for field in output))
            terms |= self._face_terms(network, present, Targets(*(t[faces] for t in targets)))
        total = torch.stack([getattr(self.config, name) * term for name, term in terms.items()])
        return total.sum(), {name: term.detach() for name, term in terms.items()}

    def _face_terms(
        self, network: FaceNetwork, output: RegressorOutput, targets: Targets
    ) -> dict[str, torch.Tensor]:
        true_params = whitened(network, targets)
        pose, shape, expression = split_params(network.denormalised(output.params))
        decoded = self.decoder(pose, shape, expression, output.blendshapes)
        terms = self._point_terms(decoded, targets)
        error = functional.smooth_l1_loss(output.params, true_params, reduction="none")
        keep = [i for i in range(error.shape[1]) if i != _DEPTH_OFFSET]
        units = _relative_entropy(output.blendshapes, targets.blendshapes)
        squared = (output.params.detach() - true_params) ** 2
        likelihood = squared * torch.exp(-output.log_variance) + output.log_variance
        terms |= {
            "params": error[:, keep].mean(),
            "blendshapes": (units * self.unit_weights).mean(),
            "uncertainty": 0.5 * likelihood.mean(),
        }
        if self.config.vdc > 0:
            terms["vdc"] = self._vertex_distance(decoded, targets)
        return terms

    def _point_terms(self, decoded: Decoded, targets: Targets) -> dict[str, torch.Tensor]:
        """Absolute errors in shares of the face's box, mean over x and y."""
        known = torch.isfinite(targets.points)
        true = torch.where(known, targets.points, torch.zeros_like(targets.points))
        emphasis = 1 + self.config.turned * _sine_of_yaw(targets.pose).square()
        emphasis = emphasis / emphasis.mean()
        weight = known * (emphasis / box_sides(true))[:, None, None]
        sums: dict[str, torch.Tensor] = {}
        share = self.config.blendshape_share
        for points, part in zip(decoded, (share, 1 - share), strict=True):
            error = (points[..., :2] - true) * weight
            upper, lower = (error[:, list(side)] for side in zip(*_OPENINGS, strict=True))
            mine = {
                "landmarks": error[:, :N_LANDMARKS].abs().mean(),
                "openings": (upper - lower).abs().mean(),
            }
            if self.decoder.count > N_LANDMARKS:
                other = known[:, N_LANDMARKS:].sum().clamp_min(1)
                mine["points"] = error[:, N_LANDMARKS:].abs().sum() / other
            for name, value in mine.items():
                sums[name] = sums.get(name, torch.zeros(())) + part * value
        return sums

    def _vertex_distance(self, decoded: Decoded, targets: Targets) -> torch.Tensor:
        """Squared distance to the points of the true parameters, in squared shares of the box.

        The depth offset cannot be seen, so depths are compared about their means.
        """
        true = self.decoder(targets.pose, targets.shape, targets.expression, targets.blendshapes)
        side = box_sides(true.by_blendshapes[..., :2])[:, None, None]
        share = self.config.blendshape_share
        total = torch.zeros(())
        for points, goal, part in zip(decoded, true, (share, 1 - share), strict=True):
            error = points - goal
            depth = error[..., 2:] - error[..., 2:].mean(1, keepdim=True)
            error = torch.cat([error[..., :2], depth], -1) / side
            total = total + part * error.square().sum(-1).mean()
        return total


def _sine_of_yaw(pose: Float32[torch.Tensor, "B 3 4"]) -> Float32[torch.Tensor, " B"]:
    """Sine of the yaw of scaled orthographies: how far the head's z axis leans to the side."""
    row = pose[:, 0, :3]
    return row[:, 2] / row.norm(dim=1)


def _relative_entropy(
    values: Float32[torch.Tensor, "B 52"], true: Float32[torch.Tensor, "B 52"]
) -> Float32[torch.Tensor, "B 52"]:
    """Kullback-Leibler divergence of Bernoulli means; 0 where they agree."""
    values, true = values.clamp(1e-6, 1 - 1e-6), true.clamp(1e-6, 1 - 1e-6)
    entropy = functional.binary_cross_entropy(true, true, reduction="none")
    return functional.binary_cross_entropy(values, true, reduction="none") - entropy


def _unit_weights() -> torch.Tensor:
    weights = torch.ones(len(BLENDSHAPE_NAMES))
    for i, name in enumerate(BLENDSHAPE_NAMES):
        if name.startswith("eyeBlink"):
            weights[i] = 6.0
        elif name == "jawOpen" or name.startswith("eyeLook"):
            weights[i] = 2.0
    return weights
