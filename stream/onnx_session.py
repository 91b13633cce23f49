"""Opening an onnxruntime session the one way that mien does it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..models.documents import one_line
from ..models.errors import BundleError, InputError
from ..models.onnx_wire import check_one_file

if TYPE_CHECKING:
    import onnxruntime

_RUNTIME: Final = (
    "; it needs the Microsoft Visual C++ Redistributable 2015-2022 (x64)" if os.name == "nt" else ""
)


def open_session(model: Path | bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """A CPU session that does not keep idle cores spinning (which halves a busy machine).

    Args:
        model: an ONNX file, or its content.
        threads: that one inference may use.

    Raises:
        InputError: ``threads`` is below 1, or onnxruntime cannot be loaded.
        BundleError: the file is missing, no ONNX model, or keeps weights in other files.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        raise InputError(f"onnxruntime cannot be loaded: {one_line(error)}{_RUNTIME}") from error
    from onnxruntime.capi.onnxruntime_pybind11_state import (
        Fail,
        InvalidArgument,
        InvalidGraph,
        InvalidProtobuf,
        NoSuchFile,
        RuntimeException,
    )
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

    if threads < 1:
        raise InputError(f"threads must be 1 or more, got {threads}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    name = "ONNX model" if isinstance(model, bytes) else str(model)
    try:
        content = model if isinstance(model, bytes) else model.read_bytes()
        check_one_file(content, name)
    except OSError as error:
        raise BundleError(f"{name}: cannot be read: {error.strerror}") from error
    except InputError as error:
        raise BundleError(str(error)) from error
    try:
        session = onnxruntime.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
        )
        for node in (*session.get_inputs(), *session.get_outputs()):
            _ = node.name, node.shape  # raises where a name is no text
        return session
    except (
        *(Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile),
        *(NoKernel, RuntimeException, RuntimeError, ValueError),
    ) as error:
        raise BundleError(
            f"{name}: not a model that onnxruntime can load: {one_line(error)}"
        ) from error
