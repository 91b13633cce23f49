"""A window that shows the picture with the faces drawn in, and takes a few keys."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import cv2

from ...stream.frame import Frame
from ...stream.observation import FaceObservation
from ...stream.sinks.drawing import Annotator
from ...stream.view.composition import Surroundings, compose

ACTION_NAMES: Final = {"c": "centre: this pose is neutral", "r": "record on or off"}
"""What the keys of actions are called in the help."""

_ESCAPE: Final = 27
_NOTICE_NS: Final = 2_000_000_000
_PROBE: Final = "import cv2; cv2.namedWindow('mien'); cv2.destroyAllWindows()"
_PROBE_S: Final = 20.0


@dataclass(frozen=True)
class _Shown:
    frame: Frame
    rows: Sequence[FaceObservation]
    annotator: Annotator


class Preview:
    """The window, for as long as the context lasts; use it from the main thread.

    Keys: Escape and q end, m mirrors what is shown, h shows help; others are actions.
    """

    def __init__(
        self,
        title: str,
        annotator: Annotator,
        actions: Mapping[str, Callable[[], str]] | None = None,
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Open the window. :func:`open_preview` looks first whether one can be opened.

        Args:
            title: of the window.
            annotator: how faces are drawn.
            actions: what a key does; it returns a line that is shown for two seconds.
            clock: nanoseconds, monotonic.
        """
        self._title = title
        self._annotator = annotator
        self._actions = dict(actions or {})
        self._clock = clock
        self._notice, self._notice_ns = "", 0
        self._mirrored = self._helping = False
        self._last: _Shown | None = None
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        self._sized = False

    def show(
        self,
        frame: Frame,
        rows: Sequence[FaceObservation],
        status_line: str,
        *,
        recording: bool = False,
        warning: str = "",
        annotator: Annotator | None = None,
    ) -> bool:
        """Draw a frame and obey the keys.

        Args:
            frame: what is shown.
            rows: its faces.
            status_line: rate, latency, drops.
            recording: whether rows are being recorded.
            warning: shown in place of the status line, such as why a source reconnects.
            annotator: how this frame's faces are drawn, where it is not as the others.

        Returns:
            False where the user wants to end (Escape, q, or the window closed).
        """
        self._last = _Shown(frame, rows, annotator or self._annotator)
        return self.refresh(status_line, recording=recording, warning=warning)

    def refresh(self, status_line: str, *, recording: bool = False, warning: str = "") -> bool:
        """Draw the last frame again, where none comes; else as :meth:`show`."""
        if self._last is not None:
            fresh = self._clock() - self._notice_ns < _NOTICE_NS
            around = Surroundings(
                line=status_line,
                recording=recording,
                warning=warning,
                notice=self._notice if fresh else "",
                keys=self._help() if self._helping else (),
                mirrored=self._mirrored,
            )
            last = self._last
            picture = compose(last.frame.image_bgr, last.rows, last.annotator, around)
            if not self._sized:
                # Once: afterwards the size is the user's.
                cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
                self._sized = True
            cv2.imshow(self._title, picture)
        key = cv2.waitKey(1)
        if key >= 0 and not self.press(key & 0xFF):
            return False
        return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def press(self, key: int) -> bool:
        """Obey a key, given by its code; False where it ends."""
        letter = chr(key).lower()
        if key == _ESCAPE or letter == "q":
            return False
        if letter == "m":
            self._mirrored = not self._mirrored
        elif letter == "h":
            self._helping = not self._helping
        elif letter in self._actions:
            self._notice = self._actions[letter]()
            self._notice_ns = self._clock()
        return True

    def _help(self) -> list[tuple[str, str]]:
        acting = [(key, ACTION_NAMES.get(key, "")) for key in self._actions]
        return [*acting, ("m", "mirror what is shown"), ("h", "this help"), ("q", "end")]

    def __enter__(self) -> Preview:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        cv2.destroyAllWindows()
        cv2.waitKey(1)  # the window goes when its events are handled


def open_preview(
    title: str, annotator: Annotator, actions: Mapping[str, Callable[[], str]] | None = None
) -> Preview | None:
    """The window; None where there is none to be had, which a line on stderr says."""
    why = why_no_window()
    if why is None:
        try:
            return Preview(title, annotator, actions)
        except cv2.error as error:  # opencv-python-headless
            why = f"no window can be opened: {' '.join(error.err.split())}"
    print(f"mien: --preview: {why}; going on without a window", file=sys.stderr)
    return None


def why_no_window() -> str | None:
    """Why this process can open no window, or None.

    Where a display is named but cannot be reached, the window library would end the whole process;
    so another process tries first.
    """
    if not sys.platform.startswith("linux"):
        return None
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not display:
        return "no display here (DISPLAY is not set)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"display {display} does not answer"
    return None if done.returncode == 0 else f"no window can be opened on display {display}"
