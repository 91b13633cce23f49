"""The log of a training: one JSON object a line, and its learning curves as a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import torch

from ..errors import OutputError
from ..writing import whole_file
from .curves import draw_curves, read_log

LOG_NAME: Final = "log.jsonl"
CURVES_NAME: Final = "curves.png"

Report = Callable[[dict[str, Any]], None]
"""Receives every line of the log as it is written; ``done`` in it is the share of the budget."""


class TrainingLog:
    """Writes ``log.jsonl`` and ``curves.png`` into a folder, and averages terms between lines.

    Args:
        folder: that exists.
        report: told every line.
    """

    def __init__(self, folder: Path, report: Report | None) -> None:
        self._folder = folder
        self._report = report
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, terms: Mapping[str, torch.Tensor]) -> None:
        """Take in the figures of one step; nothing waits for the device."""
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Mean of each figure over the steps that had it since the last call."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means

    def write(self, line: dict[str, Any]) -> None:
        """Append a line.

        Raises:
            OutputError: it cannot be written.
        """
        path = self._folder / LOG_NAME
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        if self._report:
            self._report(line)

    def draw(self) -> None:
        """Draw the curves of all lines so far, those of earlier parts of the training among them.

        Raises:
            OutputError: the picture cannot be written.
        """
        path = self._folder / CURVES_NAME
        encoded = cv2.imencode(".png", draw_curves(read_log(self._folder / LOG_NAME)))[1]
        with whole_file(path) as part:
            part.write_bytes(encoded.tobytes())
