"""What the networks minimise."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the networks need torch")

from torch import nn  # noqa: E402

from mien.models.errors import InputError  # noqa: E402
from mien.models.pifuhd.losses import (  # noqa: E402
    angle_degrees,
    balanced_cross_entropy,
    gradient_distance,
    normal_loss,
)
from mien.models.pifuhd.perceptual import VggDistance  # noqa: E402

_POINT = st.tuples(st.floats(0, 1, width=32), st.booleans(), st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_POINT, min_size=5, max_size=5), min_size=1, max_size=3))
def test_balanced_cross_entropy_is_the_papers(pictures: list[list[tuple[float, bool, bool]]]):
    f, y, w = torch.tensor(pictures, dtype=torch.float32).unbind(-1)
    expected = 0.0
    for picture in pictures:
        counted = [(min(max(p, 1e-5), 1 - 1e-5), inside) for p, inside, kept in picture if kept]
        if not counted:
            continue
        share = sum(not inside for _, inside in counted) / len(counted)
        terms = [share * math.log(p) if i else (1 - share) * math.log(1 - p) for p, i in counted]
        expected -= sum(terms) / len(counted) / len(pictures)
    assert balanced_cross_entropy(f, y, w).item() == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_few_points_inside_pull_as_much_as_many_outside():
    f = torch.full((1, 10), 0.5, requires_grad=True)
    inside = torch.tensor([[1.0] * 2 + [0.0] * 8])
    balanced_cross_entropy(f, inside, torch.ones(1, 10)).backward()
    assert f.grad is not None
    assert f.grad[0, :2].sum().item() == pytest.approx(-f.grad[0, 2:].sum().item())
    assert f.grad[0, 0] < 0


def test_points_of_no_weight_change_nothing():
    f, y = torch.rand(2, 8), (torch.rand(2, 8) > 0.5).float()
    weight = torch.tensor([[1.0] * 5 + [0.0] * 3] * 2)
    alone = balanced_cross_entropy(f[:, :5], y[:, :5], torch.ones(2, 5))
    torch.testing.assert_close(balanced_cross_entropy(f, y, weight), alone)


def test_normals_lose_by_distance_and_by_edges():
    true = torch.rand(1, 3, 16, 16)
    total, terms = normal_loss(true + 0.25, true)
    assert terms["l1"].item() == pytest.approx(0.25, rel=1e-4)
    assert total.item() == pytest.approx(1.25, rel=1e-3)
    edge = torch.zeros(1, 3, 16, 16)
    edge[..., 8:] = 1
    assert gradient_distance(edge, torch.zeros_like(edge)).item() > 0.05
    assert normal_loss(true, true)[0].item() == 0


def test_angles_are_measured_where_there_are_normals():
    true = torch.zeros(1, 3, 4, 4)
    true[:, 2, :2] = 1
    drawn = torch.ones(1, 3, 4, 4) * torch.tensor([0.0, 0.3, 0.3])[:, None, None]
    assert angle_degrees(drawn, true).item() == pytest.approx(45, abs=0.01)


def test_the_perceptual_distance_is_of_a_users_file(tmp_path: Path):
    with pytest.raises(InputError, match="not VGG19's weights"):
        VggDistance(tmp_path / "vgg19.pth")
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "vgg19.pth")
    with pytest.raises(InputError, match="not VGG19's weights"):
        VggDistance(tmp_path / "vgg19.pth")
    with torch.device("meta"):
        shapes = nn.Sequential(*_vgg_layers()).state_dict()
    weights = {f"features.{n}": torch.full((1,), 1e-3).expand(v.shape) for n, v in shapes.items()}
    torch.save({**weights, "classifier.0.bias": torch.zeros(2)}, tmp_path / "vgg19.pth")
    distance = VggDistance(tmp_path / "vgg19.pth")
    picture = torch.rand(1, 3, 32, 32)
    assert distance(picture, picture).item() == 0
    assert distance(picture, 0 * picture).item() > 0


def _vgg_layers() -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for width, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers
