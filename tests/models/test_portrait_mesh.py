"""Meshes of fields."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skimage")

from torch import Tensor  # noqa: E402

from mien.models.errors import InputError  # noqa: E402
from mien.models.portrait.config import PortraitConfig  # noqa: E402
from mien.models.portrait.generator import Generator, Planes  # noqa: E402
from mien.models.portrait.mesh import density_grid, head_mesh  # noqa: E402

TINY = PortraitConfig(
    name="tiny", z_dim=8, w_dim=8, plane_size=4, plane_channels=4, channel_base=32,
    channel_max=8, decoder_hidden=8, feature_channels=4, render_size=8, super_channels=(6,),
)  # fmt: skip
CENTRE = torch.tensor([0.1, -0.05, 0.02])


class Ball(Generator):
    """A ball whose density falls from 40 in the middle to 0 at 0.4, and a speck beside it."""

    def density(self, planes: Planes, points: Tensor) -> Tensor:
        ball = 40 - 100 * (points - CENTRE).norm(dim=-1)
        speck = 40 - 1000 * (points + 0.42).norm(dim=-1)
        return torch.maximum(ball, speck).clamp(min=0)

    def colours(self, planes: Planes, points: Tensor) -> Tensor:
        return points + 0.5


def planes(heads: int = 1) -> Planes:
    return Planes(torch.zeros(heads, 3, 4, 4, 4), torch.zeros(heads, 8))


def test_the_mesh_lies_on_the_level_and_is_closed() -> None:
    mesh = head_mesh(Ball(TINY), planes(), cells=48, level=10.0, millimetres=1.0)
    away = np.linalg.norm(mesh.vertices - CENTRE.numpy(), axis=1)
    assert np.allclose(away, 0.3, atol=0.004), "the speck is left out"
    assert mesh.is_watertight()
    assert mesh.volume() == pytest.approx(4 / 3 * np.pi * 0.3**3, rel=0.02)
    assert mesh.colours is not None
    expected = np.clip(mesh.vertices + 0.5, 0, 1) * 255
    assert np.abs(mesh.colours - expected).max() <= 1


def test_millimetres_and_axes() -> None:
    mesh = head_mesh(Ball(TINY), planes(), cells=32, level=10.0, millimetres=370.0)
    low, high = mesh.bounds()
    assert np.allclose((low + high) / 2, CENTRE.numpy() * 370, atol=3)
    grid = density_grid(Ball(TINY), planes(), 21, 0.5)
    assert np.unravel_index(grid.argmax(), grid.shape) == (12, 9, 10)


def test_what_has_no_surface_says_so() -> None:
    with pytest.raises(InputError, match="nowhere"):
        head_mesh(Ball(TINY), planes(), cells=16, level=90.0)
    with pytest.raises(InputError, match="2 heads"):
        head_mesh(Ball(TINY), planes(2))
    with pytest.raises(InputError, match="cells"):
        head_mesh(Ball(TINY), planes(), cells=4)
