"""The model bundle: what is written is read, and nothing damaged gets through."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import BundleError, OutputError
from mien.models.face.bundle import MANIFEST, Bundle, BundleInfo, write_bundle
from mien.models.face.morphable import FaceModel

INFO = BundleInfo(
    name="tiny",
    version="0.0.1",
    licence="Apache-2.0",
    provenance='Made in a test, with "quotes", a back\\slash, a tab\t and a face: ☺',
    trained_by="nobody",
    command="mien train regressor",
    training={"images": 12, "nme_percent": 3.5, "mirrored": True},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "face_model.npz").write_bytes(b"face")
    (tmp_path / "regressor.onnx").write_bytes(b"network")
    return tmp_path


def rewrite(folder: Path, old: str, new: str) -> None:
    manifest = folder / MANIFEST
    text = manifest.read_text(encoding="utf-8")
    assert old in text
    manifest.write_text(text.replace(old, new), encoding="utf-8")


def test_what_is_written_is_read(folder: Path) -> None:
    written = write_bundle(folder, INFO)
    assert Bundle.load(folder) == written
    assert written.info == INFO
    assert (written.name, written.version) == ("tiny", "0.0.1")
    assert written.regressor_path == folder / "regressor.onnx"
    assert written.smoother_path is None
    assert written.detector_path is None
    assert len(written.hash) == 64
    assert sorted(path.name for path in folder.iterdir()) == [
        "bundle.toml",
        "face_model.npz",
        "regressor.onnx",
    ]


def test_optional_files_are_listed(folder: Path) -> None:
    (folder / "smoother.toml").write_text("a = 1\n", encoding="utf-8")
    assert write_bundle(folder, INFO).smoother_path == folder / "smoother.toml"


def test_hash_follows_every_file(folder: Path) -> None:
    before = write_bundle(folder, INFO).hash
    (folder / "regressor.onnx").write_bytes(b"networK")
    assert write_bundle(folder, INFO).hash != before


def test_changed_file_is_refused(folder: Path) -> None:
    write_bundle(folder, INFO)
    (folder / "regressor.onnx").write_bytes(b"networK")
    with pytest.raises(BundleError, match=r"regressor\.onnx: SHA-256 is [0-9a-f]+…, .* says"):
        Bundle.load(folder)


def test_missing_file_is_refused(folder: Path) -> None:
    write_bundle(folder, INFO)
    (folder / "face_model.npz").unlink()
    with pytest.raises(BundleError, match=r"face_model\.npz: named in bundle\.toml, but No such"):
        Bundle.load(folder)


def test_incomplete_folder_makes_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"cannot make a bundle without face_model\.npz"):
        write_bundle(tmp_path, INFO)


def test_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle: there is no bundle\.toml in it"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 99", "format 99, this version reads 1"),
        ("format = 1", "", "format None, this version reads 1"),
        ("format = 1", "format = ", "not TOML"),
        ('name = "tiny"', "name = 7", "name is 7, expected a str"),
        ("input_size = 120", 'input_size = "120"', "input_size is '120', this version reads 120"),
        ("input_size = 120", "input_size = 96", "input_size is 96, this version reads 120"),
        ("input_size = 120", "", "input_size is None, this version reads 120"),
        ('order = "bgr"', 'order = "rgb"', "colour_order is 'rgb', this version reads 'bgr'"),
        ('"face_model.npz" =', '"../face_model.npz" =', "not the plain name"),
        ('"face_model.npz" =', '"/etc/passwd" =', "not the plain name"),
        ('"face_model.npz" =', '"other.npz" =', r"\[files\] lacks face_model\.npz"),
        ("[files]", "[elsewhere]", "not as expected"),
    ],
)
def test_bad_manifest_is_refused(folder: Path, old: str, new: str, message: str) -> None:
    write_bundle(folder, INFO)
    rewrite(folder, old, new)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.load(folder)
    assert "\n" not in str(caught.value)


def test_unwritable_folder(folder: Path) -> None:
    (folder / MANIFEST).mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_bundle(folder, INFO)
    assert not list(folder.glob(".*"))


def test_face_model_is_read_once(tmp_path: Path, face_model_path: Path) -> None:
    shutil.copyfile(face_model_path, tmp_path / "face_model.npz")
    (tmp_path / "regressor.onnx").write_bytes(b"network")
    bundle = write_bundle(tmp_path, INFO)
    assert bundle.face_model is bundle.face_model
    assert bundle.face_model.triangles.shape[1] == 3


def test_face_model_that_cannot_be_saved_leaves_the_former(
    tmp_path: Path, face_model: FaceModel
) -> None:
    path = tmp_path / "face_model.npz"
    face_model.save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Object arrays"):  # said when other arrays are written
        face_model.save(path, {"last": np.array([object()])})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError, match=r"none/face_model\.npz: cannot be written: No such"):
        face_model.save(tmp_path / "none" / "face_model.npz")


def test_damaged_face_model(folder: Path) -> None:
    with pytest.raises(BundleError, match="not a face model"):
        _ = write_bundle(folder, INFO).face_model
