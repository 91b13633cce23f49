"""How far apart a classifier holds true pictures that have a property and others, on average.

It is what a shift of the classifier by an edit is read beside, and no bound of it: an edit may go
beyond what true pictures look like, and has moved a classifier by 0.89 whose verdicts of true
pictures lie 0.23 apart.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from .attributes import JUDGED, AttributeClassifier
from .pictures import Pictures
from .vocabulary import SLOTS, Description

_MOST: Final = 160
"""Pictures looked at that have a property, and as many that have another."""
_BATCH: Final = 40


def judge_reach(
    classifier: AttributeClassifier, pictures: Pictures, said: Description
) -> float | None:
    """How much likelier properties are told of pictures that have them than of others; mean.

    Args:
        classifier: that judges edits.
        pictures: with true words, best of people it has not learnt from.
        said: a sentence's properties; those that are not judged, or that no picture has or all
            have, do not count.

    Returns:
        -1 to 1; None where no property counts.
    """
    apart = []
    for slot, value in said.properties.items():
        if slot not in JUDGED:
            continue
        true = pictures.of_slot(slot)
        wanted = SLOTS[slot].index(value)
        have, others = (
            np.flatnonzero(true == wanted),
            np.flatnonzero((true >= 0) & (true != wanted)),
        )
        if len(have) and len(others):
            one = Description({slot: value})
            verdicts = [_verdict(classifier, pictures, i, one, slot) for i in (have, others)]
            apart.append(verdicts[0] - verdicts[1])
    return float(np.mean(apart)) if apart else None


@torch.no_grad()
def _verdict(
    classifier: AttributeClassifier,
    pictures: Pictures,
    index: np.ndarray,
    one: Description,
    slot: str,
) -> float:
    """Mean probability over pictures that lie evenly among these."""
    chosen = index[np.linspace(0, len(index) - 1, min(_MOST, len(index))).astype(np.int64)]
    found = []
    for start in range(0, len(chosen), _BATCH):
        images, _ = pictures.batch(chosen[start : start + _BATCH])
        device = next(classifier.parameters()).device
        found.append(classifier.probabilities(images.to(device), one)[slot].cpu())
    return float(torch.cat(found).mean())
