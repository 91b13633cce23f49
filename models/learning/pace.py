"""The budget of a training and what follows from how much of it is spent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import torch
from torch import nn

from ..errors import OutputError
from ..writing import make_folder

CHECKPOINT_NAME: Final = "checkpoint.pt"

_LAST_RATE: Final = 0.01
"""Learning rate at the end, as a share of the peak."""


def begin_folder(
    out: Path, resume: bool | None, results: Sequence[str] = (CHECKPOINT_NAME,)
) -> None:
    """The folder of a training, made where it is absent; what a training came to is not replaced.

    Args:
        out: the folder.
        resume: whether to go on with what lies there; None: this training cannot be resumed.
        results: names of the files that a training leaves.

    Raises:
        OutputError: it cannot be made, or holds results that would be replaced.
    """
    there = [name for name in results if (out / name).exists()]
    checkpoint = resume is not None and (out / CHECKPOINT_NAME).is_file()
    if there and not (resume and checkpoint):
        way = "--resume goes on with it, " if checkpoint else ""
        raise OutputError(
            f"{out}: holds a training already ({there[0]}): {way}another --out begins anew"
        )
    make_folder(out)


def share_spent(
    images: int, seconds: float, most_images: int | None, most_minutes: float | None
) -> float:
    """Share of the budget that is spent, 0 to 1: that of pictures or of time, the further one."""
    shares = [
        images / most_images if most_images else 0.0,
        seconds / (60 * most_minutes) if most_minutes else 0.0,
    ]
    return min(1.0, max(shares))


def learning_rate(peak: float, warmup: float, done: float) -> float:
    """A linear rise, then half a cosine down to a hundredth of the peak.

    Args:
        peak: the largest.
        warmup: share of the rise that is over; 1 or more afterwards.
        done: share of the budget that is spent.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return peak * min(1.0, warmup) * max(cosine, _LAST_RATE)


def weight_groups(
    network: nn.Module, weight_decay: float, least_axes: int = 2
) -> list[dict[str, Any]]:
    """Parameter groups: weight decay for weights of so many axes, none for biases and norms."""
    decayed = [p for p in network.parameters() if p.ndim >= least_axes]
    plain = [p for p in network.parameters() if p.ndim < least_axes]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def move_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and buffers, in place; it follows faster at first.

    Args:
        average: what moves.
        network: towards which.
        decay: share of itself that it keeps a step.
        step: number of the step, from 0.
    """
    decay = min(decay, (1 + step) / (10 + step))
    mine, theirs = average.state_dict(), network.state_dict()
    for name, value in mine.items():
        if value.is_floating_point():
            value.lerp_(theirs[name], 1 - decay)


@contextmanager
def processor_threads(count: int) -> Iterator[None]:
    """Threads of torch and OpenCV for the time of a training."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
