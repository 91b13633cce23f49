"""Volume rendering against closed forms, and the perceptual loss."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mien.models.avatar.perceptual import (
    Features,
    perceptual_loss,
    regressor_features,
    vgg19_features,
)
from mien.models.avatar.volume_rendering import (
    Rays,
    density_from_distance,
    pixel_rays,
    render,
    sample_grid,
)
from mien.models.errors import InputError
from mien.models.face.bundle import Bundle
from mien.models.scans.box import FaceBox

BOX = FaceBox(32)


def _straight(*points: tuple[float, float, float]) -> Rays:
    """Rays along z through points of the box."""
    origin = torch.tensor([[points[0][0], points[0][1], -500.0]])
    ends = torch.tensor(points)[None] - origin[:, None]
    return Rays(origin, ends / ends.norm(dim=-1, keepdim=True))


def test_linear_fields_are_sampled_exactly() -> None:
    centres = torch.from_numpy(BOX.centres())
    slope = torch.tensor([0.3, -0.7, 1.1])
    grid = (centres @ slope + 4.0)[None, None]
    points = torch.from_numpy(
        np.random.default_rng(0).uniform(BOX.first, BOX.last, (50, 3)).astype(np.float32)
    )[None]
    torch.testing.assert_close(
        sample_grid(grid, points)[0, 0], points[0] @ slope + 4.0, atol=1e-3, rtol=1e-4
    )


def test_a_ball_is_as_opaque_as_its_chord() -> None:
    radius, density = 45.0, 0.02
    centre = np.array([0.0, 30.0, 35.0], np.float32)
    distance = np.linalg.norm(BOX.centres() - centre, axis=-1) - radius
    # The share of a cell that lies inside: the sum over a chord is kept.
    share = np.clip(0.5 - distance / float(BOX.edges.mean()), 0, 1).astype(np.float32)
    grid = torch.from_numpy(density * share)[None, None]
    offsets = [0.0, 10.0, 20.0, 30.0, 60.0]
    colour = torch.tensor([0.2, 0.5, 0.8]).view(1, 3, 1, 1, 1).expand(1, 3, 32, 32, 32)
    for offset in offsets:
        rays = _straight((offset, 30.0, 35.0))
        seen = render(grid, colour, rays, 256)
        half = np.sqrt(max(radius**2 - offset**2, 0.0))
        expected = 1 - np.exp(-density * 2 * half)
        assert float(seen.occupancy) == pytest.approx(expected, abs=0.02)
        np.testing.assert_allclose(
            seen.colour[0, :, 0].numpy(), expected * np.array([0.2, 0.5, 0.8]), atol=0.02
        )


def test_even_density_is_exact_and_misses_are_nothing() -> None:
    grid = torch.full((1, 1, 32, 32, 32), 0.01)
    colour = torch.ones(1, 3, 32, 32, 32)
    seen = render(grid, colour, _straight((0.0, 0.0, 0.0)), 64)
    # The outer half cells fade to the zero outside of the box.
    length = 140.0 - float(BOX.edges[2]) / 4
    assert float(seen.occupancy) == pytest.approx(1 - np.exp(-0.01 * length), abs=2e-3)
    missed = render(grid, colour, _straight((200.0, 0.0, 0.0)), 64)
    assert float(missed.occupancy) == 0.0
    assert float(missed.colour.abs().max()) == 0.0


def test_what_stands_before_hides_what_stands_behind() -> None:
    grid = torch.zeros(1, 1, 32, 32, 32)
    grid[..., 8:10] = 10.0
    grid[..., 20:22] = 10.0
    colour = torch.zeros(1, 3, 32, 32, 32)
    colour[:, 0, :, :, 6:12] = 1.0
    colour[:, 1, :, :, 18:24] = 1.0
    seen = render(grid, colour, _straight((0.0, 30.0, 35.0)), 256).colour[0, :, 0]
    assert float(seen[0]) > 0.95
    assert float(seen[1]) < 1e-3


def test_a_signed_distance_is_a_surface() -> None:
    depth = torch.from_numpy(BOX.centres()[..., 2])
    colour = torch.from_numpy(np.clip(BOX.centres()[..., 2] / 100, 0, 1))[None, None]
    seen = render(
        (20.0 - depth)[None, None], colour.expand(1, 3, -1, -1, -1),
        _straight((0.0, 30.0, 35.0)), 256, width_mm=0.5,
    )  # fmt: skip
    assert float(seen.occupancy) == pytest.approx(1.0, abs=1e-3)
    assert float(seen.colour[0, 0, 0]) == pytest.approx(0.2, abs=0.01)
    values = density_from_distance(torch.tensor([-50.0, 0.0, 50.0]), 2.0)
    torch.testing.assert_close(values, torch.tensor([0.5, 0.25, 0.0]), atol=1e-6, rtol=0)


def test_rays_pass_through_their_pixels() -> None:
    lens = np.array([[300, 0, 31.5], [0, 300, 31.5], [0, 0, 1.0]])
    turn = np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
    camera = torch.from_numpy(lens @ np.column_stack([turn, [5.0, -3.0, 700.0]])).float()[None]
    for sign in (1, -1):  # a camera is what it is up to any factor
        rays = pixel_rays(sign * camera if sign == 1 else camera, 16, 64)
        points = rays.origin[:, None] + 650 * rays.direction
        seen = points[0] @ camera[0, :, :3].T + camera[0, :, 3]
        assert bool((seen[:, 2] > 0).all())
        place = seen[:, :2] / seen[:, 2:]
        torch.testing.assert_close(place[0], torch.tensor([1.5, 1.5]), atol=1e-2, rtol=0)
        torch.testing.assert_close(place[17], torch.tensor([5.5, 5.5]), atol=1e-2, rtol=0)


def test_rendering_has_gradients_and_noise_has_a_seed() -> None:
    grid = torch.full((1, 1, 32, 32, 32), 0.01, requires_grad=True)
    colour = torch.full((1, 3, 32, 32, 32), 0.5, requires_grad=True)

    def once() -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        rays = _straight((0.0, 30.0, 35.0), (9.0, 20.0, 35.0))
        return render(grid, colour, rays, 32, noise=0.05, generator=generator).colour

    first = once()
    assert torch.equal(first, once())
    first.sum().backward()
    assert grid.grad is not None
    assert float(grid.grad.abs().max()) > 0
    assert colour.grad is not None
    assert float(colour.grad.abs().max()) > 0


@pytest.fixture(scope="module")
def features() -> Features:
    return regressor_features(Bundle.default().whole_regressor_path)


def test_perceptual_loss_is_nothing_for_equal_pictures(features: Features) -> None:
    pictures = torch.rand(2, 3, 48, 48)
    assert float(perceptual_loss(features, pictures, pictures)) == 0.0
    blurred = torch.nn.functional.avg_pool2d(pictures, 5, 1, 2)
    slight = pictures + 0.02 * torch.randn_like(pictures)
    far = float(perceptual_loss(features, blurred, pictures))
    assert far > float(perceptual_loss(features, slight, pictures)) > 0.0


def test_regressor_features_are_those_of_the_regressor(features: Features) -> None:
    from mien.models.regressor.network import FaceNetwork
    from mien.models.regressor.warm_start import network_of_export, read_export

    weights = read_export(Bundle.default().whole_regressor_path)
    crops = torch.randint(0, 255, (2, 120, 120, 3), dtype=torch.uint8)
    network: FaceNetwork = network_of_export(
        weights, crops.numpy(), np.zeros(62, np.float32), np.ones(62, np.float32)
    )
    layers = list(network.trunk)[: 3 * (1 + 2 * 3)]
    pixels = (crops.permute(0, 3, 1, 2).float() - 127.5) / 128
    with torch.no_grad():
        expected = torch.nn.Sequential(*layers)(pixels)
        found = features(crops.permute(0, 3, 1, 2).flip(1).float() / 255)[1]
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


def test_vgg19_comes_from_a_users_file(tmp_path: Path) -> None:
    widths = [64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512]
    state, inputs, index = {}, 3, 0
    for width in widths:
        if width:
            state[f"features.{index}.weight"] = torch.zeros(width, inputs, 3, 3)
            state[f"features.{index}.bias"] = torch.full((width,), float(index))
            inputs, index = width, index + 2
        else:
            index += 1
    path = tmp_path / "vgg19.pth"
    torch.save(state, path)
    found = vgg19_features(path)(torch.rand(1, 3, 32, 32))
    assert [tuple(f.shape[1:]) for f in found] == [
        (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)
    ]  # fmt: skip
    assert float(found[-1].mean()) == 28.0
    del state["features.28.bias"]
    torch.save(state, path)
    with pytest.raises(InputError, match=r"features\.28\.bias"):
        vgg19_features(path)
    torch.save({"features.0.weight": Path("x")}, path)
    with pytest.raises(InputError, match="VGG-19"):
        vgg19_features(path)
