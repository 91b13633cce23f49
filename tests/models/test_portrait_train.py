"""The generator's training on tiny heads, its data, its weights, and inversion."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("onnx")

from mien.models.errors import InputError  # noqa: E402
from mien.models.learning.checkpoint_file import load_content  # noqa: E402
from mien.models.portrait.cameras import axis_share, orbit_label, rays  # noqa: E402
from mien.models.portrait.config import EG3D, PortraitConfig  # noqa: E402
from mien.models.portrait.dataset import Portraits, smaller_depth, split  # noqa: E402
from mien.models.portrait.features import RegressorFeatures  # noqa: E402
from mien.models.portrait.first_codes import first_codes  # noqa: E402
from mien.models.portrait.generator import Generator  # noqa: E402
from mien.models.portrait.invert import (  # noqa: E402
    InversionOptions,
    cloud_distance,
    code_cloud,
    invert,
    noise_regularity,
    reconstruction,
)
from mien.models.portrait.mapping import GaussianMapping  # noqa: E402
from mien.models.portrait.pictures import words_digest  # noqa: E402
from mien.models.portrait.train_generator import GeneratorOptions, train  # noqa: E402
from mien.models.portrait.weights import (  # noqa: E402
    load_part,
    load_weights,
    read_facts,
    save_weights,
)

SIZE, LOOKS, VIEWS, PERSONS = 16, 2, 3, 5
TINY = PortraitConfig(
    name="tiny", z_dim=12, w_dim=12, plane_size=16, plane_channels=6, channel_base=256,
    channel_max=16, decoder_hidden=12, feature_channels=6, render_size=8, super_channels=(8,),
    coarse=6, fine=6,
)  # fmt: skip


def ellipsoid(label: np.ndarray, axes: np.ndarray, colour: np.ndarray, light: np.ndarray):
    """Picture, mask and depth of a matt ellipsoid at the origin, on paper."""
    one = torch.from_numpy(label)[None]
    origins, directions = (ray[0].double().numpy() for ray in rays(one, SIZE))
    start, way = origins / axes, directions / axes
    a, b, c = (way**2).sum(1), (start * way).sum(1), (start**2).sum(1) - 1
    inside = b * b - a * c
    hit = inside > 0
    distance = (-b - np.sqrt(np.maximum(inside, 0))) / a
    points = origins + distance[:, None] * directions
    normals = points / axes**2
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    shade = np.clip(0.6 + 0.35 * normals @ light, 0, 1)[:, None] * colour
    share = axis_share(one, torch.from_numpy(directions)[None].float())[0].numpy()
    image = np.where(hit[:, None], shade * 255, 0).reshape(SIZE, SIZE, 3)
    depth = np.where(hit, distance * share, 0).reshape(SIZE, SIZE)
    return image.astype(np.uint8), (255 * hit).astype(np.uint8).reshape(SIZE, SIZE), depth


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ellipsoids, laid out as ``mien synthesize portraits`` does."""
    made = tmp_path_factory.mktemp("ellipsoids")
    (made / "meta.json").write_text(json.dumps({"kind": "portraits", "size": SIZE}))
    rng = np.random.default_rng(0)
    for number in range(PERSONS):
        axes, colour = rng.uniform(0.15, 0.27, 3), rng.uniform(0.3, 1.0, 3)
        shown = []
        cameras = np.zeros((LOOKS, VIEWS, 25), np.float32)
        lights = np.zeros((LOOKS, 9), np.float32)
        for look in range(LOOKS):
            light = rng.normal(size=3)
            lights[look, 0], lights[look, [3, 1, 2]] = 1.0, light / np.linalg.norm(light)
            for view in range(VIEWS):
                yaw, pitch = rng.uniform(-0.6, 0.6), rng.uniform(-0.2, 0.2)
                cameras[look, view] = orbit_label(float(yaw), float(pitch))
                way = lights[look, [3, 1, 2]].astype(np.float64)
                shown.append(ellipsoid(cameras[look, view], axes, colour, way))
        images, masks, depths = (
            np.stack(part).reshape(LOOKS, VIEWS, *part[0].shape)
            for part in zip(*shown, strict=True)
        )
        np.savez(
            made / f"person-{number:05d}.npz",
            images=images, mask=masks, depth=depths.astype(np.float16), cameras=cameras,
            light=lights, light_rgb=np.repeat(lights[..., None], 3, 2),
            blendshapes=rng.random((LOOKS, 52)).astype(np.float32),
            identity=np.array(number, np.int32),
            attributes=np.array(json.dumps([{"age": "old"}] * LOOKS)),
        )  # fmt: skip
    return made


@pytest.fixture
def options(folder: Path, tmp_path: Path) -> Callable[..., GeneratorOptions]:
    """Options of a short training into a folder of that name."""

    def make(name: str, steps: int, **more: Any) -> GeneratorOptions:
        return GeneratorOptions(
            data=folder, out=tmp_path / name, steps=steps, sizes=TINY, device="cpu",
            samples=(6, 6), log_steps=5, **more,
        )  # fmt: skip

    return make


def test_a_folder_is_read_and_split_by_person(folder: Path) -> None:
    portraits = Portraits.load(folder)
    assert (len(portraits), portraits.views, portraits.size) == (PERSONS * LOOKS, VIEWS, SIZE)
    assert np.allclose(portraits.tint, 1)
    train_set, held_out = portraits.split()
    assert set(train_set.person) == {0, 1, 2, 3}
    assert set(held_out.person) == {4}
    small = Portraits.load(folder, 8)
    assert small.size == 8
    assert np.allclose(small.images.mean(), portraits.images.mean(), atol=1)


def test_the_last_persons_are_held_out() -> None:
    first, last = split(300)
    assert (len(first), len(last)) == (255, 45)
    assert np.array_equal(np.concatenate([first, last]), np.arange(300))
    with pytest.raises(InputError, match="1 persons"):
        split(1)


def test_people_who_look_alike_begin_with_codes_alike(folder: Path) -> None:
    portraits = Portraits.load(folder)
    codes = first_codes(portraits, 16)
    assert codes.shape == (PERSONS, 16)
    assert codes.std() == pytest.approx(0.5, abs=1e-6)
    assert np.allclose(codes.mean(0), 0, atol=1e-6)

    twin = portraits.chosen(portraits.person == 0)
    changed = np.clip(twin.images.astype(int) + 2, 0, 255).astype(np.uint8)
    twin = replace(twin, images=changed, person=twin.person + PERSONS)
    both = Portraits(
        **{
            field.name: np.concatenate([getattr(portraits, field.name), getattr(twin, field.name)])
            for field in fields(Portraits)
        }
    )
    codes = first_codes(both, 16)
    apart = np.linalg.norm(codes - codes[0], axis=1)
    assert 0 < apart[-1] < 0.5 * apart[1:-1].min()


def test_depth_is_only_averaged_on_one_surface() -> None:
    depth = np.array([[2.5, 2.51, 2.5, 2.9], [2.5, 2.49, 2.5, 2.9]] * 2, np.float32)
    depth[3, 1] = 0
    assert np.allclose(smaller_depth(depth, 2), [[2.5, 0], [0, 0]], atol=1e-5)


def test_folders_that_are_not_portraits_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no portraits"):
        Portraits.load(tmp_path)
    (tmp_path / "meta.json").write_text('{"kind": "portraits"}')
    with pytest.raises(InputError, match="synthesize portraits"):
        Portraits.load(tmp_path)
    (tmp_path / "person-00000.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"person-00000\.npz"):
        Portraits.load(tmp_path)
    with pytest.raises(InputError, match="16 px cannot be brought to 12"):
        Portraits.load(folder, 12)


def test_a_training_learns_and_its_weights_come_back(
    options: Callable[..., GeneratorOptions],
) -> None:
    lines = []
    some = options("out", 100, learning_rate=0.015, validate_steps=40, warmup_steps=10)
    result = train(some, lines.append)
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.5 * losses[0]
    psnr = [line["validation"]["psnr_held_out_view"] for line in lines if "validation" in line]
    assert psnr[-1] > psnr[0]
    shown, _ = Portraits.load(some.data).split()
    error = (shown.images[:, -1] - shown.images[:, :-1].mean((0, 1))) ** 2
    best_single_picture = (10 * np.log10(255**2 / error.mean((1, 2, 3)))).mean()
    assert psnr[-1] > best_single_picture + 1
    for name in ("checkpoint.pt", "log.jsonl", "curves.png", "sheet.png"):
        assert (some.out / name).stat().st_size > 0, name
    generator = load_weights(result.weights)
    assert generator.config == TINY
    assert read_facts(result.weights)["persons"] == 4
    assert read_facts(result.weights)["words_sha256"] == words_digest(some.data)
    codes = load_part(result.weights, "generator").extras["codes"]
    assert codes.shape == (8, 12)
    mapping = generator.mapping
    assert isinstance(mapping, GaussianMapping)
    assert torch.allclose(codes.mean(0), mapping.mean, atol=1e-5)
    assert torch.allclose(codes.T.cov(), mapping.factor @ mapping.factor.T, atol=1e-4)


def test_a_resumed_training_is_an_uninterrupted_one(
    options: Callable[..., GeneratorOptions],
) -> None:
    whole = train(options("whole", 8))
    first = options("parts", 8)
    with pytest.raises(KeyboardInterrupt):
        train(first, _interrupt_at(5))
    parts = train(replace(first, resume=True))
    one, other = (load_part(path, "generator") for path in (whole.weights, parts.weights))
    assert set(one.tensors) == set(other.tensors)
    for name, value in one.tensors.items():
        assert torch.equal(value, other.tensors[name]), name
    contents = [
        load_content(r.weights.parent / "checkpoint.pt", "portrait-generator-training-1")
        for r in (whole, parts)
    ]
    for name, value in contents[0]["network"].items():
        assert torch.equal(value, contents[1]["network"][name]), name


def _interrupt_at(step: int) -> Callable[[dict[str, Any]], None]:
    def report(line: dict[str, Any]) -> None:
        if line["step"] == step:
            raise KeyboardInterrupt

    return report


def test_weights_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    generator = Generator(TINY)
    save_weights(path, generator, {"why": "a test"})
    again = load_weights(path)
    for name, value in generator.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    with pytest.raises(InputError, match="expected portrait-prior-1"):
        load_part(path, "prior")
    generator.decoder.register_buffer("more", torch.zeros(1))
    save_weights(path, generator, {})
    with pytest.raises(InputError, match=r"unexpected: decoder\.more"):
        load_weights(path)
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="pickles are not opened"):
        load_weights(path)
    with pytest.raises(InputError, match="no such file"):
        load_weights(tmp_path / "absent.safetensors")


def test_only_presets_of_an_auto_decoder_are_trained(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="adversarially"):
        GeneratorOptions(data=folder, out=tmp_path, steps=1, sizes=EG3D)


def test_features_tell_a_shifted_picture_from_a_noisy_one() -> None:
    features = RegressorFeatures()
    ramp = torch.linspace(-0.8, 0.8, 64)
    picture = (ramp[None, None, :, None] * torch.cos(9 * ramp)).expand(1, 3, 64, 64)
    same = features.distance(picture, picture)
    near = features.distance(picture, picture + 0.02)
    far = features.distance(picture, picture.flip(3).roll(9, 2))
    assert float(same) == 0.0
    assert float(near) < 0.3 * float(far)
    moved = picture.clone().requires_grad_()
    features.distance(moved, picture.roll(3, 3)).sum().backward()
    assert moved.grad is not None
    assert float(moved.grad.abs().max()) > 0


def test_an_inversion_finds_a_picture_of_the_generator() -> None:
    torch.manual_seed(4)
    generator = Generator(TINY).eval().requires_grad_(False)
    label = torch.from_numpy(orbit_label(0.1, 0.0))[None]
    with torch.no_grad():
        target = generator.synthesise(generator.map(torch.randn(1, 12), label), label).image
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    losses = {"picture": reconstruction(target), "cloud": cloud_distance(generator, 1e-3)}
    seen = []
    found = invert(
        generator, label, losses,
        InversionOptions(steps=60, tuning_steps=20, learning_rate=0.1, tuning_rate=5e-3),
        report=lambda step, terms: seen.append((step, terms)),
    )  # fmt: skip
    assert [step for step, _ in seen] == list(range(1, 81))
    assert found.history[59]["picture"] < 0.6 * found.history[0]["picture"]
    assert found.history[-1]["picture"] < 0.95 * found.history[59]["picture"]
    assert found.ws.shape == (1, TINY.n_ws, 12)
    assert [field.shape for field in found.noise] == [f.shape for f in generator.noise_maps()]
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert found.generator is not generator


def test_an_inversion_keeps_what_it_is_told_to() -> None:
    torch.manual_seed(5)
    generator = Generator(TINY).eval().requires_grad_(False)
    label = torch.from_numpy(orbit_label(0.0, 0.0))[None]
    start = torch.randn(1, 12)
    target = torch.zeros(1, 3, 16, 16)
    some = InversionOptions(steps=3, tuning_steps=0, noise_rate=0.0, per_layer=False)
    found = invert(generator, label, {"picture": reconstruction(target)}, some, start)
    assert found.generator is generator
    assert torch.equal(found.ws[:, 0], found.ws[:, -1])
    for field, own in zip(found.noise, generator.noise_maps(), strict=True):
        assert torch.equal(field, own)
    masked = reconstruction(target, mask=torch.zeros(1, 1, 16, 16))
    still = invert(generator, label, {"picture": masked}, replace(some, code_noise=0.0), start)
    assert torch.allclose(still.ws, generator.repeated(start), atol=1e-6)
    with pytest.raises(InputError, match="no loss"):
        invert(generator, label, {}, some)


def test_noise_is_regular_when_neighbours_are_unlike() -> None:
    random = torch.Generator().manual_seed(0)
    white = [torch.randn(1, 1, side, side, generator=random) for side in (8, 32)]
    smooth = [torch.nn.functional.avg_pool2d(field, 3, 1, 1) * 3 for field in white]
    assert float(noise_regularity(smooth)) > 10 * float(noise_regularity(white))


def test_the_cloud_of_a_network_is_that_of_its_codes() -> None:
    torch.manual_seed(6)
    generator = Generator(replace(TINY, mapping="network"))
    mean, root = code_cloud(generator)
    label = torch.from_numpy(orbit_label(0.0, 0.0))[None]
    with torch.no_grad():
        codes = generator.map(torch.randn(3000, 12), label)
    assert torch.allclose(codes.mean(0), mean[0], atol=0.15)
    spread = codes.std(0).square().mean().sqrt()
    assert float(root[0, 0]) == pytest.approx(float(spread), rel=0.1)
    assert torch.equal(root, root.diag().diag())
