"""What a picture shows, by slot of the vocabulary: judges of an edit that are in no loss.

They also tell how far words have to go (:mod:`.word_lengths`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from ..errors import InputError
from .convnet import Convnet, ConvnetConfig
from .vocabulary import SLOTS, Description
from .weights import filled, load_part, save_part

JUDGED: Final = (
    "age", "gender", "skin", "hair colour", "hair length", "beard", "glasses", "hat", "expression",
    "eyes", "light", "light colour", "brightness",
)  # fmt: skip
"""Slots that are judged; the view is the camera's."""
DEFAULT: Final = ConvnetConfig(side=64, margin=0.0, widths=(32, 64, 128), blocks=1)


class AttributeClassifier(nn.Module):
    """One classifier a slot over a shared trunk.

    Args:
        config: sizes of the trunk.
    """

    def __init__(self, config: ConvnetConfig = DEFAULT) -> None:
        super().__init__()
        self.trunk = Convnet(config)
        width, side = config.widths[-1], self.trunk.last_side
        self.narrow = nn.Conv2d(width, 32, 1)
        self.hidden = nn.Linear(32 * side * side, 192)
        self.out = nn.Linear(192, sum(len(SLOTS[slot]) for slot in JUDGED))

    def forward(self, images: Float[torch.Tensor, "b 3 h w"]) -> dict[str, torch.Tensor]:
        """Logits of each slot's values, of pictures (RGB, -1 to 1) of the portrait's crop."""
        x = functional.silu(self.narrow(self.trunk(images)))
        x = functional.dropout(x.flatten(1), 0.1, self.training)
        x = self.out(functional.silu(self.hidden(x))).float()
        parts = x.split([len(SLOTS[slot]) for slot in JUDGED], dim=1)
        return dict(zip(JUDGED, parts, strict=True))

    def probabilities(
        self, images: Float[torch.Tensor, "b 3 h w"], description: Description
    ) -> dict[str, Float[torch.Tensor, " b"]]:
        """How likely each property of a description is in each picture; unjudged slots left out."""
        logits = self(images)
        return {
            slot: logits[slot].softmax(1)[:, SLOTS[slot].index(value)]
            for slot, value in description.properties.items()
            if slot in JUDGED
        }

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the weights.

        Raises:
            OutputError: the file cannot be written.
        """
        config = {**self.trunk.config.table(), "slots": {slot: SLOTS[slot] for slot in JUDGED}}
        save_part(path, "attributes", self, config, facts)

    @classmethod
    def load(cls, path: Path) -> AttributeClassifier:
        """Read the weights; ready to judge.

        Raises:
            InputError: the file is missing, damaged, other weights, or of another vocabulary.
        """
        stored = load_part(path, "attributes")
        table = dict(stored.config)
        if table.pop("slots", None) != {slot: list(SLOTS[slot]) for slot in JUDGED}:
            raise InputError(f"{path}: made for another vocabulary; train it again")
        config = ConvnetConfig.of_table(table)
        network = filled(lambda: cls(config), stored.tensors, path)
        return network.eval().requires_grad_(False)
