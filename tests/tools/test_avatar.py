"""``mien avatar``: expressions, neutral faces, files; tiny networks with random weights."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")
pytest.importorskip("trimesh")
pytest.importorskip("safetensors")

from mien.models.avatar.weights import save_weights
from mien.models.errors import InputError, OutputError
from mien.models.face.bundle import Bundle
from mien.models.face.camera import Camera
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.models.face.rotation import matrix_from_yaw_pitch_roll
from mien.models.mesh.files import read_mesh, write_mesh
from mien.models.mesh.triangle_mesh import TriangleMesh
from mien.models.portrait.vocabulary import PROPERTIES
from mien.models.scans.box import FaceBox
from mien.models.scans.fitted_face import textured_face
from mien.models.scans.frame import Intrinsics
from mien.models.scans.fusion import draw_mesh, voxelise
from mien.stream import FaceTracker
from mien.stream.published_pose import camera_from_head_of
from mien.tools.annotate.command import Annotate
from mien.tools.avatar.command import MakeAvatar, without_crumbs
from mien.tools.avatar.expression import read_expressions
from mien.tools.avatar.files import AnimatedGlb, beside
from mien.tools.avatar.neutral import read_neutral
from mien.tools.keyframes import Keyframes

SLIDERS = "jawOpen=0.5"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, tiny_avatar: Callable[..., Any]) -> Path:
    """Networks of a few channels, never trained."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, tiny_avatar(), {})
    return path


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, portrait_video: Path) -> Path:
    """A folder with ``portrait.mp4``, its rows and its key frames."""
    folder = tmp_path_factory.mktemp("tracked")
    shutil.copy(portrait_video, folder)
    video = folder / portrait_video.name
    assert Annotate((video,), out=folder / "rows").run() == 0
    rows = folder / "rows" / "portrait.parquet"
    assert Keyframes((rows,), folder / "keys", (video,), "avatar", 2, crop=64).run() == 0
    return folder


@pytest.fixture(scope="module")
def face(portrait_video: Path, tracked: Path) -> TriangleMesh:
    """The face of the clip as a mesh with its colours, head frame, mm."""
    capture = cv2.VideoCapture(str(portrait_video))
    image = np.asarray(capture.read()[1], np.uint8)
    capture.release()
    assert tracked.is_dir()
    height, width = image.shape[:2]
    with FaceTracker(smoothing="raw") as tracker:
        row = tracker.fit(image)[0]
        model = tracker.bundle.face_model
    return textured_face(
        model.decode(row.shape),
        model.decode_seen(row.shape, row.expression, row.blendshapes),
        model.triangles,
        image,
        Camera.from_fov(width, height).matrix,
        camera_from_head_of(row),
    )


@pytest.fixture(scope="module")
def make(
    weights: Path, tracked: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    def run(expression: str | None = SLIDERS, **options: Any) -> Path:
        out = tmp_path_factory.mktemp("out") / "avatar"
        asked = {
            "neutral": tracked / "keys/portrait.keyframes",
            "steps": 2,
            "weights": weights,
            "threads": 1,
        }
        tool = MakeAvatar(**{**asked, "expression": expression, "out": out, **options})
        assert tool.run() == 0
        return tool.out

    return run


# Expressions.


def test_sliders_name_one_side_or_both() -> None:
    said = read_expressions("jawOpen=0.5, mouthSmile=0.8,eyeBlinkLeft=1")
    assert said.kind == "blendshapes"
    (row,) = said.vectors
    assert row[BLENDSHAPE_INDEX["jawOpen"]] == 0.5
    assert row[BLENDSHAPE_INDEX["mouthSmileLeft"]] == row[BLENDSHAPE_INDEX["mouthSmileRight"]]
    assert row[BLENDSHAPE_INDEX["eyeBlinkRight"]] == 0
    assert np.count_nonzero(row) == 4


def test_vectors_come_from_text_and_files(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((3, 52)).round(3)
    (tmp_path / "a.json").write_text(json.dumps(rows.tolist()))
    (tmp_path / "b.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    (tmp_path / "c.csv").write_text("jawOpen,mouthSmile\n0.2,0\n0.4,0.5\n")
    (tmp_path / "d.json").write_text('{"jawOpen": 0.2}')
    for name in ("a.json", "b.csv"):
        np.testing.assert_allclose(read_expressions(str(tmp_path / name)).vectors, rows, atol=1e-6)
    assert read_expressions(str(tmp_path / "c.csv")).vectors[1, BLENDSHAPE_INDEX["jawOpen"]] == (
        pytest.approx(0.4)
    )
    assert read_expressions(str(tmp_path / "d.json")).vectors.sum() == pytest.approx(0.2)
    text = ",".join(map(str, rows[0]))
    np.testing.assert_allclose(read_expressions(text).vectors[0], rows[0], atol=1e-6)
    assert read_expressions(",".join(["0.5"] * 10)).kind == "expression"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,3", "a vector of 3 values; expected 52"),
        ("jawOpn=1", "nearest: jawOpen"),
        ("mouthsmile=1", "nearest: mouthSmile"),
        ("jawOpen=x", "expected a number"),
        ("jawOpen=3", "expected 0 to 1"),
        ("jawOpen=0.5,0.2", "not name=value"),
        (",".join(["nan"] * 52), "not finite"),
        ("hello", "expected a .parquet"),
        ("absent.json", "cannot be read"),
        ("absent.parquet", "no such file"),
    ],
)
def test_expressions_that_mean_nothing_are_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_expressions(text)


def test_an_annotation_gives_times_and_turns(tracked: Path) -> None:
    said = read_expressions(str(tracked / "rows/portrait.parquet"))
    assert said.times_s is not None
    assert said.rotations is not None
    assert said.vectors.shape == (24, 52)
    np.testing.assert_allclose(np.diff(said.times_s), 1 / 25, atol=1e-6)
    some = said.every(10)
    assert some.frames.tolist() == [0, 10, 20]
    np.testing.assert_array_equal(some.vectors[1], said.vectors[10])
    with pytest.raises(InputError, match="no face 9"):
        read_expressions(str(tracked / "rows/portrait.parquet"), track=9)


# Neutral faces.


def depth_scan(folder: Path, face: TriangleMesh, turns: int = 0) -> Path:
    """A depth map with picture and intrinsics, as a phone would write them, maybe turned."""
    lens = Intrinsics(600.0, 600.0, 199.5, 229.5, 400, 480)
    pose = np.eye(4)
    pose[:3, 3] = (4, -25, 420)
    frame = draw_mesh(face, lens, pose)
    assert frame.image is not None
    known = np.isfinite(frame.depth)
    image = np.where(known[..., None], frame.image, 90).astype(np.uint8)
    depth = np.where(known, np.rint(np.nan_to_num(frame.depth)), 0).astype(np.uint16)
    cx, cy = lens.cx, lens.cy
    if turns:
        image, depth = (np.ascontiguousarray(np.rot90(a, turns)) for a in (image, depth))
        cx, cy = cy, lens.width - 1 - cx
    folder.mkdir()
    cv2.imwrite(str(folder / "depth.png"), depth)
    cv2.imwrite(str(folder / "rgb.png"), image)
    table = {"fx": 600, "fy": 600, "cx": cx, "cy": cy, "depth_unit": "mm"}
    (folder / "intrinsics.json").write_text(json.dumps(table))
    return folder


def agree(found: Any, face: TriangleMesh, within_mm: float) -> None:
    """The fused scan's surface lies where the face does."""
    box = FaceBox(24)
    true = voxelise(face, box)
    both = (found.scan.seen > 20) & (true.seen > 20) & (np.abs(true.sdf) < 8)
    assert both.sum() > 100
    assert float(np.median(np.abs(found.scan.sdf - true.sdf)[both])) < within_mm


@pytest.mark.parametrize("turns", [0, 1])
def test_a_depth_map_is_laid_into_the_box(tmp_path: Path, face: TriangleMesh, turns: int) -> None:
    found = read_neutral(depth_scan(tmp_path / "s", face, turns), Bundle.default(), FaceBox(24))
    agree(found, face, 2.5)
    assert found.size == pytest.approx(1, abs=0.06)


def posed_scan(folder: Path, face: TriangleMesh) -> Path:
    """Depth maps from three sides, as a phone that moves would write them; its poses are off."""
    lens = Intrinsics(600.0, 600.0, 199.5, 229.5, 400, 480)
    middle, rng = np.array([0.0, 30.0, 20.0]), np.random.default_rng(2)
    folder.mkdir()
    entries = []
    for number, yaw in enumerate((-38, 3, 36)):
        pose = np.eye(4)
        pose[:3, :3] = matrix_from_yaw_pitch_roll(np.array([yaw, 4.0, 2.0]))
        pose[:3, 3] = np.array([4.0, -5.0, 420.0]) - pose[:3, :3] @ middle
        frame = draw_mesh(face, lens, pose)
        assert frame.image is not None
        known = np.isfinite(frame.depth)
        image = np.where(known[..., None], frame.image, 90).astype(np.uint8)
        depth = np.rint(np.where(known, frame.depth, 0)).astype(np.uint16)
        cv2.imwrite(str(folder / f"{number}_depth.png"), depth)
        cv2.imwrite(str(folder / f"{number}_rgb.png"), image)
        world = np.linalg.inv(pose) @ np.diag([1.0, -1.0, -1.0, 1.0])
        world[:3, 3] = (world[:3, 3] + rng.normal(0, 3, 3)) / 1000
        entries.append({"camera_to_world": world.tolist()})
    table = {"fx": 600, "fy": 600, "cx": 199.5, "cy": 229.5, "depth_unit": "mm"}
    (folder / "frames.json").write_text(json.dumps({**table, "frames": entries}))
    return folder


def test_depth_maps_of_several_sides_become_one_face(tmp_path: Path, face: TriangleMesh) -> None:
    box = FaceBox(24)
    alone = read_neutral(depth_scan(tmp_path / "one", face), Bundle.default(), box)
    found = read_neutral(posed_scan(tmp_path / "three", face), Bundle.default(), box)
    agree(found, face, 2.5)
    assert found.facts["kind"] == "depth frames"
    assert (found.facts["frames"], found.facts["left_out"]) == (3, 0)
    assert found.facts["apart_mm"] < 0.5
    assert found.size == pytest.approx(1, abs=0.06)
    true = voxelise(face, box)
    near = (true.seen > 20) & (np.abs(true.sdf) < 6)
    seen, before = ((part.scan.seen[near] > 0).mean() for part in (found, alone))
    assert seen > before + 0.1


def test_a_mesh_in_other_axes_and_metres_is_laid_into_the_box(
    tmp_path: Path, face: TriangleMesh
) -> None:
    arkit = face.transformed(1.15e-3 * np.diag([1.0, -1.0, -1.0]))
    write_mesh(tmp_path / "scan.ply", arkit)
    found = read_neutral(tmp_path / "scan.ply", Bundle.default(), FaceBox(24))
    agree(found, face, 2.5)
    assert found.size == pytest.approx(1.15, rel=0.05)


def test_scans_without_a_face_are_refused(tmp_path: Path, face: TriangleMesh) -> None:
    folder = depth_scan(tmp_path / "s", face)
    cv2.imwrite(str(folder / "rgb.png"), np.full((480, 400, 3), 128, np.uint8))
    with pytest.raises(InputError, match="no face in its picture"):
        read_neutral(folder, Bundle.default(), FaceBox(24))
    low, high = face.bounds()
    corners = np.array([low, [high[0], low[1], low[2]], high], np.float32)
    write_mesh(tmp_path / "wall.ply", TriangleMesh(corners, np.array([[0, 1, 2]], np.int32)))
    with pytest.raises(InputError, match="no face found on the mesh"):
        read_neutral(tmp_path / "wall.ply", Bundle.default(), FaceBox(24))


def test_key_frames_are_chosen_by_their_number(tracked: Path) -> None:
    folder = tracked / "keys/portrait.keyframes"
    found = read_neutral(folder, Bundle.default(), FaceBox(24))
    assert 0.02 < (found.scan.seen > 0).mean() < 0.95
    assert found.scan.colour.any(-1).mean() > 0.05
    with pytest.raises(InputError, match="no key frame 999"):
        read_neutral(folder, Bundle.default(), FaceBox(24), keyframe=999)


# Files.


def chunks(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    assert content[:4] == b"glTF"
    assert struct.unpack("<I", content[8:12])[0] == len(content)
    return json.loads(content[20 : 20 + struct.unpack("<I", content[12:16])[0]])


def test_one_mesh_is_shown_at_a_time(tmp_path: Path, face: TriangleMesh) -> None:
    glb = AnimatedGlb(tmp_path, np.array([2.0, 2.5, 3.5]))
    for _ in range(3):
        glb.add(face)
    with (tmp_path / "a.glb").open("wb") as stream:
        glb.write(stream)
    tree = chunks(tmp_path / "a.glb")
    assert [node.get("scale") for node in tree["nodes"]] == [None, [0.0] * 3, [0.0] * 3, None]
    (animation,) = tree["animations"]
    assert [c["target"] for c in animation["channels"]] == [
        {"node": k, "path": "scale"} for k in range(3)
    ]
    inputs = [tree["accessors"][s["input"]] for s in animation["samplers"]]
    assert [(a["min"], a["max"]) for a in inputs] == [
        ([0.0], [0.5]), ([0.0], [1.5]), ([0.0], [2.5]),
    ]  # fmt: skip
    assert {s["interpolation"] for s in animation["samplers"]} == {"STEP"}
    first = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    assert first["max"][1] == pytest.approx(-face.vertices[:, 1].min() / 1000, abs=1e-6)


def test_crumbs_are_swept(face: TriangleMesh) -> None:
    crumb = np.array([[300, 0, 0], [302, 0, 0], [300, 2, 0]], np.float32)
    assert face.colours is not None
    both = TriangleMesh(
        np.vstack([face.vertices, crumb]),
        np.vstack([face.triangles, len(face.vertices) + np.arange(3)]).astype(np.int32),
        np.vstack([face.colours, np.zeros((3, 3))]).astype(np.uint8),
    )
    swept = without_crumbs(both)
    assert swept.vertices[:, 0].max() < 299
    assert swept.area() == pytest.approx(face.area(), rel=1e-3)


def test_pictures_stand_side_by_side() -> None:
    avatar = np.full((64, 64, 3), 7, np.uint8)
    canvas = beside(np.full((100, 150, 3), 200, np.uint8), avatar)
    assert canvas.shape == (64, 160, 3)
    assert (canvas[:, 96:] == 7).all()
    assert beside(None, avatar) is avatar


def test_an_annotation_becomes_a_talking_avatar(make: Callable[..., Path], tracked: Path) -> None:
    av = pytest.importorskip("av")
    video = tracked / "portrait.mp4"
    rows = str(tracked / "rows/portrait.parquet")
    out = make(rows, every=12, formats="glb,ply", video=video)
    with av.open(str(out / "avatar.mp4")) as film:
        pictures = [frame.to_ndarray(format="bgr24") for frame in film.decode(video=0)]
    assert len(pictures) == 2
    assert pictures[0].shape[0] == 480
    assert pictures[0].shape[1] > 700
    assert len(chunks(out / "avatar.glb")["meshes"]) == 2
    meshes = [read_mesh(out / "ply" / f"{k:06d}.ply") for k in range(2)]
    assert all(mesh.colours is not None for mesh in meshes)
    facts = json.loads((out / "avatar.json").read_text())
    assert facts["video"] == "portrait.mp4"
    assert facts["neutral"]["kind"] == "keyframe"
    assert sorted(path.name for path in out.iterdir()) == [
        "avatar.glb", "avatar.json", "avatar.mp4", "ply",
    ]  # fmt: skip


def test_the_same_seed_makes_the_same_avatar(make: Callable[..., Path]) -> None:
    first, again, other = (
        make(formats="ply", film=False, seed=seed) / "ply/000000.ply" for seed in (1, 1, 2)
    )
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_a_caption_makes_people(
    make: Callable[..., Path], tmp_path: Path, tiny_avatar: Callable[..., Any]
) -> None:
    sets = (("captions", len(PROPERTIES)),)
    save_weights(
        tmp_path / "w.safetensors", tiny_avatar(token_sets=sets, neutral=False, residual=False), {}
    )
    asked = {"neutral": None, "expression": None, "weights": tmp_path / "w.safetensors"}
    out = make(**asked, caption="an old man", people=3, formats="ply", film=False)
    first, second, third = ((out / f"ply/{k:06d}.ply").read_bytes() for k in range(3))
    assert len({first, second, third}) == 3
    facts = json.loads((out / "avatar.json").read_text())
    assert facts["expression"] == {"name": "an old man", "kind": "captions", "count": 3}
    again = make(**asked, caption="an old man", people=1, formats="ply", film=False)
    assert (again / "ply/000000.ply").read_bytes() == first
    with pytest.raises(InputError, match="not in the vocabulary"):
        make(**asked, caption="a purple man")
    with pytest.raises(InputError, match="or --caption"):
        make(**asked)
    with pytest.raises(InputError, match="or --caption"):
        make(caption="an old man")
    with pytest.raises(InputError, match="belong together"):
        make(**asked | {"expression": SLIDERS}, caption="an old man")
    # Those that make expressions know no words.
    with pytest.raises(InputError, match="not conditioned by captions"):
        make(neutral=None, expression=None, caption="an old man")


def test_an_avatar_is_replaced_only_when_asked(make: Callable[..., Path], tmp_path: Path) -> None:
    out = make(film=False)
    with pytest.raises(OutputError, match="--overwrite"):
        make(film=False, out=out)
    assert make(film=False, out=out, overwrite=True) == out
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(OutputError, match="other files"):
        make(film=False, out=tmp_path, overwrite=True)


def test_what_cannot_be_begun_is_said(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        make(neutral=tmp_path / "absent.ply")
    with pytest.raises(InputError, match="mien train avatar"):
        make(weights=tmp_path / "absent.safetensors")
    with pytest.raises(InputError, match="not conditioned by expression"):
        make(",".join(["0.5"] * 10))
    with pytest.raises(InputError, match="--steps is 0"):
        make(steps=0)
    with pytest.raises(InputError, match="ply"):
        make(formats="stl")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs torch: pip install '\.\[heavy\]' in mien"):
        make()
