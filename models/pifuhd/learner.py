"""What a part of PIFuHD is trained on and measured by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from .dataset import Batch, BatchSource, Subject
from .network import Pifuhd

HELD_OUT_SEED = 7_777
"""Of what is random about the pictures that are judged by: always the same."""


@runtime_checkable
class Learner(Protocol):
    """A part in training."""

    model: Pifuhd

    def batches(self, step: int) -> Iterator[Batch]:
        """Batches without end, from that step on."""
        ...

    def loss(self, batch: Batch) -> tuple[Float[torch.Tensor, ""], dict[str, torch.Tensor]]:
        """What is minimised, and its terms."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures of held-out people."""
        ...

    def sheet(self) -> UInt8[np.ndarray, "H W 3"]:
        """A picture of held-out people and what is made of them."""
        ...


def tensor(array: NDArray[Any] | None, device: torch.device) -> torch.Tensor:
    """An array of a batch, on the device.

    Args:
        array: that the batch has; the options asked for it.
        device: where to.
    """
    if array is None:
        raise TypeError("this batch was made without what is asked of it")
    return torch.from_numpy(array).to(device)


def judged_items(source: BatchSource, subjects: Mapping[int, Subject], most: int) -> list[Batch]:
    """Pictures to judge by: the first view of each subject, then the second, and so on."""
    views = max(subject.views for subject in subjects.values())
    chosen = [(n, v) for v in range(views) for n, s in subjects.items() if v < s.views][:most]
    rng = np.random.default_rng(HELD_OUT_SEED)
    return [source.item(number, view, rng) for number, view in chosen]


def shown_picture(image: Float[torch.Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A network's picture or normals, from -1 to 1, as BGR."""
    scaled = (127.5 * (image.float().clamp(-1, 1) + 1)).to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(1, 2, 0).cpu().numpy()[..., ::-1])
