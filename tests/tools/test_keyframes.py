"""``mien keyframes``: what is measured, and the folder that comes of what is chosen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.face.camera import Camera
from mien.models.face.crop import crop_from_landmarks
from mien.models.face.morphable import FaceModel
from mien.stream.keyframes import KeyframeFolder
from mien.stream.keyframes.alignment import cut, image_from_crop, share_inside
from mien.stream.keyframes.scoring import body_inside, measure
from mien.stream.keyframes.selection import APART_FRAMES
from mien.stream.keyframes.sharpness import blur_px
from mien.stream.observation import FaceObservation
from mien.stream.reading import read_observations
from mien.tools.annotate.command import Annotate
from mien.tools.keyframes import Keyframes
from mien.tools.report.command import Report

Rng = np.random.default_rng


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


@pytest.fixture(scope="session")
def clips(
    tmp_path_factory: pytest.TempPathFactory,
    portrait_video: Path,
    empty_room_video: Path,
    make_video: Callable[..., Path],
) -> Path:
    """``videos`` (a face; a face that is out of focus in two of three frames; none), ``rows``."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "videos").mkdir()
    shutil.copy(portrait_video, folder / "videos")
    shutil.copy(empty_room_video, folder / "videos")
    frames = decoded(portrait_video)
    focus = [f if i % 3 == 1 else cv2.GaussianBlur(f, (0, 0), 2.0) for i, f in enumerate(frames)]
    make_video(folder / "videos" / "focus.mp4", focus)
    assert Annotate((folder / "videos",), out=folder / "rows").run() == 0
    return folder


@pytest.fixture(scope="session")
def portrait(clips: Path) -> KeyframeFolder:
    """Four key frames of the clip with a face."""
    tool = Keyframes(
        (clips / "rows/portrait.parquet",), clips / "out", (clips / "videos",), count=4, crop=256
    )
    assert tool.run() == 0
    return KeyframeFolder.load(clips / "out/portrait.keyframes")


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory, eval_dir: Path) -> tuple[Path, FaceObservation]:
    """The annotation of a picture."""
    folder = tmp_path_factory.mktemp("still")
    assert Annotate((eval_dir / "astronaut.png",), out=folder).run() == 0
    (row,) = read_observations(folder / "astronaut.parquet")
    return folder / "astronaut.parquet", row


# The folder.


def test_frames_and_rows_are_those_of_video_and_annotation(
    portrait: KeyframeFolder, clips: Path
) -> None:
    frames = decoded(clips / "videos/portrait.mp4")
    rows = {row.frame: row for row in read_observations(clips / "rows/portrait.parquet")}
    assert len(portrait.keyframes) == 4
    for keyframe in portrait.keyframes:
        np.testing.assert_array_equal(portrait.image_bgr(keyframe), frames[keyframe.frame])
        assert keyframe.row == rows[keyframe.frame]
        assert keyframe.row.observed
        assert keyframe.t_media_ns == rows[keyframe.frame].t_media_ns
        loose = json.loads((portrait.path / f"fits/{keyframe.stem}.json").read_text())
        assert loose["yaw"] == pytest.approx(keyframe.row.yaw)
    assert portrait.facts.source == "portrait.mp4"
    assert portrait.facts.request["for"] == "portrait"
    height, width = frames[0].shape[:2]
    np.testing.assert_allclose(portrait.camera_matrix, Camera.from_fov(width, height).matrix)
    sheet = cv2.imread(str(portrait.path / "sheet.png"))
    assert sheet is not None
    assert sheet.std() > 20


def test_no_two_are_neighbours_and_the_best_is_first(portrait: KeyframeFolder) -> None:
    frames = sorted(keyframe.frame for keyframe in portrait.keyframes)
    assert all(b - a >= APART_FRAMES for a, b in pairwise(frames))
    scores = [keyframe.score for keyframe in portrait.keyframes]
    assert scores == sorted(scores, reverse=True)
    for keyframe in portrait.keyframes:
        assert all(0 <= value <= 1 for value in keyframe.parts.values())


def test_the_fit_projects_to_the_landmarks(portrait: KeyframeFolder, tmp_path: Path) -> None:
    from mien.models.face.bundle import Bundle

    model: FaceModel = Bundle.default().face_model
    for keyframe in portrait.keyframes:
        fit = portrait.fit(keyframe)
        assert fit.vertices_mm is not None
        assert fit.triangles is not None
        corners = fit.vertices_mm[model.landmark_vertices] @ fit.camera_from_head[:3, :3].T
        points = (corners + fit.camera_from_head[:3, 3]) @ fit.camera_matrix.T
        error = np.linalg.norm(points[:, :2] / points[:, 2:] - fit.landmarks_px, axis=1)
        assert error.mean() < 0.03 * keyframe.row.box_w  # smoothed apart from the pose
        lines = (portrait.path / f"fits/{keyframe.stem}.obj").read_text().splitlines()
        vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
        np.testing.assert_allclose(vertices, fit.vertices_mm, atol=1e-3)
        assert sum(line.startswith("f ") for line in lines) == len(fit.triangles)


def test_the_crop_is_the_picture_seen_through_its_matrix(portrait: KeyframeFolder) -> None:
    for keyframe in portrait.keyframes:
        crop = portrait.crop_bgr(keyframe)
        assert crop.shape == (256, 256, 3)
        points = np.c_[keyframe.row.landmarks_px, np.ones(68)] @ keyframe.crop.crop_from_image.T
        right, left = points[36:42, :2].mean(axis=0), points[42:48, :2].mean(axis=0)
        mouth = (points[48, :2] + points[54, :2]) / 2
        assert left[0] > right[0]
        assert abs(left[1] - right[1]) < 12  # level, but for the mouth's say in it
        eyes = (left + right) / 2
        np.testing.assert_allclose(eyes + 0.1 * (mouth - eyes), 127.5, atol=1e-6)
        # The same colours where the matrix says, in the smooth middle of the face.
        image = cv2.GaussianBlur(portrait.image_bgr(keyframe), (0, 0), 2.0)
        for u, v in ((100, 140), (150, 150), (128, 110)):
            x, y = keyframe.crop.matrix @ np.array([u, v, 1.0])
            seen = cv2.getRectSubPix(image, (1, 1), (float(x), float(y)))[0, 0].astype(int)
            near = crop[v - 4 : v + 5, u - 4 : u + 5].reshape(-1, 3).mean(axis=0)
            assert np.abs(seen - near).max() < 30


def test_two_runs_write_the_same_bytes(
    portrait: KeyframeFolder, clips: Path, tmp_path: Path
) -> None:
    tool = Keyframes(
        (clips / "rows/portrait.parquet",), tmp_path, (clips / "videos",), count=4, crop=256
    )
    tool.run()
    files = [path for path in portrait.path.rglob("*") if path.is_file()]
    assert len(files) == 2 + 4 * 5
    for path in files:
        again = tmp_path / "portrait.keyframes" / path.relative_to(portrait.path)
        assert again.read_bytes() == path.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_is_finished_is_skipped_and_other_options_are_refused(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def tool(count: int, *, overwrite: bool = False) -> Keyframes:
        rows, videos = clips / "rows/portrait.parquet", clips / "videos"
        return Keyframes(
            (rows,), tmp_path, (videos,), purpose="coverage", count=count, overwrite=overwrite
        )

    tool(2).run()
    facts = tmp_path / "portrait.keyframes/keyframes.json"
    changed_ns = facts.stat().st_mtime_ns
    capsys.readouterr()
    assert tool(2).run() == 0
    assert "1 skipped" in capsys.readouterr().out
    assert facts.stat().st_mtime_ns == changed_ns
    with pytest.raises(OutputError, match="other count; --overwrite"):
        tool(1).run()
    assert tool(1, overwrite=True).run() == 0
    assert len(KeyframeFolder.load(facts).keyframes) == 1
    assert len(list((facts.parent / "frames").iterdir())) == 1


def test_of_a_folder_what_has_no_face_fails_alone(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = Keyframes((clips / "rows",), tmp_path, (clips / "videos",), count=3)
    assert tool.run() == 1
    said = capsys.readouterr()
    assert "2 done, 1 failed" in said.out
    (line,) = said.err.splitlines()
    assert "empty.parquet" in line
    assert "no face" in line
    # Of the film that is mostly out of focus, only the sharp frames are taken.
    folder = KeyframeFolder.load(tmp_path / "focus.keyframes")
    assert len(folder.keyframes) == 3
    assert {keyframe.frame % 3 for keyframe in folder.keyframes} == {1}


def test_the_video_must_be_there_and_the_right_one(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (clips / "rows/portrait.parquet",)
    assert Keyframes(rows, tmp_path / "a").run() == 1
    assert "--videos says where" in capsys.readouterr().err
    shutil.copy(clips / "videos/empty.mp4", tmp_path / "portrait.mp4")
    assert Keyframes(rows, tmp_path / "b", (tmp_path,)).run() == 1
    assert "another size" in capsys.readouterr().err
    assert not list((tmp_path / "b").iterdir())
    for bad, words in (
        (Keyframes(rows, tmp_path / "c", count=0), "--count is 0"),
        (Keyframes(rows, tmp_path / "c", crop=5), "--crop is 5"),
        (Keyframes(rows, tmp_path / "c", (tmp_path / "none",)), "no such file"),
    ):
        with pytest.raises(InputError, match=words):
            bad.run()
    with pytest.raises(InputError, match="no annotation"):
        Keyframes((clips / "videos",), tmp_path / "c").run()
    with pytest.raises(InputError, match=r"expected a \.parquet file"):
        Keyframes((clips / "videos/empty.mp4",), tmp_path / "c").run()


def test_a_picture_is_its_only_key_frame(
    still: tuple[Path, FaceObservation], eval_dir: Path, astronaut: np.ndarray, tmp_path: Path
) -> None:
    tool = Keyframes((still[0],), tmp_path, (eval_dir / "astronaut.png",), purpose="avatar")
    assert tool.run() == 0
    folder = KeyframeFolder.load(tmp_path / "astronaut.keyframes")
    (keyframe,) = folder.keyframes
    assert keyframe.t_media_ns is None
    assert keyframe.row == still[1]
    np.testing.assert_array_equal(folder.image_bgr(keyframe), astronaut)


def test_a_damaged_folder_is_told(portrait: KeyframeFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(portrait.path, copy)
    stem = portrait.keyframes[0].stem
    (copy / f"crops/{stem}.png").unlink()
    with pytest.raises(InputError, match=f"lacks crops/{stem}.png"):
        KeyframeFolder.load(copy)
    cv2.imwrite(str(copy / f"crops/{stem}.png"), np.zeros((8, 8, 3), np.uint8))
    folder = KeyframeFolder.load(copy)
    with pytest.raises(InputError, match="is 8x8 px, expected 256x256"):
        folder.crop_bgr(folder.keyframes[0])
    (copy / f"fits/{stem}.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="not the fit"):
        folder.fit(folder.keyframes[0])
    facts = json.loads((copy / "keyframes.json").read_text())
    (copy / "keyframes.json").write_text(json.dumps(facts | {"version": 99}))
    with pytest.raises(InputError, match="version 99, expected 1"):
        KeyframeFolder.load(copy)
    with pytest.raises(InputError, match="no folder of key frames"):
        KeyframeFolder.load(tmp_path)


def test_places_that_are_none_are_told_by_their_options(clips: Path, tmp_path: Path) -> None:
    rows = (clips / "rows" / "portrait.parquet",)
    with pytest.raises(InputError, match=r"--videos .*nowhere: no such file or folder"):
        Keyframes(rows, tmp_path, (tmp_path / "nowhere",)).run()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"--out .*file: is a file, expected a folder"):
        Keyframes(rows, tmp_path / "file").run()
    with pytest.raises(InputError, match=r"--bundle .*nowhere: no bundle: no such folder"):
        Keyframes(rows, tmp_path, bundle=tmp_path / "nowhere").run()
    with pytest.raises(InputError, match=r"file: is a file; expected an --out of mien annotate"):
        Report(tmp_path / "file").run()


# Measures.


def scaled(
    image: np.ndarray, landmarks: np.ndarray, factor: float
) -> tuple[np.ndarray, np.ndarray]:
    kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(image, None, fx=factor, fy=factor, interpolation=kind)
    return picture, ((landmarks + 0.5) * factor - 0.5).astype(np.float32)


def test_blur_is_measured_whatever_size_contrast_and_noise(
    astronaut: np.ndarray, still: tuple[Path, FaceObservation]
) -> None:
    landmarks = still[1].landmarks_px
    px = crop_from_landmarks(landmarks).side / 160  # of the picture, a pixel of the crop
    sharp = before = blur_px(astronaut, landmarks)
    for sigma in (1.0, 2.0, 3.0):
        image = cv2.GaussianBlur(astronaut, (0, 0), sigma * px)
        blur = blur_px(image, landmarks)
        assert blur > before + 0.3
        before = blur
        assert blur == pytest.approx(np.hypot(sigma, sharp), rel=0.2)
        for factor in (0.75, 2.0, 4.0):  # larger, the same face is not sharper
            assert blur_px(*scaled(image, landmarks, factor)) == pytest.approx(blur, rel=0.2)
        grey = np.clip(0.4 * image.astype(float) + 77, 0, 255).astype(np.uint8)
        assert blur_px(grey, landmarks) == pytest.approx(blur, rel=0.1)
    blurred = cv2.GaussianBlur(astronaut, (0, 0), 2.0 * px)
    noise = Rng(0).normal(0, 6, astronaut.shape)
    noisy = np.clip(blurred + noise, 0, 255).astype(np.uint8)
    assert blur_px(noisy, landmarks) == pytest.approx(blur_px(blurred, landmarks), rel=0.15)


def test_motion_blur_counts_and_the_background_does_not(
    astronaut: np.ndarray, still: tuple[Path, FaceObservation]
) -> None:
    landmarks = still[1].landmarks_px
    line = np.zeros((9, 9), np.float32)
    line[4] = 1 / 9
    sharp = blur_px(astronaut, landmarks)
    assert blur_px(cv2.filter2D(astronaut, -1, line), landmarks) > sharp + 1
    assert blur_px(cv2.filter2D(astronaut, -1, line.T), landmarks) > sharp + 1
    soft = cv2.GaussianBlur(astronaut, (0, 0), 3.0)
    hull = cv2.convexHull(landmarks.astype(np.int32))
    face = np.zeros(astronaut.shape[:2], np.uint8)
    cv2.fillConvexPoly(face, hull, (1,))
    face = cv2.dilate(face, np.ones((15, 15), np.uint8))
    mixed = np.where(face[..., None] > 0, soft, astronaut)
    assert blur_px(mixed, landmarks) == pytest.approx(blur_px(soft, landmarks), rel=0.1)


def test_the_aligned_crop_turns_with_the_face(
    astronaut: np.ndarray, still: tuple[Path, FaceObservation]
) -> None:
    landmarks = still[1].landmarks_px
    straight = cut(astronaut, image_from_crop(landmarks, 128), 128)
    turn = cv2.getRotationMatrix2D((220.0, 130.0), 33.0, 1.3)
    turned = cv2.warpAffine(astronaut, turn, (512, 512), flags=cv2.INTER_CUBIC)
    points = (landmarks @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    again = cut(turned, image_from_crop(points, 128), 128)
    inner = np.s_[24:104, 24:104]
    assert np.abs(straight[inner].astype(float) - again[inner]).mean() < 4
    # Finer pictures are averaged: the crop of a larger one is the same.
    large, points = scaled(astronaut, landmarks, 4.0)
    assert np.abs(cut(large, image_from_crop(points, 128), 128).astype(float) - straight).mean() < 3
    assert share_inside(image_from_crop(landmarks, 128), 128, 512, 512) == pytest.approx(1.0)
    matrix = np.array([[1.0, 0.0, -64.0], [0.0, 1.0, 0.0]])
    assert share_inside(matrix, 128, 512, 512) == pytest.approx(0.5, abs=0.01)


def test_parts_say_what_a_face_does(
    astronaut: np.ndarray, still: tuple[Path, FaceObservation]
) -> None:
    camera = Camera.from_fov(512, 512).matrix
    row = still[1]
    parts = measure(astronaut, row, camera, 0.0).parts
    assert all(0 <= value <= 1 for value in parts.values())
    assert row.blendshapes is not None
    closed = row.blendshapes.copy()
    closed[8:10] = 0.95
    asleep = msgspec.structs.replace(row, blendshapes=closed)
    assert measure(astronaut, asleep, camera, 0.0).parts["eyes"] < 0.1 < parts["eyes"]
    profile = msgspec.structs.replace(row, qw=0.7071068, qx=0.0, qy=0.7071068, qz=0.0)
    assert measure(astronaut, profile, camera, 0.0).parts["frontal"] < 0.1
    bare = msgspec.structs.replace(row, blendshapes=None, confidence=None)
    assert measure(astronaut, bare, camera, 0.0).parts["eyes"] > 0.4


def test_a_whole_person_is_one_who_stands_far_enough_away(
    still: tuple[Path, FaceObservation],
) -> None:
    camera = Camera.from_fov(1080, 1920).matrix

    def standing(tz: float, tx: float = 0.0) -> float:
        row = msgspec.structs.replace(still[1], tx=tx, ty=-0.45 * tz, tz=tz)
        return body_inside(row, camera, 1080, 1920)

    assert standing(4000.0) == pytest.approx(1.0)
    assert 0.2 < standing(900.0) < 0.7
    assert standing(600.0) < standing(900.0)
    assert standing(4000.0, tx=2400.0) < 0.6  # half out of the picture
