"""The regressor on onnxruntime: crops in, face parameters with their uncertainty out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from ..models.errors import BundleError
from ..models.face.crop import CROP_SIZE
from ..models.face.names import N_BLENDSHAPES, N_EXPRESSION, N_SHAPE
from .onnx_session import open_session

N_POSE = 12
N_PARAMS = N_POSE + N_SHAPE + N_EXPRESSION


@dataclass(frozen=True)
class Regression:
    """What the network says about a batch of crops.

    Attributes:
        params: (B, 62) 12 of pose (3x4 scaled orthography, row-major, crop px per mm), 40 shape and
            10 expression in standard deviations.
        log_variance: (B, 62) natural logarithm of the variance of each.
        blendshapes: (B, 52) ARKit, in [0, 1].
        presence: (B,) probability that the crop shows a face.
    """

    params: Float32[np.ndarray, "B 62"]
    log_variance: Float32[np.ndarray, "B 62"]
    blendshapes: Float32[np.ndarray, "B 52"]
    presence: Float32[np.ndarray, " B"]

    @property
    def pose(self) -> Float32[np.ndarray, "B 3 4"]:
        """The scaled orthographies; a view."""
        return self.params[:, :N_POSE].reshape(-1, 3, 4)

    @property
    def shape(self) -> Float32[np.ndarray, "B 40"]:
        """Shape in standard deviations; a view."""
        return self.params[:, N_POSE : N_POSE + N_SHAPE]

    @property
    def expression(self) -> Float32[np.ndarray, "B 10"]:
        """Expression in standard deviations; a view."""
        return self.params[:, N_POSE + N_SHAPE :]


@runtime_checkable
class RegressorLike(Protocol):
    """Anything that regresses faces from crops (the tracker's tests put in their own)."""

    def run(self, crops: UInt8[np.ndarray, "B 120 120 3"]) -> Regression:
        """Face parameters of crops, BGR."""
        ...


class Regressor:
    """``regressor.onnx`` of a bundle.

    Args:
        path: the ONNX file.
        threads: that one inference may use.

    Raises:
        BundleError: the file is no such network.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._session = open_session(path, threads)
        inputs = {
            node.name: (list(node.shape)[1:], node.type) for node in self._session.get_inputs()
        }
        wanted = {"crops": ([CROP_SIZE, CROP_SIZE, 3], "tensor(uint8)")}
        outputs = [node.name for node in self._session.get_outputs()]
        self._names = ["params", "log_variance", "blendshapes", "presence"]
        if inputs != wanted or not set(self._names) <= set(outputs):
            raise BundleError(
                f"{path}: takes {inputs} and gives {outputs}; expected {wanted} and {self._names}"
            )

    def run(self, crops: UInt8[np.ndarray, "B 120 120 3"]) -> Regression:
        """Face parameters of crops, BGR.

        Args:
            crops: (B, 120, 120, 3) uint8, B may be 0.
        """
        if len(crops) == 0:
            return Regression(
                np.zeros((0, N_PARAMS), np.float32),
                np.zeros((0, N_PARAMS), np.float32),
                np.zeros((0, N_BLENDSHAPES), np.float32),
                np.zeros(0, np.float32),
            )
        outputs = self._session.run(self._names, {"crops": crops})
        params, log_variance, blendshapes, presence = (np.asarray(array) for array in outputs)
        return Regression(params, log_variance, blendshapes, presence.reshape(-1))
