"""Conditions as tokens: one for each coefficient of a vector, or those of a text encoder.

A token of a coefficient is a learned vector that says which it is, plus a small network of its
value. Vectors of several kinds (52 blendshapes, 10 expression coefficients, attributes) live side
by side: of one that is absent there are simply no tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import nn

from ..errors import InputError

Tokens = Float[torch.Tensor, "b t w"]


class ConditionTokens(nn.Module):
    """Tokens of all kinds of condition.

    Args:
        sets: name and number of coefficients of each kind of vector.
        width: values of a token.
        text_width: values of a text encoder's tokens; 0 for no text.
    """

    def __init__(self, sets: tuple[tuple[str, int], ...], width: int, text_width: int = 0) -> None:
        super().__init__()
        self.sets = dict(sets)
        self.identity = nn.ParameterDict(
            {name: nn.Parameter(0.5 * torch.randn(count, width)) for name, count in sets}
        )
        self.value = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
        self.text = nn.Linear(text_width, width) if text_width else None
        self.nothing = nn.Parameter(torch.zeros(width))

    def forward(
        self,
        vectors: Mapping[str, Float[torch.Tensor, "b _"]],
        dropped: Bool[torch.Tensor, " b"],
        text: Float[torch.Tensor, "b l d"] | None = None,
    ) -> Tokens:
        """Tokens of those conditions that there are.

        Args:
            vectors: by name; those left out have no tokens.
            dropped: examples whose condition is nothing: all their tokens are the learned one that
                says so.
            text: tokens of a text encoder.

        Returns:
            (b, t, width): t coefficients of all vectors, then text; one where there is nothing.

        Raises:
            InputError: a vector of unknown name or wrong length, or text without a use for it.
        """
        parts = [self._coefficients(name, values) for name, values in vectors.items()]
        if text is not None:
            if self.text is None:
                raise InputError("avatar: this network was not trained with captions")
            parts.append(self.text(text))
        if not parts:
            return self.nothing.expand(len(dropped), 1, -1)
        tokens = torch.cat(parts, 1)
        return torch.where(dropped[:, None, None], self.nothing, tokens)

    def _coefficients(self, name: str, values: Float[torch.Tensor, "b _"]) -> Tokens:
        check_vector(self.sets, name, values.shape[1])
        return self.identity[name] + self.value(values[..., None])


class ConditionField(nn.Module):
    """A learned grid for each coefficient; scaled by the values, their sum says where they act.

    Args:
        sets: name and number of coefficients of each kind of vector.
        channels: of the grids.
        cells: along a side.
    """

    def __init__(self, sets: tuple[tuple[str, int], ...], channels: int, cells: int) -> None:
        super().__init__()
        self.sets = dict(sets)
        self.channels, self.cells = channels, cells
        size = channels * cells**3
        self.grids = nn.ParameterDict(
            {name: nn.Parameter(0.3 * torch.randn(count, size)) for name, count in sets}
        )

    def forward(
        self,
        vectors: Mapping[str, Float[torch.Tensor, "b _"]],
        dropped: Bool[torch.Tensor, " b"],
    ) -> Float[torch.Tensor, "b f l l l"]:
        """The sum over all coefficients; zero where the condition is dropped or there is none."""
        total = self.grids_like(dropped)
        for name, values in vectors.items():
            check_vector(self.sets, name, values.shape[1])
            total = total + torch.where(dropped[:, None], 0.0, values) @ self.grids[name]
        return total.view(-1, self.channels, *3 * (self.cells,))

    def grids_like(self, dropped: Bool[torch.Tensor, " b"]) -> Float[torch.Tensor, "b _"]:
        """Zeros for a batch."""
        return torch.zeros(len(dropped), self.channels * self.cells**3, device=dropped.device)


def check_vector(sets: Mapping[str, int], name: str, length: int) -> None:
    """See that a network knows a vector of this name and length.

    Raises:
        InputError: it does not.
    """
    if name not in sets:
        known = ", ".join(sets) or "none"
        raise InputError(f"avatar: the network is not conditioned by {name}; it knows {known}")
    if length != sets[name]:
        raise InputError(f"avatar: a vector {name} of {length} values, expected {sets[name]}")
