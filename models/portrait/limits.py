"""Bounds of an edit's options, known without torch."""

from __future__ import annotations

from typing import Final

MOST_STRENGTH: Final = 5.0
"""Of the words at an edit's beginning."""
LEAST_CELLS: Final = 8
"""Of a mesh's grid, along an edge."""
