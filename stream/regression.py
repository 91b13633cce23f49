"""The regressor on onnxruntime: crops in, face parameters with their uncertainty out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ..models.errors import BundleError
from ..models.face.crop import CROP_SIZE
from ..models.face.names import N_BLENDSHAPES, N_EXPRESSION, N_SHAPE
from .onnx_session import open_session

N_POSE = 12
N_PARAMS = N_POSE + N_SHAPE + N_EXPRESSION
_MATRIX_SD, _SHIFT_SD, _SHAPE_SD, _EXPRESSION_SD = 0.03, 1.2, 1.0, 0.8
ASSUMED_VARIANCE = np.concatenate(
    [
        np.tile([_MATRIX_SD, _MATRIX_SD, _MATRIX_SD, _SHIFT_SD], 3) ** 2,
        np.full(N_SHAPE, _SHAPE_SD**2),
        np.full(N_EXPRESSION, _EXPRESSION_SD**2),
    ]
)
"""(62,) for a network that states none: about what the shipped one says of a face in a webcam's
picture (matrix entries px per mm, translations px, coefficients standard deviations). It steers
filters only and is never published."""
_WIDTHS = {
    "params": N_PARAMS,
    "log_variance": N_PARAMS,
    "blendshapes": N_BLENDSHAPES,
    "presence": 1,
}


@dataclass(frozen=True)
class Regression:
    """What the network says about a batch of crops; None for what it has no output for.

    Attributes:
        params: (B, 62) 12 of pose (3x4 scaled orthography, row-major, crop px per mm), 40 shape and
            10 expression in standard deviations.
        log_variance: (B, 62) natural logarithm of the variance of each.
        blendshapes: (B, 52) ARKit, in [0, 1].
        presence: (B,) probability that the crop shows a face.
    """

    params: Float32[np.ndarray, "B 62"]
    log_variance: Float32[np.ndarray, "B 62"] | None = None
    blendshapes: Float32[np.ndarray, "B 52"] | None = None
    presence: Float32[np.ndarray, " B"] | None = None

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

    def one(self, index: int) -> RegressedFace:
        """What is said of one crop; views."""
        return RegressedFace(
            self.params[index],
            None if self.log_variance is None else self.log_variance[index],
            None if self.blendshapes is None else self.blendshapes[index],
            None if self.presence is None else float(self.presence[index]),
        )


@dataclass(frozen=True)
class RegressedFace:
    """One crop of a :class:`Regression`.

    Attributes:
        params: (62,) pose, shape and expression.
        log_variance: (62,) natural logarithm of the variance of each.
        blendshapes: (52,) ARKit, in [0, 1].
        presence: probability that the crop shows a face.
    """

    params: Float32[np.ndarray, " 62"]
    log_variance: Float32[np.ndarray, " 62"] | None = None
    blendshapes: Float32[np.ndarray, " 52"] | None = None
    presence: float | None = None

    @property
    def finite(self) -> bool:
        """Whether the numbers are numbers."""
        blendshapes = self.blendshapes
        return bool(
            np.all(np.isfinite(self.params))
            and (blendshapes is None or np.all(np.isfinite(blendshapes)))
        )

    @property
    def variance(self) -> Float64[np.ndarray, " 62"]:
        """Of each parameter: as the network says, or what is assumed of one that does not."""
        if self.log_variance is None:
            return ASSUMED_VARIANCE
        return np.exp(np.clip(self.log_variance.astype(np.float64), -30.0, 30.0))


@runtime_checkable
class RegressorLike(Protocol):
    """Anything that regresses faces from crops (the tracker's tests put in their own)."""

    def run(self, crops: UInt8[np.ndarray, "B 120 120 3"]) -> Regression:
        """Face parameters of crops, BGR."""
        ...


class Regressor:
    """``regressor.onnx`` of a bundle; of its outputs only ``params`` must be there.

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
        outputs = {node.name: list(node.shape)[1:] for node in self._session.get_outputs()}
        known = {name: [width] for name, width in _WIDTHS.items() if name in outputs}
        if inputs != wanted or "params" not in known or not known.items() <= outputs.items():
            raise BundleError(
                f"{path}: takes {inputs} and gives {outputs}; expected {wanted} and {_WIDTHS}, "
                "of which params is a must"
            )
        self._names = list(known)

    def run(self, crops: UInt8[np.ndarray, "B 120 120 3"]) -> Regression:
        """Face parameters of crops, BGR.

        Args:
            crops: (B, 120, 120, 3) uint8, B may be 0.
        """
        if len(crops) == 0:
            outputs = [np.zeros((0, _WIDTHS[name]), np.float32) for name in self._names]
        else:
            outputs = self._session.run(self._names, {"crops": crops})
        said: dict[str, Any] = dict(zip(self._names, outputs, strict=True))
        if "presence" in said:
            said["presence"] = said["presence"].reshape(-1)
        return Regression(**said)
