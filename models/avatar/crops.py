"""Decoding a part of a grid: what makes grids of 48^3 or 64^3 as cheap to train as 32^3.

Behind its last attention the decoder only convolves. A block of its features, with a halo around
it, decodes to the block's part of the grid. With normalisation that looks no further than a voxel
(or with fixed statistics) that part is the same as in the grid decoded whole.
"""

from __future__ import annotations

import torch
from jaxtyping import Float

from ..errors import InputError
from .autodecoder import Generator2, Latent, Volume


def decode_block(
    decoder: Generator2,
    features: Float[torch.Tensor, "b c s s s"],
    corner: tuple[int, int, int],
    size: int,
    halo: int | None = None,
) -> Volume:
    """A cubic block of features to its part of the grid.

    Args:
        decoder: whose local layers are used.
        features: of ``decoder.context``, whole.
        corner: first cell of the block, in cells of the features.
        size: of the block, likewise; the part has ``size * N / cells of the features`` cells.
        halo: cells around it that are decoded along and cut off; default: as many as it takes for
            the part to be what decoding whole gives.

    Raises:
        InputError: the block does not lie in the features.
    """
    cells = features.shape[-1]
    if size < 1 or any(not 0 <= first <= cells - size for first in corner):
        raise InputError(f"a block of {size} cells at {corner} does not lie in {cells}^3 cells")
    reach = decoder.halo if halo is None else halo
    # At the grid's own border the padding of the convolutions stands where it stands in the whole.
    lows = [max(0, first - reach) for first in corner]
    highs = [min(cells, first + size + reach) for first in corner]
    x, y, z = (slice(low, high) for low, high in zip(lows, highs, strict=True))
    decoded = decoder.decode_local(features[:, :, x, y, z])
    ratio = decoder.config.cells // cells
    parts = [
        slice(ratio * (first - low), ratio * (first - low + size))
        for first, low in zip(corner, lows, strict=True)
    ]
    x, y, z = parts
    weights = None if decoded.parts is None else decoded.parts[:, :, x, y, z]
    return Volume(decoded.shape[:, :, x, y, z], decoded.colour[:, :, x, y, z], weights)


def decode_stitched(decoder: Generator2, latent: Latent, size: int) -> Volume:
    """The whole grid, block by block: the memory of one block suffices.

    Args:
        decoder: the second generator.
        latent: (b, c, l, l, l).
        size: of the blocks, in cells of the features; divides them.
    """
    features = decoder.context(latent)
    cells = features.shape[-1]
    ratio = decoder.config.cells // cells
    n = decoder.config.cells
    shape = features.new_empty((len(latent), 1, n, n, n), dtype=torch.float32)
    colour = features.new_empty((len(latent), 3, n, n, n), dtype=torch.float32)
    starts = range(0, cells, size)
    for x in starts:
        for y in starts:
            for z in starts:
                part = decode_block(decoder, features, (x, y, z), size)
                at = tuple(slice(ratio * first, ratio * (first + size)) for first in (x, y, z))
                shape[:, :, at[0], at[1], at[2]] = part.shape
                colour[:, :, at[0], at[1], at[2]] = part.colour
    return Volume(shape, colour)
