"""OpenFace, ELAN and COCO-WholeBody, read back by readers that know nothing of mien."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.models.face.rotation import matrix_from_quaternion
from mien.stream import FaceObservation, Frame
from mien.stream.export import EXPORTERS, ExportContext, ExportOptions, open_exporter
from mien.stream.reading import read_observations
from mien.stream.sinks import Recording
from mien.stream.sinks.parquet import ParquetSink

Clip = list[tuple[Frame, list[FaceObservation]]]
Export = Callable[..., Path]
Maker = Callable[..., FaceObservation]
MS = 1_000_000
GREY = np.full((480, 640, 3), 100, np.uint8)


def without_pixels(clip: Clip) -> Clip:
    empty = np.zeros((0, 0, 3), np.uint8)
    return [(emptied(frame, empty), rows) for frame, rows in clip]


def emptied(frame: Frame, image: np.ndarray) -> Frame:
    return Frame(image, frame.index, frame.t_media_ns, frame.t_capture_ns, frame.source)


def digests(folder: Path) -> dict[Path, str]:
    """What all files below a folder hold."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def euler_matrix_of_openface(rx: float, ry: float, rz: float) -> np.ndarray:
    """The matrix that OpenFace makes of its three angles."""
    s1, s2, s3 = math.sin(rx), math.sin(ry), math.sin(rz)
    c1, c2, c3 = math.cos(rx), math.cos(ry), math.cos(rz)
    return np.array(
        [
            [c2 * c3, -c2 * s3, s2],
            [c1 * s3 + c3 * s1 * s2, c1 * c3 - s1 * s2 * s3, -c2 * s1],
            [s1 * s3 - c1 * c3 * s2, c3 * s1 + c1 * s2 * s3, c1 * c2],
        ]
    )


def test_openface_gives_the_angles_and_translations_of_the_parquet_file(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    place = export("openface", tmp_path, context, without_pixels(clip))
    assert place.name == "clip.openface.csv"
    with ParquetSink(tmp_path / "clip.parquet", context.recording) as parquet:
        for frame, rows in clip:
            parquet.write(frame, rows)
    published = list(read_observations(tmp_path / "clip.parquet"))
    with place.open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == len(published) == len(clip)
    for cells, row in zip(table, published, strict=True):
        values = {name: float(cell) for name, cell in cells.items()}
        assert values["frame"] == row.frame + 1
        assert values["face_id"] == row.track
        assert values["success"] == 1
        assert values["timestamp"] == pytest.approx((row.t_media_ns or 0) / 1e9, abs=1e-6)
        assert values["confidence"] == pytest.approx(row.confidence, abs=1e-4)
        assert [values[f"pose_T{axis}"] for axis in "xyz"] == pytest.approx(
            [row.tx, row.ty, row.tz], abs=1e-3
        )
        angles = [values[f"pose_R{axis}"] for axis in "xyz"]
        assert np.degrees(angles) == pytest.approx([-row.pitch, row.yaw, row.roll], abs=1e-4)
        R = matrix_from_quaternion(np.array([row.qw, row.qx, row.qy, row.qz]))
        np.testing.assert_allclose(euler_matrix_of_openface(*angles), R, atol=1e-5)
        marks = np.array([[values[f"{axis}_{i}"] for axis in "xy"] for i in range(68)])
        np.testing.assert_allclose(marks, row.landmarks_px, atol=1e-3)


def test_openface_has_the_gaze_in_the_camera_frame(
    export: Export, tmp_path: Path, context: ExportContext, make_face_row: Maker
) -> None:
    """Eyes that look back into the camera from a turned head, and eyes that look down."""
    c, s = math.cos(math.radians(10)), math.sin(math.radians(10))
    turned = {"qw": c, "qx": 0.0, "qy": s, "qz": 0.0}  # 20 degrees of yaw: to the picture's left
    back, down = np.zeros(52, np.float32), np.zeros(52, np.float32)
    for name in ("eyeLookOutLeft", "eyeLookInRight"):
        back[BLENDSHAPE_INDEX[name]] = 20 / 30
    for name in ("eyeLookDownLeft", "eyeLookDownRight"):
        down[BLENDSHAPE_INDEX[name]] = 0.5
    rows = [
        make_face_row(frame=0, blendshapes=back, **turned),
        make_face_row(frame=1, blendshapes=down, qw=1.0, qx=0.0, qy=0.0, qz=0.0),
        make_face_row(frame=2, blendshapes=None),
    ]
    clip = [(Frame(GREY, row.frame, 0), [row]) for row in rows]
    with export("openface", tmp_path, context, clip).open(encoding="utf-8") as stream:
        camera, lower, unsaid = csv.DictReader(stream)

    def vectors(cells: dict[str, str]) -> np.ndarray:
        return np.array([[float(cells[f"gaze_{eye}_{a}"]) for a in "xyz"] for eye in range(2)])

    np.testing.assert_allclose(vectors(camera), [[0, 0, -1]] * 2, atol=1e-5)
    assert float(camera["gaze_angle_x"]) == pytest.approx(0.0, abs=1e-5)
    assert math.degrees(float(lower["gaze_angle_y"])) == pytest.approx(15.0, abs=1e-3)
    np.testing.assert_allclose(np.linalg.norm(vectors(lower), axis=1), 1.0, atol=1e-5)
    assert {unsaid[name] for name in unsaid if name.startswith("gaze")} == {""}


def test_the_space_points_of_openface_project_near_the_picture_points(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    with export("openface", tmp_path, context, clip).open(encoding="utf-8") as stream:
        cells = next(csv.DictReader(stream))
    space = np.array([[float(cells[f"{axis}_{i}"]) for axis in "XYZ"] for i in range(68)])
    seen = np.array([[float(cells[f"{axis}_{i}"]) for axis in "xy"] for i in range(68)])
    size = seen.max(axis=0) - seen.min(axis=0)
    # The published points lie under the orthography nearest to this perspective.
    assert np.linalg.norm(context.camera.project(space) - seen, axis=1).max() < 0.06 * size.max()
    assert 50.0 < np.linalg.norm(space[36] - space[45]) < 120.0  # mm, outer corners of the eyes


def test_openface_has_a_row_for_a_frame_without_a_face(
    export: Export, tmp_path: Path, context: ExportContext, make_face_row: Maker
) -> None:
    unseen = make_face_row(frame=1, observed=False)
    blind = make_face_row(frame=2, blendshapes=None, confidence=None)
    clip = [
        (Frame(GREY, 0, 0), []),
        (Frame(GREY, 1, 40 * MS), [unseen]),
        (Frame(GREY, 2, 80 * MS), [blind]),
    ]
    with export("openface", tmp_path, context, clip).open(encoding="utf-8") as stream:
        none, predicted, blind_cells = csv.DictReader(stream)
    assert (none["frame"], none["success"], none["pose_Tx"], none["AU45_r"]) == ("1", "0", "", "")
    assert (predicted["success"], float(predicted["pose_Tz"])) == ("0", 600.0)
    assert float(predicted["AU45_r"]) == 2.5  # half shut, of OpenFace's 5
    assert (blind_cells["AU45_r"], blind_cells["AU45_c"], blind_cells["confidence"]) == ("",) * 3


def test_pandas_reads_openface(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    pandas = pytest.importorskip("pandas", reason="reads tables")
    longer = [*clip, (Frame(GREY, 24, 960 * MS), [])]
    table = pandas.read_csv(export("openface", tmp_path, context, longer))
    assert all(kind.kind in "if" for kind in table.dtypes)
    assert table["success"].sum() == 24
    assert table[table["success"] == 0]["pose_Rx"].isna().all()
    yaws = np.degrees(table["pose_Ry"][:24].to_numpy())
    np.testing.assert_allclose(yaws, [rows[0].yaw for _, rows in clip], atol=1e-4)


def blinking(make: Maker, left: Sequence[float], right: Sequence[float]) -> Clip:
    """A frame every 40 ms with these lids; NaN: the face is not seen."""
    clip: Clip = []
    for i, (one, other) in enumerate(zip(left, right, strict=True)):
        values = np.zeros(52, np.float32)
        values[BLENDSHAPE_INDEX["eyeBlinkLeft"]] = 0.0 if math.isnan(one) else one
        values[BLENDSHAPE_INDEX["eyeBlinkRight"]] = 0.0 if math.isnan(other) else other
        row = make(frame=i, blendshapes=values, observed=not math.isnan(one))
        clip.append((Frame(GREY, i, i * 40 * MS), [row]))
    return clip


def intervals(place: Path) -> list[tuple[str, int, int, str]]:
    with place.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    found = []
    for row in rows:
        begin, end = int(row["Begin Time - msec"]), int(row["End Time - msec"])
        assert end - begin == int(row["Duration - msec"]) > 0
        found.append((row["Tier"], begin, end, row["Annotation"]))
    return found


def test_elan_marks_blinks_with_hysteresis_in_both_eyes(
    export: Export, tmp_path: Path, context: ExportContext, make_face_row: Maker
) -> None:
    left = [0.1, 0.6, 0.4, 0.6, 0.2, 0.9, 0.9, 0.1, 0.1]
    right = [0.1, 0.7, 0.4, 0.6, 0.2, 0.1, 0.1, 0.1, 0.9]
    clip = blinking(make_face_row, left, right)
    # The dip to 0.4 does not end the blink, and a wink is none.
    place = export("elan", tmp_path, context, clip)
    assert intervals(place) == [("face 0 blinks", 40, 160, "blink")]
    place = export("elan", tmp_path, context, clip, blink_closes=0.65, blink_opens=0.65)
    assert intervals(place) == []


def test_elan_marks_closed_eyes_and_what_is_open_at_the_end(
    export: Export, tmp_path: Path, context: ExportContext, make_face_row: Maker
) -> None:
    shut = [0.0] + [0.9] * 14
    found = intervals(export("elan", tmp_path, context, blinking(make_face_row, shut, shut)))
    assert found == [("face 0 blinks", 40, 600, "eyes closed")]


def test_elan_marks_lost_stretches_in_tiers_without_overlap(
    export: Export, tmp_path: Path, context: ExportContext, make_face_row: Maker
) -> None:
    gone = math.nan
    lids = [0.1, 0.9, gone, gone, 0.1, gone, gone]
    clip = blinking(make_face_row, lids, lids)
    clip += [(Frame(GREY, i, i * 40 * MS), []) for i in (7, 8)]
    found = intervals(export("elan", tmp_path, context, clip))
    assert sorted(found) == [
        ("face 0 blinks", 40, 80, "blink"),
        ("face 0 lost", 80, 160, "lost"),
        ("no face", 80, 160, "no face"),
        ("no face", 200, 360, "no face"),
    ]


def test_coco_holds_boxes_points_and_pictures(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    place = export("coco", tmp_path, context, clip, every=6, picture_format="png")
    data = json.loads((place / "annotations.json").read_text(encoding="utf-8"))
    images = {image["id"]: image for image in data["images"]}
    assert sorted(images) == [0, 6, 12, 18]
    assert data["categories"][0]["name"] == "person"
    rows = {frame.index: (frame, rows[0]) for frame, rows in clip}
    assert len({note["id"] for note in data["annotations"]}) == 4
    for note in data["annotations"]:
        frame, row = rows[note["image_id"]]
        image = images[note["image_id"]]
        picture = cv2.imread(str(place / image["file_name"]))
        assert picture is not None
        np.testing.assert_array_equal(picture, frame.image_bgr)
        assert picture.shape[:2] == (image["height"], image["width"])
        points = np.array(note["face_kpts"]).reshape(68, 3)
        np.testing.assert_allclose(points[:, :2], row.landmarks_px, atol=1e-3)
        assert set(points[:, 2]) == {2}
        x, y, w, h = note["face_box"]
        assert (points[:, 0] >= x - 0.01).all()
        assert (points[:, 0] <= x + w + 0.01).all()
        assert (points[:, 1] <= y + h + 0.01).all()
        assert note["face_valid"] is True
        assert note["lefthand_valid"] is False
        assert (len(note["keypoints"]), len(note["foot_kpts"])) == (51, 18)


def test_coco_flags_points_outside_the_picture(
    export: Export, tmp_path: Path, context: ExportContext, make_face_row: Maker
) -> None:
    row = make_face_row()
    marks = row.landmarks_px.copy()
    marks[0] = -5.0, 100.0
    moved = msgspec.structs.replace(row, landmarks=marks.ravel())
    place = export("coco", tmp_path, context, [(Frame(GREY, 0, 0), [moved])])
    (note,) = json.loads((place / "annotations.json").read_text())["annotations"]
    assert note["face_kpts"][2::3] == [1] + [2] * 67


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_an_export_is_whole_or_not_there(
    export: Export, name: str, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    chosen = replace(context, options=ExportOptions(every=8))
    exporter = open_exporter(name, tmp_path / "clip", chosen)
    exporter.write(*clip[0])
    exporter.abort()
    assert list(tmp_path.iterdir()) == []
    place = export(name, tmp_path, context, clip, every=8)
    assert [path.name for path in tmp_path.iterdir()] == [place.name]
    first = digests(tmp_path)
    export(name, tmp_path, context, clip, every=8)  # takes the place of the first
    assert [path.name for path in tmp_path.iterdir()] == [place.name]
    assert digests(tmp_path) == first
    assert place.is_dir() == EXPORTERS[name].FOLDER


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_frames_without_pixels_are_enough_where_no_pictures_are_needed(
    export: Export, name: str, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    if EXPORTERS[name].PICTURES:
        with pytest.raises(OutputError, match="needs the pictures"):
            export(name, tmp_path, context, without_pixels(clip))
    else:
        assert export(name, tmp_path, context, without_pixels(clip)).exists()


@pytest.mark.parametrize("name", ["openface", "elan", "gltf"])
def test_memory_does_not_grow_with_the_film(
    name: str, tmp_path: Path, context: ExportContext, make_face_row: Maker
) -> None:
    row = make_face_row()
    with open_exporter(name, tmp_path / "clip", context) as exporter:

        def follow(first: int, end: int) -> int:
            for i in range(first, end):
                exporter.write(Frame(GREY, i, i * 40 * MS), [row])
            return tracemalloc.get_traced_memory()[0]

        follow(0, 100)
        tracemalloc.start()
        try:
            before = follow(100, 200)
            grown = follow(200, 800) - before
        finally:
            tracemalloc.stop()
    assert grown < 30_000  # under 50 bytes a frame


def test_bad_choices_are_told_in_one_line(tmp_path: Path, context: ExportContext) -> None:
    with pytest.raises(InputError, match="no such export, expected openface, elan"):
        open_exporter("fbx", tmp_path / "clip", context)
    with pytest.raises(InputError, match="every is 0"):
        ExportOptions(every=0)
    with pytest.raises(InputError, match="opens <= closes"):
        ExportOptions(blink_closes=0.2, blink_opens=0.4)
    with pytest.raises(InputError, match="no camera matrix"):
        ExportContext(Recording(source="a", rate=None, width=4, height=4), context.face_model)
    (tmp_path / "clip.coco").write_text("in the way")
    with pytest.raises(OutputError, match="is a file"):
        open_exporter("coco", tmp_path / "clip", context)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.coco"]
