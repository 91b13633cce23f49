"""The detector at work: in step with the frames, or beside them in a thread."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

import cv2
import numpy as np
from jaxtyping import UInt8

from ..models.face.crop import BoxStyle
from .association import Box, box_size
from .detector.protocol import Detections, Detector, Hinting, resized

K = TypeVar("K")

_CLOSE_S: Final = 5.0
"""How long a search may take to end; one that hangs must not keep the process from ending."""
_PLAIN_PX: Final = 48.0
"""Side at which a face is seen nearly as surely as when it is larger: of 173 faces of the even
lines of helen and pointing04 mien's own detector points at 169 so, at all when they are whole."""


@dataclass(frozen=True)
class Found(Generic[K]):
    """What a search came to.

    Attributes:
        boxes: (K, 5) x, y, w, h in px, score; the most prominent first.
        style: how they lie to the crop that the regressor wants.
        places: where the faces that were followed lay in the picture that was searched.
        sure_score: score from which the detector says that there is a face; boxes of less are hints
            for the regressor to judge.
    """

    boxes: Detections
    style: BoxStyle
    places: dict[K, Box]
    sure_score: float = -math.inf


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
        self._beside = beside
        self._thread: threading.Thread | None = None
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
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

    def ask(
        self, image_bgr: UInt8[np.ndarray, "H W 3"], places: dict[K, Box], complete: bool = False
    ) -> None:
        """Begin a search.

        Args:
            image_bgr: the picture.
            places: of the faces that are followed, handed on with the answer.
            complete: that is all of them: faces much smaller are of no interest, and where all are
                large, a small copy of the picture is searched, in a fraction of the time.
        """
        least_px = min(map(box_size, places.values())) if complete and places else 0.0
        answer: Future[Found[K]] = Future()
        if not self._beside:
            answer.set_result(self._search(image_bgr, places, least_px=least_px))
        else:
            if self._thread is None:
                # Not one of a pool: the interpreter would wait for it at its end, for ever.
                self._thread = threading.Thread(
                    target=self._work, args=(self._asked,), name="mien-search", daemon=True
                )
                self._thread.start()
            self._asked.put(partial(self._reply, answer, image_bgr, places, least_px))
        self._answer = answer

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
        """End the thread, after the search that is on; one that hangs is left to itself."""
        self._answer = None
        thread, self._thread = self._thread, None
        if thread is not None:
            self._asked.put(None)
            self._asked = queue.SimpleQueue()
            thread.join(_CLOSE_S)

    @staticmethod
    def _work(asked: queue.SimpleQueue[Callable[[], None] | None]) -> None:
        while (search := asked.get()) is not None:
            search()

    def _reply(
        self,
        answer: Future[Found[K]],
        image_bgr: UInt8[np.ndarray, "H W 3"],
        places: dict[K, Box],
        least_px: float,
    ) -> None:
        try:
            answer.set_result(self._search(image_bgr, places, least_px=least_px))
        except BaseException as failure:  # noqa: BLE001 - raised again by answer
            answer.set_exception(failure)

    def _search(
        self,
        image_bgr: UInt8[np.ndarray, "H W 3"],
        places: dict[K, Box],
        thorough: bool = False,
        least_px: float = 0.0,
    ) -> Found[K]:
        if self._detector is None:
            self._detector = self._open()
        detector, look, sure = self._detector, self._detector.detect, -math.inf
        if isinstance(detector, Hinting):
            look, sure = detector.suspect, detector.sure_score
        boxes = self._in_small_copy(look, image_bgr, least_px)
        if not (boxes[:, 4] >= sure).any():
            boxes = look(image_bgr, thorough)
        prominence = boxes[:, 4] * np.sqrt(boxes[:, 2] * boxes[:, 3])
        boxes = boxes[np.argsort(-prominence, kind="stable")]
        return Found(boxes, detector.box_style, places, sure)

    @staticmethod
    def _in_small_copy(
        look: Callable[[UInt8[np.ndarray, "H W 3"]], Detections],
        image_bgr: UInt8[np.ndarray, "H W 3"],
        least_px: float,
    ) -> Detections:
        """What a small copy of the picture shows; nothing where faces may be small in it."""
        if least_px <= _PLAIN_PX:
            return np.zeros((0, 5), np.float32)
        height, width = image_bgr.shape[:2]
        shrink = _PLAIN_PX / least_px
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        small = np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
        return resized(look(small), size, (width, height))
