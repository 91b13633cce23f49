"""What spoiled pictures, assets and data folders once brought down."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.models.errors import BundleError, InputError, OutputError, SourceError
from mien.models.makehuman.build import HeadModel
from mien.models.makehuman.head import HeadTopology
from mien.models.makehuman.source import BaseMesh, MakeHumanData, read_obj
from mien.models.people.skinning import Rig
from mien.models.picture_file import decoded, read_as_it_is, read_bgr
from mien.models.scans import generate
from mien.models.synthetic import hands
from mien.models.synthetic.fitted import read_fitted_mesh
from mien.stream.sources import open_source
from mien.tools.reconstruct.inputs import read_mask

HUGE = "9" * 400


@pytest.fixture
def data(tmp_path: Path) -> MakeHumanData:
    """A base mesh of two quads, and of a cube that marks a joint."""
    quads = np.arange(12, dtype=np.int32).reshape(3, 4)
    vertices = np.random.default_rng(0).uniform(6, 8, (12, 3)).astype(np.float32)
    groups = ("body", "body", "joint-ground")
    return MakeHumanData(
        tmp_path, BaseMesh(vertices, quads, quads, np.zeros((12, 2), np.float32), groups)
    )


def png(*chunks: tuple[int, bytes, bytes]) -> bytes:
    """Chunks with the lengths that they declare."""
    parts = (
        struct.pack(">I", size) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for size, kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_pictures_that_declare_more_than_there_is(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    for content in (
        png((13, b"IHDR", header), (0xEFFFFFFF, b"IDAT", b"\0" * 9)),
        png((13, b"IHDR", struct.pack(">II", 1 << 16, 1 << 15) + header[8:])),
        b"", b"\x89PNG", b"no picture",
    ):  # fmt: skip
        assert decoded(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is None
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a picture"):
            read_bgr(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_as_it_is(tmp_path)
    whole = cv2.imencode(".png", np.full((4, 5, 3), 9, np.uint8))[1].tobytes()
    path.write_bytes(whole + b"what others append to a picture")
    np.testing.assert_array_equal(read_bgr(path), np.full((4, 5, 3), 9, np.uint8))


@pytest.mark.parametrize("kind", [b"IDAT", b"IEND"])
def test_opencv_makes_no_room_for_bytes_that_a_png_has_not(
    kind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("OpenCV was asked"))
    content = png((13, b"IHDR", bytes(13)), (0xAEFFFFFF, kind, b""))
    assert decoded(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is None


def test_a_small_file_of_a_very_large_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    colours = b"\0\0\0\xff\xff\xff"
    small = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;"
    for width, height in ((9792, 25270), (1, 1)):
        path.write_bytes(
            b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + colours + small
        )
        if width > 1:
            with pytest.raises(SourceError, match="9792x25270 px, and has only 35 bytes"):
                open_source(path)
    with open_source(path) as source:
        assert (source.info.width, source.info.height) == (1, 1)


def test_masks_have_8_or_16_bits(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.tiff"), np.full((4, 5), np.nan, np.float32))
    with pytest.raises(InputError, match="expected 8 or 16 bits"):
        read_mask(tmp_path / "m.tiff", ())
    cv2.imwrite(str(tmp_path / "m.png"), np.full((4, 5), 65535, np.uint16))
    mask = read_mask(tmp_path, ("m",))
    assert mask is not None
    assert (mask == 255).all()


@pytest.mark.parametrize(
    "face",
    ["f 1 2 99", f"f 1 2 {HUGE}", "f 0 1 2", "f 1 2", "f 1/9 2/9 3/9", "f 1 2 3 1 2", "f a b c"],
)
def test_objs_of_assets_name_vertices_that_are_there(face: str, tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    for text in (f"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\n{face}\n", "v 0 0\nv 1\n", "vt 1\n\xff"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(InputError, match="not an OBJ of triangles and quads"):
            read_obj(path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (f"x_scale 0 1 1\ny_scale 0 1 1\nz_scale 0 1 1\nverts 0\n{HUGE}\n", "not a MakeHuman"),
        ("x_scale 0 1 1\ny_scale 0 1 1\nz_scale 0 1 0\nverts 0\n1\n", "not above 0"),
        ("x_scale 0 1 1\nverts 0\n1\n", "it has no 'y_scale'"),
        ("x_scale 0 1 1\ny_scale 0 1 1\nz_scale 0 1 1\nverts 0\n1 2 3 1 0 0\n", "not a MakeHuman"),
        ("x_scale 0 1 1\ny_scale 0 1 1\nz_scale 0 1 1\nverts 0\n1\n", "1 fitted vertices"),
        ("x_scale 0 1 1\ny_scale 0 1 1\nz_scale 0 1 1\nverts 0\n1\n2\n3\n", "no texture"),
    ],
)
def test_fittings_that_do_not_fit(
    lines: str, words: str, tmp_path: Path, data: MakeHumanData
) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (tmp_path / "a.mhclo").write_text(f"obj_file a.obj\n{lines}")
    whole = HeadTopology(data, np.arange(12, dtype=np.int32), {})
    with pytest.raises(InputError, match=words):
        read_fitted_mesh(tmp_path / "a.mhclo", whole)


def test_targets_that_are_none(tmp_path: Path, data: MakeHumanData) -> None:
    folder = tmp_path / "mpfb2/targets/nose"
    folder.mkdir(parents=True)
    sound = gzip.compress(b"0 1 2 3\n" * 20)
    for content in (
        sound[:-9] + b"\xff" * 9, sound[:20] + b"\xff" * 9, gzip.compress(b"0 1 2\n"),
        gzip.compress(f"{HUGE} 0 0 0\n".encode()), gzip.compress(b" \n"),
        gzip.compress(b"99999999 0 0 0"), gzip.compress(b"\0" * (65 << 20)),
        gzip.compress(b"0 1\n1 1 2 3 4\n"),
    ):  # fmt: skip
        (folder / "a.target.gz").write_bytes(content)
        with pytest.raises(InputError, match="target"):
            data.target("nose/a")


BONES: dict[str, Any] = {
    "root": {"parent": "", "head": {"strategy": "CUBE", "cube_name": "joint-ground"},
             "tail": {"strategy": "MEAN", "vertex_indices": [3]}},
}  # fmt: skip
WEIGHTS: dict[str, Any] = {"weights": {"root": [[k, 0.5] for k in range(12)], "wrist.L": [[0, 1]]}}


@pytest.mark.parametrize(
    ("bones", "weights"),
    [
        ([], WEIGHTS),
        (3.5, WEIGHTS),
        ({"root": {**BONES["root"], "parent": []}}, WEIGHTS),
        (
            {"root": {**BONES["root"], "tail": {"strategy": "MEAN", "vertex_indices": [12]}}},
            WEIGHTS,
        ),
        ({"root": {**BONES["root"], "tail": {"strategy": "MEAN", "vertex_indices": 3}}}, WEIGHTS),
        ({"root": {**BONES["root"], "tail": {"strategy": "MEAN", "vertex_indices": []}}}, WEIGHTS),
        (BONES, {"weights": 3}),
        (BONES, {"weights": {"root": "x"}}),
        (BONES, {"weights": {"root": [[99, 1.0]]}}),
        (BONES, {"weights": {"root": [[-1, 1.0]]}}),
    ],
)
def test_skeletons_that_are_none(bones: Any, weights: Any, data: MakeHumanData) -> None:
    folder = data.root / "mpfb2/rigs/standard"
    folder.mkdir(parents=True)

    def load() -> Rig:
        (folder / "rig.game_engine.json").write_text(json.dumps(bones))
        (folder / "weights.game_engine.json").write_text(json.dumps(weights))
        return Rig.load(data)

    with pytest.raises(InputError, match="skeleton to be read"):
        load()
    bones, weights = BONES, WEIGHTS
    assert load().names == ("root",)


@pytest.mark.parametrize(
    "weights",
    [3, {}, {"weights": 3}]
    + [{"weights": {"wrist.L": rows}} for rows in (3, [[99, 1]], [[-1e300, 1]], [[0, {}]])],
)
def test_weights_of_a_hand_that_are_none(weights: Any, data: MakeHumanData) -> None:
    path = data.root / "mpfb2/rigs/standard/weights.default.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(weights))
    with pytest.raises(InputError, match="no skinning weights"):
        hands._skinning(data, np.arange(12, dtype=np.int32))


def test_a_face_model_without_what_synthesis_needs(tmp_path: Path, data: MakeHumanData) -> None:
    path = tmp_path / "face_model.npz"
    rng, n = np.random.default_rng(0), 8
    linear = {
        "mean": rng.random((n, 3)), "shape_basis": rng.random((40, n, 3)),
        "expression_basis": rng.random((10, n, 3)), "triangles": np.array([[0, 1, 2]]),
        "landmark_vertices": np.arange(68) % n,
    }  # fmt: skip
    own: dict[str, Any] = {
        "base_vertices": np.arange(n), "head_from_base": np.eye(3, 4), "blink_scale": np.array(1.0),
    }  # fmt: skip
    np.savez(path, **linear, **own)
    assert HeadModel.load(path, data).blink_scale == 1.0
    for name, odd, words in (
        ("head_from_base", np.zeros((3, 4)), "no similarity"),
        ("head_from_base", np.eye(3), "expected"),
        ("blink_scale", np.ones(2), "expected"),
    ):
        np.savez(path, **linear, **{**own, name: odd})
        with pytest.raises(BundleError, match=words):
            HeadModel.load(path, data)
    np.savez(path, **linear)
    with pytest.raises(BundleError, match="made by another tool"):
        HeadModel.load(path, data)


@pytest.mark.parametrize("text", ["3", "[]", '{"count": []}', '{"count": 1e999}', "[" * 100_000])
def test_folders_of_scans_that_are_something_else(text: str, tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(OutputError, match="in the way"):
        generate._settle(tmp_path / "meta.json", {}, 1, "")


SUBJECT: dict[str, Any] = {
    "points": np.zeros((5, 3), np.float32), "inside": np.zeros(5, bool),
    "scale": np.zeros(5, np.uint8), "images": np.zeros((2, 8, 8, 3), np.uint8),
    "mask": np.zeros((2, 8, 8), np.uint8), "front": np.zeros((2, 8, 8, 3), np.int8),
    "back": np.zeros((2, 8, 8, 3), np.int8), "cube_from_subject": np.zeros((2, 3, 4), np.float32),
    "identity": np.int32(0),
}  # fmt: skip


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_people_whose_arrays_do_not_fit(save: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="reads data folders (extra: train)")
    from mien.models.pifuhd.dataset import Subject

    path = tmp_path / "subject-00000.npz"
    save(path, **SUBJECT)
    assert Subject.load(path).views == 2
    for name, odd in (
        ("points", np.zeros((4, 3), np.float32)), ("points", np.zeros(())),
        ("mask", np.zeros((2, 8, 9), np.uint8)), ("identity", np.zeros(3, np.int32)),
        ("front", np.zeros((2, 8, 8, 3), "<U3")),
    ):  # fmt: skip
        save(path, **{**SUBJECT, name: odd})
        with pytest.raises(InputError, match=r"not a subject: \w+ is"):
            Subject.load(path)
    save(path, **SUBJECT)
    whole = path.read_bytes()
    for old, new in ((b"'shape': (5, 3)", b"'shape': (-5,3)"), (b"(5, 3), ", b"((((((((")):
        path.write_bytes(whole.replace(old, new))
        if path.read_bytes() != whole:
            with pytest.raises(InputError, match="not a file of arrays"):
                Subject.load(path)


def test_folders_of_people_that_say_there_are_very_many(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="reads data folders (extra: train)")
    from mien.models.pifuhd.dataset import PeopleFolder

    for number in range(2):
        np.savez(tmp_path / f"subject-0000{number}.npz", **SUBJECT)
    for text in (
        "3",
        "[]",
        '{"count": 1e999}',
        '{"count": []}',
        f'{{"count": {HUGE}}}',
        "[" * 9**5,
    ):
        (tmp_path / "meta.json").write_text(text)
        with pytest.raises(InputError, match='not a folder of "mien synthesize'):
            PeopleFolder(tmp_path)
    (tmp_path / "meta.json").write_text('{"count": 4000000000}')
    with pytest.raises(InputError, match="held-out ones"):  # without counting them
        PeopleFolder(tmp_path)


LOOKS = {"views": [{"view": "front"}, {"view": "facing left"}], "age": "old"}
PORTRAITS: dict[str, Any] = {
    "images": np.zeros((1, 2, 8, 8, 3), np.uint8), "mask": np.zeros((1, 2, 8, 8), np.uint8),
    "cameras": np.tile(np.array([*np.eye(4).ravel(), *np.eye(3).ravel()], np.float32), (1, 2, 1)),
    "light": np.zeros((1, 9), np.float32), "identity": np.int32(0),
    "attributes": json.dumps([LOOKS]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("cameras", np.zeros((1, 2), np.float32)), ("identity", np.zeros(2, np.int32)),
        ("light", np.zeros((2, 9), np.float32)), ("images", np.zeros((1, 3, 8, 8, 3), np.uint8)),
        ("attributes", "3"), ("attributes", "[3]"), ("attributes", "[{}]"),
        ("attributes", json.dumps([{**LOOKS, "views": 3}])),
        ("attributes", json.dumps([{**LOOKS, "age": []}])),
        ("attributes", json.dumps([{**LOOKS, "views": [{"view": "x"}] * 2}])),
        ("attributes", json.dumps([{**LOOKS, "views": [{"view": "front"}]}])),
    ],
)  # fmt: skip
def test_portraits_whose_arrays_or_words_do_not_fit(name: str, odd: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="reads data folders (extra: train)")
    from mien.models.portrait.pictures import load_pictures

    (tmp_path / "meta.json").write_text('{"kind": "portraits", "size": 8}')
    for number in range(2):
        np.savez(tmp_path / f"person-0000{number}.npz", **PORTRAITS)
    words = load_pictures(tmp_path, held_out=False).words
    assert words == ({"view": "front", "age": "old"}, {"view": "facing left", "age": "old"})
    np.savez(tmp_path / "person-00000.npz", **{**PORTRAITS, name: odd})
    with pytest.raises(InputError, match=r"person-00000.npz: (cannot be read|does not fit)"):
        load_pictures(tmp_path, held_out=False)
