"""An exported regressor in 8-bit integers: static quantisation calibrated on crops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from jaxtyping import UInt8
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from ..errors import InputError, OutputError
from .export import INPUT_NAME

_BATCH: Final = 16


class _Crops(CalibrationDataReader):
    """Feeds crops to the calibration, a few at a time."""

    def __init__(self, crops: UInt8[np.ndarray, "n 120 120 3"]) -> None:
        self._batches: Iterator[UInt8[np.ndarray, "b 120 120 3"]] = (
            crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH)
        )

    def get_next(self) -> dict[str, Any] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The next inputs, None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: batch}


def quantise(source: Path, out: Path, crops: UInt8[np.ndarray, "n 120 120 3"]) -> None:
    """Write the int8 form of an exported network: QDQ, per channel, convolutions only.

    The heads stay in single precision: their outputs are numbers, not features, and cost little.

    Args:
        source: ONNX file of :func:`.export.save_onnx`.
        out: the file to write; may be ``source``.
        crops: BGR crops on which the ranges of the activations are observed.

    Raises:
        InputError: there is no crop.
        OutputError: the file cannot be written.
    """
    if not len(crops):
        raise InputError("int8: no crop to calibrate on")
    temporary = out.with_name(f".{out.name}.int8")
    logger = logging.getLogger()
    level = logger.level
    try:
        # It advises, on the root logger, a pre-processing that this graph does not need.
        logger.setLevel(logging.ERROR)
        quantize_static(
            str(source),
            str(temporary),
            _Crops(crops),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        onnx.checker.check_model(onnx.load(temporary), full_check=True)
        temporary.replace(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error}") from error
    finally:
        logger.setLevel(level)
        temporary.unlink(missing_ok=True)
