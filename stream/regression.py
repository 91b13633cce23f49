"""The regressor on onnxruntime: crops in, face parameters with their uncertainty out."""

from __future__ import annotations

import threading
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ..models.errors import BundleError
from ..models.face.crop import CROP_SIZE
from ..models.face.names import N_BLENDSHAPES, N_EXPRESSION, N_PARAMS, N_POSE, N_SHAPE
from .onnx_session import open_session

if TYPE_CHECKING:
    import onnxruntime

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


class Regression(msgspec.Struct, frozen=True, eq=False):
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


class RegressedFace(msgspec.Struct, frozen=True, eq=False):
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
        self._one = _SingleCrop(self._session, {name: _WIDTHS[name] for name in known})

    def run(self, crops: UInt8[np.ndarray, "B 120 120 3"]) -> Regression:
        """Face parameters of crops, BGR.

        Args:
            crops: (B, 120, 120, 3) uint8, B may be 0.
        """
        if len(crops) == 1:
            outputs = self._one.run(crops)
        elif len(crops) == 0:
            outputs = [np.zeros((0, _WIDTHS[name]), np.float32) for name in self._names]
        else:
            outputs = self._session.run(self._names, {"crops": crops})
        said: dict[str, Any] = dict(zip(self._names, outputs, strict=True))
        if "presence" in said:
            said["presence"] = said["presence"].reshape(-1)
        return Regression(**said)


class _SingleCrop:
    """Runs the network on one crop, the usual case, in arrays that stay bound to it.

    That leaves out what onnxruntime does for every call to take in and give out arrays.
    """

    def __init__(self, session: onnxruntime.InferenceSession, widths: dict[str, int]) -> None:
        self._session = session
        self._crops = np.zeros((1, CROP_SIZE, CROP_SIZE, 3), np.uint8)
        self._said = np.zeros(sum(widths.values()), np.float32)
        self._parts = [slice(*ends) for ends in pairwise(accumulate(widths.values(), initial=0))]
        self._busy = threading.Lock()
        self._binding = session.io_binding()
        self._binding.bind_input(
            "crops", "cpu", 0, np.uint8, self._crops.shape, self._crops.ctypes.data
        )
        for name, part in zip(widths, self._parts, strict=True):
            at = self._said[part]
            self._binding.bind_output(name, "cpu", 0, np.float32, (1, at.size), at.ctypes.data)

    def run(self, crops: UInt8[np.ndarray, "1 120 120 3"]) -> list[Float32[np.ndarray, "1 _"]]:
        """The outputs, in the order of the widths."""
        with self._busy:
            np.copyto(self._crops, crops, casting="equiv")
            self._session.run_with_iobinding(self._binding)
            said = self._said[None].copy()
        return [said[:, part] for part in self._parts]
