"""Names of the detectors, apart from them: a command's help reads these alone."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

DetectorName: TypeAlias = Literal["own", "centerface"]
"""``own``: the bundle's, trained on rendered scenes only; where a bundle has none, that of the
shipped one. ``centerface``: see that module; an extra of that name brings it."""
DEFAULT_DETECTOR: Final[DetectorName] = "own"
