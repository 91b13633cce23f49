"""The avatar's stages on deforming ellipsoids: they learn, go on, and what they write works."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("skimage")

import torch

from mien.models.avatar import train_config
from mien.models.avatar.avatar import Avatar
from mien.models.avatar.config import (
    AvatarConfig,
    DiffusionConfig,
    avatar_preset,
    diffusion_preset,
)
from mien.models.avatar.dataset import ScanFolder, fixed_batch, grid_batch
from mien.models.avatar.inversion import invert
from mien.models.avatar.keypoints import keypoint_preset
from mien.models.avatar.losses import truth_of
from mien.models.avatar.sample import (
    NeutralScan,
    generate,
    generate_people,
    reconstruct,
    surface,
)
from mien.models.avatar.train import AvatarTraining, make_stage, train_avatar
from mien.models.avatar.train_config import AvatarTrainConfig
from mien.models.avatar.weights import load_weights, read_facts, save_weights, shipped
from mien.models.avatar.words import caption_vector
from mien.models.errors import InputError
from mien.models.scans.box import FaceBox

N = 16
BOX = FaceBox(N)
CENTRE = np.array([0.0, 30.0, 40.0])
TINY = replace(
    avatar_preset("small", cells=N), latent_cells=4, latent_channels=8, embedding=16,
    widths=((4, 24), (8, 16)), attention=(4,), batch=4, view_size=16, samples=16, render_every=4,
    perceptual_weight=0.0, learning_rate=4e-3,
)  # fmt: skip
TINY_DIFFUSION = replace(
    diffusion_preset("small"), channels=(16, 32), attention=(False, True), groups=8,
    head_channels=16, token_width=16, field_channels=4, batch=8, learning_rate=3e-3,
    average_decay=0.9,
)  # fmt: skip
Make = Callable[..., AvatarTrainConfig]
MakePerson = Callable[[int], dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def data(ellipsoid_scans: Path) -> Path:
    return ellipsoid_scans


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Any:
    """Presets of a few thousand weights in place of the real ones."""

    def avatar(_: str, *, cells: int | None = None) -> AvatarConfig:
        return replace(TINY, cells=cells or N)

    def diffusion(_: str, __: int = 4) -> DiffusionConfig:
        return TINY_DIFFUSION

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_config, "avatar_preset", avatar)
        patch.setattr(train_config, "diffusion_preset", diffusion)
        yield


@pytest.fixture(scope="module")
def make(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A configuration for few steps, in a folder of its own."""

    def config(stage: str, steps: int, **options: Any) -> AvatarTrainConfig:
        out = options.pop("out", None) or tmp_path_factory.mktemp(stage)
        defaults = {
            "device": "cpu", "warmup_steps": 5, "log_steps": 10, "held_out": 4, "half": False,
            "bfloat16": False,
        }  # fmt: skip
        options = {"data": data, **options}
        return AvatarTrainConfig(stage=stage, out=out, steps=steps, **defaults | options)  # pyright: ignore[reportArgumentType]

    return config


@pytest.fixture(scope="module")
def encoder(make: Make) -> Path:
    """Weights of a short training of the encoder."""
    return train_avatar(make("encoder", 160)).weights


@pytest.fixture(scope="module")
def diffusion(make: Make, encoder: Path) -> Path:
    """Weights of a short training of the denoiser."""
    return train_avatar(make("diffusion", 120, init=encoder)).weights


def test_the_folder_is_split_by_person(data: Path, tmp_path: Path) -> None:
    folder = ScanFolder(data)
    assert folder.training == (0, 1, 2, 3, 4)
    assert folder.validation == (5,)
    assert (folder.expressions, folder.scans) == (4, 2)
    batch = grid_batch(folder, folder.training, 40, np.random.default_rng(0), 0.5)
    scanned = (batch.seen != 255).any((1, 2, 3))
    assert 8 < scanned.sum() < 32
    # The truth of a scan is the complete neutral.
    assert bool((batch.objects[scanned] % 4 == 0).all())
    assert not np.array_equal(batch.sdf[scanned], batch.true_sdf[scanned])
    clean = ~scanned
    np.testing.assert_array_equal(batch.sdf[clean], batch.true_sdf[clean])
    one_at_a_time = ScanFolder(data, memory=1)
    np.testing.assert_array_equal(
        fixed_batch(one_at_a_time, (0, 1, 2), 5, scans=False).sdf,
        fixed_batch(folder, (0, 1, 2), 5, scans=False).sdf,
    )
    with pytest.raises(InputError, match="synthesize scans"):
        ScanFolder(tmp_path)
    (tmp_path / "meta.json").write_text('{"cells": 16}')
    for number in range(2):
        (tmp_path / f"person-{number:05d}.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="person-00000"):
        ScanFolder(tmp_path)


def test_the_encoder_learns_shapes_of_held_out_persons(make: Make, encoder: Path) -> None:
    figures = read_facts(encoder)["figures"]
    untrained = AvatarTraining(make("encoder", 1), make_stage(make("encoder", 1)))
    before = untrained.stage.figures()
    assert figures["surface_mm"] < 0.6 * before["surface_mm"]
    assert figures["surface_mm"] < 0.25 * float(BOX.edges.max())
    assert figures["iou"] > 0.8
    assert figures["scans_iou"] > 0.7
    for name in ("checkpoint.pt", "log.jsonl", "curves.png", "sheet.png"):
        assert (encoder.parent / name).stat().st_size > 0


def test_the_diffusion_follows_the_expression(diffusion: Path) -> None:
    figures = read_facts(diffusion)["figures"]
    assert figures["moved_mm"] < 0.6 * figures["copy_mm"]
    assert figures["ceiling_mm"] < figures["moved_mm"]
    model = load_weights(diffusion)
    assert model.diffusion is not None
    assert float(model.diffusion.normalisation.scale.min()) > 0


def test_generation_is_a_function_of_scan_vector_and_seed(
    diffusion: Path, make_person: MakePerson
) -> None:
    model = load_weights(diffusion)
    person = make_person(5)
    scan = NeutralScan(
        person["scan_sdf"][0].astype(np.float32), person["scan_seen"][0], person["scan_colour"][0]
    )
    vectors = np.zeros((3, 52), np.float32)
    vectors[1, 0] = vectors[2, 0] = 1.0
    found = generate(model, scan, vectors, steps=6, seed=3)
    assert found.sdf.shape == (3, N, N, N)
    assert found.colour.shape == (3, N, N, N, 3)
    np.testing.assert_allclose(found.sdf[1], found.sdf[2], atol=1e-3)
    again = generate(model, scan, vectors[1], steps=6, seed=3)
    np.testing.assert_allclose(again.sdf[0], found.sdf[1], atol=1e-2)
    other = generate(model, scan, vectors[1], steps=6, seed=4)
    assert not np.array_equal(again.sdf, other.sdf)
    # The first blendshape makes the ellipsoid taller: more cells are inside.
    assert (found.sdf[1] < 0).sum() > 1.03 * (found.sdf[0] < 0).sum()
    mesh = surface(found.sdf[1], found.colour[1])
    fine = surface(found.sdf[1], found.colour[1], refine=2)
    assert len(fine.vertices) > 2 * len(mesh.vertices)
    assert mesh.colours is not None
    tall = np.ptp(mesh.vertices[:, 1])
    assert tall > np.ptp(surface(found.sdf[0], found.colour[0]).vertices[:, 1])


def test_a_surface_lies_where_the_distance_is_zero() -> None:
    sdf = np.linalg.norm(BOX.centres() - CENTRE, axis=-1) - 40
    colour = np.zeros((N, N, N, 3), np.uint8)
    colour[..., 0] = np.linspace(0, 255, N).astype(np.uint8)[:, None, None]
    mesh = surface(sdf.astype(np.float32), colour)
    radius = np.linalg.norm(mesh.vertices - CENTRE, axis=1)
    assert abs(float(radius.mean()) - 40.0) < 0.5
    assert mesh.colours is not None
    right = mesh.vertices[:, 0] > 25
    assert mesh.colours[right, 0].min() > mesh.colours[mesh.vertices[:, 0] < -25, 0].max()


def test_impossible_requests_are_refused(
    diffusion: Path, encoder: Path, make_person: MakePerson
) -> None:
    model = load_weights(diffusion)
    person = make_person(5)
    clean = NeutralScan.clean(person["sdf"][0].astype(np.float32), person["colour"][0])
    assert reconstruct(model, clean).sdf.shape == (1, N, N, N)
    with pytest.raises(InputError, match="51 values, expected 52"):
        generate(model, clean, np.zeros(51, np.float32))
    with pytest.raises(InputError, match="not finite"):
        generate(model, clean, np.full(52, np.nan, np.float32))
    with pytest.raises(InputError, match="no observed cell"):
        generate(model, clean._replace(seen=np.zeros_like(clean.seen)), np.zeros(52, np.float32))
    with pytest.raises(InputError, match="no diffusion"):
        generate(load_weights(encoder), clean, np.zeros(52, np.float32))
    coarse = NeutralScan.clean(clean.sdf[::2, ::2, ::2], clean.colour[::2, ::2, ::2])
    with pytest.raises(InputError, match="expected 16"):
        generate(model, coarse, np.zeros(52, np.float32))


@pytest.mark.parametrize("stage", ["encoder", "diffusion"])
def test_an_interrupted_training_goes_on_to_the_same_weights(
    make: Make, encoder: Path, stage: str
) -> None:
    options = {"init": encoder} if stage == "diffusion" else {}
    whole = train_avatar(make(stage, 6, log_steps=1, **options)).weights
    config = make(stage, 6, log_steps=1, **options)

    def interrupt(line: dict[str, Any]) -> None:
        if line["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_avatar(config, interrupt)
    assert not (config.out / "weights.safetensors").exists()
    resumed = train_avatar(replace(config, resume=True)).weights
    first, second = (load_weights(path).state_dict() for path in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(InputError, match="another folder"):
        train_avatar(make("autodecoder", 6, out=config.out, resume=True))


def test_the_autodecoder_learns_and_a_new_object_is_found(make: Make, data: Path) -> None:
    path = train_avatar(make("autodecoder", 100)).weights
    model = load_weights(path)
    assert model.objects == 20
    assert read_facts(path)["figures"]["iou"] > 0.8
    batch = fixed_batch(ScanFolder(data), (5,), 1, scans=False)
    truth = truth_of(torch.from_numpy(batch.true_sdf), torch.from_numpy(batch.true_colour))
    first, last = (invert(model, truth, steps=steps).loss for steps in (1, 50))
    assert last < 0.7 * first
    with pytest.raises(InputError, match="neither"):
        invert(model)
    free = train_avatar(make("diffusion", 3, init=path, condition="none")).weights
    made = load_weights(free)
    assert made.diffusion is not None
    assert not made.diffusion.config.neutral


def test_captions_make_new_people(make: Make, encoder: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no caption of person 0"):
        train_avatar(make("diffusion", 3, init=encoder, condition="captions"))
    folder = tmp_path / "scans"
    shutil.copytree(data, folder)
    captions = {str(n): "old, man, dark skin" if n % 2 else "young, woman" for n in range(6)}
    (folder / "captions.json").write_text(json.dumps(captions))
    path = train_avatar(
        make("diffusion", 4, init=encoder, condition="captions", data=folder)
    ).weights
    model = load_weights(path)
    assert model.diffusion is not None
    assert not model.diffusion.config.neutral
    assert model.diffusion.config.guidance > 1
    said = np.stack([caption_vector(text) for text in ("a young woman", "an old man", "a man")])
    people = list(generate_people(model, said, steps=4, seed=1))
    assert [grids.sdf.shape for grids in people] == 3 * [(1, N, N, N)]
    # The second is the same whoever comes first, and another with another seed.
    again = list(generate_people(model, said[[2, 1]], steps=4, seed=1))
    np.testing.assert_array_equal(again[1].sdf, people[1].sdf)
    other = list(generate_people(model, said[[2, 1]], steps=4, seed=2))
    assert not np.array_equal(other[1].sdf, people[1].sdf)
    assert not np.array_equal(again[0].sdf, people[0].sdf)
    with pytest.raises(InputError, match="not conditioned by blendshapes"):
        generate(
            model,
            NeutralScan.clean(people[0].sdf[0], people[0].colour[0]),
            np.zeros(52, np.float32),
        )


def test_a_non_rigid_autodecoder_has_one_object_a_person(make: Make, data: Path) -> None:
    path = train_avatar(make("autodecoder", 4, non_rigid=True)).weights
    model = load_weights(path)
    assert model.objects == 5
    assert model.keypoints is not None
    assert model.keypoints.config == keypoint_preset("small")
    figures = read_facts(path)["figures"]
    assert {"surface_mm", "rest_surface_mm"} <= figures.keys()
    batch = fixed_batch(ScanFolder(data), (1,), 1, scans=False)
    volume = model.decode(model.embedded(torch.tensor([1])))
    views = torch.from_numpy(batch.views[:, 0, ..., :3]).permute(0, 3, 1, 2).float() / 255
    posed, motion = model.keypoints.posed(volume, views, torch.from_numpy(batch.cameras[:, 0]))
    assert posed.shape.shape == (1, 1, N, N, N)
    assert motion.poses.rotation.shape == (1, 10, 3, 3)
    with pytest.raises(InputError, match="a latent for each person"):
        train_avatar(make("diffusion", 3, init=path, condition="none"))
    with pytest.raises(InputError, match="belongs to the autodecoder"):
        make("encoder", 3, non_rigid=True)
    with pytest.raises(InputError, match="afresh"):
        make("autodecoder", 3, non_rigid=True, init=path)


@pytest.mark.parametrize(
    "options",
    [
        {"residual": False, "robust": False, "condition": "both"},
        {"regression": True},
        {"condition": "attributes"},
    ],
)  # fmt: skip
def test_ablations_train(make: Make, encoder: Path, options: dict[str, Any]) -> None:
    result = train_avatar(make("diffusion", 3, init=encoder, **options))
    model = load_weights(result.weights)
    assert model.diffusion is not None
    config = model.diffusion.config
    assert config.residual == (options.get("residual", True) and config.neutral)
    assert config.robust == options.get("robust", True)
    assert config.regression == options.get("regression", False)


def test_weights_survive_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Avatar(TINY, objects=3, encoder=True, diffusion=TINY_DIFFUSION)
    assert model.diffusion is not None
    model.diffusion.normalisation.scale.fill_(1e5)
    path = tmp_path / "weights.safetensors"
    save_weights(path, model, {"minutes": 3})
    found = load_weights(path)
    assert found.config == TINY
    assert found.diffusion is not None
    assert found.diffusion.config == TINY_DIFFUSION
    assert read_facts(path) == {"minutes": 3}
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    save_weights(path, model, {}, half=True)
    halved = load_weights(path)
    assert halved.diffusion is not None
    assert float(halved.diffusion.normalisation.scale[0]) == 1e5
    for name, value in model.state_dict().items():
        torch.testing.assert_close(halved.state_dict()[name], value, atol=1e-3, rtol=1e-3)
    assert load_weights(path, diffusion=False).diffusion is None
    assert shipped().parts[-3:] == ("weights", "avatar", "weights.safetensors")


def test_bad_weights_are_refused(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = tmp_path / "weights.safetensors"
    with pytest.raises(InputError, match="no such file"):
        load_weights(path)
    path.write_bytes(b"not at all")
    with pytest.raises(InputError, match="not a safetensors file"):
        load_weights(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="mien-avatar-1"):
        load_weights(path)
    save_weights(path, Avatar(TINY, encoder=True), {})
    with safe_open(path, "pt") as file:
        about = file.metadata()
    tensors = load_file(path)
    name = next(iter(tensors))
    for changed, said in (
        ({k: v for k, v in tensors.items() if k != name}, "1 missing"),
        (tensors | {"odd": torch.zeros(2)}, "1 unexpected: odd"),
        (tensors | {name: torch.zeros(2, 2)}, "1 of another size"),
        (tensors | {name: torch.full_like(tensors[name], float("nan"))}, "1 not finite"),
    ):
        save_file(changed, path, about)
        with pytest.raises(InputError, match=said):
            load_weights(path)
    save_file(tensors, path, about | {"config": "{}"})
    with pytest.raises(InputError, match="configuration"):
        load_weights(path)


def test_trainings_that_cannot_be_are_refused(make: Make, encoder: Path) -> None:
    with pytest.raises(InputError, match="budget"):
        make("encoder", None)
    with pytest.raises(InputError, match="--init"):
        make("diffusion", 5)
    with pytest.raises(InputError, match="--latent"):
        make("diffusion", 5, init=encoder, latent=8)
    with pytest.raises(InputError, match="expected one of 4, 8, 16"):
        train_avatar(make("encoder", 5, latent=7))
