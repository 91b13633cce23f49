"""The detector at work: in step with the frames, or beside them in a thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from jaxtyping import UInt8

from ..models.face.crop import BoxStyle
from .detector.protocol import Detections, Detector

if TYPE_CHECKING:
    from .association import Box

K = TypeVar("K")


@dataclass(frozen=True)
class Found(Generic[K]):
    """What a search came to.

    Attributes:
        boxes: (K, 5) x, y, w, h in px, score; the most prominent first.
        style: how they lie to the crop that the regressor wants.
        places: where the faces that were followed lay in the picture that was searched.
    """

    boxes: Detections
    style: BoxStyle
    places: dict[K, Box]


class FaceSearch(Generic[K]):
    """Runs a detector over one picture at a time.

    In step, the answer is there when the question was asked. Beside, a thread works while frames
    go on: the picture is kept until then, and must not be written to.

    Args:
        open_detector: gives the detector; called where it works, when it is first needed.
        beside: in a thread of its own.
    """

    def __init__(self, open_detector: Callable[[], Detector], beside: bool = False) -> None:
        self._open = open_detector
        self._detector: Detector | None = None
        self._thread = ThreadPoolExecutor(1, "mien-search") if beside else None
        self._answer: Future[Found[K]] | None = None

    @property
    def busy(self) -> bool:
        """Whether a search is on whose answer was not taken."""
        return self._answer is not None

    def now(self, image_bgr: UInt8[np.ndarray, "H W 3"], thorough: bool = False) -> Found[K]:
        """Search a picture at once, whatever goes on beside.

        Raises:
            BundleError: the detector cannot be opened.
        """
        return self._search(image_bgr, {}, thorough)

    def ask(self, image_bgr: UInt8[np.ndarray, "H W 3"], places: dict[K, Box]) -> None:
        """Begin a search.

        Args:
            image_bgr: the picture.
            places: of the faces that are followed, handed on with the answer.
        """
        if self._thread is not None:
            self._answer = self._thread.submit(self._search, image_bgr, places)
            return
        self._answer = Future()
        self._answer.set_result(self._search(image_bgr, places))

    def answer(self) -> Found[K] | None:
        """What the search came to; None where none is on, or it has not ended.

        Raises:
            BundleError: the detector cannot be opened.
        """
        if self._answer is None or not self._answer.done():
            return None
        answer, self._answer = self._answer, None
        return answer.result()

    def drop(self) -> None:
        """Forget a search that is on."""
        self._answer = None

    def close(self) -> None:
        """End the thread, after the search that is on."""
        self._answer = None
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def _search(
        self, image_bgr: UInt8[np.ndarray, "H W 3"], places: dict[K, Box], thorough: bool = False
    ) -> Found[K]:
        if self._detector is None:
            self._detector = self._open()
        boxes = self._detector.detect(image_bgr, thorough)
        prominence = boxes[:, 4] * np.sqrt(boxes[:, 2] * boxes[:, 3])
        boxes = boxes[np.argsort(-prominence, kind="stable")]
        return Found(boxes, self._detector.box_style, places)
