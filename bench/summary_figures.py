"""Rows of the page of ``summary.py``: ratios, and what is wanted of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Any]
"""What the benches wrote, by the names of the questions answered so far."""


@dataclass(frozen=True)
class Goal:
    """What is wanted of a ratio."""

    least: float | None = None
    most: float | None = None

    @property
    def text(self) -> str:
        if self.least is not None and self.most is not None:
            return f"{self.least:.3g} to {self.most:.3g}"
        return f"at least {self.least:.3g}" if self.most is None else f"at most {self.most:.3g}"

    def met(self, ratio: float) -> bool:
        return (self.least is None or ratio >= self.least) and (
            self.most is None or ratio <= self.most
        )


@dataclass(frozen=True)
class Figure:
    """A row of the page.

    Attributes:
        what: is measured.
        ratio: the figure; None: it could not be measured here, ``absolute`` says why.
        of: what it is a ratio of.
        absolute: in words, beside it.
        goal: where the project states one.
    """

    what: str
    ratio: float | None
    of: str
    absolute: str = ""
    goal: Goal | None = None
