"""Training of a normal network: the front's or the back's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, UInt8

from .dataset import Batch, BatchOptions, BatchSource, PeopleFolder
from .learner import judged_items, shown_picture, tensor
from .losses import angle_degrees, normal_loss
from .network import Pifuhd
from .perceptual import VggDistance
from .train_config import PifuhdTrainConfig

_HELD_OUT: Final = 32
_SHOWN: Final = 6


class NormalLearner:
    """Trains one normal network.

    Args:
        config: of the training.
        model: whose network.
        people: to learn from.
        front: whether it is the front's.
        device: of the model.
    """

    def __init__(
        self,
        config: PifuhdTrainConfig,
        model: Pifuhd,
        people: PeopleFolder,
        front: bool,
        device: torch.device,
    ) -> None:
        self.model = model
        self._network = model.netG.netF if front else model.netG.netB
        self._front = front
        self._device = device
        self._bfloat16 = config.bfloat16
        self._vgg = VggDistance(config.vgg).to(device) if config.vgg else None
        size = model.config.normal.size
        wanted = BatchOptions(size, config.batch, front=front, back=not front)
        varied = BatchOptions(
            size, config.batch, front=front, back=not front, augmentation=config.augmentation
        )
        # Front and back see different pictures under one seed.
        self._source = BatchSource(people.training, varied, 2 * config.seed + int(front))
        self._held_out = judged_items(
            BatchSource(people.held_out, wanted, 0), people.held_out, _HELD_OUT
        )

    def batches(self, step: int) -> Iterator[Batch]:
        """Batches without end, from that step on."""
        return self._source.batches(step)

    def loss(self, batch: Batch) -> tuple[Float[torch.Tensor, ""], dict[str, torch.Tensor]]:
        """The normals' loss of a batch."""
        drawn, true = self._drawn(batch), self._true(batch)
        perceptual = None if self._vgg is None else self._vgg(drawn, true)
        return normal_loss(drawn, true, perceptual)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean angle between drawn and true normals of held-out people, degrees."""
        angles = [float(angle_degrees(self._drawn(b), self._true(b))) for b in self._held_out]
        return {"held_out_deg": float(np.nanmean(angles))}

    @torch.no_grad()
    def sheet(self) -> UInt8[np.ndarray, "H W 3"]:
        """Columns of held-out people: picture, drawn normals, true ones."""
        columns = []
        for batch in self._held_out[:_SHOWN]:
            drawn, true = self._drawn(batch)[0], self._true(batch)[0]
            maps = (torch.from_numpy(batch.image[0]), drawn, true)
            columns.append(np.concatenate([shown_picture(m) for m in maps]))
        return np.concatenate(columns, 1)

    def _drawn(self, batch: Batch) -> torch.Tensor:
        image = tensor(batch.image, self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            drawn = self._network(image)
        return drawn.float()

    def _true(self, batch: Batch) -> torch.Tensor:
        return tensor(batch.front if self._front else batch.back, self._device)
