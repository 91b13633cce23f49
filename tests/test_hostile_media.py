"""Pictures, meshes and annotations that mean harm: small files that ask for much, or for others."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.mesh.files import checked_obj, read_mesh
from mien.models.mesh.glb import _packed
from mien.models.picture_file import decoded, read_as_it_is
from mien.models.picture_size import declared_size, size_fault
from mien.models.scans.depth_files import read_depth
from mien.models.scans.mesh_files import read_scan_mesh
from mien.tools.annotate.annotated import Annotation, VideoFinder

_TRIANGLE = "v 0 0 0\nv 100 0 0\nv 0 100 50\nvt 0 0\nvt 1 0\nvt 0 1\n"


def chunk(kind: bytes, body: bytes, length: int | None = None) -> bytes:
    """A part of a PNG, with the length that it declares."""
    size = struct.pack(">I", len(body) if length is None else length)
    return size + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(side: int, bits: int = 1) -> bytes:
    """A black square of one channel, packed as well as may be."""
    row = bytes(1 + (side * bits + 7) // 8)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV, which must not be asked."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("OpenCV was asked"))


# Pictures


@pytest.mark.parametrize(
    "suffix",
    [".png", ".jpg", ".bmp", ".tif", ".webp", ".jp2", ".hdr", ".ppm", ".pam", ".pfm", ".ras"],
)
def test_the_size_is_told_without_decoding(suffix: str) -> None:
    image = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)
    floats = suffix in (".hdr", ".pfm")
    content = cv2.imencode(suffix, image.astype(np.float32) / 255 if floats else image)[1]
    assert declared_size(content) == (53, 37)
    for end in range(len(content[:40])):  # cut short, it says nothing, or what is left
        width, height = declared_size(content[:end]) or (0, 0)
        assert (width <= 53, height <= 37) == (True, True)
    assert decoded(content, cv2.IMREAD_COLOR) is not None


@pytest.mark.parametrize(
    ("form", "settings"),
    [
        ("JPEG", {"progressive": True}), ("WEBP", {"lossless": True}), ("GIF", {}),
        ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"big_tiff": True}), ("JPEG2000", {}),
    ],
)  # fmt: skip
def test_the_size_of_what_others_write(form: str, settings: dict[str, Any]) -> None:
    Image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    Image.new("RGB", (53, 37)).save(file, form, **settings)
    assert declared_size(np.frombuffer(file.getvalue(), np.uint8)) == (53, 37)


@pytest.mark.usefixtures("asleep")
@pytest.mark.parametrize(
    "content",
    [
        png(9000),
        b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc2\0\x11\x08" + struct.pack(">HH", 60000, 60000),
        b"BM" + bytes(12) + struct.pack("<Iii", 40, 30000, -30000) + bytes(30),
        b"GIF89a" + struct.pack("<HH", 60000, 60000) + bytes(9),
        b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 256, 4, 1, 30000)
        + struct.pack("<HHII", 257, 3, 1, 30000) + bytes(9),
        b"MM\0*\0\0\0\x08\0\x02" + struct.pack(">HHII", 322, 4, 1, 30000)
        + struct.pack(">HHII", 323, 4, 1, 30000) + bytes(9),
        b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\x3f\0\xff\x3f\0" + bytes(9),
        b"RIFF\xff\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xff\xff\xff\x0f" + bytes(9),
        b"RIFF\xff\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(9),
        b"\0\0\0\x1cftypavif" + bytes(20) + b"ispe\0\0\0\0" + struct.pack(">II", 16384, 16384),
        b"\xff\x4f\xff\x51\0\x2f\0\0" + struct.pack(">IIII", 30000, 30000, 0, 0) + bytes(16)
        + b"\0\x03" + bytes(9),
        b"#?RADIANCE\n# -Y 1 +X 1\n\n-Y 30000 +X 30000\n",
        b"P5 # 1 1\n30000 # 1\n30000 255\n", b"PF\n30000 30000\n-1\n",
        b"P7\n# WIDTH 1\nWIDTH 30000\nHEIGHT 30000\nDEPTH 1\nENDHDR\n",
        b"\x59\xa6\x6a\x95" + struct.pack(">II", 30000, 30000) + bytes(20),
    ],
)  # fmt: skip
def test_a_small_picture_that_says_it_is_very_large(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: not a picture.*says that it is \d+x\d+ px"):
        read_as_it_is(path)
    with pytest.raises(InputError, match=r"says that it is \d+x\d+ px|more than 64 million"):
        read_depth(path)


def test_real_pictures_of_plain_areas_are_read(tmp_path: Path) -> None:
    assert not size_fault(4096, 4096, 99)
    assert size_fault(4097, 4096, 99)
    assert not size_fault(8000, 6000, 240_000)
    mask = np.zeros((4000, 6000), np.uint8)
    cv2.ellipse(mask, (3000, 2500), (900, 1400), 0, 0, 360, 255, -1)
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    for name in ("mask.png", "mask.webp"):
        path = tmp_path / name
        cv2.imwrite(str(path), mask, [cv2.IMWRITE_WEBP_QUALITY, 80] if "webp" in name else [])
        assert path.stat().st_size < 6000 * 4000 / 200
        read = read_as_it_is(path, cv2.IMREAD_GRAYSCALE)
        assert np.abs(read.astype(int) - mask).mean() < 1
    plain = np.zeros((8192, 8192), np.uint16)
    plain[4000:4900, 4000:4700] = 600
    cv2.imwrite(str(tmp_path / "plain.png"), plain)
    assert (tmp_path / "plain.png").stat().st_size < 8192 * 8192 / 200
    assert read_depth(tmp_path / "plain.png").shape == (8192, 8192)


@pytest.mark.usefixtures("asleep")
@pytest.mark.parametrize(
    "content",
    [
        b"\x2f\xff\xff\xff\x0f" + bytes(9),  # WebP without its frame: OpenCV knows it
        b"P6\n00000000000030000 00000000000030000\n255\n" + bytes(9),
        b"P6\n+30000 +30000\n255\n" + bytes(9), b"PF\n00000000000030000 30000\n-1\n" + bytes(9),
    ],
)  # fmt: skip
def test_a_picture_that_says_no_size_is_not_decoded(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(content)
    with pytest.raises(InputError, match="of no format that is known here, or says no size"):
        read_as_it_is(tmp_path / "a.webp")


@pytest.mark.usefixtures("asleep")
def test_a_png_that_ends_behind_a_length(tmp_path: Path) -> None:
    path = tmp_path / "d.png"
    head = struct.pack(">IIBBBBB", 32, 24, 16, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"8", 0x49F2CA43)[:9]
    )
    with pytest.raises(InputError, match="not a picture"):
        read_depth(path)


# Meshes


def textured(folder: Path, texture: bytes, name: str = "t.png", mentions: int = 1) -> Path:
    """A triangle with a texture, or several that are the same."""
    (folder / name).write_bytes(texture)
    mtl = "".join(f"newmtl a{k}\nmap_Kd {name}\n" for k in range(mentions))
    (folder / "m.mtl").write_text(mtl)
    path = folder / "m.obj"
    faces = "".join(f"usemtl a{k}\nf 1/1 2/2 3/3\n" for k in range(mentions))
    path.write_text(f"mtllib m.mtl\n{_TRIANGLE}{faces}")
    return path


def test_textures_have_the_bytes_of_their_size(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    pytest.importorskip("trimesh")
    picture = cv2.imencode(".png", np.full((64, 64, 3), 200, np.uint8))[1].tobytes()
    colours = read_scan_mesh(textured(tmp_path, picture, mentions=3)).colours
    assert colours is not None
    assert colours.min() == 200
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for side in (5000, 10000):  # of the larger, Pillow warns
            with pytest.raises(InputError, match=r"m\.obj: its texture 't\.png' says that it is"):
                read_scan_mesh(textured(tmp_path, png(side)))
    with pytest.raises(InputError, match=f"comes to {7 * 4096**2} px with the textures before it"):
        read_scan_mesh(textured(tmp_path, png(4096), mentions=9))


def test_a_texture_is_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = pytest.importorskip("PIL.EpsImagePlugin")
    pytest.importorskip("trimesh")
    monkeypatch.setattr(plugin, "Ghostscript", lambda *_, **__: pytest.fail("it was run"))
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert len(read_scan_mesh(textured(tmp_path, program, "t.eps")).triangles) == 1


def test_many_materials_in_an_obj(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    path = tmp_path / "m.obj"
    faces = "".join(f"usemtl m{k}\nf 1 2 3\n" for k in range(20_000))
    path.write_text(_TRIANGLE + faces)
    mesh = read_mesh(path)  # of materials it reads none, and took minutes
    assert mesh.triangles.shape == (20_000, 3)
    assert mesh.vertices.shape == (3, 3)
    with pytest.raises(InputError, match="20000 materials, expected up to 1000"):
        read_scan_mesh(path)
    path.write_text(_TRIANGLE + "".join(f"usemtl m{k % 9}\nf 1 2 3\n" for k in range(20_000)))
    assert len(read_scan_mesh(path).triangles) == 20_000


@pytest.mark.parametrize(
    "hidden", [b"use\xffmtl m1\n", b"usem\\\ntl m1\n", b"usem\\\\\n\ntl m1\n", b"usem\\\r\ntl m1\n"]
)
def test_a_material_cannot_hide(hidden: bytes) -> None:
    text = checked_obj(b"f 1 2 3\n" + hidden, materials=False).decode()
    read = text.replace("\r\n", "\n").replace("\\\n", "")  # as trimesh does
    assert "usemtl" not in read


def glb(path: Path, vertices: int = 3, **parts: Any) -> Path:
    """A triangle among vertices, in a file with other parts."""
    corners = np.eye(vertices, 3, dtype="<f4").tobytes()
    data = corners + np.array([0, 1, 2], "<u4").tobytes()
    tree: dict[str, Any] = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": len(data)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(corners)},
            {"buffer": 0, "byteOffset": len(corners), "byteLength": 12},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": vertices, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
        ],
    }  # fmt: skip
    path.write_bytes(_packed(tree | parts, data))
    return path


def test_a_glb_that_shows_its_mesh_very_often(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    path = tmp_path / "m.glb"
    nodes = [{"mesh": 0}] * 200
    shown = {"nodes": nodes, "scenes": [{"nodes": list(range(200))}]}
    assert len(read_mesh(glb(path, **shown)).triangles) == 200  # as real files do
    with pytest.raises(InputError, match="4000600 elements in nodes"):
        read_mesh(glb(path, 20_000, **shown))
    for count in (2, 300):
        primitives = [{"attributes": {"POSITION": 0}, "indices": 1}] * count
        glb(path, 20_000, meshes=[{"primitives": primitives}])
        if count == 2:
            assert len(read_mesh(path).triangles) == 2
            continue
        with pytest.raises(InputError, match="6000900 elements in meshes"):
            read_mesh(path)


def test_parts_of_a_glb_that_overlap(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    path = tmp_path / "m.glb"
    views = [{"buffer": 0, "byteOffset": 0, "byteLength": 240_012}] * 99
    with pytest.raises(InputError, match="bytes in views"):
        read_mesh(glb(path, 20_000, bufferViews=views))
    empty = [{"componentType": 5126, "count": 20_000, "type": "MAT4"}] * 99
    with pytest.raises(InputError, match="elements in accessors"):
        read_mesh(glb(path, 20_000, accessors=empty))
    with pytest.raises(InputError, match="an accessor of -9 elements"):
        read_mesh(glb(path, accessors=[{"count": -9}]))
    chain = [{"children": [k + 1]} for k in range(2000)] + [{"mesh": 0}]
    with pytest.raises(InputError, match="nodes within nodes"):
        read_mesh(glb(path, nodes=chain))
    assert len(read_mesh(glb(path, nodes=[{"children": [1]}, {"mesh": 0}])).triangles) == 1


def test_pictures_in_a_glb_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image = pytest.importorskip("PIL.Image")
    pytest.importorskip("trimesh")
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("it was opened"))
    look = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    parts = {"images": [{"bufferView": 0}], "textures": [{"source": 0}], "materials": [look]}
    assert len(read_mesh(glb(tmp_path / "m.glb", **parts)).triangles) == 1


# Annotations


@pytest.mark.parametrize("source", ["../private/x.png", "..\\private\\x.png", "sub/../../x.png"])
def test_rows_name_no_picture_outside_their_folders(source: str, tmp_path: Path) -> None:
    for name in ("private/x.png", "x.png", "rows/sub/y.png", "videos/sub/y.png", "rows/a\\b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(said: str, *places: str) -> Path | None:
        annotation = Annotation(tmp_path / "rows/a.parquet", "a", None, {"source": said})
        return VideoFinder([tmp_path / at for at in places], tmp_path / "rows").find(annotation)[0]

    outside = str(tmp_path / "private/x.png")
    for said in (source, outside, f"\\\\host{outside}", "..", "/", "a/..", "\0"):
        assert found(said) is None
        assert found(said, "videos") is None
    # What lies below is found as before, and the last name of another machine's place.
    assert found("a" * 5000) is None
    assert found("sub/y.png") == tmp_path / "rows/sub/y.png"
    assert found("sub/y.png", "videos") == tmp_path / "videos/sub/y.png"
    assert found("C:\\films\\y.png", "videos") == tmp_path / "videos/sub/y.png"
    assert found("/films/y.png", "videos") == tmp_path / "videos/sub/y.png"
    (tmp_path / "rows/x.png").touch()
    assert found(source) == tmp_path / "rows/x.png"
