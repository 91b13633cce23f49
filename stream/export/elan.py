"""ELAN: blinks and lost stretches as intervals, in text that ELAN imports as tiers."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..episodes import BlinkDetector, Closure
from ..frame import Frame
from ..observation import FaceObservation
from .base import ExportContext, Exporter

ELAN_HEADER: Final = (
    "Tier",
    "Begin Time - msec",
    "End Time - msec",
    "Duration - msec",
    "Annotation",
)
"""The names that ELAN gives these columns where it exports them."""

NO_FACE_TIER: Final = "no face"

_MS = 1_000_000
_S = 1_000_000_000


@dataclass
class _Face:
    """What is going on with a track; times in ns."""

    lids: BlinkDetector
    lost_ns: int | None = None


class ElanExporter(Exporter):
    """Writes an interval when it is over; one begins with its first frame, ends with the next one.

    ``face N blinks`` holds blinks and closed eyes, ``face N lost`` the gaps between two sightings
    of a track, and ``no face`` the stretches in which no face was seen at all.
    """

    SUFFIX = ".elan.tsv"

    def __init__(self, path: str | os.PathLike[str], context: ExportContext) -> None:
        """Begin the file.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path, context)
        self._faces: dict[int, _Face] = {}
        self._empty_ns: int | None = None
        self._origin_ns: int | None = None
        self._first_ns = self._last_ns = 0
        self._frames = 0
        self._stream = self._file.path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream, delimiter="\t", lineterminator="\n")
        self._writer.writerow(ELAN_HEADER)

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        now_ns = self._context.t_ns(frame)
        if self._origin_ns is None:
            # ELAN counts from the beginning of the medium; a live source begins with its first
            # frame.
            self._origin_ns = 0 if frame.t_capture_ns is None else now_ns
            self._first_ns = now_ns - self._origin_ns
        now_ns -= self._origin_ns
        self._last_ns, self._frames = now_ns, self._frames + 1
        seen = {row.track: row for row in observations if row.observed}
        for track, face in self._faces.items():
            if track not in seen:
                face.lost_ns = now_ns if face.lost_ns is None else face.lost_ns
                self._note(track, face.lids.lose(now_ns / _S))
        for track, row in seen.items():
            if track not in self._faces:
                options = self._context.options
                lids = BlinkDetector(options.blink_closes, options.blink_opens)
                self._faces[track] = _Face(lids)
            face = self._faces[track]
            if face.lost_ns is not None:
                self._interval(f"face {track} lost", face.lost_ns, now_ns, "lost")
                face.lost_ns = None
            self._note(track, face.lids.add(row, now_ns / _S))
        if seen and self._empty_ns is not None:
            self._interval(NO_FACE_TIER, self._empty_ns, now_ns, "no face")
            self._empty_ns = None
        elif not seen and self._empty_ns is None:
            self._empty_ns = now_ns

    def _note(self, track: int, closure: Closure | None) -> None:
        if closure is not None:
            longest_s = self._context.options.blink_longest_ms / 1000.0
            what = "blink" if closure.is_blink(longest_s) else "eyes closed"
            begin_ns, end_ns = round(closure.begin_s * _S), round(closure.end_s * _S)
            self._interval(f"face {track} blinks", begin_ns, end_ns, what)

    def _interval(self, tier: str, begin_ns: int, end_ns: int, what: str) -> None:
        begin, end = round(begin_ns / _MS), round(end_ns / _MS)
        if end > begin:  # ELAN refuses what has no duration
            self._writer.writerow([tier, begin, end, end - begin, what])

    def _finish(self) -> None:
        # The last frame stays on for as long as the mean one.
        span_ns = self._last_ns - self._first_ns
        end_ns = self._last_ns + round(span_ns / max(1, self._frames - 1))
        for track, face in self._faces.items():
            self._note(track, face.lids.lose(end_ns / _S))
        if self._empty_ns is not None:
            self._interval(NO_FACE_TIER, self._empty_ns, end_ns, "no face")

    def _release(self) -> None:
        self._stream.close()
