"""What spoiled files once brought down, one kind of fault a test."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mien.models.archives import read_npy, read_npz
from mien.models.documents import is_file, json_of, one_line, toml_of
from mien.models.errors import BundleError, InputError, MienError, SourceError
from mien.models.face.bundle import Bundle
from mien.models.face.camera import Camera
from mien.models.face.morphable import FaceModel
from mien.models.portrait.sh import light_by_name_or_file, read_light
from mien.models.scans.depth_files import read_depth
from mien.models.scans.intrinsics import intrinsics_of
from mien.stream.curve import public_key
from mien.stream.digest import digest
from mien.stream.echo import EchoClient
from mien.stream.keyframes.folder import CropFacts
from mien.stream.messages import check_topic, decode
from mien.stream.observation import FaceObservation
from mien.stream.reading import read_observations
from mien.stream.sinks.zeromq_endpoints import check_endpoint
from mien.stream.smoother.config import SmoothingConfig, resolve_smoothing
from mien.stream.smoother.tuning import Tuning
from mien.tools.annotate.annotated import Annotation
from mien.tools.avatar.expression import read_expressions
from mien.tools.cli import main
from mien.tools.evaluate.labels import LABELS_NAME, read_labels
from mien.tools.reconstruct.files import finished
from mien.tools.report.page import video_page

DEEP = "[" * 100_000
HUGE = "9" * 400


def npy(shape: str, kind: str = "<f4", content: bytes = b"") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


def npz(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def test_arrays_come_back_as_numpy_wrote_them(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    wanted = {
        "a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.eye(3, dtype=np.int16)),
        "c": np.float32(2.5), "d": np.array("text"), "e": np.zeros((0, 4), np.uint8),
    }  # fmt: skip
    np.savez_compressed(path, **wanted)  # pyright: ignore[reportArgumentType]
    found = read_npz(path)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype
    assert read_npz(path, ("a",), ("d", "z")).keys() == {"a", "d"}
    found["a"][0, 0] = 7.0  # writable, as NumPy's own
    np.save(tmp_path / "a.npy", wanted["a"])
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), wanted["a"])
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy", mapped=True), wanted["a"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npz(a=npy("(10000000000000,)")), "lacks the bytes"),
        (npz(a=npy("(-1,)", content=b"1234")), "lacks the bytes"),
        (npz(a=npy("(2,)", "|O", b"12345678" * 2)), "expected numbers"),
        (npz(a=npy("(" + "(" * 5000 + ")" * 5000 + ",)")), r"."),
        (npz(b=npy("(1,)", content=b"1234")), "lacks a"),
        (npz(a=npy("(3000000,)", "|u1", b"\0" * 3_000_000)), "unpacks to"),
        (npz(a=b"no array"), r"."),
        (npz(a=npy("(1,)", content=b"1234"))[:-30], r"."),
        (b"PK\x03\x04", r"."),
    ],
)
def test_archives_say_what_is_wrong(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_npz(path, ("a",), most_bytes=1 << 20)


@pytest.mark.parametrize("form", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_whose_directory_says_more_than_there_is(form: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", form) as archive:
        archive.writestr("a.npy", npy("(1000000,)"))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2") + 24
    content[at : at + 4] = struct.pack("<I", 4_000_128)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"'a.npy' lacks the bytes it declares"):
        read_npz(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_that_are_packed_in_other_ways(method: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.npy", npy("(4,)", content=bytes(range(16))))
    assert read_npz(path, ("a",))["a"].shape == (4,)
    whole = path.read_bytes()
    for at in range(30, len(whole), 3):
        path.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        with suppress(OSError, ValueError):
            read_npz(path, ("a",))


def test_a_face_model_is_no_bomb(tmp_path: Path) -> None:
    names = ("mean", "shape_basis", "expression_basis", "triangles", "landmark_vertices")
    path = tmp_path / "face_model.npz"
    path.write_bytes(npz(**{name: npy("(99999, 99999, 3)") for name in names}))
    with pytest.raises(BundleError, match="lacks the bytes"):
        FaceModel.load(path)
    path.write_bytes(npz(**{name: npy("(1,)", "<U1", b"abcd") for name in names}))
    with pytest.raises(BundleError, match="mean is <U1"):
        FaceModel.load(path)


@pytest.mark.parametrize("shape", ["(99999, 9999999)", "(2, 2)"])
def test_depth_maps_have_the_bytes_that_they_declare(shape: str, tmp_path: Path) -> None:
    (tmp_path / "d.npy").write_bytes(npy(shape))
    with pytest.raises(InputError, match="lacks the bytes"):
        read_depth(tmp_path / "d.npy")
    for size in ("99999 9999999", "-4 -4", f"{HUGE} {HUGE}"):
        (tmp_path / "d.pfm").write_bytes(f"Pf\n{size}\n-1.0\n".encode() + b"\0" * 64)
        with pytest.raises(InputError, match="lacks the bytes"):
            read_depth(tmp_path / "d.pfm")
    (tmp_path / "d.npy").write_bytes(npy("(1, 2)", "<U2", b"\0" * 16))
    with pytest.raises(InputError, match="expected numbers"):
        read_depth(tmp_path / "d.npy")


def test_nesting_and_sizes_of_others_files(tmp_path: Path) -> None:
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 1 << 15, 1 << 15) + b"\x10\0" * 9
    (tmp_path / "d.png").write_bytes(huge)
    with pytest.raises(InputError, match="64 million"):
        read_depth(tmp_path / "d.png")
    (tmp_path / "bundle.toml").write_text("format = " + "9" * 5000)
    with pytest.raises(BundleError, match="not TOML"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize("read", [json_of, toml_of])
def test_deep_nesting_is_no_traceback(read: Any) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|not|Invalid|Expecting"):
        read("a = " + DEEP if read is toml_of else DEEP)


def test_whole_numbers_of_toml_have_64_bits(tmp_path: Path) -> None:
    for value in ("0x" + "f" * 4000, "[1, {a = 9223372036854775808}]", "-9223372036854775809"):
        with pytest.raises(ValueError, match="beyond 64 bits"):
            toml_of(f"preset = {value}")
        (tmp_path / "s.toml").write_text(f"preset = {value}\n")
        with pytest.raises(InputError, match="not a smoothing file in TOML"):
            SmoothingConfig.load(tmp_path / "s.toml")
    assert toml_of("a = [-9223372036854775808, {b = 0x7fffffffffffffff}]")["a"][0] == -(1 << 63)


def test_what_an_error_says_is_one_line() -> None:
    assert one_line(ValueError("a\n  b\n")) == "a b"
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert not is_file("x" * 5000)
    assert not is_file("a\0b")
    assert is_file(__file__)


@pytest.mark.parametrize("value", [HUGE, "1e999", "NaN"])
def test_numbers_beyond_all_bounds(value: str, tmp_path: Path) -> None:
    def refused(read: Any, name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(MienError) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)

    others = '"fx": 1, "fy": 1, "cx": 1, "cy": 1, "height": 4'
    refused(Camera.load, "c.json", f'{{{others}, "width": {value}}}')
    toml = value.replace("1e999", "inf").replace("NaN", "nan")
    refused(Camera.load, "c.toml", f"fx = 1\nfy = 1\ncx = 1\ncy = 1\nheight = 4\nwidth = {toml}\n")
    refused(SmoothingConfig.load, "s.toml", f"rest = {toml}\n")
    refused(read_light, "l.txt", f"[{value}, 1, 2, 3, 4, 5, 6, 7, 8]")
    refused(lambda path: read_expressions(str(path)), "e.json", f"[{','.join([value] * 10)}]")
    row = f'{{"image": "a", "faces": [{{"box": [1, 2, 3, {value}]}}]}}\n'
    refused(lambda path: read_labels(path.parent), LABELS_NAME, row)
    text = Tuning.default().text().replace("error_s = ", f"error_s = {toml} # ", 1)
    refused(Tuning.load, "t.toml", text)


def test_text_that_is_not_unicode(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_bytes(b"jawOpen,jaw\xff\n0.5,1\n")
    with pytest.raises(InputError, match="expected rows"):
        read_expressions(str(tmp_path / "e.csv"))
    (tmp_path / "e.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"expected 52|no vector"):
        read_expressions(str(tmp_path / "e.csv"))
    with pytest.raises(InputError, match="not a message"):
        decode(b"status.main.", b"\x81\xa1\xff\x01")
    with pytest.raises(InputError, match="called"):
        check_topic(b"pose.\xff.0.")
    check_topic(b"pose.main.12.")
    check_topic(b"hello.main.")


def test_an_echo_that_is_not_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket:
        def send(self, _: bytes) -> None: ...
        def poll(self, _: int) -> int:
            return 1

        def recv(self) -> bytes:
            return b"\x82\xa4t_ns\x05\xa5reply\xa1\xff"

    client = EchoClient("inproc://none")
    own = client.__dict__.pop("_socket")
    monkeypatch.setattr(client, "_socket", Socket(), raising=False)
    with pytest.raises(SourceError, match="not a clock echo"):
        client.ask()
    client.__dict__["_socket"] = own
    client.close()


def test_names_that_no_file_can_have(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    name = "x" * 5000
    with pytest.raises(InputError, match="neither a file"):
        light_by_name_or_file(name)
    with pytest.raises(InputError, match="neither a preset"):
        resolve_smoothing(name)
    monkeypatch.setattr("sys.argv", ["mien", "evaluate", name])
    assert main() == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    with pytest.raises(InputError, match="expected an endpoint"):
        check_endpoint("tcp://127.0.0.1:" + "9" * 5000, public=True)


def test_key_files_that_break_off(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text("metadata\ncurve\n    public-key\n")
    with pytest.raises(InputError, match="not a key file"):
        public_key(tmp_path / "a.key")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("frame_rate", "soon"), ("frame_rate", "nan"), ("width", "1e3"), ("width", "-4"),
        ("camera_matrix", "[[1]]"), ("camera_matrix", "]"), ("options", "[]"),
    ],
)  # fmt: skip
def test_metadata_of_rows_is_checked(name: str, text: str, tmp_path: Path) -> None:
    said = {"width": "4", "height": "4", name: text}
    annotation = Annotation(tmp_path / "a.parquet", "a", None, said)
    with pytest.raises(InputError, match=r"a.parquet"):
        _ = annotation.rate, annotation.size, annotation.camera, annotation.options


def test_a_row_with_a_number_too_large(tmp_path: Path) -> None:
    fields = ", ".join(f'"{name}": 1' for name in FaceObservation.__struct_fields__)
    text = "{" + fields.replace('"shape": 1', f'"shape": [{HUGE}]') + "}\n"
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"a.jsonl"):
        list(read_observations(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("frames", [[1 << 32], [(1 << 62) + 3], [0, 2, 0, 2, 0, 2], [9, 9, 0, 9]])
def test_a_report_of_frames_far_out_or_out_of_order(frames: list[int], tmp_path: Path) -> None:
    lists = {"shape": 40, "expression": 10, "landmarks": 136, "pose_variance": 6, "blendshapes": 52}
    plain: dict[str, Any] = dict.fromkeys(FaceObservation.__struct_fields__, 1)
    plain |= {name: [0.5] * size for name, size in lists.items()}
    plain |= {"t_capture_ns": None, "observed": True}
    times = [{"frame": frame, "t_media_ns": place * 10**9} for place, frame in enumerate(frames)]
    lines = [json.dumps({**plain, **time}) + "\n" for time in times]
    (tmp_path / "a.jsonl").write_text("".join(lines))
    annotation = Annotation.open(tmp_path / "a.jsonl", "a")
    facts = digest(list(annotation.rows()), rate=None, frames=None, seconds=None)
    assert "<html" in video_page(annotation, facts, [], "", "")


@pytest.mark.parametrize("name", ["frame", "track", "t_media_ns", "t_capture_ns"])
def test_a_row_with_a_number_beyond_its_type(name: str, tmp_path: Path) -> None:
    lists = {"shape": 40, "expression": 10, "landmarks": 136, "pose_variance": 6, "blendshapes": 52}
    plain: dict[str, Any] = dict.fromkeys(FaceObservation.__struct_fields__, 1)
    plain |= {key: [0.5] * size for key, size in lists.items()}
    path = tmp_path / "a.jsonl"
    most = (1 << 31 if name == "track" else 1 << 63) - 1
    for number, fine in ((most, True), (most + 1, False), (10**400, False)):
        path.write_text(json.dumps({**plain, "observed": True, name: number}) + "\n")
        if fine:
            assert len(list(read_observations(path))) == 1
            continue
        with pytest.raises(InputError, match=rf"`int` <= {most} - at `\$.{name}`"):
            list(read_observations(path))


@pytest.mark.parametrize("flat", [0.0, 1e-30, 1e30])
def test_a_crop_that_is_no_square_of_the_picture(flat: float) -> None:
    plain = {"side": 64, "image_from_crop": [[flat, 0, 1], [0, flat, 1]], "inside": 1}
    with pytest.raises(msgspec.ValidationError, match="no map of a square"):
        msgspec.json.decode(json.dumps(plain), type=CropFacts)
    plain["image_from_crop"] = [[0.5, -0.5, 9], [0.5, 0.5, 9]]
    crop = msgspec.json.decode(json.dumps(plain), type=CropFacts)
    there_and_back = crop.crop_from_image @ np.vstack([crop.matrix, [0, 0, 1]])
    np.testing.assert_allclose(there_and_back, np.eye(3), atol=1e-12)


def test_facts_of_another_kind_are_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"request": 0.5}')
    with pytest.raises(MienError, match="in the way"):
        finished(tmp_path, "a", {})


def test_meshes_that_name_places_beyond_the_file(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    from mien.models.mesh.files import read_mesh
    from mien.models.scans.mesh_files import read_scan_mesh

    for face in ("f 2147483648/1/1 2 3", "f 1 2 \\\n99999999999999", "  f 1//9999999 2 3"):
        text = f"v 0 0 0\nv 150 0 0\nv 0 200 0\nvt 0 0\nvn 0 0 1\n{face}\n"
        (tmp_path / "m.obj").write_text(text)
        for read in (read_mesh, read_scan_mesh):
            with pytest.raises(InputError, match=r"m.obj: not a readable"):
                read(tmp_path / "m.obj")
    tree = b'{"accessors": [{"count": 99999999999}]}'
    glb = struct.pack("<4sII", b"glTF", 2, 20 + len(tree)) + struct.pack("<I", len(tree))
    (tmp_path / "m.glb").write_bytes(glb + b"JSON" + tree)
    with pytest.raises(InputError, match="beyond the file"):
        read_mesh(tmp_path / "m.glb")


def test_units_that_are_no_names() -> None:
    lens = {"fx": 60, "fy": 60, "cx": 16, "cy": 12}
    assert intrinsics_of({**lens, "width": 32, "height": 0.4}, Path("i.json")).size is None
    for unit in ([], {}, 3):
        with pytest.raises(InputError, match="depth_unit"):
            intrinsics_of({**lens, "depth_unit": unit}, Path("i.json"))
    with pytest.raises(InputError, match="no intrinsics"):
        intrinsics_of({**lens, "fx": int(HUGE)}, Path("i.json"))


def test_checkpoints_that_break_torch_s_own_reader(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reads checkpoints (extra: train)")
    from mien.models.learning.checkpoint_file import load_content

    out = io.BytesIO()
    torch.save({"format": "x", "w": torch.zeros(2)}, out, _use_new_zipfile_serialization=False)
    whole = out.getvalue()
    path = tmp_path / "c.pt"
    for at in range(0, len(whole), 7):
        for value in (0, 0x80, 0xFF):
            path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            with suppress(InputError):
                load_content(path, "x")


def test_names_of_classes_that_torch_would_search_for_long(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reads checkpoints (extra: train)")
    from mien.models.learning.checkpoint_file import load_plain
    from mien.models.tddfa.checkpoint import read_state

    long = b"\x80\x02c" + b"collections{" * 4000 + b"\nOrderedDict\n."
    other = io.BytesIO()
    torch.save({"w": torch.zeros(2)}, other)
    zipped = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(other.getvalue())) as old, zipfile.ZipFile(zipped, "w") as new:
        for name in old.namelist():
            new.writestr(name, long if name.endswith("data.pkl") else old.read(name))
    path = tmp_path / "c.pt"
    for content in (long, zipped.getvalue()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="class of 48"):
            load_plain(path)
        with pytest.raises(InputError, match="more than tensors"):
            read_state(path)
    path.write_bytes(b"\x80\x02c\xff\xfe\nOrderedDict\n.")
    with pytest.raises(ValueError, match="letters"):
        load_plain(path)
    path.write_bytes(other.getvalue())
    assert load_plain(path)["w"].shape == (2,)
