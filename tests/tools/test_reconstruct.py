"""``mien reconstruct``, end to end with a tiny network of random weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="runs the network (extra: heavy)")
pytest.importorskip("safetensors", reason="reads the weights (extra: heavy)")

from mien.models.errors import InputError
from mien.models.mesh.files import read_mesh
from mien.stream.keyframes import KeyframeFolder
from mien.tools.reconstruct.command import Reconstruct


@pytest.fixture(scope="session")
def made(
    tiny_reconstruct: Reconstruct, person_keyframes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The files of the first key frame, with everything that is written."""
    folder = KeyframeFolder.load(person_keyframes)
    first = folder.keyframes[0]
    out = tmp_path_factory.mktemp("made")
    run = replace(
        tiny_reconstruct, inputs=(person_keyframes,), out=out, only=str(first.frame), turntable=True
    )
    assert run.run() == 0
    return out, f"person-{first.stem}"


def facts_of(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / f"{name}.json").read_text(encoding="utf-8"))


# What is written.


def test_all_files_are_there_and_nothing_else(made: tuple[Path, str]) -> None:
    out, name = made
    endings = ["glb", "json", "obj", "ply", "sheet.png", "turntable.mp4"]
    assert sorted(p.name for p in out.iterdir()) == [f"{name}.{ending}" for ending in endings]
    with av.open(str(out / f"{name}.turntable.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 90
    assert cv2.imread(str(out / f"{name}.sheet.png")) is not None


def test_the_three_formats_hold_the_same_closed_mesh(made: tuple[Path, str]) -> None:
    out, name = made
    figures = facts_of(out, name)["figures"]
    meshes = [read_mesh(out / f"{name}.{kind}") for kind in ("ply", "obj", "glb")]
    for mesh in meshes:
        assert len(mesh.vertices) == figures["vertices"]
        assert len(mesh.triangles) == figures["triangles"]
        assert mesh.is_watertight()
        assert mesh.colours is not None
        np.testing.assert_allclose(mesh.vertices, meshes[0].vertices, atol=0.05)
    assert figures["watertight"] is True
    assert figures["components"] == 1
    assert meshes[0].volume() > 0


def test_the_mesh_falls_on_the_person_in_the_picture(
    made: tuple[Path, str], person_keyframes: Path
) -> None:
    out, name = made
    folder = KeyframeFolder.load(person_keyframes)
    fit = folder.fit(folder.keyframes[0])
    facts = facts_of(out, name)
    vertices = read_mesh(out / f"{name}.ply").vertices.astype(float)
    seen = vertices @ np.array(facts["camera_matrix"]).T
    pixels = seen[:, :2] / seen[:, 2:]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    face_low, face_high = fit.landmarks_px.min(axis=0), fit.landmarks_px.max(axis=0)
    assert (low < face_low).all()
    assert (high > face_high).all()
    image = folder.image_bgr(folder.keyframes[0])
    assert (low > -3).all()
    assert (high < np.array(image.shape[1::-1]) + 3).all()
    # The cube's middle lies on the line of sight to the head.
    assert abs(vertices[:, 2].mean() - facts["cube_distance_mm"]) < 200.0


def test_the_head_frame_is_the_camera_frame_moved(
    tiny_reconstruct: Reconstruct, made: tuple[Path, str], person_keyframes: Path, tmp_path: Path
) -> None:
    out, name = made
    frame = str(int(name.rpartition("-")[2]))
    run = replace(
        tiny_reconstruct,
        inputs=(person_keyframes,),
        out=tmp_path,
        only=frame,
        frame="head",
        formats="ply",
    )
    assert run.run() == 0
    pose = np.array(facts_of(out, name)["camera_from_head"])
    head = read_mesh(tmp_path / f"{name}.ply")
    camera = read_mesh(out / f"{name}.ply")
    np.testing.assert_allclose(
        head.vertices @ pose[:3, :3].T + pose[:3, 3], camera.vertices, atol=0.01
    )
    assert not (tmp_path / f"{name}.obj").exists()
    assert not (tmp_path / f"{name}.turntable.mp4").exists()


def test_a_mask_of_ones_own_is_used(
    tiny_reconstruct: Reconstruct, person_picture: Path, tmp_path: Path
) -> None:
    image = cv2.imread(str(person_picture))
    assert image is not None
    masks = tmp_path / "masks"
    masks.mkdir()
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[:, : image.shape[1] * 6 // 10] = 255
    cv2.imwrite(str(masks / "person.png"), mask)
    run = replace(
        tiny_reconstruct, inputs=(person_picture,), out=tmp_path / "out", formats="ply", mask=masks
    )
    assert run.run() == 0
    facts = facts_of(tmp_path / "out", "person")
    assert facts["figures"]["segmentation_quality"] == 1.0
    vertices = read_mesh(tmp_path / "out" / "person.ply").vertices.astype(float)
    seen = vertices @ np.array(facts["camera_matrix"]).T
    assert (seen[:, 0] / seen[:, 2]).max() < image.shape[1] * 0.6 + 12
    cv2.imwrite(str(masks / "person.png"), mask[:-7])
    assert replace(run, overwrite=True).run() == 1
    (masks / "person.png").unlink()
    assert replace(run, overwrite=True).run() == 0
    assert any("no mask" in one for one in facts_of(tmp_path / "out", "person")["remarks"])


def test_a_body_by_its_face_and_by_a_box(
    tiny_reconstruct: Reconstruct,
    person_picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = cv2.imread(str(person_picture))
    assert image is not None
    portrait = replace(
        tiny_reconstruct, inputs=(person_picture,), out=tmp_path, formats="ply", preset="body"
    )
    assert portrait.run() == 1
    assert "of the body's height is in the picture" in capsys.readouterr().err
    canvas = np.full((420, 320, 3), 150, np.uint8)
    little = cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    canvas[10 : 10 + little.shape[0], 100 : 100 + little.shape[1]] = little
    canvas[10 + little.shape[0] : 390, 130:200] = (90, 60, 30)
    standing = tmp_path / "standing.png"
    cv2.imwrite(str(standing), canvas)
    run = replace(portrait, inputs=(standing,))
    assert run.run() == 0
    by_face = facts_of(tmp_path, "standing")
    assert by_face["cube_side_mm"] > 1000.0
    assert replace(run, box="100,10,128,390", overwrite=True).run() == 0
    boxed = facts_of(tmp_path, "standing")
    assert boxed["cube_side_mm"] != by_face["cube_side_mm"]
    assert boxed["figures"]["watertight"]


# Pictures that are not as one would wish.


def test_several_faces(
    tiny_reconstruct: Reconstruct,
    person_picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = cv2.imread(str(person_picture))
    assert image is not None
    small = cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    room = np.full((image.shape[0], image.shape[1] + small.shape[1], 3), 120, np.uint8)
    room[:, : image.shape[1]] = image
    room[: len(small), image.shape[1] :] = small
    two = tmp_path / "two.png"
    cv2.imwrite(str(two), room)
    run = replace(tiny_reconstruct, inputs=(two,), out=tmp_path / "out", formats="ply")
    assert run.run() == 0
    said = capsys.readouterr().out
    assert "2 faces; took the one of which most is seen" in said
    assert "--face 2" in said
    first = facts_of(tmp_path / "out", "two")
    assert replace(run, face=2, overwrite=True).run() == 0
    second = facts_of(tmp_path / "out", "two")
    assert second["figures"]["face_width_px"] < first["figures"]["face_width_px"]
    assert second["remarks"] == [one for one in second["remarks"] if "faces" not in one]
    assert replace(run, face=3, overwrite=True).run() == 1
    assert "only 2 faces found" in capsys.readouterr().err


def test_a_small_face_is_made_and_said(
    tiny_reconstruct: Reconstruct,
    person_picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = cv2.imread(str(person_picture))
    assert image is not None
    before = tmp_path / "small.png"
    canvas = np.full((240, 320, 3), 150, np.uint8)
    factor = 0.3
    little = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    canvas[60 : 60 + little.shape[0], 100 : 100 + little.shape[1]] = little
    cv2.imwrite(str(before), canvas)
    assert (
        replace(tiny_reconstruct, inputs=(before,), out=tmp_path / "out", formats="ply").run() == 0
    )
    assert "px wide: below 40 px" in capsys.readouterr().out


def test_no_face_a_video_and_a_missing_file(
    tiny_reconstruct: Reconstruct,
    person_picture: Path,
    portrait_video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    empty = tmp_path / "empty.png"
    cv2.imwrite(str(empty), np.full((120, 160, 3), 90, np.uint8))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    shutil.copy(person_picture, tmp_path / "good.png")
    places = (empty, portrait_video, broken, tmp_path / "good.png")
    run = replace(tiny_reconstruct, inputs=places, out=tmp_path / "out", formats="ply")
    assert run.run() == 1
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("mien: ")]
    assert len(lines) == 3
    assert "empty.png: no face found" in lines[0]
    assert "expected a picture or key frames" in lines[1]
    assert "broken.png" in lines[2]
    assert "1 done, 3 failed" in said.out
    assert sorted(p.suffix for p in (tmp_path / "out").iterdir()) == [".json", ".ply", ".png"]
    with pytest.raises(InputError, match="no such folder of key frames, and no such picture"):
        replace(tiny_reconstruct, inputs=(tmp_path / "absent",), out=tmp_path / "out").run()


def test_a_person_who_is_cut_off_is_told_where(
    tiny_reconstruct: Reconstruct, person_picture: Path, tmp_path: Path
) -> None:
    image = cv2.imread(str(person_picture))
    assert image is not None
    run = replace(tiny_reconstruct, inputs=(person_picture,), out=tmp_path / "whole", formats="ply")
    assert run.run() == 0
    vertices = read_mesh(tmp_path / "whole" / "person.ply").vertices.astype(float)
    facts = facts_of(tmp_path / "whole", "person")
    seen = vertices @ np.array(facts["camera_matrix"]).T
    top = round(float((seen[:, 1] / seen[:, 2]).min()) + 14)
    cut = tmp_path / "person.png"
    cv2.imwrite(str(cut), image[top:])
    assert replace(run, inputs=(cut,), out=tmp_path / "cut").run() == 0
    (line,) = [one for one in facts_of(tmp_path / "cut", "person")["remarks"] if "cut off" in one]
    assert "top" in line


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"inputs": ()}, "no input"),
        ({"resolution": 4}, "--resolution is 4"),
        ({"resolution": 202}, "power of two"),
        ({"formats": "stl"}, "--formats: stl"),
        ({"threads": 0}, "--threads is 0"),
        ({"face": 0}, "--face is 0"),
        ({"box": "1,2,3,4"}, "--box is for --preset body"),
        ({"preset": "body", "box": "1,2,3"}, "expected x,y,w,h"),
        ({"mask": Path("absent")}, "no such file or folder"),
        ({"only": "a"}, "--only is a"),
        ({"only": "3"}, "--only chooses among key frames"),
        ({"weights": Path("absent.safetensors")}, "absent.safetensors: no such file"),
        ({"memory_mb": 0.1}, "are allowed"),
    ],
)
def test_impossible_options_are_refused_in_one_line(
    tiny_reconstruct: Reconstruct,
    person_picture: Path,
    tmp_path: Path,
    changed: dict[str, Any],
    words: str,
) -> None:
    run = replace(
        tiny_reconstruct, **({"inputs": (person_picture,), "out": tmp_path / "out"} | changed)
    )
    with pytest.raises(InputError, match=words) as raised:
        run.run()
    assert len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_only_names_a_key_frame(
    tiny_reconstruct: Reconstruct, person_keyframes: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="not a key frame; there are"):
        replace(
            tiny_reconstruct, inputs=(person_keyframes,), out=tmp_path / "out", only="999"
        ).run()


def test_weights_that_are_not_weights_are_refused(
    tiny_reconstruct: Reconstruct, person_picture: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"0" * 64)
    with pytest.raises(InputError, match="not a safetensors file"):
        replace(tiny_reconstruct, inputs=(person_picture,), out=tmp_path / "out", weights=bad).run()
