"""The tri-plane generator: sizes, names, laws of its parts."""

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from mien.models.errors import InputError  # noqa: E402
from mien.models.portrait import backbone  # noqa: E402
from mien.models.portrait.cameras import frontal_label, orbit_label, turntable_labels  # noqa: E402
from mien.models.portrait.config import EG3D, SMALL, PortraitConfig, preset  # noqa: E402
from mien.models.portrait.generator import Generator  # noqa: E402
from mien.models.portrait.mapping import GaussianMapping, MappingNetwork  # noqa: E402

TINY = PortraitConfig(
    name="tiny", z_dim=8, w_dim=8, plane_size=8, plane_channels=4, channel_base=64,
    channel_max=8, decoder_hidden=8, feature_channels=4, render_size=8, super_channels=(6,),
    coarse=6, fine=6,
)  # fmt: skip


@pytest.fixture
def tiny() -> Generator:
    torch.manual_seed(0)
    return Generator(TINY)


def labels(count: int) -> Tensor:
    return torch.from_numpy(turntable_labels(count))


def test_the_small_preset_renders_pictures() -> None:
    torch.manual_seed(1)
    generator = Generator(SMALL)
    z = torch.randn(2, SMALL.z_dim)
    with torch.no_grad():
        w = generator.map(z, torch.from_numpy(frontal_label())[None])
        drawn = generator.synthesise(w, labels(2))
        planes = generator.planes(generator.repeated(w))
    assert planes.features.shape == (2, 3, 16, 64, 64)
    assert drawn.image.shape == (2, 3, 64, 64)
    assert drawn.raw.shape == (2, 3, 32, 32)
    assert drawn.depth.shape == drawn.mask.shape == (2, 1, 32, 32)
    assert 0 <= float(drawn.mask.min()) <= float(drawn.mask.max()) <= 1
    assert SMALL.near <= float(drawn.depth.min()) <= float(drawn.depth.max()) <= SMALL.far + 0.1
    count = sum(p.numel() for p in generator.parameters())
    assert 4 * count < 20e6, "the shipped weights stay under 20 MB"


def expected_eg3d_names() -> set[str]:
    names = {"backbone.mapping.w_avg"}
    names |= {f"backbone.mapping.{layer}.{part}" for layer in ("embed", "fc0", "fc1")
              for part in ("weight", "bias")}  # fmt: skip
    blocks = {f"backbone.synthesis.b{2**k}": k > 2 for k in range(2, 9)}
    blocks |= {"superresolution.block0": True, "superresolution.block1": True}
    for block, doubles in blocks.items():
        names |= {f"{block}.resample_filter"}
        names |= set() if doubles else {f"{block}.const"}
        for layer in ("conv0", "conv1") if doubles else ("conv1",):
            names |= {
                f"{block}.{layer}.{part}"
                for part in ("weight", "bias", "affine.weight", "affine.bias", "noise_const",
                             "noise_strength", "resample_filter")
            }  # fmt: skip
        names |= {f"{block}.torgb.{part}"
                  for part in ("weight", "bias", "affine.weight", "affine.bias")}  # fmt: skip
    return names | {f"decoder.net.{n}.{part}" for n in (0, 2) for part in ("weight", "bias")}


def test_the_papers_preset_has_the_published_names_and_sizes() -> None:
    with torch.device("meta"):
        generator = Generator(EG3D)
    state = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    assert set(state) == expected_eg3d_names()
    assert EG3D.n_ws == 14
    assert EG3D.image_size == 512
    assert state["backbone.mapping.embed.weight"] == (512, 25)
    assert state["backbone.mapping.fc0.weight"] == (512, 1024)
    assert state["backbone.synthesis.b4.const"] == (512, 4, 4)
    assert state["backbone.synthesis.b128.conv0.weight"] == (256, 512, 3, 3)
    assert state["backbone.synthesis.b256.torgb.weight"] == (96, 128, 1, 1)
    assert state["backbone.synthesis.b64.conv0.noise_const"] == (64, 64)
    assert state["decoder.net.2.weight"] == (33, 64)
    assert state["superresolution.block0.conv0.weight"] == (256, 32, 3, 3)
    assert state["superresolution.block1.conv1.weight"] == (128, 128, 3, 3)
    assert state["superresolution.block1.torgb.affine.weight"] == (128, 512)


def test_views_of_one_head_are_the_views_rendered_alone(tiny: Generator) -> None:
    ws = torch.randn(2, TINY.n_ws, TINY.w_dim)
    cameras = labels(6)
    with torch.no_grad():
        planes = tiny.planes(ws)
        together = tiny.render(planes, cameras)
        alone = tiny.synthesise(ws[1:], cameras[4:5])
        larger = tiny.render(planes, cameras, size=16)
    assert torch.allclose(together.image[4:5], alone.image, atol=1e-5)
    assert torch.allclose(together.depth[4:5], alone.depth, atol=1e-5)
    assert larger.raw.shape == (6, 3, 16, 16)
    assert larger.image.shape == together.image.shape


def test_gradients_reach_every_weight(tiny: Generator) -> None:
    for layer in tiny.modules():
        if isinstance(layer, backbone.SynthesisLayer):
            layer.noise_strength.data.fill_(0.1)
    z = torch.randn(1, TINY.z_dim, requires_grad=True)
    light = torch.randn(1, 9)
    w = tiny.map(z, torch.zeros(1, 25), light)
    tiny.synthesise(w, labels(1)).image.square().mean().backward()
    assert z.grad is not None
    assert float(z.grad.abs().max()) > 0
    idle = {
        name
        for name, value in tiny.named_parameters()
        if value.grad is None or float(value.grad.abs().max()) == 0
    }
    # Super-resolution has no noise; tint and expression were not given.
    free = {name for name in idle if name.startswith("superresolution") and "noise" in name}
    assert idle - free == {"backbone.mapping.tint.weight", "backbone.mapping.expression.weight"}


def test_noise_maps_take_the_fixed_ones_place(tiny: Generator) -> None:
    for layer in tiny.modules():
        if isinstance(layer, backbone.SynthesisLayer):
            layer.noise_strength.data.fill_(0.5)
    ws = torch.randn(1, TINY.n_ws, TINY.w_dim)
    own = [field.clone() for field in tiny.noise_maps()]
    assert [field.shape[-1] for field in own] == [4, 8, 8]
    same = tiny.planes(ws, own).features
    assert torch.equal(tiny.planes(ws).features, same)
    own[1] = own[1] + 1
    assert not torch.equal(tiny.planes(ws, own).features, same)


def naive_modulation(layer: backbone.SynthesisLayer, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """Karras et al. 2020, 2.2, with a weight for each picture; resampling step by step."""
    style = w @ layer.affine.weight.T / w.shape[1] ** 0.5 + layer.affine.bias
    outputs = []
    for picture, own in zip(x, style, strict=True):
        weight = layer.weight * own[None, :, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if layer.up:
            wide = functional.conv_transpose2d(picture[None], weight.transpose(0, 1), stride=2)
            kernel = layer.resample_filter.to(wide)[None, None] * 4
            y = functional.conv2d(
                functional.pad(wide, (1, 1, 1, 1)).transpose(0, 1), kernel
            ).transpose(0, 1)
        else:
            y = functional.conv2d(picture[None], weight, padding=1)
        outputs.append(y)
    y = torch.cat(outputs) + noise * layer.noise_strength + layer.bias[:, None, None]
    return functional.leaky_relu(y, 0.2) * 2**0.5


@pytest.mark.parametrize("up", [False, True])
def test_a_modulated_convolution_is_the_one_with_a_weight_each(up: bool) -> None:
    torch.manual_seed(2)
    layer = backbone.SynthesisLayer(3, 4, 5, 12 if up else 6, up=up).double()
    layer.noise_strength.data.fill_(0.3)
    layer.bias.data.normal_()
    x, w = torch.randn(2, 3, 6, 6).double(), torch.randn(2, 5).double()
    noise = layer.noise_const[None, None]
    ours, naive = layer(x, w, noise), naive_modulation(layer, x, w, noise)
    assert torch.allclose(ours, naive, atol=1e-7)


def test_planes_double_by_the_filter() -> None:
    x = torch.randn(2, 3, 5, 5).double()
    spread = torch.zeros(2, 3, 10, 10).double()
    spread[:, :, ::2, ::2] = x
    kernel = backbone.resample_filter().double()[None, None].repeat(3, 1, 1, 1) * 4
    expected = functional.conv2d(functional.pad(spread, (2, 1, 2, 1)), kernel, groups=3)
    assert torch.allclose(backbone._doubled(x), expected, atol=1e-12)


def test_activations_are_clamped_where_the_sizes_say_so() -> None:
    torch.manual_seed(0)
    clamped = Generator(dataclasses.replace(TINY, clamp=0.01, backbone_clamp=0.02))
    ws = 30 * torch.randn(1, TINY.n_ws, TINY.w_dim)
    with torch.no_grad():
        features, _ = clamped.backbone.synthesis.blocks[0](None, None, ws[:, :2], [None])
        picture = clamped.superresolution(torch.zeros(1, 3, 8, 8), torch.ones(1, 4, 8, 8), ws[:, 0])
    assert float(features.abs().max()) == pytest.approx(0.02)
    assert float(picture.abs().max()) <= 0.01 + 1e-7


def test_drawn_codes_have_the_clouds_mean_and_covariance() -> None:
    mapping = GaussianMapping(TINY)
    random = torch.Generator().manual_seed(0)
    codes = torch.randn(4000, 8, generator=random) @ torch.randn(8, 8, generator=random) + 3
    mapping.fit(codes)
    drawn = mapping(torch.randn(20_000, 8, generator=random))
    assert torch.allclose(drawn.mean(0), codes.mean(0), atol=0.1)
    assert torch.allclose(drawn.T.cov(), codes.T.cov(), atol=0.5)
    white = mapping.whitened(codes)
    assert torch.allclose(white.T.cov(), torch.eye(8), atol=1e-2)
    assert torch.allclose(mapping(white), codes, atol=1e-3)


def test_codes_are_kept_in_the_cloud() -> None:
    mapping = GaussianMapping(TINY)
    mapping.fit(torch.randn(500, 8, generator=torch.Generator().manual_seed(1)) * 2 + 1)
    near, far = mapping.mean[None] + 0.1, mapping.mean[None] + 50
    assert torch.allclose(mapping.within(near, 1.0), near, atol=1e-5)
    kept = mapping.within(far, 1.0)
    assert float(mapping.whitened(kept).norm()) == pytest.approx(8**0.5, rel=1e-3)
    half = mapping(torch.ones(1, 8), None, None, 0.5)
    assert torch.allclose(half - mapping.mean, (mapping(torch.ones(1, 8)) - mapping.mean) / 2)


def test_a_light_adds_to_a_code_and_the_mean_light_nothing() -> None:
    mapping = GaussianMapping(TINY)
    mapping.light_mean.copy_(torch.arange(9.0))
    z, light = torch.randn(1, 8), torch.randn(1, 9)
    assert torch.allclose(mapping(z, None, torch.arange(9.0)[None]), mapping(z), atol=1e-6)
    moved = mapping(z, None, light) - mapping(z)
    assert torch.allclose(moved, mapping.light_code(light), atol=1e-5)
    assert torch.equal(mapping.light_code(light, torch.ones(1, 3)), mapping.light_code(light))


def test_the_camera_conditions_the_network_unless_its_scale_is_nought() -> None:
    sizes = dataclasses.replace(TINY, mapping="network")
    z = torch.randn(1, 8)
    first, second = (torch.from_numpy(orbit_label(yaw, 0.0))[None] for yaw in (0.0, 0.5))
    for scale, same in ((1.0, False), (0.0, True)):
        mapping = MappingNetwork(dataclasses.replace(sizes, label_scale=scale))
        assert torch.equal(mapping(z, first), mapping(z, second)) == same
    with pytest.raises(InputError, match="no light"):
        mapping(z, first, torch.zeros(1, 9))


def test_truncation_draws_towards_the_mean() -> None:
    mapping = MappingNetwork(dataclasses.replace(TINY, mapping="network"))
    mapping.w_avg.normal_()
    z, label = torch.randn(2, 8), torch.zeros(1, 25)
    full, none = mapping(z, label), mapping(z, label, None, 0.0)
    assert torch.allclose(none, mapping.w_avg.expand(2, -1))
    assert torch.allclose(mapping(z, label, None, 0.5), (full + none) / 2, atol=1e-6)


def test_impossible_sizes_are_refused() -> None:
    for change in ({"plane_size": 48}, {"near": 4.0}, {"feature_channels": 2}, {"fine": 1},
                   {"z_dim": 9}):  # fmt: skip
        with pytest.raises(InputError):
            dataclasses.replace(TINY, **change)
    with pytest.raises(InputError, match="small, eg3d"):
        preset("large")
    with pytest.raises(InputError, match="colour"):
        PortraitConfig.of_table({"colour": 3})
