"""What an expression changes on average: a latent linear in the coefficients.

Most of the way from a neutral's latent to that of an expression is the same for everyone and
proportional to the coefficients. That part has a solution in closed form, ridge regression over all
pairs z_e - z_0 of the training set with coefficients w,

    B = argmin sum_pairs |z_e - z_0 - B w|^2 + lambda |B|^2

so it is not left to thousands of steps: it is fitted once, taken off what is diffused, and shown to
the denoiser, which adds what depends on the person and on several coefficients at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import nn

from .autodecoder import Latent
from .tokens import check_vector

_RIDGE: Final = 0.01
"""lambda, as a share of the coefficients' mean square sum."""


class LinearResponse(nn.Module):
    """B of each kind of vector. Of several vectors that are given, the first known one speaks.

    Args:
        sets: name and number of coefficients of each kind of vector.
        channels: of the latent.
        cells: of the latent along a side.
    """

    def __init__(self, sets: tuple[tuple[str, int], ...], channels: int, cells: int) -> None:
        super().__init__()
        self.sets = dict(sets)
        self.shape = (channels, cells, cells, cells)
        for name, count in sets:
            self.register_buffer(name, torch.zeros(count, *self.shape))

    def forward(self, vectors: Mapping[str, Float[torch.Tensor, "b _"]], count: int) -> Latent:
        """The change of ``count`` latents; none where nothing is asked for.

        Raises:
            InputError: a vector of wrong length.
        """
        for name in self.sets:
            if name in vectors:
                values = vectors[name]
                check_vector(self.sets, name, values.shape[1])
                map_ = self.get_buffer(name)
                return (values.to(map_.dtype) @ map_.flatten(1)).view(-1, *self.shape)
        device = next(self.buffers()).device
        return torch.zeros(count, *self.shape, device=device)

    def fit(
        self,
        name: str,
        people: Iterable[tuple[Float32[np.ndarray, "e n"], Float32[np.ndarray, "e c l l l"]]],
    ) -> None:
        """Solve for B of one kind of vector.

        Args:
            name: of the kind.
            people: of each training person, coefficients and the changes of latents they made.
        """
        size = self.sets[name]
        square = np.zeros((size, size))
        product = np.zeros((size, int(np.prod(self.shape))))
        for values, changes in people:
            w = values.astype(np.float64)
            square += w.T @ w
            product += w.T @ changes.reshape(len(changes), -1)
        ridge = max(_RIDGE * float(np.trace(square)) / size, 1e-9)
        found = np.linalg.solve(square + ridge * np.eye(size), product)
        self.get_buffer(name).copy_(torch.from_numpy(found).view(size, *self.shape))
