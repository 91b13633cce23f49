"""Sizes of what :mod:`.surfaces` draws and reads, for configurations."""

from __future__ import annotations

from typing import Final

CHANNELS: Final = 3
"""Depth of the first surface, of the last one, and a logit of there being any."""
RAY_CHANNELS: Final = 6
"""Where a pixel's ray crosses the cube's middle, and where it goes."""
