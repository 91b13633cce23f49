"""The exported network says what the trained one says, and the bundle around it is whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.face.bundle import WHOLE_REGRESSOR, Bundle, BundleInfo

pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnx
import torch

from mien.models.blendshapes.checkpoint import BlendshapeCheckpoint
from mien.models.blendshapes.network import BlendshapeNetwork
from mien.models.detector.checkpoint import DetectorCheckpoint
from mien.models.detector.network import DetectorNetwork, DetectorNetworkConfig
from mien.models.learning.stepping import StepProgress
from mien.models.regressor.checkpoint import Checkpoint, Progress
from mien.models.regressor.export import export_regressor, make_bundle, offset_log_variance
from mien.models.regressor.network import FaceNetwork, NetworkConfig, Pooling
from mien.stream.detector.own import OwnDetector
from mien.stream.smoother.tuning import Tuning
from mien.tools.export import Export

INFO = BundleInfo("tiny", "0.0.1", "Apache-2.0", "a test", "nobody", "mien train regressor")


def random_network(pooling: Pooling) -> FaceNetwork:
    """Weights as after training: normalisation far from its start."""
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    network = FaceNetwork(NetworkConfig(0.25, pooling))
    network.set_whitening(
        rng.normal(0, 10, 62).astype(np.float32), rng.uniform(0.01, 12, 62).astype(np.float32)
    )
    with torch.no_grad():
        for _ in range(5):
            network(torch.from_numpy(rng.integers(0, 256, (8, 120, 120, 3), dtype=np.uint8)))
        for head in (network.params_head, network.log_variance_head, network.blendshapes_head):
            head.weight.normal_(0, 0.3)
    return network.eval()


def save(network: FaceNetwork, path: Path) -> Path:
    weights = network.state_dict()
    Checkpoint(network.config, weights, weights, {}, Progress()).save(path)
    return path


@pytest.mark.parametrize("pooling", ["average", "weighted"])
def test_onnx_equals_torch(pooling: Pooling, tmp_path: Path) -> None:
    network = random_network(pooling)
    path = export_regressor(save(network, tmp_path / "checkpoint.pt"), tmp_path / "out.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(2)
    std = network.param_std.numpy()
    for count in (1, 5):
        crops = rng.integers(0, 256, (count, 120, 120, 3), dtype=np.uint8)
        found = [np.asarray(output) for output in session.run(None, {"crops": crops})]
        params, log_variance, blendshapes, presence = found
        with torch.inference_mode():
            output = network(torch.from_numpy(crops))
            true_params = network.denormalised(output.params).numpy()
        assert params.shape == log_variance.shape == (count, 62)
        assert presence.shape == (count, 1)
        np.testing.assert_allclose(params / std, true_params / std, atol=1e-4)
        whitened = log_variance - 2 * np.log(std)
        np.testing.assert_allclose(whitened, output.log_variance, atol=1e-4)
        np.testing.assert_allclose(blendshapes, output.blendshapes, atol=1e-4)
        np.testing.assert_allclose(presence[:, 0], output.presence.sigmoid(), atol=1e-4)


def test_interface(tmp_path: Path) -> None:
    checkpoint = save(random_network("weighted"), tmp_path / "checkpoint.pt")
    path = export_regressor(checkpoint, tmp_path)
    assert path == tmp_path / "regressor.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (crops,) = session.get_inputs()
    assert (crops.name, crops.type) == ("crops", "tensor(uint8)")
    assert crops.shape[1:] == [120, 120, 3]
    assert isinstance(crops.shape[0], str)
    outputs = [(node.name, node.shape[1]) for node in session.get_outputs()]
    assert outputs == [("params", 62), ("log_variance", 62), ("blendshapes", 52), ("presence", 1)]
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert "BatchNormalization" not in kinds


def test_bundle_of_a_checkpoint(tmp_path: Path, face_model_path: Path) -> None:
    checkpoint = save(random_network("weighted"), tmp_path / "checkpoint.pt")
    smoother = tmp_path / "tuned.toml"
    smoother.write_text("a = 1\n", encoding="utf-8")
    bundle = make_bundle(tmp_path / "bundle", checkpoint, face_model_path, INFO, smoother)
    assert Bundle.load(tmp_path / "bundle") == bundle
    assert bundle.smoother_path is not None
    assert sorted(bundle.files) == ["face_model.npz", "regressor.onnx", "smoother.toml"]
    again = make_bundle(tmp_path / "bundle", checkpoint, tmp_path / "bundle/face_model.npz", INFO)
    assert again.hash == bundle.hash
    assert bundle.info.training["width"] == 0.25
    assert bundle.info.training["pooling"] == "weighted"


def test_a_smoother_of_another_network_is_remarked_on(
    tmp_path: Path, face_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = save(random_network("weighted"), tmp_path / "checkpoint.pt"), tmp_path / "b"
    tool = Export(checkpoint, out, face_model_path)
    assert tool.run() == 0
    assert not capsys.readouterr().err
    tuned = Tuning.default()
    ours = {"regressor_sha256": Bundle.load(out).files["regressor.onnx"]}
    for provenance, words in ((tuned.provenance, "tuned to another network"), (ours, "")):
        (out / "smoother.toml").write_text(replace(tuned, provenance=provenance).text())
        assert tool.run() == 0
        said = capsys.readouterr().err
        assert words in said
        assert bool(words) == bool(said)


def test_a_network_written_anew_lies_beside_no_other_s_single_precision(
    tmp_path: Path, face_model_path: Path
) -> None:
    checkpoint, folder = save(random_network("weighted"), tmp_path / "c.pt"), tmp_path / "bundle"
    first = make_bundle(folder, checkpoint, face_model_path, INFO)
    assert first.whole_regressor_path == first.regressor_path
    (folder / WHOLE_REGRESSOR).write_bytes(b"of a network that lay there")
    again = make_bundle(folder, checkpoint, face_model_path, INFO)
    assert again.files == first.files
    assert again.whole_regressor_path == again.regressor_path


def test_a_bundle_takes_a_detector(tmp_path: Path, face_model_path: Path) -> None:
    checkpoint = save(random_network("weighted"), tmp_path / "checkpoint.pt")
    given = make_bundle(tmp_path / "given", checkpoint, face_model_path, INFO)
    found, out = save_detector(tmp_path / "detector.pt"), tmp_path / "out"
    assert Export(given.folder, out, detector=found, version="2.0.0").run() == 0
    made = Bundle.load(out)
    assert made.detector_path is not None
    assert OwnDetector(made.detector_path).threshold == 0.25
    assert made.info == replace(given.info, version="2.0.0")
    assert {name: made.files[name] for name in given.files} == dict(given.files)
    assert Export(out, out, detector=found).run() == 0  # in place
    assert Bundle.load(out) == made
    other = save_detector(tmp_path / "other.pt", threshold=0.75)
    assert Export(out, out, detector=other).run() == 0
    changed = Bundle.load(out).detector_path
    assert changed is not None
    assert OwnDetector(changed).threshold == 0.75
    assert Export(given.folder, out, detector=other).run() == 0  # over another bundle
    (out / "smoother.toml").write_text("a = 1\n", encoding="utf-8")
    assert Export(given.folder, out, detector=other).run() == 0
    assert sorted(Bundle.load(out).files) == ["detector.onnx", *sorted(given.files)]
    seeing = save_reader(tmp_path / "reader.pt")
    assert Export(out, out, blendshapes=seeing).run() == 0
    assert sorted(Bundle.load(out).files) == [
        "blendshapes.onnx",
        "detector.onnx",
        *sorted(given.files),
    ]
    assert Bundle.load(out).blendshapes_path == out / "blendshapes.onnx"
    assert Export(seeing, tmp_path / "alone.onnx").run() == 0
    assert (tmp_path / "alone.onnx").read_bytes() == (out / "blendshapes.onnx").read_bytes()
    with pytest.raises(InputError, match="a bundle already; expected --detector"):
        Export(given.folder, tmp_path / "other").run()
    with pytest.raises(InputError, match="--face-model goes with a checkpoint"):
        Export(given.folder, tmp_path / "other", face_model_path, detector=found).run()
    with pytest.raises(InputError, match="not a checkpoint"):
        Export(given.folder, tmp_path / "other", detector=face_model_path).run()
    assert not (tmp_path / "other").exists()
    with pytest.raises(InputError, match="a folder"):
        Export(given.folder, tmp_path / "network.onnx").run()


def test_nothing_is_written_before_all_is_read(tmp_path: Path, face_model_path: Path) -> None:
    checkpoint, out = save(random_network("weighted"), tmp_path / "checkpoint.pt"), tmp_path / "b"
    found, wrong = save_detector(tmp_path / "detector.pt"), tmp_path / "wrong.pt"
    wrong.write_text("no checkpoint\n", encoding="utf-8")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for tool, words in (
        (Export(wrong, out, detector=found), "wrong.pt: not a checkpoint: it is no file of torch"),
        (Export(found, out, detector=found), "detector.pt: not a checkpoint of format 1"),
        (Export(checkpoint, out, detector=wrong), "wrong.pt: not a checkpoint"),
        (Export(checkpoint, out, detector=checkpoint), "not a checkpoint of format detector-1"),
        (Export(checkpoint, out, wrong, detector=found), "wrong.pt: not a face model"),
        (Export(checkpoint, out, tmp_path / "gone.npz"), "--face-model .*gone.npz: no such file"),
        (Export(checkpoint, out, detector=tmp_path / "gone.pt"), "--detector .*gone.pt: no such"),
        (
            Export(checkpoint, out, blendshapes=found),
            "detector.pt: not a checkpoint of format blendshapes-1",
        ),
        (
            Export(checkpoint, out, blendshapes=tmp_path / "gone.pt"),
            "--blendshapes .*gone.pt: no such",
        ),
        (Export(tmp_path / "gone.pt", out), "gone.pt: no such file"),
        (Export(checkpoint, out, int8=pictures), "--int8 .*pictures: no folder of rendered"),
        (Export(checkpoint, out, calibrate=wrong), "--calibrate .*wrong.pt: no folder of rend"),
        (
            Export(checkpoint, out / "a.onnx", detector=found),
            "--detector is of bundles",
        ),
        (
            Export(checkpoint, out / "a.onnx", trained_by="us"),
            "--trained-by is of bundles",
        ),
    ):
        with pytest.raises(InputError, match=words) as raised:
            tool.run()
        assert len(str(raised.value).splitlines()) == 1
        assert not out.exists()
    with pytest.raises(OutputError, match=r"--out .*wrong\.pt: is a file, expected a folder"):
        Export(checkpoint, wrong).run()
    assert Export(checkpoint, out, detector=found).run() == 0
    assert sorted(Bundle.load(out).files) == ["detector.onnx", "face_model.npz", "regressor.onnx"]


def save_detector(path: Path, threshold: float = 0.25) -> Path:
    """A checkpoint of a detector that has learnt nothing."""
    network = DetectorNetwork(DetectorNetworkConfig(width=0.1, deep=8, decoder=(8, 8, 8)))
    weights = network.state_dict()
    progress = StepProgress()
    DetectorCheckpoint(network.config, weights, weights, {}, progress, threshold).save(path)
    return path


def save_reader(path: Path) -> Path:
    """A checkpoint of a blendshapes' network that has learnt nothing."""
    weights = BlendshapeNetwork().state_dict()
    BlendshapeCheckpoint(weights, weights, {}, StepProgress()).save(path)
    return path


def test_bad_inputs(tmp_path: Path, face_model_path: Path) -> None:
    checkpoint = save(random_network("weighted"), tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=r"gone\.npz: no such file"):
        make_bundle(tmp_path / "bundle", checkpoint, tmp_path / "gone.npz", INFO)
    with pytest.raises(InputError, match="not a checkpoint"):
        export_regressor(face_model_path, tmp_path / "out.onnx")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"file: is a file, expected a folder"):
        export_regressor(checkpoint, tmp_path / "file" / "out.onnx")


def outputs_of(path: Path, crops: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {"crops": crops})]


def test_calibration_moves_the_variances_alone(tmp_path: Path) -> None:
    path = export_regressor(save(random_network("weighted"), tmp_path / "c.pt"), tmp_path)
    crops = np.random.default_rng(3).integers(0, 256, (2, 120, 120, 3), dtype=np.uint8)
    before = outputs_of(path, crops)
    offset = np.linspace(-1.0, 2.0, 62)
    for _ in range(2):
        offset_log_variance(path, offset)
    after = outputs_of(path, crops)
    np.testing.assert_allclose(after[1], before[1] + 2 * offset, atol=1e-4)
    for k in (0, 2, 3):
        np.testing.assert_array_equal(after[k], before[k])
    with pytest.raises(InputError, match="not finite"):
        offset_log_variance(path, np.full(62, np.nan))
    path.write_bytes(b"\xff\xff no network")
    with pytest.raises(InputError, match="not an ONNX"):
        offset_log_variance(path, offset)
