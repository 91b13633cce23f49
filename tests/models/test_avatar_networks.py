"""The avatar's decoder, encoder and embeddings: shapes of the paper, hashes, crops."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.avatar.autodecoder import Generator1, Generator2
from mien.models.avatar.blocks import LocalNorm, depth_to_space, space_to_depth
from mien.models.avatar.config import (
    AvatarConfig,
    DiffusionConfig,
    avatar_preset,
    diffusion_preset,
    with_latent,
)
from mien.models.avatar.embeddings import Embeddings, HashedEmbeddings, make_embeddings, slots
from mien.models.avatar.encoder import Encoder, encoder_input
from mien.models.errors import InputError

SMALL = avatar_preset("small")
TINY = replace(
    SMALL, cells=32, latent_channels=6, embedding=16, widths=((4, 16), (8, 16), (16, 8), (32, 8))
)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 300), st.integers(1, 15))
def test_slots_are_the_multiplicative_hash(number: int, pieces: int, bits: int) -> None:
    found = slots(torch.tensor([number]), pieces, bits)[0].tolist()
    expected = []
    for i in range(pieces):
        factor = 2**31 + 2 * i * i + 1
        expected.append(((factor * number) % 2**32) >> (32 - bits))
    assert found == expected


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20))
def test_hashed_pieces_differ_between_neighbours(first: int) -> None:
    pair = slots(torch.tensor([first, first + 1]), 64, 8)
    # An odd factor near 2^31 flips the uppermost bit from each number to the next.
    assert not bool((pair[0] == pair[1]).any())


def test_hashed_embeddings_share_codebooks() -> None:
    table = HashedEmbeddings(32, 8, 4)
    first = table(torch.arange(1000))
    assert first.shape == (1000, 32)
    assert table.table.weight.shape == (8 * 16, 4)
    book = table.table.weight[3 * 16 : 4 * 16]
    piece = first[:, 12:16]
    assert bool((piece[:, None] == book).all(-1).any(-1).all())


def test_kind_of_embeddings_follows_the_configuration() -> None:
    assert isinstance(make_embeddings(SMALL, 3), Embeddings)
    hashed = make_embeddings(avatar_preset("paper"), 10**6)
    assert isinstance(hashed, HashedEmbeddings)
    assert hashed(torch.tensor([999_999])).shape == (1, 1024)
    with pytest.raises(InputError, match="pieces"):
        replace(SMALL, pieces=7)


def test_paper_has_the_sizes_of_its_table() -> None:
    config = avatar_preset("paper")
    with torch.device("meta"):
        g1, g2 = Generator1(config), Generator2(config)
        latent = g1(torch.empty(1, 1024))
        assert latent.shape == (1, 256, 8, 8, 8)
        assert g1.spread.out_features == 512 * 4**3
        volume = g2(latent)
    assert volume.shape.shape == (1, 1, 64, 64, 64)
    assert volume.colour.shape == (1, 3, 64, 64, 64)
    kinds = [type(layer).__name__ for layer in g2.context]
    assert kinds.count("SelfAttention") == 1  # at 16^3; that at 8^3 is G1's


@pytest.mark.parametrize("latent", [4, 8, 16])
@pytest.mark.parametrize("cells", [32, 64])
def test_every_latent_decodes_to_the_grid(latent: int, cells: int) -> None:
    config = with_latent(avatar_preset("small", cells=cells), latent)
    with torch.device("meta"):
        encoded = Encoder(config)(torch.empty(2, 5, cells, cells, cells))
        volume = Generator2(config)(encoded)
    assert encoded.shape == (2, config.latent_channels, latent, latent, latent)
    assert volume.colour.shape == (2, 3, cells, cells, cells)
    assert len(diffusion_preset("small", latent).channels) in (2, 3)


def test_configurations_survive_their_table() -> None:
    assert AvatarConfig.from_dict(SMALL.as_dict()) == SMALL
    diffusion = diffusion_preset("small")
    assert DiffusionConfig.from_dict(diffusion.as_dict()) == diffusion
    with pytest.raises(InputError, match="sizze"):
        AvatarConfig.from_dict(SMALL.as_dict() | {"sizze": 3})
    with pytest.raises(InputError, match="doubling"):
        replace(SMALL, cells=40)
    with pytest.raises(InputError, match="4, 8, 16"):
        with_latent(SMALL, 5)


def test_depth_to_space_is_the_inverse() -> None:
    grid = torch.randn(2, 3, 4, 6, 8)
    folded = space_to_depth(grid)
    assert folded.shape == (2, 24, 2, 3, 4)
    assert torch.equal(depth_to_space(folded), grid)
    assert folded[0, 1, 0, 0, 0] == grid[0, 0, 0, 0, 1]


def test_local_norm_looks_at_one_voxel() -> None:
    norm = LocalNorm(5)
    grid = torch.randn(1, 5, 3, 3, 3)
    other = grid.clone()
    other[0, :, 0, 0, 0] += torch.randn(5)
    changed = (norm(grid) != norm(other)).any(1)
    assert changed.sum() == 1
    torch.testing.assert_close(norm(grid).mean(1), torch.zeros(1, 3, 3, 3), atol=1e-5, rtol=0)


def test_what_was_not_seen_cannot_be_told_apart() -> None:
    seen = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    seen[0, 0] = 255
    colour = torch.randint(0, 255, (1, 4, 4, 4, 3), dtype=torch.uint8)
    distance = torch.randn(1, 4, 4, 4)
    first = encoder_input(distance, seen, colour, 10.0)
    distance[0, 1:] += 5
    colour[0, 1:] = 7
    assert torch.equal(first, encoder_input(distance, seen, colour, 10.0))
    assert first.shape == (1, 5, 4, 4, 4)
    assert float(first[0, 1, 0].min()) == pytest.approx(1.0)
    assert float(first[:, :, 1:].abs().max()) == 0.0


def test_gradients_reach_every_weight() -> None:
    config = TINY
    modules = [Generator1(config), Generator2(config), Encoder(config)]
    latent = modules[0](torch.randn(2, 16)) + modules[2](torch.randn(2, 5, 32, 32, 32))
    volume = modules[1](latent)
    (volume.shape.square().mean() + volume.colour.square().mean()).backward()
    for module in modules:
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            # What leads into an attention that begins as nothing has no gradient yet.
            if "queries" not in name and ".norm." not in name:
                assert float(parameter.grad.abs().max()) > 0, name
