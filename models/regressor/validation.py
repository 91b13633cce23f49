"""How well the regressor does on held-out synthetic crops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64

from ..errors import InputError
from ..face.metrics import mean_by_yaw, nme_percent
from ..face.names import BLENDSHAPE_INDEX, N_LANDMARKS
from ..face.rotation import angle_between_deg
from .dataset import Batch
from .losses import PointDecoder, split_params
from .network import FaceNetwork

_BLINKS = (BLENDSHAPE_INDEX["eyeBlinkLeft"], BLENDSHAPE_INDEX["eyeBlinkRight"])


@dataclass(frozen=True)
class Validation:
    """Figures over the faces of the held-out pictures.

    Attributes:
        faces: how many.
        nme_percent: mean NME-68 of the published decode, by shape and blendshapes.
        nme_expression_percent: the same through the ten expression components.
        nme_by_yaw_percent: NME for |yaw| to 30, 60 and 90 degrees; None where there is no face.
        nme_balanced_percent: mean of those bins, None unless each holds a face.
        rotation_deg: mean angle between true and regressed rotation.
        blink_error: mean absolute error of the two eyeBlink units.
        blendshape_error: mean absolute error of all units.
        presence_accuracy: share of pictures, with and without a face, that are told apart at 0.5.
    """

    faces: int
    nme_percent: float
    nme_expression_percent: float
    nme_by_yaw_percent: tuple[float | None, ...]
    nme_balanced_percent: float | None
    rotation_deg: float
    blink_error: float
    blendshape_error: float
    presence_accuracy: float


@dataclass(frozen=True)
class _Predicted:
    """Predictions for the faces of a batch, and who was taken for a face."""

    landmarks: Float32[np.ndarray, "F 68 2"]
    landmarks_expression: Float32[np.ndarray, "F 68 2"]
    pose: Float32[np.ndarray, "F 3 4"]
    blendshapes: Float32[np.ndarray, "F 52"]
    presence_right: Float32[np.ndarray, " B"]


def validate(network: FaceNetwork, decoder: PointDecoder, batches: Iterable[Batch]) -> Validation:
    """Measure a network, which is left in evaluation mode.

    Raises:
        InputError: no batch holds a face.
    """
    network.eval()
    batches = list(batches)
    predicted = [_predict(network, decoder, batch) for batch in batches]
    faces = [batch.presence > 0 for batch in batches]
    if not any(present.any() for present in faces):
        raise InputError("no face among the validation pictures")

    def true(name: str) -> np.ndarray:
        return np.concatenate(
            [getattr(b, name)[f] for b, f in zip(batches, faces, strict=True)]
        ).astype(np.float64)

    def found(name: str) -> np.ndarray:
        return np.concatenate([getattr(p, name) for p in predicted]).astype(np.float64)

    points = true("points")[:, :N_LANDMARKS]
    nme = nme_percent(found("landmarks"), points)
    bins = mean_by_yaw(nme, true("yaw_deg"))
    units = np.abs(found("blendshapes") - true("blendshapes"))
    turned = angle_between_deg(_rotations(found("pose")), _rotations(true("pose")))
    return Validation(
        faces=len(nme),
        nme_percent=float(nme.mean()),
        nme_expression_percent=float(nme_percent(found("landmarks_expression"), points).mean()),
        nme_by_yaw_percent=bins.means,
        nme_balanced_percent=bins.mean,
        rotation_deg=float(turned.mean()),
        blink_error=float(units[:, list(_BLINKS)].mean()),
        blendshape_error=float(units.mean()),
        presence_accuracy=float(found("presence_right").mean()),
    )


def _predict(network: FaceNetwork, decoder: PointDecoder, batch: Batch) -> _Predicted:
    device = network.param_mean.device
    faces = torch.from_numpy(batch.presence > 0).to(device)
    with torch.inference_mode():
        output = network(torch.from_numpy(batch.crops).to(device))
        pose, shape, expression = split_params(network.denormalised(output.params))
        decoded = decoder(pose, shape, expression, output.blendshapes)
    right = (output.presence > 0) == faces
    return _Predicted(
        landmarks=decoded.by_blendshapes[faces, :N_LANDMARKS, :2].cpu().numpy(),
        landmarks_expression=decoded.by_expression[faces, :N_LANDMARKS, :2].cpu().numpy(),
        pose=pose[faces].cpu().numpy(),
        blendshapes=output.blendshapes[faces].cpu().numpy(),
        presence_right=right.cpu().numpy().astype(np.float32),
    )


def _rotations(poses: Float64[np.ndarray, "F 3 4"]) -> Float64[np.ndarray, "F 3 3"]:
    left, _, right = np.linalg.svd(poses[:, :, :3])
    left[:, :, 2] *= np.linalg.det(left @ right)[:, None]
    return left @ right
