"""3DDFA_V2's files to a bundle: the same pixels by their formulas and by mien's."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import BundleError, InputError
from mien.models.face.bundle import OUTPUTS, Bundle, BundleInfo
from mien.models.face.camera import Camera
from mien.models.face.crop import Crop, extract
from mien.models.face.morphable import FaceModel
from mien.models.tddfa.bundle import import_bundle
from mien.stream.fit import FaceFitter
from mien.stream.regression import Regressor
from mien.stream.tracker import FaceTracker

pytest.importorskip("torch", reason="reads checkpoints (extra: train)")
pytest.importorskip("onnx", reason="writes networks (extra: train)")

import torch

INFO = BundleInfo("imported", "1.0.0", "LicenseRef-Test", "", "", "")
PICTURE = np.random.default_rng(4).integers(0, 256, (300, 400, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Theirs:
    """3DDFA_V2, written out from its paper and its public conventions."""

    state: dict[str, torch.Tensor]
    mean: np.ndarray
    std: np.ndarray
    bfm: dict[str, np.ndarray]

    @classmethod
    def load(cls, folder: Path) -> Theirs:
        saved = torch.load(folder / "mb05_120x120.pth", weights_only=True)["state_dict"]
        statistics = pickle.loads((folder / "param_mean_std_62d_120x120.pkl").read_bytes())
        bfm = pickle.loads((folder / "bfm_noneck_v3.pkl").read_bytes())
        state = {name.replace("module.", ""): value for name, value in saved.items()}
        return cls(state, statistics["mean"], statistics["std"], bfm)

    def parameters(self, crop_bgr: np.ndarray) -> np.ndarray:
        """The 62 raw ones of a crop, (120, 120, 3)."""
        F, w = torch.nn.functional, self.state

        def norm(x: torch.Tensor, name: str) -> torch.Tensor:
            parts = (w[f"{name}.{part}"] for part in ("running_mean", "running_var"))
            scale = (w[f"{name}.{part}"] for part in ("weight", "bias"))
            return F.relu(F.batch_norm(x, *parts, *scale))

        x = torch.tensor(crop_bgr.transpose(2, 0, 1)[None].astype(np.float32))
        x = norm(F.conv2d((x - 127.5) / 128.0, w["conv1.weight"], stride=2, padding=1), "bn1")
        blocks = dict.fromkeys(name.split(".")[0] for name in w if name.startswith("dw"))
        for b in blocks:
            stride = 2 if b in ("dw2_2", "dw3_2", "dw4_2", "dw5_6") else 1
            depthwise = w[f"{b}.conv_dw.weight"]
            x = F.conv2d(x, depthwise, stride=stride, padding=1, groups=len(depthwise))
            x = norm(F.conv2d(norm(x, f"{b}.bn_dw"), w[f"{b}.conv_sep.weight"]), f"{b}.bn_sep")
        output = F.linear(x.mean((2, 3)), w["fc.weight"], w["fc.bias"])
        return output[0].numpy() * self.std + self.mean

    def vertices(self, p: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
        """(3, N) of the crop's frame, y up, counted from 1."""
        u, shape, expression = (self.bfm[k][rows].astype(float) for k in ("u", "w_shp", "w_exp"))
        S = u[:, 0] + shape[:, :40] @ p[12:52] + expression[:, :10] @ p[52:]
        T = p[:12].reshape(3, 4).astype(float)
        return T[:, :3] @ S.reshape(3, -1, order="F") + T[:, 3:]

    def landmarks(self, crop_bgr: np.ndarray) -> np.ndarray:
        """(68, 2) pixels of the crop, counted from 0."""
        V = self.vertices(self.parameters(crop_bgr), self.bfm["keypoints"])
        return np.stack([V[0] - 1, 120 - V[1]], axis=1)


@pytest.fixture(scope="module")
def theirs(tddfa_files: Path) -> Theirs:
    return Theirs.load(tddfa_files)


def run_import(files: Path, out: Path, network: str = "mb05_120x120.pth") -> Bundle:
    statistics = files / "param_mean_std_62d_120x120.pkl"
    model, triangles = files / "bfm_noneck_v3.pkl", files / "tri.pkl"
    return import_bundle(out, files / network, statistics, model, triangles, INFO)


@pytest.fixture(scope="module")
def bundle(tddfa_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return run_import(tddfa_files, tmp_path_factory.mktemp("bundle"))


def crop_pixels(crop: Crop) -> np.ndarray:
    return extract(PICTURE, crop)


@pytest.mark.parametrize("crop", [Crop(190.3, 140.8, 120.0), Crop(200.0, 150.0, 260.0)])
def test_every_vertex_lies_on_the_same_pixel(theirs: Theirs, bundle: Bundle, crop: Crop) -> None:
    pixels = crop_pixels(crop)
    raw = theirs.parameters(pixels)
    V = theirs.vertices(raw, slice(None))
    params = Regressor(bundle.regressor_path).run(pixels[None]).params[0]
    matrix, shape, expression = params[:12].reshape(3, 4), params[12:52], params[52:]
    np.testing.assert_allclose(params[12:], ((raw - theirs.mean) / theirs.std)[12:], atol=1e-4)
    head = bundle.face_model.decode(shape, expression).astype(np.float64)
    ours = head @ matrix[:, :3].T.astype(np.float64) + matrix[:, 3]
    np.testing.assert_allclose(ours[:, 0], V[0] - 1, atol=1e-3)
    np.testing.assert_allclose(ours[:, 1], 120 - V[1], atol=1e-3)
    # Nearer to the camera is less deep; the origin of depth is free.
    depth = ours[:, 2] + V[2]
    np.testing.assert_allclose(depth, depth.mean(), atol=1e-3)
    assert matrix[2, 3] == 0.0


@pytest.mark.parametrize("side", [120.0, 60.0, 260.0])
def test_the_landmarks_in_the_image_are_theirs(theirs: Theirs, bundle: Bundle, side: float) -> None:
    crop = Crop(190.3, 140.8, side)
    fitter = FaceFitter(bundle.face_model, Regressor(bundle.regressor_path))
    seen = fitter.look(PICTURE, [crop])[0]
    assert seen is not None
    in_crop = theirs.landmarks(crop_pixels(crop))
    # Their crop covers image pixels sx to sx + side; its pixel u, half a pixel wide to each side,
    # lies where bilinear resizing takes it from.
    scale = side / 120
    sx, sy = crop.cx - (side - 1) / 2, crop.cy - (side - 1) / 2
    resized = (in_crop + 0.5) * scale - 0.5 + (sx, sy)
    np.testing.assert_allclose(seen.landmarks_px, resized, atol=1e-2)
    # Their own read-out leaves these halves out.
    read_out = in_crop * scale + (sx, sy)
    np.testing.assert_allclose(seen.landmarks_px - read_out, (scale - 1) / 2, atol=1e-2)


def test_the_head_frame_is_miens(bundle: Bundle, tddfa_files: Path) -> None:
    made = bundle.face_model
    marks = made.mean[made.landmark_vertices]
    eyes, mouth = marks[[36, 39, 42, 45]].mean(0), marks[[48, 54]].mean(0)
    assert marks[16, 0] > 50 > -50 > marks[0, 0], "x to the image's right, mm"
    assert mouth[1] - eyes[1] == pytest.approx(70, abs=15), "y down, mm"
    assert marks[30, 2] < marks[[0, 16], 2].mean() - 60, "z into the head"
    lean = np.degrees(np.arctan2(eyes[2] - mouth[2], mouth[1] - eyes[1]))
    assert lean == pytest.approx(7.7, abs=1.5), "the stance is kept, expression and shape aside"
    assert np.linalg.norm(marks[27]) < 6.0, "the origin lies at the root of the nose"
    a, b, c = (made.mean[made.triangles[:, k]] for k in range(3))
    assert np.cross(b - a, c - a)[:, 2].sum() < 0, "triangles face the camera"
    original = pickle.loads((tddfa_files / "tri.pkl").read_bytes()).T
    assert {tuple(sorted(t)) for t in made.triangles} == {tuple(sorted(t)) for t in original}


def test_what_the_network_lacks_is_absent_and_said(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.info.outputs == ("params",)
    assert set(OUTPUTS) > set(bundle.info.outputs)
    manifest = (bundle.folder / "bundle.toml").read_text()
    assert "blendshapes = 0" in manifest
    assert "presence = false" in manifest
    assert len(bundle.info.training) == 4, "the hash of each source"
    assert Bundle.load(bundle.folder) == bundle
    with np.load(bundle.folder / "face_model.npz") as archive:
        assert not {"blendshape_basis", "uv"} & set(archive.files)
    said = Regressor(bundle.regressor_path).run(np.zeros((2, 120, 120, 3), np.uint8))
    assert said.params.shape == (2, 62)
    assert said.log_variance is said.blendshapes is said.presence is None
    empty = Regressor(bundle.regressor_path).run(np.zeros((0, 120, 120, 3), np.uint8))
    assert empty.params.shape == (0, 62)
    np.savez(tmp_path / "less.npz", mean=bundle.face_model.mean)
    with pytest.raises(BundleError, match="shape_basis"):
        FaceModel.load(tmp_path / "less.npz")


def test_the_mesh_is_decoded_from_shape_and_expression(bundle: Bundle) -> None:
    camera = Camera.from_fov(400, 300)
    tracker = FaceTracker(bundle, camera, smoothing="raw")
    row = tracker.fit(PICTURE, np.array([[140.0, 80.0, 120.0, 120.0]]))[0]
    assert row.blendshapes is row.confidence is row.pose_variance is None
    mesh = tracker.mesh_px(row)
    marks = mesh[bundle.face_model.landmark_vertices]
    np.testing.assert_allclose(marks, row.landmarks_px, atol=0.05)
    neutral = bundle.face_model.decode(row.shape)
    seen = bundle.face_model.decode_seen(row.shape, row.expression, None)
    assert np.abs(neutral - seen).max() > 0.1, "an expression is there"
    assert seen.shape == (len(mesh), 3)


def test_a_face_model_without_landmarks_or_bridge_is_refused(
    tddfa_files: Path, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name in ("mb05_120x120.pth", "param_mean_std_62d_120x120.pkl", "bfm_noneck_v3.pkl"):
        (files / name).symlink_to(tddfa_files / name)
    (files / "tri.pkl").write_bytes(pickle.dumps(np.array([[0, 1, 2]] * 4)))
    with pytest.raises(InputError, match="no surface"):
        run_import(files, tmp_path / "out")
    assert not (tmp_path / "out").exists()
