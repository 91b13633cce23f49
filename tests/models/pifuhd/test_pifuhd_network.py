"""The networks: sizes of the presets, where gradients go, what lies outside."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")

from torch import nn  # noqa: E402

from mien.models.errors import InputError  # noqa: E402
from mien.models.pifuhd.config import PifuhdConfig, preset  # noqa: E402
from mien.models.pifuhd.feature_map import FeatureMap, Features  # noqa: E402
from mien.models.pifuhd.inference import TorchNetwork  # noqa: E402
from mien.models.pifuhd.network import Level, Pifuhd  # noqa: E402


def _count(module: nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def _widths(mlp: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape[:2]) for name, p in mlp.named_parameters() if name.endswith("weight")]


def test_the_papers_sizes():
    with torch.device("meta"):
        model = Pifuhd(preset("paper")).eval()
        features = model.encode(torch.zeros(1, 3, 1024, 1024))
        occupancy = model.occupancy(features, torch.zeros(1, 7, 3))
    assert features.coarse is not None
    assert features.fine is not None
    assert [m.shape for m in features.coarse.stacks] == [(1, 256, 128, 128)] * 4
    assert [m.shape for m in features.fine.stacks] == [(1, 16, 512, 512)]
    assert features.front is not None
    assert features.front.shape == (1, 3, 512, 512)
    assert occupancy.shape == (1, 7)
    assert _count(model.netG.netF) == pytest.approx(182.4, abs=0.1)
    assert _widths(model.netG.mlp) == [(1024, 257), (512, 1024), (256, 769), (128, 513), (1, 385)]
    assert _widths(model.mlp) == [(512, 272), (256, 784), (128, 528), (1, 128)]


def test_the_small_preset_fits_into_20_megabytes():
    with torch.device("meta"):
        model = Pifuhd(preset("small"))
        features = model.encode(torch.zeros(2, 3, 256, 256), None, torch.zeros(2, 3, 4))
    assert features.coarse is not None
    assert features.fine is not None
    assert features.coarse.stacks[-1].shape == (2, 64 + 64, 32, 32)
    assert features.fine.stacks[-1].shape == (2, 32 + 64, 64, 64)
    assert 2 * _count(model) < 20
    # Features, the volume's logit, and the place; the fine level is told Omega too.
    assert _widths(model.netG.mlp)[0] == (256, 64 + 1 + 16)
    assert _widths(model.mlp)[0] == (128, 32 + 1 + 64 + 16)


def test_the_preset_with_surfaces_is_as_small():
    with torch.device("meta"):
        model = Pifuhd(preset("surfaces"))
        features = model.encode(torch.zeros(2, 3, 256, 256), None, torch.zeros(2, 3, 4))
    assert features.coarse is not None
    assert features.fine is not None
    assert features.coarse.stacks[-1].shape == (2, 32 + 3, 64, 64)
    assert features.fine.stacks[-1].shape == (2, 32, 64, 64)
    assert 2 * _count(model) < 20
    # Features, what the surfaces tell, and the place; the fine level is told Omega too.
    assert _widths(model.netG.mlp)[0] == (256, 32 + 3 + 16)
    assert _widths(model.mlp)[0] == (128, 32 + 64 + 16)


def test_points_beyond_the_cube_are_outside(tiny: PifuhdConfig):
    torch.manual_seed(0)
    model = Pifuhd(tiny).eval()
    points = torch.rand(1, 200, 3) * 4 - 2
    with torch.no_grad():
        features = model.encode(torch.rand(1, 3, 64, 64))
        for level in ("coarse", "fine"):
            occupancy = model.occupancy(features, points, level)
            beyond = (points.abs() > 1).any(-1)
            assert beyond.any()
            assert (occupancy[beyond] == 0).all()
            assert (occupancy[~beyond] > 0).all()
            assert (occupancy < 1).all()


def test_depth_grows_towards_the_viewer_inside_the_network(tiny: PifuhdConfig):
    model = Pifuhd(tiny).eval()
    seen = []
    model.netG.mlp.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    points = torch.tensor([[[0.0, 0.0, 0.5]]])
    with torch.no_grad():
        model.occupancy(model.encode(torch.rand(1, 3, 64, 64)), points, "coarse")
    assert seen[0][0, 0, -1].item() == pytest.approx(-0.5 * 256 / 200)


@pytest.mark.parametrize("waves", [0, 2])
def test_both_levels_are_told_where_a_point_lies_in_the_head(tiny: PifuhdConfig, waves: int):
    model = Pifuhd(replace(tiny, use_pose=True, pose_waves=waves)).eval()
    seen = []
    for mlp in (model.netG.mlp, model.mlp):
        mlp.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    points = torch.rand(2, 5, 3) - 0.5
    turn = torch.linalg.qr(torch.randn(2, 3, 3))[0] * 1.1
    shift = torch.rand(2, 3)
    told = torch.cat([turn, shift[..., None]], -1)
    with torch.no_grad():
        features = model.encode(torch.rand(2, 3, 64, 64), None, told)
        model.occupancy(features, points)
    in_head = torch.einsum("bij,bpj->bpi", turn, points) + shift[:, None]
    phases = [in_head * torch.pi * 2**k for k in range(waves)]
    expected = [in_head, *(wave for p in phases for wave in (p.sin(), p.cos()))]
    assert len(seen) == 2
    for known in seen:
        place = known[..., -(1 + 3 * len(expected)) :]
        torch.testing.assert_close(place[..., :1], -1.28 * points[..., 2:])
        torch.testing.assert_close(place[..., 1:], torch.cat(expected, -1), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="no face was given"):
        model.encode(torch.rand(2, 3, 64, 64))
    with pytest.raises(InputError, match="no face was given"):
        model.occupancy(replace(features, head_from_cube=None), points)


def test_a_picture_is_seen_with_the_faces_pose(tiny: PifuhdConfig):
    torch.manual_seed(4)
    network = TorchNetwork(Pifuhd(replace(tiny, use_pose=True)), "cpu")
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    alpha = np.full((64, 64), 255, np.uint8)
    points = rng.uniform(-0.9, 0.9, (30, 3)).astype(np.float32)
    with pytest.raises(InputError, match="no face was given"):
        network.see(picture, alpha)
    turned = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0]], np.float32)
    front, side = (
        network.see(picture, alpha, told).occupancy(points)
        for told in (np.eye(3, 4, dtype=np.float32), turned)
    )
    assert not np.allclose(front, side)
    # More is known of each point, and more memory is planned for it.
    assert network.bytes_per_point > TorchNetwork(Pifuhd(tiny), "cpu").bytes_per_point


def test_who_is_not_asked_for_the_pose_takes_no_notice_of_it(tiny: PifuhdConfig):
    model = Pifuhd(tiny).eval()
    image, points = torch.rand(1, 3, 64, 64), torch.rand(1, 20, 3) - 0.5
    with torch.no_grad():
        plain = model.occupancy(model.encode(image), points)
        told = model.occupancy(model.encode(image, None, torch.rand(1, 3, 4)), points)
    assert torch.equal(plain, told)


def test_a_window_is_sampled_as_the_whole_map():
    torch.manual_seed(1)
    whole = torch.rand(2, 5, 40, 40)
    corner = torch.tensor([[6, 10], [0, 20]])
    windows = torch.stack([
        w[:, row : row + 18, column : column + 18]
        for w, (column, row) in zip(whole, corner.tolist(), strict=True)
    ])  # fmt: skip
    # Points whose pixel, and the next, lie in the window.
    pixel = corner[:, None] + torch.rand(2, 100, 2) * 17
    xy = 2 * pixel / 39 - 1
    in_whole = FeatureMap([whole], 40).at(xy)
    in_window = FeatureMap([windows], 40, corner).at(xy)
    torch.testing.assert_close(in_window, in_whole, rtol=0, atol=1e-4)


def test_a_window_of_the_picture_is_encoded_where_it_lies(tiny: PifuhdConfig):
    torch.manual_seed(2)
    model = Pifuhd(tiny).eval()
    given = [torch.rand(1, 3, 64, 64) for _ in range(3)]
    seen = []
    model.image_filter.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.no_grad():
        window = model.encode_fine(*given, corner=torch.tensor([[16, 8]]))
        model.encode_fine(*given)
    torch.testing.assert_close(seen[0], seen[1][..., 8:40, 16:48], rtol=0, atol=0)
    assert window.corner is not None
    assert window.corner.tolist() == [[8, 4]]
    assert window.stacks[0].shape == (1, 8, 16, 16)


def _with_volumes(sizes: PifuhdConfig) -> PifuhdConfig:
    return replace(
        sizes, coarse=replace(sizes.coarse, bins=9), fine=replace(sizes.fine, bins=7), window=64
    )


def _logits(seen: FeatureMap, points: Any) -> Any:
    drawn = seen.base_at(points)
    assert drawn is not None
    return drawn[0]


def test_a_volume_is_read_where_the_cube_says():
    # Logits that are linear in the cube's coordinates are read back as such, in windows too.
    x = torch.linspace(-1, 1, 40)
    layers = torch.linspace(-1, 1, 9)[:, None, None] - 0.5 * x[None, :, None] + 0.25 * x
    whole = torch.cat([torch.rand(3, 40, 40), layers])[None].repeat(2, 1, 1, 1)
    corner = torch.tensor([[4, 12], [16, 8]])
    windows = torch.stack(
        [m[:, r : r + 20, c : c + 20] for m, (c, r) in zip(whole, corner.tolist(), strict=True)]
    )
    points = torch.rand(2, 30, 3) * 2 - 1
    expected = points @ torch.tensor([0.25, -0.5, 1.0])
    torch.testing.assert_close(
        _logits(FeatureMap([whole], 40, bins=9), points), expected, rtol=0, atol=1e-5
    )
    pixel = corner[:, None] + torch.rand(2, 30, 2) * 19
    points = torch.cat([pixel / 39 * 2 - 1, points[..., 2:]], -1)
    expected = points @ torch.tensor([0.25, -0.5, 1.0])
    in_window = FeatureMap([windows], 40, corner, bins=9)
    torch.testing.assert_close(_logits(in_window, points), expected, rtol=0, atol=1e-5)
    assert in_window.at(points[..., :2]).shape == (2, 30, 3)


def test_levels_with_volumes_add_to_what_is_known(tiny: PifuhdConfig):
    torch.manual_seed(6)
    model = Pifuhd(_with_volumes(tiny)).eval()
    image, front, back = (torch.rand(2, 3, 64, 64) for _ in range(3))
    points = torch.rand(2, 40, 3) - 0.5
    with torch.no_grad():
        for network in (model.netG.mlp, model.mlp):
            for parameter in network.filters[-1].parameters():
                parameter.zero_()
        features = model.encode(image, (front, back))
        assert features.coarse is not None
        assert features.fine is not None
        coarse = _logits(features.coarse, points)
        torch.testing.assert_close(model.occupancy(features, points, "coarse"), coarse.sigmoid())
        both = coarse + _logits(features.fine, points)
        torch.testing.assert_close(model.occupancy(features, points, "fine"), both.sigmoid())
        trained = model.occupancies(features, points, "coarse", inner_share=0.5)
    # The volume alone, the inner hourglass of half the points, the answer.
    assert [f.shape[1] for f in trained] == [40, 20, 40]


@pytest.mark.parametrize("volumes", [False, True])
@pytest.mark.parametrize("level", ["coarse", "fine"])
def test_every_weight_of_a_level_learns(tiny: PifuhdConfig, level: Level, volumes: bool):
    torch.manual_seed(3)
    model = Pifuhd(_with_volumes(tiny) if volumes else tiny)
    model.netG.requires_grad_(level == "coarse")
    image, front, back = (torch.rand(2, 3, 64, 64) for _ in range(3))
    coarse = model.encode_coarse(image, front, back)
    fine = model.encode_fine(image, front, back) if level == "fine" else None
    points = torch.rand(2, 50, 3) - 0.5
    stacks = model.occupancies(Features(coarse, fine), points, level)
    assert len(stacks) == (2 if level == "coarse" else 1) + volumes
    torch.cat([(f - 0.3).square() for f in stacks]).sum().backward()
    ours = model.netG if level == "coarse" else model
    for name, parameter in ours.named_parameters():
        unused = ".bn4." in name or name.startswith(("netF.", "netB."))
        frozen = level == "fine" and name.startswith("netG.")
        # bn4 learns where the block has a shortcut of its own.
        if frozen:
            assert parameter.grad is None, name
        elif not unused:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_inner_stacks_answer_for_the_first_points(tiny: PifuhdConfig):
    torch.manual_seed(4)
    model = Pifuhd(tiny).eval()
    image, front, back = (torch.rand(2, 3, 64, 64) for _ in range(3))
    points = torch.rand(2, 40, 3) - 0.5
    with torch.no_grad():
        features = Features(model.encode_coarse(image, front, back), None)
        whole = model.occupancies(features, points, "coarse")
        fewer = model.occupancies(features, points, "coarse", inner_share=0.25)
    assert [f.shape for f in fewer] == [(2, 10), (2, 40)]
    torch.testing.assert_close(fewer[0], whole[0][:, :10])
    torch.testing.assert_close(fewer[1], whole[1])


def test_occupancy_is_exact_outside_of_training(tiny: PifuhdConfig):
    torch.manual_seed(5)
    model = Pifuhd(tiny)
    image, front, back = (torch.rand(1, 3, 64, 64) for _ in range(3))
    points = torch.rand(1, 400, 3) - 0.5
    with torch.no_grad():
        features = Features(model.encode_coarse(image, front, back), None)
        exact = model.eval().occupancy(features, points, "coarse")
        with torch.autocast("cpu", torch.bfloat16):
            cast = model.eval().occupancy(features, points, "coarse")
            trained = model.train().occupancy(features, points, "coarse")
    assert torch.equal(exact, cast)
    assert not torch.equal(exact, trained)
    torch.testing.assert_close(exact, trained, rtol=0, atol=0.02)


def test_normals_of_the_background_are_zero(tiny: PifuhdConfig):
    model = Pifuhd(tiny).eval()
    image = torch.rand(1, 3, 64, 64) + 0.1
    image[..., :20, :] = 0
    with torch.no_grad():
        front, back = model.normals(image)
    for normals in (front, back):
        assert (normals[..., :20, :] == 0).all()
        assert normals[..., 20:, :].abs().mean() > 0


def test_given_normals_take_the_place_of_drawn_ones(tiny: PifuhdConfig):
    model = Pifuhd(tiny).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        drawn = model.encode(image)
        again = model.encode(image, model.normals(image))
        other = model.encode(image, (torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)))
    assert drawn.fine is not None
    assert again.fine is not None
    assert other.fine is not None
    assert torch.equal(drawn.fine.stacks[0], again.fine.stacks[0])
    assert not torch.equal(drawn.fine.stacks[0], other.fine.stacks[0])


def test_what_does_not_fit_is_said(tiny: PifuhdConfig):
    with pytest.raises(InputError, match="expected a picture of 64 x 64 px, got 48 x 48"):
        Pifuhd(tiny).encode(torch.zeros(1, 3, 48, 48))
    with pytest.raises(InputError, match="no preset"):
        preset("large")
    with pytest.raises(InputError, match="cannot be halved"):
        replace(tiny, coarse=replace(tiny.coarse, depth=5))
    alone = Pifuhd(replace(tiny, fine_only=True, use_normals=False))
    with pytest.raises(InputError, match="without normals"):
        alone.normals(torch.zeros(1, 3, 64, 64))
    features = alone.encode(torch.zeros(1, 3, 64, 64))
    with pytest.raises(InputError, match="no coarse level"):
        alone.occupancy(features, torch.zeros(1, 1, 3), "coarse")
    assert alone.occupancy(features, torch.zeros(1, 1, 3)).shape == (1, 1)
