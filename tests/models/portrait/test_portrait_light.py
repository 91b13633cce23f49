"""The light estimator, DPR's network under its own names, and its axes."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mien.models.errors import InputError
from mien.models.portrait import sh
from mien.models.portrait.attributes import JUDGED, AttributeClassifier
from mien.models.portrait.convnet import ConvnetConfig
from mien.models.portrait.light import (
    DprIllumination,
    DprNetwork,
    LightEstimator,
    lab_lightness,
    light_distance,
)
from mien.models.portrait.pictures import Spoiling, load_pictures, spoil
from mien.models.portrait.train_attributes import AttributeOptions
from mien.models.portrait.train_attributes import train as train_attributes
from mien.models.portrait.train_light import (
    LightOptions,
    light_errors,
    lit_sphere,
    mirrored_light,
    train,
)
from mien.models.portrait.vocabulary import SLOTS, Description

SIZES = ConvnetConfig(side=16, widths=(8, 16), blocks=1)


def test_lightness_is_opencvs_and_safe_at_black() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    pixels[0] = 0
    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    images = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32)) / 127.5 - 1
    images.requires_grad_(True)
    found = lab_lightness(images)
    np.testing.assert_allclose(found[0, 0].detach().numpy(), lab[..., 0] / 100, atol=2e-3)
    found.sum().backward()
    assert images.grad is not None
    assert bool(torch.isfinite(images.grad).all())


def test_distance_is_that_of_the_shading() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 9))
    count = 20_000
    k = np.arange(count)
    z, azimuth = 1 - (2 * k + 1) / count, k * np.pi * (3 - np.sqrt(5))
    across = np.sqrt(1 - z * z)
    normals = np.stack([across * np.cos(azimuth), across * np.sin(azimuth), z], 1)
    expected = np.mean((sh.shading(first, normals) - sh.shading(second, normals)) ** 2)
    found = light_distance(*(torch.from_numpy(v[None]).float() for v in (first, second)))
    assert float(found) == pytest.approx(expected, rel=1e-3)


def test_a_mirrored_light_shades_a_mirrored_sphere() -> None:
    light = np.random.default_rng(0).normal(size=9)
    mirrored = mirrored_light(torch.from_numpy(light[None]).float())[0].numpy()
    np.testing.assert_array_equal(lit_sphere(mirrored, 32), lit_sphere(light, 32)[:, ::-1])


def test_errors_of_a_perfect_and_of_a_blind_estimate() -> None:
    true = np.stack([sh.named_light(name) for name in ("left", "right", "above")])
    mean = true.mean(0)
    perfect = light_errors(true, true, mean)
    assert perfect["shading_error"] == 0
    assert perfect["direction_median_deg"] == pytest.approx(0, abs=1e-3)
    blind = light_errors(np.broadcast_to(mean, true.shape), true, mean)
    assert blind["shading_error"] == pytest.approx(blind["shading_error_of_mean"])


def test_dpr_has_its_own_names() -> None:
    state = DprNetwork().state_dict()
    assert len(state) == 250
    for name in (
        "pre_conv.bias", "HG3.middle.middle.middle.middle.predict_FC1.weight",
        "light.post_relu1.weight", "HG0.low2.shortcuts.weight", "HG1.upper.conv1.weight",
        "HG0.low1.bn2.running_var", "bn_3.num_batches_tracked", "output.weight",
    ):  # fmt: skip
        assert name in state
    unique = {value.data_ptr(): value.numel() for value in DprNetwork().state_dict().values()}
    assert sum(unique.values()) == pytest.approx(0.7e6, rel=0.05)


def test_a_dpr_file_is_read_key_for_key(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = DprNetwork()
    path = tmp_path / "trained_model_03.t7"
    torch.save(network.state_dict(), path)
    estimator = DprIllumination(path)
    images = torch.rand(1, 3, 16, 16) * 2 - 1
    images.requires_grad_(True)
    found = estimator(images)
    assert found.shape == (1, 9)
    found.sum().backward()
    assert images.grad is not None
    # In DPR's axes y goes away from the viewer, z up.
    own = network.eval()(lab_lightness(torch.nn.functional.interpolate(
        images.detach(), (512, 512), mode="bilinear", align_corners=False)))  # fmt: skip
    normals = np.random.default_rng(0).normal(size=(40, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    theirs = np.stack([normals[:, 0], -normals[:, 2], normals[:, 1]], 1)
    np.testing.assert_allclose(
        sh.shading(found[0].detach().numpy(), normals),
        sh.shading(own[0].detach().numpy(), theirs), atol=1e-5,
    )  # fmt: skip


def test_other_files_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "dpr.t7"
    with pytest.raises(InputError, match="no such file"):
        DprIllumination(place)
    state = DprNetwork().state_dict()
    state.pop("output.weight")
    torch.save(state, place)
    with pytest.raises(InputError, match=r"1 missing: output\.weight"):
        DprIllumination(place)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(DprNetwork(), place)  # a whole module is code
    with pytest.raises(
        InputError, match=r"plain state dict of tensors: it holds a mien\..*DprNetwork"
    ):
        DprIllumination(place)


def test_spoiling_keeps_what_it_shall(portrait_folder: Path) -> None:
    pictures = load_pictures(portrait_folder, held_out=False)
    images, masks = pictures.batch(np.arange(6))
    nothing = Spoiling(shift=0, tone=0, blur=1, noise=0, backdrop=0)
    rng = np.random.default_rng(0)
    torch.testing.assert_close(spoil(images, masks, nothing, rng), images.clamp(-1, 1))
    spoilt = spoil(images, masks, Spoiling(), rng)
    assert float((spoilt - images).abs().mean()) > 0.01
    assert -1 <= float(spoilt.min()) <= float(spoilt.max()) <= 1


def test_people_are_held_out_and_lights_turned(portrait_folder: Path) -> None:
    training = load_pictures(portrait_folder, held_out=False)
    held_out = load_pictures(portrait_folder, held_out=True)
    assert not set(training.numbers) & set(held_out.numbers)
    turn = sh.view_from_world(training.cameras[1].astype(np.float64))
    world = sh.rotate(training.light[1].astype(np.float64), turn.T)
    first = sh.rotate(
        training.light[0].astype(np.float64),
        sh.view_from_world(training.cameras[0].astype(np.float64)).T,
    )
    assert training.look[0] == training.look[1]
    np.testing.assert_allclose(world, first, atol=1e-4)
    assert training.of_slot("gender").max() <= 1
    assert (training.tokens() >= 0).all()


def test_the_estimator_learns_and_keeps(portrait_folder: Path, tmp_path: Path) -> None:
    options = LightOptions(
        data=portrait_folder, out=tmp_path, steps=4, batch=8, network=SIZES, log_steps=2,
        validate_steps=100, bfloat16=False, device="cpu",
    )  # fmt: skip
    result = train(options)
    estimator = LightEstimator.load(result.weights)
    assert estimator(torch.zeros(2, 3, 64, 64)).shape == (2, 9)
    assert result.figures["shading_error_of_mean"] > 0
    with pytest.raises(InputError, match=r"portrait-light-1.?, expected portrait-attributes-1"):
        AttributeClassifier.load(result.weights)


def test_classifiers_learn_and_judge(portrait_folder: Path, tmp_path: Path) -> None:
    options = AttributeOptions(
        data=portrait_folder, out=tmp_path, steps=3, batch=8, network=SIZES, log_steps=2,
        validate_steps=100, bfloat16=False, device="cpu",
    )  # fmt: skip
    result = train_attributes(options)
    classifier = AttributeClassifier.load(result.weights)
    images = torch.zeros(2, 3, 32, 32)
    logits = classifier(images)
    assert {slot: logits[slot].shape[1] for slot in JUDGED} == {
        slot: len(SLOTS[slot]) for slot in JUDGED
    }
    said = Description({"age": "old", "view": "front"})
    found = classifier.probabilities(images, said)
    assert set(found) == {"age"}
    total = sum(
        classifier.probabilities(images, Description({"age": age}))["age"] for age in SLOTS["age"]
    )
    torch.testing.assert_close(total, torch.ones(2))
