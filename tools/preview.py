"""A window that shows the picture with the faces drawn in."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Final

import cv2

from ..models.errors import OutputError
from ..stream.frame import Frame
from ..stream.observation import FaceObservation
from ..stream.sinks.drawing import Annotator

_TITLE: Final = "mien"
_ENDING_KEYS: Final = frozenset((27, ord("q")))


class Preview:
    """The window, for as long as the context lasts; use it from the main thread."""

    def __init__(self, annotator: Annotator) -> None:
        """Open the window.

        Raises:
            OutputError: there is no display.
        """
        linux = sys.platform.startswith("linux")
        if linux and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # Qt would end the whole process.
            raise OutputError("--preview: no display here (DISPLAY is not set)")
        self._annotator = annotator
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise OutputError(f"--preview: no window can be opened: {error.err}") from error

    def show(self, frame: Frame, rows: Sequence[FaceObservation]) -> bool:
        """Draw a frame; False where the user wants to end (Escape, q, or the window closed)."""
        cv2.imshow(_TITLE, self._annotator.draw(frame.image_bgr, rows))
        ended = cv2.waitKey(1) & 0xFF in _ENDING_KEYS
        return not ended and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def __enter__(self) -> Preview:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        cv2.destroyAllWindows()
