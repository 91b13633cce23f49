"""mien's own detector on onnxruntime, from the bundle's ``detector.onnx``.

Its weights have seen rendered scenes only (``mien train detector``). Input: uint8 BGR pictures
whose sides are multiples of 32; outputs and their decoding: :mod:`mien.models.detector.boxes`. Its
boxes are the tight boxes of the 68 landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from ...models.detector.boxes import decode, resized, stated_threshold, suppress
from ...models.errors import BundleError, InputError
from ...models.face.crop import LANDMARK_BOX, BoxStyle
from ..onnx_session import open_session
from .protocol import Detections

_INPUT: Final = "pictures"
_OUTPUTS: Final = ("heat", "box")
_MULTIPLE: Final = 32
_GREY: Final = (127, 127, 127)
"""What the network sees beyond the picture's edges in training, too."""


@dataclass(frozen=True)
class OwnDetectorConfig:
    """When a box counts, and at which sizes it is looked for.

    Attributes:
        side: longest side of the first, quick look, px.
        full_side: longest side of the second look, after a miss; larger frames are shrunk to it.
        near_side: longest side of the third, for faces that fill the frame.
        threshold: least score; None takes the one that the weights were exported with.
        hints: share of the threshold down to which a face is suspected.
        most_overlap: intersection over union above which the weaker of two boxes goes.
    """

    side: int = 320
    full_side: int = 960
    near_side: int = 160
    threshold: float | None = None
    hints: float = 0.5
    most_overlap: float = 0.35

    def __post_init__(self) -> None:
        if min(self.side, self.full_side, self.near_side) < _MULTIPLE:
            raise InputError(f"detector: sides must be {_MULTIPLE} px or more, got {self}")
        if self.threshold is not None and not 0.0 <= self.threshold <= 1.0:
            raise InputError(f"detector: threshold must lie in [0, 1], got {self}")
        for share in (self.hints, self.most_overlap):
            if not 0.0 <= share <= 1.0:
                raise InputError(f"detector: hints and most_overlap must lie in [0, 1], got {self}")


class OwnDetector:
    """The :class:`~mien.stream.detector.protocol.Hinting` detector on a bundle's own network.

    A quick look at ``config.side`` finds nearly all faces; only where it is sure of none, the full
    frame is searched for small ones, and a small copy for those that fill it. A thorough search
    does all three and joins them.
    """

    def __init__(self, model: Path, config: OwnDetectorConfig | None = None, threads: int = 1):
        """Open the network.

        Args:
            model: ``detector.onnx``.
            config: settings.
            threads: that one inference may use.

        Raises:
            BundleError: the file is missing or no such network.
            InputError: ``threads`` is below 1.
        """
        self.config = config or OwnDetectorConfig()
        self._session = open_session(model, threads)
        names = ([i.name for i in self._session.get_inputs()],
                 [o.name for o in self._session.get_outputs()])  # fmt: skip
        if names != ([_INPUT], list(_OUTPUTS)):
            raise BundleError(f"{model}: no detector: its inputs and outputs are {names}")
        stated = stated_threshold(self._session.get_modelmeta().custom_metadata_map, model)
        self.threshold = stated if self.config.threshold is None else self.config.threshold

    @property
    def box_style(self) -> BoxStyle:
        """See :class:`~mien.stream.detector.protocol.Detector`."""
        return LANDMARK_BOX

    @property
    def sure_score(self) -> float:
        """See :class:`~mien.stream.detector.protocol.Hinting`."""
        return self.threshold

    def detect(self, image_bgr: UInt8[np.ndarray, "H W 3"], thorough: bool = False) -> Detections:
        """See :class:`~mien.stream.detector.protocol.Detector`."""
        boxes = self.suspect(image_bgr, thorough)
        return boxes[boxes[:, 4] >= self.threshold]

    def suspect(self, image_bgr: UInt8[np.ndarray, "H W 3"], thorough: bool = False) -> Detections:
        """See :class:`~mien.stream.detector.protocol.Hinting`."""
        config = self.config
        quick = self._look(image_bgr, config.side)
        if not thorough and (quick[:, 4] >= self.threshold).any():
            return quick
        looks = [quick, self._look(image_bgr, config.near_side)]
        if max(image_bgr.shape[:2]) > config.side:
            looks.append(self._look(image_bgr, config.full_side))
        return suppress(np.concatenate(looks), config.most_overlap)

    def _look(self, image_bgr: UInt8[np.ndarray, "H W 3"], side: int) -> Detections:
        """Faces at one size of the picture, boxes in pixels of the original."""
        height, width = image_bgr.shape[:2]
        shrink = min(1.0, side / max(height, width))
        new_width, new_height = max(1, round(width * shrink)), max(1, round(height * shrink))
        small = image_bgr
        if shrink < 1.0:
            small = cv2.resize(image_bgr, (new_width, new_height), interpolation=cv2.INTER_AREA)
        below, beside = -new_height % _MULTIPLE, -new_width % _MULTIPLE
        if below or beside:
            small = cv2.copyMakeBorder(small, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=_GREY)
        pixels = np.ascontiguousarray(small)[None]
        heat, box = (np.asarray(m) for m in self._session.run(list(_OUTPUTS), {_INPUT: pixels}))
        boxes = decode(heat[0, 0], box[0], self.config.hints * self.threshold)
        boxes = resized(boxes, (new_width, new_height), (width, height))
        return suppress(boxes, self.config.most_overlap)
