"""Parsers of bundles, settings, cameras, labels, annotations read back, key frames, pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import msgspec
import numpy as np
from fuzz_parser import Parser, as_text, fixed, in_file, written
from fuzz_wire import row

from mien.models.errors import SourceError
from mien.models.face.bundle import MANIFEST, Bundle, BundleInfo, write_bundle
from mien.models.face.camera import Camera
from mien.models.face.morphable import FaceModel
from mien.models.portrait.sh import light_by_name_or_file, read_light
from mien.stream.digest import digest
from mien.stream.frame import Frame
from mien.stream.keyframes.folder import (
    CropFacts,
    FolderFacts,
    Keyframe,
    KeyframeFolder,
    read_facts,
)
from mien.stream.reading import read_observations
from mien.stream.schema import plain_row
from mien.stream.sinks.base import Recording
from mien.stream.sinks.csv import CsvSink
from mien.stream.sinks.jsonl import JsonLinesSink
from mien.stream.sinks.parquet import ParquetSink
from mien.stream.sinks.sidecar import SidecarSink, read_sidecar
from mien.stream.smoother.config import SmoothingConfig, resolve_smoothing
from mien.stream.smoother.tuning import Tuning
from mien.stream.sources import open_source
from mien.stream.sources.truncation import missing_bytes
from mien.tools.annotate.annotated import Annotation
from mien.tools.annotate.boxes import Boxes
from mien.tools.avatar.expression import read_expressions
from mien.tools.evaluate.labels import LABELS_NAME, read_labels
from mien.tools.options import choices, read_camera
from mien.tools.reconstruct.files import finished
from mien.tools.report.page import video_page

_CAMERA: Final = Camera(600.0, 601.0, 319.5, 239.5, 640, 480)
_INFO: Final = BundleInfo("fuzz", "1.0.0", "CC0-1.0", "made up", "nobody", "none")
_ROS: Final = """image_width: 640
image_height: 480
camera_name: a
camera_matrix:
  rows: 3
  cols: 3
  data: [600.0, 0.0, 319.5, 0.0, 600.0, 239.5, 0.0, 0.0, 1.0]
"""
_OPENCV: Final = """%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 600., 0., 319.5, 0., 600., 239.5, 0., 0., 1. ]
"""
_XML: Final = """<?xml version="1.0"?>
<opencv_storage><image_width>640</image_width><image_height>480</image_height>
<camera_matrix type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt>
<data>600. 0. 319.5 0. 600. 239.5 0. 0. 1.</data></camera_matrix></opencv_storage>
"""
_FRAME: Final = Frame(np.zeros((48, 64, 3), np.uint8), 0, 0)


def _model(path: Path) -> None:
    rng, n = np.random.default_rng(0), 4
    mean, shape, expression, blendshapes = (
        rng.random((*k, n, 3)).astype(np.float32) for k in ((), (40,), (10,), (52,))
    )
    FaceModel(
        mean, shape, expression, blendshapes,
        np.array([[0, 1, 2]], np.int32), np.arange(68, dtype=np.int32) % n,
        np.zeros((n, 2), np.float32),
    ).save(path)  # fmt: skip


def _bundle_seed(folder: Path) -> Sequence[bytes]:
    _model(folder / "face_model.npz")
    (folder / "regressor.onnx").write_bytes(b"x")
    write_bundle(folder, _INFO)
    return [(folder / MANIFEST).read_bytes()]


def _bundle(data: bytes, folder: Path) -> object:
    if not (folder / "face_model.npz").exists():
        _bundle_seed(folder)
    (folder / MANIFEST).write_bytes(data)
    bundle = Bundle.load(folder)
    return bundle.hash, bundle.detector_path, bundle.blendshapes_path, bundle.smoother_path


def _rows(kind: Callable[..., Any], name: str) -> Callable[[Path], Sequence[bytes]]:
    def make(folder: Path) -> Sequence[bytes]:
        path = folder / name
        recording = Recording(
            source="a.mp4", rate=25.0, width=64, height=48, bundle_hash="ab",
            camera_matrix=((60.0, 0.0, 32.0), (0.0, 60.0, 24.0), (0.0, 0.0, 1.0)),
            options={"smoothing": "raw"},
        )  # fmt: skip
        with kind(path, recording) if kind is ParquetSink else kind(path) as sink:
            for number in range(3):
                sink.write(_FRAME, [row(number), row(number, 1)])
        return [path.read_bytes()]

    return make


def _annotation(path: Path) -> object:
    annotation = Annotation.open(path, "fuzz")
    rows = list(annotation.rows())
    facts = digest(rows, rate=annotation.rate, frames=None, seconds=None)
    page = video_page(annotation, facts, [], "", "")
    camera = annotation.camera, annotation.size, annotation.options, annotation.source
    return len(rows), page, camera


def _metadata(data: bytes, folder: Path) -> object:
    """What stands in a Parquet file's own metadata."""
    try:
        said = {str(k): str(v) for k, v in json.loads(data).items()}
    except (ValueError, AttributeError, RecursionError):
        return None
    annotation = Annotation(folder / "a.parquet", "a", None, said)
    return annotation.camera, annotation.size, annotation.rate, annotation.options


def _sidecar(folder: Path) -> Sequence[bytes]:
    path = folder / "a.json"
    with SidecarSink(path, {"smoothing": "raw"}, "ab") as sink:
        sink.write(_FRAME, [row()])
    return [path.read_bytes()]


def _labels(data: bytes, folder: Path) -> object:
    (folder / LABELS_NAME).write_bytes(data)
    return [[face.box_px for face in image.faces] for image in read_labels(folder)]


def keyframes_seed(_: Path) -> Sequence[bytes]:
    crop = CropFacts(side=64, image_from_crop=((1.0, 0.0, 2.0), (0.0, 1.0, 3.0)), inside=1.0)
    keyframe = Keyframe(
        frame=0, t_media_ns=0, track=0, score=0.5, parts={"sharpness": 0.5}, blur_px=1.0,
        crop=crop, mesh=False, row=row(),
    )  # fmt: skip
    facts = FolderFacts(
        format="mien-keyframes", version=1, source="a.mp4", rows="a.parquet", width=64, height=48,
        rate=25.0, camera_matrix=((60.0, 0.0, 32.0), (0.0, 60.0, 24.0), (0.0, 0.0, 1.0)),
        bundle_hash="ab", options={}, request={"for": "portrait"}, candidates=1,
        keyframes=(keyframe,),
    )  # fmt: skip
    plain = msgspec.to_builtins(msgspec.structs.replace(facts, keyframes=()))
    table = {name: getattr(keyframe, name) for name in keyframe.__struct_fields__}
    table |= {"crop": msgspec.to_builtins(crop), "row": plain_row(keyframe.row)}
    return [msgspec.json.encode({**plain, "keyframes": [table]})]


def _read_keyframes(data: bytes, folder: Path) -> object:
    (folder / "keyframes.json").write_bytes(data)
    facts = read_facts(folder)
    result = KeyframeFolder(folder, facts)
    seen = [(result.files(one), one.crop.crop_from_image) for one in facts.keyframes]
    return seen, result.camera_matrix


def _fit(path: Path) -> None:
    np.savez(
        path, camera_from_head=np.eye(4), camera_matrix=np.eye(3),
        shape=np.zeros(40, np.float32), expression=np.zeros(10, np.float32),
        blendshapes=np.zeros(52, np.float32), landmarks_px=np.zeros((68, 2), np.float32),
        pose_variance=np.zeros(6, np.float32), vertices_mm=np.zeros((4, 3), np.float32),
        triangles=np.array([[0, 1, 2]], np.int32), uv=np.zeros((4, 2), np.float32),
    )  # fmt: skip


def _read_fit(data: bytes, folder: Path) -> object:
    if not (folder / "fits").exists():
        (folder / "keyframes.json").write_bytes(keyframes_seed(folder)[0])
        (folder / "fits").mkdir()
    (folder / "fits" / "000000.npz").write_bytes(data)
    result = KeyframeFolder(folder, read_facts(folder))
    return result.fit(result.keyframes[0])


def _facts(data: bytes, folder: Path) -> object:
    (folder / "a.json").write_bytes(data)
    return finished(folder, "a", {"seed": 1})


def _picture(suffix: str) -> Callable[[Path], Sequence[bytes]]:
    def make(_: Path) -> Sequence[bytes]:
        image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
        return [cv2.imencode(suffix, image)[1].tobytes()]

    return make


def _read_picture(path: Path) -> object:
    with open_source(path) as source:
        return [frame.image_bgr.shape for _, frame in zip(range(3), source, strict=False)]


def _mov(_: Path) -> Sequence[bytes]:
    def box(name: bytes, size: int) -> bytes:
        return (size + 8).to_bytes(4, "big") + name + b"\0" * size

    mkv = b"\x1a\x45\xdf\xa3\x81\0\x18\x53\x80\x67\x84abcd"
    return [box(b"ftyp", 8) + box(b"moov", 40), mkv, b"RIFF\x10\0\0\0AVI " + b"\0" * 12]


def _expression(name: str) -> Callable[[bytes, Path], object]:
    return in_file(name, lambda path: read_expressions(str(path)))


def _tuning(path: Path) -> None:
    path.write_text(Tuning.default().text(), encoding="utf-8")


def _read_tuning(path: Path) -> object:
    tuning = Tuning.load(path)
    return tuning.text(), tuning.trusting(["pose"] if "pose" in tuning.groups else [], 0.5)


def _written_reader(rows: Any, name: str, form: str, share: float = 1.0) -> tuple[Parser, Parser]:
    """Rows by themselves, and as ``mien report`` takes them."""
    seeds = _rows(rows, f"a{name}")
    return (
        Parser(
            f"rows{name}", form, seeds,
            in_file(f"a{name}", lambda path: list(read_observations(path))), share=share,
        ),
        Parser(
            f"report{name}", form, seeds, in_file(f"a{name}", _annotation), share=0.3 * share
        ),
    )  # fmt: skip


PARSERS: Final = (
    Parser("bundle", "text", _bundle_seed, _bundle),
    Parser(
        "face-model", "zip", written("m.npz", _model), in_file("m.npz", FaceModel.load), share=0.5
    ),
    Parser(
        "smoother", "text", written("a.toml", _tuning), in_file("a.toml", _read_tuning), share=0.3
    ),
    Parser(
        "smoothing",
        "text",
        fixed('preset = "steady"\nrest = 0.5\nlids = 1\npublish_raw = false\n'),
        in_file("s.toml", SmoothingConfig.load),
    ),
    Parser("camera.toml", "text", written("c.toml", _CAMERA.save), in_file("c.toml", Camera.load)),
    Parser("camera.json", "json", written("c.json", _CAMERA.save), in_file("c.json", Camera.load)),
    Parser("camera.yaml", "text", fixed(_ROS, _OPENCV), in_file("c.yaml", Camera.load)),
    Parser("camera.xml", "text", fixed(_XML), in_file("c.xml", Camera.load)),
    Parser("option-camera", "text", fixed("60", "a.toml"), as_text(read_camera)),
    Parser("option-smoothing", "text", fixed("raw", "a.toml"), as_text(resolve_smoothing)),
    Parser("option-light", "text", fixed("left", "light.txt"), as_text(light_by_name_or_file)),
    Parser(
        "option-choices",
        "text",
        fixed("csv,parquet"),
        as_text(lambda text: choices(text, ("csv", "parquet"), "--format")),
    ),
    Parser(
        "option-expression",
        "text",
        fixed("jawOpen=0.5,mouthSmile=0.8", ",".join(["0.1"] * 52)),
        as_text(read_expressions),
    ),
    Parser(
        "light",
        "text",
        fixed("1 2 3 4 5 6 7 8 9", "[1, 2, 3, 4, 5, 6, 7, 8, 9]"),
        in_file("l", read_light),
    ),
    Parser(
        "expression.json",
        "json",
        fixed('{"jawOpen": 0.5}', json.dumps([[0.0] * 10] * 2)),
        _expression("e.json"),
    ),
    Parser(
        "expression.csv",
        "csv",
        fixed("jawOpen,jawLeft\n0.5,1\n", ",".join(["0.1"] * 10) + "\n"),
        _expression("e.csv"),
    ),
    Parser(
        "boxes",
        "csv",
        fixed("frame,x,y,w,h,source\n0,1,2,3,4,a.mp4\n1,1,2,3,4,\n"),
        in_file("b.csv", Boxes.load),
    ),
    Parser(
        "labels",
        "jsonl",
        fixed(
            json.dumps(
                {
                    "image": "a.jpg",
                    "faces": [
                        {
                            "box": [1, 2, 3, 4],
                            "yaw": 30,
                            "landmarks": [[1, 2]] * 68,
                            "ignore": False,
                        }
                    ],
                }
            )
            + "\n"
        ),
        _labels,
    ),
    *_written_reader(ParquetSink, ".parquet", "bytes", 0.3),
    *_written_reader(CsvSink, ".csv", "csv"),
    *_written_reader(JsonLinesSink, ".jsonl", "jsonl"),
    Parser(
        "rows-metadata",
        "json",
        fixed(
            json.dumps(
                {
                    "frame_rate": "25.0",
                    "width": "64",
                    "height": "48",
                    "camera_matrix": "[[1.0, 0.0, 2.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]]",
                    "options": '{"smoothing": "raw"}',
                }
            )
        ),
        _metadata,
    ),
    Parser("sidecar", "json", _sidecar, in_file("a.json", read_sidecar)),
    Parser("keyframes", "json", keyframes_seed, _read_keyframes),
    Parser("keyframe-fit", "zip", written("f.npz", _fit), _read_fit, share=0.5),
    Parser("finished-facts", "json", fixed('{"request": {"seed": 1}, "b": [1]}'), _facts),
    Parser("picture.png", "png", _picture(".png"), in_file("a.png", _read_picture), share=0.1),
    Parser("picture.jpg", "bytes", _picture(".jpg"), in_file("a.jpg", _read_picture), share=0.1),
    Parser("video-length", "bytes", _mov, in_file("a.mov", missing_bytes), raises=(SourceError,)),
)
