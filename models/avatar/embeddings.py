"""An embedding for each object: a free vector, or pieces of hashed codebooks.

For very many objects no vector is kept for each: its pieces come from small codebooks, chosen by a
multiplicative hash of its number (Ntavelis et al. 2023, supplement):

    slot_i(k) = ((a_i k) mod 2^w) >> (w - r)        w = 32, 2^r entries, a_i = 2^(w-1) + 2 i^2 + 1
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import nn

from ..errors import InputError
from .config import AvatarConfig

_WORD: Final = 32


def slots(objects: Int64[torch.Tensor, " b"], pieces: int, bits: int) -> Int64[torch.Tensor, "b p"]:
    """The codebook entry of every piece.

    Args:
        objects: numbers from 0 to 2^31 - 1.
        pieces: codebooks.
        bits: r; a codebook has 2^r entries.
    """
    number = torch.arange(pieces, device=objects.device)
    factor = 2 ** (_WORD - 1) + 2 * number**2 + 1
    # Below 2^63: no overflow.
    return (objects[:, None] * factor % 2**_WORD) >> (_WORD - bits)


class Embeddings(nn.Module):
    """One free vector an object.

    Args:
        count: objects.
        size: values of a vector.
    """

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(count, size)

    def forward(self, objects: Int64[torch.Tensor, " b"]) -> Float[torch.Tensor, "b d"]:
        """Vectors of the objects."""
        return self.table(objects)


class HashedEmbeddings(nn.Module):
    """Vectors put together from codebooks; their number does not grow with that of the objects.

    Args:
        size: values of a vector.
        pieces: codebooks; divides the size.
        bits: a codebook has 2^bits entries.
    """

    def __init__(self, size: int, pieces: int, bits: int) -> None:
        super().__init__()
        if size % pieces:
            raise InputError(f"embedding of {size} values: not {pieces} pieces of one size")
        self.pieces, self.bits = pieces, bits
        self.table = nn.Embedding(pieces * 2**bits, size // pieces)

    def forward(self, objects: Int64[torch.Tensor, " b"]) -> Float[torch.Tensor, "b d"]:
        """Vectors of the objects."""
        slot = slots(objects, self.pieces, self.bits)
        first = torch.arange(self.pieces, device=objects.device) * 2**self.bits
        return self.table(slot + first).flatten(1)


def make_embeddings(config: AvatarConfig, count: int) -> Embeddings | HashedEmbeddings:
    """The embeddings of a configuration for so many objects."""
    if config.pieces:
        return HashedEmbeddings(config.embedding, config.pieces, config.table_bits)
    return Embeddings(count, config.embedding)
