"""The detector's network, its targets and loss, training, export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="trains the detector (extra: train)")
pytest.importorskip("onnx", reason="exports the detector (extra: train)")

from mien.models.detector.boxes import decode, suppress  # noqa: E402
from mien.models.detector.checkpoint import DetectorCheckpoint  # noqa: E402
from mien.models.detector.export import detector_to_onnx, export_detector  # noqa: E402
from mien.models.detector.losses import detector_loss  # noqa: E402
from mien.models.detector.network import (  # noqa: E402
    DetectorNetwork,
    DetectorNetworkConfig,
    DetectorOutput,
)
from mien.models.detector.targets import batch_of, mirrored  # noqa: E402
from mien.models.detector.train import (  # noqa: E402
    DetectorTrainConfig,
    DetectorTraining,
    train_detector,
)
from mien.models.detector.validation import validate  # noqa: E402
from mien.models.errors import InputError  # noqa: E402
from mien.models.face.bundle import Bundle  # noqa: E402
from mien.models.regressor.network import FaceNetwork, NetworkConfig  # noqa: E402
from mien.models.regressor.warm_start import network_of_export, read_export  # noqa: E402
from mien.models.synthetic.scenes_bank import (  # noqa: E402
    SIZE,
    CutOut,
    Kind,
    save_meta,
    save_shard,
)
from mien.models.synthetic.scenes_compose import Scene  # noqa: E402
from mien.stream.onnx_session import open_session  # noqa: E402

SMALL = DetectorNetworkConfig(width=0.1, deep=8, decoder=(8, 8, 8))


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> DetectorNetwork:
    """Random weights, with running statistics that are not those of an untrained network."""
    torch.manual_seed(3)
    network = DetectorNetwork(SMALL)
    network.train()
    with torch.inference_mode():
        for seed in range(4):
            network(torch.from_numpy(noise(seed, 4, 64, 64)))
    return network.eval()


def run(network: DetectorNetwork, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        output = network(torch.from_numpy(pictures))
    return torch.sigmoid(output.heat).numpy(), output.box.numpy()


def test_maps_have_a_cell_in_four_pixels(network: DetectorNetwork) -> None:
    heat, box = run(network, noise(0, 2, 64, 96))
    assert heat.shape == (2, 1, 16, 24)
    assert box.shape == (2, 4, 16, 24)


def test_a_batch_equals_its_pictures_one_by_one(network: DetectorNetwork) -> None:
    pictures = noise(1, 3, 64, 64)
    together = run(network, pictures)
    for i in range(3):
        alone = run(network, pictures[i : i + 1])
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(a[0], b[i], atol=2e-5)


def test_a_shift_by_the_stride_shifts_the_maps(network: DetectorNetwork) -> None:
    pictures = np.full((1, 704, 704, 3), 127, np.uint8)
    moved = pictures.copy()
    pictures[0, 320:384, 320:384] = moved[0, 352:416, 288:352] = noise(2, 64, 64)
    for a, b in zip(run(network, pictures), run(network, moved), strict=True):
        # Away from the borders, whose padding both see.
        np.testing.assert_allclose(a[..., 76:100, 76:100], b[..., 84:108, 68:92], atol=1e-4)


@pytest.mark.parametrize(("count", "height", "width"), [(1, 64, 96), (3, 32, 32)])
def test_onnx_equals_torch(network: DetectorNetwork, count: int, height: int, width: int) -> None:
    model = detector_to_onnx(network, 0.37).SerializeToString()
    session = open_session(model)
    pictures = noise(5, count, height, width)
    outputs = session.run(["heat", "box"], {"pictures": pictures})
    for mine, theirs in zip(run(network, pictures), outputs, strict=True):
        np.testing.assert_allclose(mine, np.asarray(theirs), atol=1e-4)
    assert session.get_modelmeta().custom_metadata_map == {"threshold": "0.3700"}


def scene(boxes: list[list[float]], counted: list[bool], size: int = 96) -> Scene:
    picture = np.zeros((size, size, 3), np.uint8)
    return Scene(picture, np.array(boxes, np.float32).reshape(-1, 4), np.array(counted, bool))


def test_targets_decode_to_the_boxes() -> None:
    boxes = [[10.0, 20.0, 9.0, 11.0], [40.5, 30.25, 44.0, 50.0]]
    batch = batch_of([scene(boxes, [True, True]), scene([], [])])
    assert batch.heat[1].max() == 0
    assert batch.weight.sum() == pytest.approx(2.0, abs=1e-5)
    peaks = np.where(batch.heat[0, 0] == 1, np.float32(1), np.float32(0))
    found = decode(peaks, batch.box[0], 0.5)
    np.testing.assert_allclose(found[np.argsort(found[:, 2]), :4], boxes, atol=1e-3)
    # Every cell that learns a box learns the same one.
    learning = (batch.weight[0, 0] > 0).astype(np.float32)
    assert len(suppress(decode(learning, batch.box[0], 0.5), 0.9)) == 2


def test_a_mirrored_batch_is_the_batch_of_mirrored_scenes() -> None:
    there = scene([[10.0, 20.0, 9.0, 11.0], [40.5, 30.25, 44.0, 50.0]], [True, False])
    there.image[:, :30] = 200
    boxes = there.boxes.copy()
    boxes[:, 0] = 95 - boxes[:, 0] - boxes[:, 2]
    here = Scene(there.image[:, ::-1].copy(), boxes, there.counted)
    for mine, theirs in zip(mirrored(batch_of([there])), batch_of([here]), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_the_trunk_can_be_a_regressors(network: DetectorNetwork) -> None:
    regressor = FaceNetwork(NetworkConfig(width=0.1))
    mine = DetectorNetwork(SMALL)
    mine.take_trunk(regressor)
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        last = pixels
        for level in mine.eval().trunk:
            last = level(last)
        layers = sum(len(list(level.children())) for level in mine.trunk)
        theirs = regressor.eval().trunk[:layers](pixels)
    np.testing.assert_array_equal(last.numpy(), theirs.numpy())
    with pytest.raises(InputError, match="width"):
        mine.take_trunk(FaceNetwork(NetworkConfig(width=0.2)))


def test_what_is_set_aside_is_neither_demanded_nor_punished() -> None:
    batch = batch_of([scene([[30.0, 30.0, 30.0, 30.0]], [False])])
    assert batch.heat.max() == 0
    assert not batch.free[0, 0, 9:14, 9:14].any()
    targets = [torch.from_numpy(m) for m in (batch.heat, batch.free, batch.box, batch.weight)]
    quiet = torch.full((1, 1, 24, 24), -20.0)
    loud = quiet.clone()
    loud[0, 0, 9:14, 9:14] = 5.0
    zero = torch.zeros((1, 4, 24, 24))
    for heat in (quiet, loud):
        total, _ = detector_loss(DetectorOutput(heat, zero), *targets)
        assert float(total) == pytest.approx(0.0, abs=1e-4)
    elsewhere = quiet.clone()
    elsewhere[0, 0, 2, 2] = 5.0
    assert float(detector_loss(DetectorOutput(elsewhere, zero), *targets)[0]) > 1.0


def test_the_loss_falls_to_zero_on_perfect_maps() -> None:
    batch = batch_of([scene([[20.0, 24.0, 36.0, 40.0]], [True])])
    heat, free, box, weight = (
        torch.from_numpy(m) for m in (batch.heat, batch.free, batch.box, batch.weight)
    )
    sure = torch.where(weight > 0, 20.0, -20.0)
    total, terms = detector_loss(DetectorOutput(sure, box), heat, free, box, weight)
    assert float(total) == pytest.approx(0.0, abs=1e-3)
    assert set(terms) == {"heat", "box"}
    off = detector_loss(DetectorOutput(sure, box + 0.3), heat, free, box, weight)[0]
    assert float(off) > 0.1


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads that are bright discs with two dark eyes."""
    folder = tmp_path_factory.mktemp("bank")
    save_meta(folder, {"seed": 0})
    rows, columns = np.mgrid[:SIZE, :SIZE]
    disc = (rows - 120) ** 2 + (columns - 120) ** 2 < 50**2
    eyes = (rows - 105) ** 2 + (np.abs(columns - 120) - 20) ** 2 < 9**2
    image = np.zeros((SIZE, SIZE, 4), np.uint8)
    image[disc] = (150, 200, 250, 255)
    image[disc & eyes] = (10, 10, 10, 255)
    around = np.linspace(0, 2 * np.pi, 68)
    marks = np.stack([120 + 45 * np.cos(around), 120 + 45 * np.sin(around)], 1)
    cut_out = CutOut(image, marks.astype(np.float32), Kind.FACE)
    for number in range(2):
        save_shard(folder, number, [cut_out] * 3)
    return folder


def config(bank: Path, out: Path, images: int, **options: object) -> DetectorTrainConfig:
    given = {"network": SMALL, "batch": 2, "validation_pictures": 3, "log_steps": 1, **options}
    return DetectorTrainConfig(bank, out, images=images, validation_shards=1, **given)  # pyright: ignore[reportArgumentType]


def test_a_training_begins_from_an_exported_regressor(bank: Path, tmp_path: Path) -> None:
    start = Bundle.default()
    given = config(bank, tmp_path, 10, network=DetectorNetworkConfig(), regressor=start.folder)
    mine = DetectorTraining(given).descent.network.eval()
    crops = noise(3, 8, 120, 120)
    zeros, ones = np.zeros(62, np.float32), np.ones(62, np.float32)
    exported = network_of_export(read_export(start.whole_regressor_path), crops, zeros, ones).eval()
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        said = pixels
        for level in mine.trunk:
            said = level(said)
        theirs = exported.trunk[: sum(len(list(level.children())) for level in mine.trunk)](pixels)
    assert float(theirs.abs().max()) > 0.1
    np.testing.assert_allclose(said.numpy(), theirs.numpy(), atol=1e-3)


def test_training_learns_resumes_and_exports(bank: Path, tmp_path: Path) -> None:
    lines: list[dict[str, object]] = []
    first = train_detector(config(bank, tmp_path, 24), lines.append)
    half = DetectorCheckpoint.load(first.checkpoint)
    assert half.progress.images >= 24
    second = train_detector(config(bank, tmp_path, 60, resume=True), lines.append)
    assert DetectorCheckpoint.load(second.checkpoint).progress.step > half.progress.step
    losses = [line["heat"] for line in lines if "heat" in line]
    assert isinstance(losses[0], float)
    assert isinstance(losses[-1], float)
    assert losses[-1] < losses[0]
    whole = torch.load(second.checkpoint, weights_only=True)
    spoilt = tmp_path / "spoilt"
    spoilt.mkdir()
    for damage in ({"weights": {}}, {"optimiser": {"state": {}, "param_groups": []}}):
        torch.save({**whole, **damage}, spoilt / "checkpoint.pt")
        with pytest.raises(InputError, match=r"checkpoint\.pt"):
            train_detector(config(bank, spoilt, 80, resume=True))
    path = export_detector(second.checkpoint, tmp_path)
    assert path.name == "detector.onnx"
    heat, box = open_session(path).run(None, {"pictures": noise(0, 1, 32, 32)})
    assert np.asarray(heat).shape == (1, 1, 8, 8)
    assert np.asarray(box).shape == (1, 4, 8, 8)


def test_validation_of_a_network_that_finds_nothing(network: DetectorNetwork) -> None:
    deaf = DetectorNetwork(SMALL)
    assert deaf.out.bias is not None
    torch.nn.init.constant_(deaf.out.bias[:1], -30.0)
    result = validate(deaf, [scene([[20.0, 24.0, 36.0, 40.0]], [True])])
    assert result.recall == 0
    assert result.average_precision == 0


def test_impossible_trainings_are_refused(bank: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="budget"):
        DetectorTrainConfig(bank, tmp_path)
    with pytest.raises(InputError, match="batch"):
        config(bank, tmp_path, 10, batch=1)
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a checkpoint"):
        train_detector(config(bank, tmp_path, 10, resume=True))
