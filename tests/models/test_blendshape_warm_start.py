"""A training of the blendshapes' network begins from exported weights with all that they know."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="trains the blendshapes' network (extra: train)")
onnx = pytest.importorskip("onnx", reason="reads the exported network (extra: train)")

from mien.models.blendshapes.checkpoint import BlendshapeCheckpoint  # noqa: E402
from mien.models.blendshapes.export import blendshapes_to_onnx  # noqa: E402
from mien.models.blendshapes.network import BlendshapeNetwork  # noqa: E402
from mien.models.blendshapes.train import BlendshapeTrainConfig, train_blendshapes  # noqa: E402
from mien.models.blendshapes.warm_start import checkpoint_of_export  # noqa: E402
from mien.models.errors import InputError  # noqa: E402
from mien.models.face.bundle import Bundle  # noqa: E402
from mien.models.face.views import ViewPlaces  # noqa: E402
from mien.stream.onnx_session import open_session  # noqa: E402

from .view_drawings import write_drawings  # noqa: E402


def shipped() -> Path:
    path = Bundle.default().blendshapes_path
    assert path is not None
    return path


def looks(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth views, and where the faces look."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 3, 6, 8, 3), dtype=np.uint8)
    views = coarse.repeat(8, axis=2).repeat(8, axis=3)
    return views, rng.uniform(-0.5, 0.5, (count, 2)).astype(np.float32)


def said(network: BlendshapeNetwork, views: np.ndarray, facing: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(views), torch.from_numpy(facing)).numpy()


def test_the_export_s_words_are_the_network_s() -> None:
    network = checkpoint_of_export(shipped(), looks(1, 16)[0]).averaged_network()
    views, facing = looks(2, 5)
    found = said(network, views, facing)
    assert found.std(0).max() > 1e-2  # it tells pictures apart
    expected = open_session(shipped()).run(None, {"views": views, "facing": facing})[0]
    np.testing.assert_allclose(found, np.asarray(expected), atol=1e-4)
    again = open_session(blendshapes_to_onnx(network).SerializeToString())
    np.testing.assert_allclose(
        np.asarray(again.run(None, {"views": views, "facing": facing})[0]), found, atol=1e-4
    )


def test_it_trains_as_it_evaluates() -> None:
    """Statistics of the pictures that the normalisation came from change nothing."""
    views, facing = looks(1, 16)
    network = checkpoint_of_export(shipped(), views).averaged_network()
    expected = said(network, views, facing)
    np.testing.assert_allclose(said(network.train(), views, facing), expected, atol=0.02)


@pytest.mark.parametrize("kind", ["network", "bundle"])
def test_training_goes_on_from_an_export(kind: str, tmp_path: Path) -> None:
    shards, bundle = tmp_path / "shards", Bundle.default()
    write_drawings(shards, ViewPlaces.of(bundle.face_model), shards=2, each=16)
    config = BlendshapeTrainConfig(
        shards, tmp_path / "out", bundle.folder / "face_model.npz", images=8, batch=8,
        learning_rate=1e-9, init=shipped() if kind == "network" else bundle.folder,
        validation_shards=1, validation_pictures=8,
    )  # fmt: skip
    last = BlendshapeCheckpoint.load(train_blendshapes(config).checkpoint)
    views, facing = looks(2, 5)
    expected = open_session(shipped()).run(None, {"views": views, "facing": facing})[0]
    found = said(last.averaged_network(), views, facing)
    np.testing.assert_allclose(found, np.asarray(expected), atol=0.02)
    with pytest.raises(InputError, match="no blendshapes"):
        train_blendshapes(replace(config, out=tmp_path / "other", init=bare_bundle(tmp_path)))


def bare_bundle(folder: Path) -> Path:
    """The shipped bundle without its network of the blendshapes."""
    bare = folder / "bare"
    bare.mkdir()
    for path in Bundle.default().folder.iterdir():
        if path.is_file() and path.name != shipped().name:
            shutil.copy(path, bare)
    text = (bare / "bundle.toml").read_text("utf-8")
    kept = [line for line in text.splitlines() if not line.strip('"').startswith(shipped().name)]
    (bare / "bundle.toml").write_text("\n".join([*kept, ""]), "utf-8")
    return bare


def test_what_cannot_be_begun_from_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"\xff\xff no network")
    shutil.copy(Bundle.default().whole_regressor_path, tmp_path / "regressor.onnx")

    def changed(name: str, tensor: str, place: tuple[int, ...], value: float) -> None:
        model = onnx.load(shipped())
        for stored in model.graph.initializer:
            if stored.name == tensor:
                array = np.array(onnx.numpy_helper.to_array(stored))
                array[place] = value
                stored.CopyFrom(onnx.numpy_helper.from_array(array, stored.name))
        onnx.save(model, tmp_path / name)

    changed("no-number.onnx", "conv3.weight", (0, 0, 0, 0), np.nan)
    changed("two-eyes.onnx", "mixed.bias", (70,), 3.0)  # the right eye's, not the left one's
    for name, reason in {
        "gone.onnx": "No such file",
        "junk.onnx": "not an ONNX file",
        "regressor.onnx": "not exported by mien",
        "no-number.onnx": "conv3.weight is not finite",
        "two-eyes.onnx": "not exported by mien",
    }.items():
        with pytest.raises(InputError, match=f"{name}: .*{reason}") as caught:
            checkpoint_of_export(tmp_path / name, looks(1, 2)[0])
        assert "\n" not in str(caught.value)
