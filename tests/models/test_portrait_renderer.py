"""Planes, and volume rendering against what can be computed on paper."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from mien.models.portrait.cameras import orbit_label, rays  # noqa: E402
from mien.models.portrait.config import PlaneAxes  # noqa: E402
from mien.models.portrait.renderer import (  # noqa: E402
    importance,
    march,
    quantiles,
    render_rays,
    stratified,
)
from mien.models.portrait.triplane import _sampled_by_grid, sample_planes  # noqa: E402

RADIUS, DENSITY = 0.35, 6.0
COLOUR = (0.2, 0.5, 0.9)


def ball(points: Tensor) -> tuple[Tensor, Tensor]:
    """A ball of one density and one colour."""
    inside = points.norm(dim=-1) < RADIUS
    raw = 1 + math.log(math.expm1(DENSITY))
    density = torch.where(inside, raw, -40.0)
    return density.to(points), points.new_tensor(COLOUR).expand(points.shape)


def test_a_ball_renders_as_on_paper() -> None:
    label = torch.from_numpy(orbit_label(0.3, 0.1)).double()[None]
    origins, directions = rays(label, 9)
    seen = render_rays(ball, origins, directions, (2.2, 3.2), (160, 160))
    middle = -(origins * directions).sum(-1)
    away = (origins + middle[..., None] * directions).norm(dim=-1)
    half = (RADIUS**2 - away**2).clamp(min=0).sqrt()
    expected = 1 - torch.exp(-2 * DENSITY * half)
    # The edge is sharp and the samples are not: what grazes it is left out.
    clear = (away - RADIUS).abs() > 0.02
    assert torch.allclose(seen.mask[clear], expected[clear], atol=0.02)
    assert torch.allclose(
        seen.features, seen.mask[..., None] * seen.mask.new_tensor(COLOUR), atol=1e-9
    )
    # Of light that enters at a and is absorbed: mean path (1 - (1 + d l) e^(-d l)) / (d (1 - e)).
    length = 2 * half
    faded = torch.exp(-DENSITY * length)
    path = (1 - (1 + DENSITY * length) * faded) / (DENSITY * expected)
    solid = away < 0.8 * RADIUS
    assert solid.sum() > 10
    depth = (middle - half + path)[solid]
    assert torch.allclose(seen.depth[solid], depth, atol=0.005)


def test_a_second_pass_sees_more_than_the_first_alone() -> None:
    label = torch.from_numpy(orbit_label(0.0, 0.0)).double()[None]
    origins, directions = rays(label, 9)
    fine = render_rays(ball, origins, directions, (2.2, 3.2), (400, 400)).mask
    errors = [
        float((render_rays(ball, origins, directions, (2.2, 3.2), n).mask - fine).abs().mean())
        for n in ((8, 0), (8, 8), (8, 40))
    ]
    assert errors[2] < errors[1] < errors[0]


@settings(max_examples=30)
@given(st.integers(0, 2**31))
def test_weights_sum_to_what_is_not_let_through(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    depths = torch.rand(2, 3, 9, generator=random, dtype=torch.float64).sort(-1).values
    raw = 6 * torch.randn(2, 3, 9, generator=random, dtype=torch.float64)
    weights = march(depths, raw)
    middle = (raw[..., 1:] + raw[..., :-1]) / 2
    thickness = torch.nn.functional.softplus(middle - 1) * depths.diff(dim=-1)
    assert (weights >= 0).all()
    assert torch.allclose(weights.sum(-1), 1 - torch.exp(-thickness.sum(-1)))
    # As a product of what each stretch lets through.
    alpha = 1 - torch.exp(-thickness)
    through = torch.cumprod(torch.cat([torch.ones_like(alpha[..., :1]), 1 - alpha], -1), -1)
    assert torch.allclose(weights, alpha * through[..., :-1], atol=1e-12)


def test_draws_follow_the_weights() -> None:
    edges = torch.tensor([0.0, 1.0, 1.5, 4.0, 4.5], dtype=torch.float64)[None, None]
    weights = torch.tensor([1.0, 0.0, 3.0, 4.0], dtype=torch.float64)[None, None]
    drawn = quantiles(edges, weights, 40_000, torch.Generator().manual_seed(1))[0, 0]
    counts = np.histogram(drawn.numpy(), edges[0, 0].numpy())[0]
    assert np.allclose(counts / 40_000, weights[0, 0] / 8, atol=0.01)
    inside = drawn[(drawn > 1.5) & (drawn < 4.0)]
    assert abs(float(inside.mean()) - 2.75) < 0.03
    even = quantiles(edges, weights, 9, None)[0, 0]
    assert (even.diff() >= 0).all()
    assert float(even[0]) == 0.0
    assert np.isclose(float(even[-1]), 4.5)


def test_samples_gather_where_the_matter_is() -> None:
    depths = torch.linspace(0, 1, 17, dtype=torch.float64)[None, None]
    raw = torch.where((depths > 0.55) & (depths < 0.7), 60.0, -40.0)
    fine = importance(depths, march(depths, raw), 200, torch.Generator().manual_seed(0))
    near = ((fine > 0.45) & (fine < 0.75)).double().mean()
    assert near > 0.8


def test_first_samples_lie_one_in_each_step() -> None:
    like = torch.zeros(1, 50, 3)
    depths = stratified(1.0, 2.0, 11, like, torch.Generator().manual_seed(0))
    number = torch.floor((depths - 1.0) / 0.1 + 1e-4)
    assert (number == torch.arange(11)).all()
    assert depths.std(1).min() > 0.02
    still = stratified(1.0, 2.0, 11, like, None)
    assert torch.allclose(still[0, 0], torch.linspace(1.05, 2.05, 11))


def planes_of(b: int, c: int, side: int) -> Tensor:
    random = torch.Generator().manual_seed(4)
    planes = torch.randn(b, 3 * c, side, side, generator=random)
    return planes.to(memory_format=torch.channels_last).view(b, 3, c, side, side)


@pytest.mark.parametrize("axes", ["xy_xz_yz", "xy_xz_zx"])
def test_the_kernel_is_torchs_sampling(axes: PlaneAxes) -> None:
    planes = planes_of(2, 5, 7)
    points = torch.rand(2, 200, 3, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    ours, theirs = planes.clone().requires_grad_(), planes.clone().requires_grad_()
    weights = torch.randn(2, 200, 5, generator=torch.Generator().manual_seed(2))
    first = sample_planes(ours, points, axes, 1.0)
    second = _sampled_by_grid(theirs, points * 2, axes)
    assert torch.allclose(first, second, atol=1e-5)
    (first * weights).sum().backward()
    (second * weights).sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-4)


def test_planes_take_their_own_two_coordinates() -> None:
    side = 8
    ramp = (torch.arange(side) + 0.5) / side - 0.5  # cell centres in a box of side 1
    columns, rows = ramp.expand(side, side), ramp[:, None].expand(side, side)
    points = torch.tensor([[[0.1, -0.2, 0.3]]])
    cases: tuple[tuple[PlaneAxes, tuple[tuple[float, float], ...]], ...] = (
        ("xy_xz_yz", ((0.1, -0.2), (0.1, 0.3), (-0.2, 0.3))),
        ("xy_xz_zx", ((0.1, -0.2), (0.1, 0.3), (0.3, 0.1))),
    )
    for axes, expected in cases:
        for plane in range(3):
            planes = torch.zeros(1, 3, 2, side, side)
            planes[0, plane] = torch.stack([columns, rows])
            found = 3 * sample_planes(planes, points, axes, 1.0)[0, 0]
            assert torch.allclose(found, torch.tensor(expected[plane]), atol=1e-6), (axes, plane)


def test_beyond_the_planes_there_is_nothing() -> None:
    far = torch.tensor([[[0.63, 0.63, 0.63], [-3.0, 0.0, 0.63]]])
    found = sample_planes(torch.ones(1, 3, 2, 4, 4), far, "xy_xz_yz", 1.0)
    assert float(found[0, 0].abs().max()) == 0.0
    assert float(found[0, 1].abs().max()) == 0.0
