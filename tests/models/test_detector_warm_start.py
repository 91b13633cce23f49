"""A detector's training begins from exported weights with all that they know."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="trains the detector (extra: train)")
onnx = pytest.importorskip("onnx", reason="reads the exported detector (extra: train)")

from mien.models.detector.checkpoint import DetectorCheckpoint  # noqa: E402
from mien.models.detector.export import detector_to_onnx  # noqa: E402
from mien.models.detector.network import DetectorNetwork, DetectorNetworkConfig  # noqa: E402
from mien.models.detector.train import DetectorTrainConfig, train_detector  # noqa: E402
from mien.models.detector.warm_start import checkpoint_of_export  # noqa: E402
from mien.models.errors import InputError  # noqa: E402
from mien.models.face.bundle import Bundle  # noqa: E402
from mien.models.synthetic.scenes_bank import (  # noqa: E402
    SIZE,
    CutOut,
    Kind,
    save_meta,
    save_shard,
)
from mien.stream.onnx_session import open_session  # noqa: E402

from .tiny_regressor import smooth_crops  # noqa: E402


def shipped() -> Path:
    path = Bundle.default().detector_path
    assert path is not None
    return path


def said(network: DetectorNetwork, pictures: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        output = network(torch.from_numpy(pictures))
    return [torch.sigmoid(output.heat).numpy(), output.box.numpy()]


def pictures(seed: int, count: int) -> np.ndarray:
    return np.ascontiguousarray(smooth_crops(seed, count)[:, :96, :96])


def test_the_export_s_words_are_the_network_s() -> None:
    network = checkpoint_of_export(shipped(), pictures(1, 8)).averaged_network()
    assert network.config == DetectorNetworkConfig()
    mine, others = said(network, pictures(2, 3)), open_session(shipped())
    theirs = others.run(["heat", "box"], {"pictures": pictures(2, 3)})
    for one, other in zip(mine, theirs, strict=True):
        assert np.asarray(other).std() > 1e-4  # it tells places apart
        np.testing.assert_allclose(one, np.asarray(other), atol=1e-3)


def test_it_trains_as_it_evaluates() -> None:
    """Statistics of the pictures that the normalisation came from change nothing."""
    same = pictures(1, 8)
    network = checkpoint_of_export(shipped(), same).averaged_network()
    expected = said(network, same)
    for mine, theirs in zip(said(network.train(), same), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=0.02, rtol=0.02)


def test_another_architecture_is_told_by_its_weights(tmp_path: Path) -> None:
    config = DetectorNetworkConfig(width=0.25, deep=24, decoder=(8, 16, 24))
    torch.manual_seed(1)
    path = tmp_path / "detector.onnx"
    path.write_bytes(detector_to_onnx(DetectorNetwork(config), 0.37).SerializeToString())
    start = checkpoint_of_export(path, pictures(1, 2))
    assert start.network == config
    assert start.threshold == pytest.approx(0.37)


def test_sizes_that_a_file_only_claims_take_no_memory(tmp_path: Path) -> None:
    model = onnx.load(shipped())
    for value in model.graph.initializer:
        if value.name == "deep.1.bias":
            value.CopyFrom(onnx.numpy_helper.from_array(np.zeros(10**6, np.float32), value.name))
    onnx.save(model, tmp_path / "vast.onnx")  # its convolution would have 4 TB
    with pytest.raises(InputError, match="not exported by mien"):
        checkpoint_of_export(tmp_path / "vast.onnx", pictures(1, 2))


@pytest.mark.parametrize("kind", ["network", "bundle"])
def test_training_goes_on_from_an_export(kind: str, tmp_path: Path) -> None:
    bank, out = tmp_path / "bank", tmp_path / "out"
    bank.mkdir()
    save_meta(bank, {"seed": 0})
    marks = np.random.default_rng(0).uniform(60, 180, (68, 2)).astype(np.float32)
    image = np.full((SIZE, SIZE, 4), 255, np.uint8)
    for number in range(2):
        save_shard(bank, number, [CutOut(image, marks, Kind.FACE)] * 2)
    init = shipped() if kind == "network" else Bundle.default().folder
    config = DetectorTrainConfig(
        bank, out, images=2, learning_rate=1e-9, batch=2, init=init,
        network=DetectorNetworkConfig(0.1), validation_shards=1, validation_pictures=2,
    )  # fmt: skip
    last = DetectorCheckpoint.load(train_detector(config).checkpoint)
    assert last.network == DetectorNetworkConfig()
    shapes = {name: tuple(weight.shape) for name, weight in last.averaged.items()}
    assert shapes == {name: tuple(w.shape) for name, w in DetectorNetwork().state_dict().items()}
    values = {v.name: onnx.numpy_helper.to_array(v) for v in onnx.load(shipped()).graph.initializer}
    np.testing.assert_allclose(
        last.averaged["out.weight"].numpy(), values["maps.weight"], atol=1e-6
    )


def test_what_cannot_be_begun_from_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"\xff\xff no network")
    shutil.copy(Bundle.default().whole_regressor_path, tmp_path / "regressor.onnx")
    model = onnx.load(shipped())
    for value in model.graph.initializer:
        if value.name == "deep.1.weight":
            array = np.full_like(onnx.numpy_helper.to_array(value), np.nan)
            value.CopyFrom(onnx.numpy_helper.from_array(array, value.name))
    onnx.save(model, tmp_path / "no-number.onnx")
    for value in ("often", "nan", "7"):
        model = onnx.load(shipped())
        model.metadata_props[0].value = value
        onnx.save(model, tmp_path / f"{value}.onnx")
    for name, reason in {
        "gone.onnx": "No such file",
        "junk.onnx": "not an ONNX file",
        "regressor.onnx": "not exported by mien",
        "no-number.onnx": "deep.1.weight is not finite",
        "often.onnx": "its threshold is 'often', expected",
        "nan.onnx": "its threshold is 'nan', expected",
        "7.onnx": "its threshold is '7', expected",
    }.items():
        with pytest.raises(InputError, match=f"{name}: .*{reason}") as caught:
            checkpoint_of_export(tmp_path / name, pictures(1, 2))
        assert "\n" not in str(caught.value)
