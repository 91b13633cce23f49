"""Surfaces as maps: what is between them, where they truly lie, and what learns them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the networks need torch")

from mien.models.errors import InputError  # noqa: E402
from mien.models.pifuhd.augment import Placement  # noqa: E402
from mien.models.pifuhd.cases import true_surface  # noqa: E402
from mien.models.pifuhd.config import EncoderConfig, PifuhdConfig  # noqa: E402
from mien.models.pifuhd.dataset import BatchOptions, BatchSource, PeopleFolder  # noqa: E402
from mien.models.pifuhd.depths import DepthMaps, front_and_back  # noqa: E402
from mien.models.pifuhd.feature_map import FeatureMap, Features  # noqa: E402
from mien.models.pifuhd.network import Pifuhd  # noqa: E402
from mien.models.pifuhd.surfaces import (  # noqa: E402
    STEEPNESS,
    logits_between,
    rays_in_head,
    surface_loss,
)

numbers = st.floats(-0.9, 0.9)


@given(front=numbers, thick=st.floats(0.01, 0.5), depth=numbers, cover=st.floats(0.1, 20))
def test_points_between_the_surfaces_are_inside(
    front: float, thick: float, depth: float, cover: float
):
    def logit(at: float, there: float) -> float:
        drawn = torch.tensor([[[front, front + thick, there]]], dtype=torch.float64)
        return float(logits_between(drawn, torch.tensor([[at]], dtype=torch.float64)))

    assert logit(front, cover) == pytest.approx(0, abs=1e-9)
    assert logit(front + thick, cover) == pytest.approx(0, abs=1e-9)
    assert (logit(depth, cover) > 0) == (front < depth < front + thick)
    assert logit(depth, -cover) < 0


def test_maps_of_a_true_surface_say_what_is_inside(ellipsoids: Path):
    folder = PeopleFolder(ellipsoids)
    maps = DepthMaps(folder)
    subject = folder.training[0]
    inside = np.asarray(subject.inside)
    place = Placement(1.06, 0.05, -0.04, True, 3.0)
    for placement, view in ((Placement(), 0), (place, 1)):
        front, back = maps.placed(0, view, placement, 64)
        cube = np.asarray(subject.cube_from_subject[view])
        points = placement.points(np.asarray(subject.points) @ cube[:, :3].T + cube[:, 3])
        column, row = np.rint(((points[:, :2] + 1) * 64 - 1) / 2).astype(int).clip(0, 63).T
        known = np.isfinite(front)[row, column] & (np.abs(points[:, :2]) < 1).all(1)
        between = (front[row, column] < points[:, 2]) & (points[:, 2] < back[row, column])
        # Half a pixel of a steep side is all that they may differ by.
        assert known.mean() > 0.3
        assert (between == inside)[known].mean() > 0.85
        far = np.asarray(subject.scale) == 3
        assert (between == inside)[known & far].mean() > 0.95


def test_depths_of_an_ellipsoid_are_those_of_its_equation(ellipsoids: Path):
    folder = PeopleFolder(ellipsoids)
    with np.load(ellipsoids / "subject-00000.npz") as arrays:
        radii = arrays["vertices"].max(0) * 2 / 420
    surface, _ = true_surface(folder, 0)
    front, back = front_and_back(surface.transformed(np.eye(3) * 2 / 420), 64)
    axis = (2 * np.arange(64) + 1) / 64 - 1
    x, y = np.meshgrid(axis, axis)
    rest = 1 - (x / radii[0]) ** 2 - (y / radii[1]) ** 2
    well = rest > 0.1
    expected = radii[2] * np.sqrt(rest[well])
    np.testing.assert_allclose(front[well], -expected, atol=0.01)
    np.testing.assert_allclose(back[well], expected, atol=0.01)
    assert np.isnan(front[rest < -0.1]).all()


def test_the_loss_is_least_at_the_truth_and_asks_nothing_where_none_is_known():
    torch.manual_seed(0)
    depths = torch.rand(2, 2, 8, 8)
    depths[:, :, :3] = torch.nan
    cover = depths[:, 0].isfinite().float()
    true = torch.cat([depths.nan_to_num(), 40 * cover[:, None] - 20], 1).requires_grad_(True)
    assert float(surface_loss(true.detach(), depths, cover)) < 1e-6
    moved = (true + 0.1).requires_grad_(True)
    moved.retain_grad()
    loss = surface_loss(moved, depths, cover)
    # Moved as a whole: depths are off, neither thickness nor slopes.
    assert float(loss.detach()) == pytest.approx(0.1, abs=1e-3)
    loss.backward()
    assert moved.grad is not None
    assert not moved.grad[:, :2, :3].any()
    assert moved.grad[:, :2, 3:].any()


def test_rays_lie_where_points_are_told_to_be():
    torch.manual_seed(1)
    head_from_cube = torch.randn(2, 3, 4)
    rays = rays_in_head(head_from_cube, 16)
    depth = 0.37
    pixel = (3, 11)
    x, y = ((2 * i + 1) / 16 - 1 for i in pixel)
    expected = head_from_cube @ torch.tensor([x, y, depth, 1.0])
    found = rays[:, :3, pixel[1], pixel[0]] + depth * rays[:, 3:, pixel[1], pixel[0]]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.fixture
def sizes(tiny: PifuhdConfig) -> PifuhdConfig:
    return replace(
        tiny,
        coarse=replace(tiny.coarse, surfaces=True),
        coarse_implicit=replace(tiny.coarse_implicit, most_added=2.0),
        fine_implicit=replace(tiny.fine_implicit, most_added=1.0),
        use_pose=True,
    )


def test_implicit_networks_move_a_surface_only_so_far(sizes: PifuhdConfig):
    torch.manual_seed(2)
    model = Pifuhd(sizes).eval()
    given = [torch.rand(2, 3, 64, 64) for _ in range(3)]
    pose = torch.randn(2, 3, 4)
    points = torch.rand(2, 50, 3) - 0.5
    with torch.no_grad():
        for network in (model.netG.mlp, model.mlp):
            last: Any = network.filters[-1]
            last.bias.fill_(100.0)
        features = model.encode(given[0], (given[1], given[2]), pose)
        assert features.coarse is not None
        drawn = features.coarse.base_at(points)
        assert drawn is not None
        coarse = model.occupancy(features, points, "coarse")
        fine = model.occupancy(features, points, "fine")
    torch.testing.assert_close(coarse, (drawn[0] + 2).sigmoid())
    torch.testing.assert_close(fine, (drawn[0] + 3).sigmoid())


def test_an_encoder_of_surfaces_must_know_the_heads_axes_if_the_model_does(sizes: PifuhdConfig):
    image = torch.rand(1, 3, 64, 64)
    with pytest.raises(InputError, match="told where the head's axes are"):
        Pifuhd(sizes).encode_coarse(image, image, image)
    without = Pifuhd(replace(sizes, use_pose=False))
    assert without.encode_coarse(image, image, image).surfaces
    # Weights of one fit the other: the encoder's sizes are the same.
    a, b = (m.netG.image_filter.conv1.weight.shape for m in (without, Pifuhd(sizes)))
    assert a == b


def test_surfaces_are_read_where_their_pixels_lie():
    # A plane that leans is read back as such, in windows too; beyond the outer centres it ends.
    axis = (2 * torch.arange(16) + 1) / 16 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    front = 0.2 * x - 0.1 * y - 0.3
    whole = torch.stack([front, front + 0.5, torch.full_like(x, 1e3)])[None]
    corner = torch.tensor([[4, 6]])
    window = whole[..., 6:14, 4:12]
    xy = torch.rand(1, 40, 2) * 0.5 - 0.1
    points = torch.cat([xy, torch.rand(1, 40, 1) - 0.5], -1)
    between = points[..., 2] - (0.2 * xy[..., 0] - 0.1 * xy[..., 1] - 0.3)
    expected = STEEPNESS * between.minimum(0.5 - between)
    for seen in (
        FeatureMap([whole], 16, surfaces=True),
        FeatureMap([window], 16, corner, surfaces=True),
    ):
        drawn = seen.base_at(points)
        assert drawn is not None
        torch.testing.assert_close(drawn[0], expected, rtol=0, atol=1e-3)
    edge = FeatureMap([whole], 16, surfaces=True).base_at(torch.tensor([[[1.0, 1.0, 0.0]]]))
    assert edge is not None
    torch.testing.assert_close(edge[0][0, 0], STEEPNESS * -front[-1, -1], rtol=0, atol=1e-3)


def test_the_fine_level_draws_none(tiny: PifuhdConfig):
    with pytest.raises(InputError, match="the coarse level's to draw"):
        replace(tiny, fine=replace(tiny.fine, surfaces=True))


def test_every_weight_of_the_coarse_level_learns(sizes: PifuhdConfig):
    torch.manual_seed(3)
    model = Pifuhd(sizes)
    image, front, back = (torch.rand(2, 3, 64, 64) for _ in range(3))
    pose = torch.randn(2, 3, 4)
    seen = model.encode_coarse(image, front, back, pose)
    points = torch.rand(2, 50, 3) - 0.5
    stacks = model.occupancies(Features(seen, None, head_from_cube=pose), points, "coarse")
    assert len(stacks) == 2
    loss = torch.cat([(f - 0.3).square() for f in stacks]).sum()
    depths, cover = torch.rand(2, 2, 8, 8), torch.rand(2, 8, 8)
    for stack in range(2):
        assert seen.drawn(stack).dtype == torch.float32
        loss = loss + surface_loss(seen.drawn(stack), depths, cover)
    loss.backward()
    for name, parameter in model.netG.named_parameters():
        if ".bn4." not in name and not name.startswith(("netF.", "netB.")):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_depths_keep_their_digits_under_bfloat16(sizes: PifuhdConfig):
    torch.manual_seed(4)
    model = Pifuhd(sizes).eval()
    image, front, back = (torch.rand(1, 3, 64, 64) for _ in range(3))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        drawn = model.encode_coarse(image, front, back, torch.randn(1, 3, 4)).stacks[-1]
    assert drawn.dtype == torch.float32


def test_points_do_not_move_surfaces():
    maps = torch.rand(1, 9, 8, 8, requires_grad=True)
    drawn = FeatureMap([maps], 8, surfaces=True).base_at(torch.rand(1, 20, 3))
    assert drawn is not None
    assert not drawn[0].requires_grad
    assert not drawn[1].requires_grad


def test_a_volume_and_surfaces_exclude_each_other(tiny: PifuhdConfig):
    with pytest.raises(InputError, match="a volume or surfaces"):
        replace(tiny.coarse, bins=4, surfaces=True)
    table = replace(tiny, coarse=replace(tiny.coarse, surfaces=True)).as_dict()
    assert PifuhdConfig.from_dict(table).coarse.surfaces
    del table["coarse"]["surfaces"]  # weights that were written before there were any
    assert not PifuhdConfig.from_dict(table).coarse.surfaces
    assert not EncoderConfig(32, 8, 16, 16, 12, 2, 1, True, 2, "bilinear").surfaces


def test_batches_have_maps_only_where_they_are_asked_for(ellipsoids: Path):
    folder = PeopleFolder(ellipsoids)
    maps = DepthMaps(folder).placed
    asked = BatchOptions(64, 2, 10, surfaces=32)
    batch = BatchSource(folder.training, asked, 0, None, maps).batch(0)
    assert batch.depths is not None
    assert batch.cover is not None
    assert batch.depths.shape == (2, 2, 32, 32)
    assert batch.cover.shape == (2, 32, 32)
    assert np.isfinite(batch.depths).any()
    none = BatchSource(folder.training, replace(asked, surfaces=None), 0, None, maps).batch(0)
    assert none.depths is none.cover is None
