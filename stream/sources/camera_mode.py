"""What a camera offers: one line a size and format."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class CameraMode:
    """A size in a format, and the rates it comes at.

    Attributes:
        input_format: what to ask for it by: pixel format or codec in FFmpeg's spelling; empty where
            the system does not say.
        width: px; of a range the largest.
        height: px; of a range the largest.
        rates: frames per second, the highest first; of a range both ends.
        least: width and height of the smallest picture where any size between is offered.
    """

    input_format: str
    width: int
    height: int
    rates: tuple[float, ...]
    least: tuple[int, int] | None = None

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}"
        if self.least is not None:
            size = f"{self.least[0]}x{self.least[1]} to {size}"
        rates = ", ".join(f"{rate:.4g}" for rate in self.rates) or "unknown rates"
        return f"{self.input_format or 'any format':<10} {size:<12} {rates}".rstrip()


def sorted_modes(modes: list[CameraMode]) -> list[CameraMode]:
    """By format, the largest first; each once."""
    return sorted(set(modes), key=lambda m: (m.input_format, -m.width * m.height, -m.width))
