"""Parsers of several depth frames, of masks, pictures and films."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from fuzz_parser import Parser, fixed, in_file
from fuzz_tables import keyframes_seed
from fuzz_wire import row

from mien.models.errors import MienError
from mien.models.picture_file import read_bgr
from mien.models.pifuhd.crop import cut
from mien.models.pifuhd.person import cube_of, cut_out
from mien.models.pifuhd.subject import Settings
from mien.models.scans.intrinsics import intrinsics_of
from mien.models.scans.posed_frames import poses_file, read_posed_frames
from mien.models.scans.readers import read_scan
from mien.stream.keyframes.folder import KeyframeFolder, read_facts
from mien.stream.sources import SourceOptions, open_source
from mien.stream.sources.printed_modes import modes_in_avfoundation, modes_in_dshow
from mien.tools.annotate.annotated import Annotation
from mien.tools.evaluate.command import read_image
from mien.tools.reconstruct.inputs import read_mask
from mien.tools.report.pictures import Moment, take_shots

_MOST_FRAMES: Final = 12
"""Of a film so many are decoded."""
_POSE: Final = [[1.0, 0, 0, 0.1], [0, 1.0, 0, 0.2], [0, 0, 1.0, 0.3], [0, 0, 0, 1.0]]
_LENS: Final = {"fx": 60, "fy": 60, "cx": 16, "cy": 12, "width": 32, "height": 24}
_ARKIT: Final = {
    **_LENS, "depth_unit": "mm", "camera_axes": "arkit",
    "frames": [
        {"camera_to_world": _POSE, "depth": "0_depth.png", "image": "0_rgb.png"},
        {"camera_to_world": np.array(_POSE).T.tolist(), "depth": "1_depth.png", "fx": 61},
    ],
}  # fmt: skip
_OPENCV: Final = {
    "camera_axes": "opencv", "camera": {"camera_matrix": [60, 0, 16, 0, 60, 12, 0, 0, 1]},
    "frames": [{"pose": [0, 0, 0, 1, 0.1, 0.2, 0.3]}, {"transform_matrix": _POSE[:3]}],
}  # fmt: skip
_RECORD3D: Final = {
    "K": [60, 0, 0, 0, 60, 0, 16, 12, 1], "w": 32, "h": 24,
    "poses": [[0, 0, 0, 1, 0, 0, 0], [0, 0.6, 0, 0.8, 0.1, 0, 0]],
    "perFrameIntrinsicCoeffs": [[60, 60, 16, 12], [61, 61, 16, 12]],
}  # fmt: skip
_POSES: Final = fixed(*(json.dumps(table) for table in (_ARKIT, _OPENCV, _RECORD3D)))
_DSHOW: Final = (
    '[dshow]   pixel_format=yuyv422  min s=640x480 fps=5 max s=640x480 fps=30\n'
    '[dshow]   vcodec=mjpeg  min s=160x120 fps=15.0002 max s=1920x1080 fps=1e+02\n'
)  # fmt: skip
_AVFOUNDATION: Final = "  640x480@[1.000000 30.000000]fps\n  1280x720@[1.0 60.0]fps\n"


def _frames(data: bytes, folder: Path) -> Path:
    """The file of poses beside two depth maps and a picture."""
    if not (folder / "1_depth.png").exists():
        for number in range(2):
            depth = np.full((24, 32), 500 + number, np.uint16)
            cv2.imwrite(str(folder / f"{number}_depth.png"), depth)
        cv2.imwrite(str(folder / "0_rgb.png"), np.zeros((24, 32, 3), np.uint8))
    path = folder / "poses.json"
    path.write_bytes(data)
    return path


def _posed(data: bytes, folder: Path) -> object:
    path = _frames(data, folder)
    frames = read_posed_frames(path)
    lenses = [intrinsics_of(frame.intrinsics, path).at((32, 24)) for frame in frames]
    return lenses, [frame.world_from_camera for frame in frames]


def _posed_scan(data: bytes, folder: Path) -> object:
    _frames(data, folder)
    return poses_file(folder), read_scan(folder)


def _scan_picture(data: bytes, folder: Path) -> object:
    if not (folder / "face_depth.png").exists():
        cv2.imwrite(str(folder / "face_depth.png"), np.full((24, 32), 500, np.uint16))
        (folder / "face.json").write_text(json.dumps(_LENS), encoding="utf-8")
    (folder / "face_rgb.png").write_bytes(data)
    return read_scan(folder)


def _picture(
    suffix: str, kind: type[np.generic] = np.uint8, size: tuple[int, ...] = (24, 32, 3)
) -> Callable[[Path], Sequence[bytes]]:
    image: np.ndarray[Any, Any] = np.random.default_rng(0).integers(0, 255, size).astype(kind)
    return lambda _: [cv2.imencode(suffix, image)[1].tobytes()]


def _masks(_: Path) -> Sequence[bytes]:
    white = np.zeros((24, 32), np.uint8)
    white[6:20, 8:20] = 255
    kinds = (white, white.astype(np.uint16) * 257, cv2.merge([white] * 4))
    return [cv2.imencode(".png", image)[1].tobytes() for image in kinds]


def _mask(data: bytes, folder: Path) -> object:
    """A user's mask, and what stands where it says."""
    (folder / "a.png").write_bytes(data)
    mask = read_mask(folder, ("b", "a"))
    image = np.zeros((24, 32, 3), np.uint8)
    matrix = np.array([[60.0, 0, 16], [0, 60.0, 12], [0, 0, 1]])
    settings = replace(Settings("body"), mask=mask)
    view = cube_of(image, matrix, None, settings)
    return cut_out(image, cut(image, view, 32), view, None, settings).alpha


def _mask_file(path: Path) -> object:
    return read_mask(path, ())


def _keyframe(data: bytes, folder: Path) -> object:
    if not (folder / "keyframes.json").exists():
        (folder / "keyframes.json").write_bytes(keyframes_seed(folder)[0])
    result = KeyframeFolder(folder, read_facts(folder))
    place = result.files(result.keyframes[0])[0]
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(data)
    return result.image_bgr(result.keyframes[0])


def _exif(_: Path) -> Sequence[bytes]:
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    plain = cv2.imencode(".jpg", image)[1].tobytes()
    tags = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    block = b"\xff\xe1" + (len(tags) + 2).to_bytes(2, "big") + tags
    return [plain[:2] + block + plain[2:]]


def _film(name: str, codec: str, pixels: str = "yuv420p") -> Callable[[Path], Sequence[bytes]]:
    """Ten small pictures."""

    def make(folder: Path) -> Sequence[bytes]:
        path = folder / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            stream.codec_context.time_base = Fraction(1, 25)
            for number in range(10):
                image = np.full((48, 64, 3), 20 * number, np.uint8)
                image[10:30, 4 * number : 4 * number + 20] = 255
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode())
        return [path.read_bytes()]

    return make


def _read_film(path: Path) -> object:
    with open_source(path, SourceOptions(decode_threads=1)) as source:
        pictures = zip(range(_MOST_FRAMES), source, strict=False)
        return source.info, [(frame.image_bgr.shape, frame.t_media_ns) for _, frame in pictures]


def _sought(path: Path) -> object:
    """A film as ``mien report`` takes pictures of it."""
    rows = path.with_name("a.csv")
    if not rows.exists():
        from mien.stream.frame import Frame
        from mien.stream.sinks.csv import CsvSink

        with CsvSink(rows) as sink:
            for number in range(3):
                sink.write(Frame(np.zeros((48, 64, 3), np.uint8), 0, number), [row(number)])
    annotation = Annotation(rows, "a", None, {})
    moments = [Moment(frame, frame / 25, "best", "") for frame in (0, 2)]
    return [len(shot.jpeg) for shot in take_shots(annotation, moments, path, None)]


def _modes(data: bytes, _: Path) -> object:
    text = data.decode("utf-8", "replace")
    return [str(mode) for mode in modes_in_dshow(text) + modes_in_avfoundation(text)]


PARSERS: Final = (
    Parser("posed-frames", "json", _POSES, _posed),
    Parser("posed-scan", "json", _POSES, _posed_scan, share=0.5),
    Parser("scan-picture", "png", _picture(".png"), _scan_picture, share=0.3),
    Parser("mask", "png", _masks, _mask, share=0.5),
    Parser(
        "mask.tiff", "bytes", _picture(".tiff", np.float32, (24, 32)),
        in_file("m.tiff", _mask_file), share=0.5,
    ),
    Parser(
        "keyframe-picture", "png", _picture(".png", size=(48, 64, 3)), _keyframe, share=0.3
    ),
    Parser(
        "label-picture", "png", _picture(".png"),
        in_file("p.png", lambda path: (read_image(path), read_bgr(path))), share=0.5,
    ),
    Parser("picture.exif", "bytes", _exif, in_file("a.jpg", _read_film), share=0.1),
    Parser(
        "video.mp4", "bytes", _film("v.mp4", "libx264"), in_file("v.mp4", _read_film), share=0.2
    ),
    Parser(
        "video.avi", "bytes", _film("v.avi", "mpeg4"), in_file("v.avi", _read_film), share=0.2
    ),
    Parser(
        "video.mkv", "bytes", _film("v.mkv", "ffv1"), in_file("v.mkv", _read_film), share=0.2
    ),
    Parser(
        "video.gif", "bytes", _film("v.gif", "gif", "rgb8"), in_file("v.gif", _read_film),
        share=0.2,
    ),
    Parser(
        "video.ts", "bytes", _film("v.ts", "mpeg2video"), in_file("v.ts", _read_film), share=0.2
    ),
    Parser(
        "report-video", "bytes", _film("v.mp4", "libx264"), in_file("v.mp4", _sought), share=0.1,
        raises=(MienError,),
    ),
    Parser("camera-modes", "text", fixed(_DSHOW, _AVFOUNDATION), _modes, raises=()),
)  # fmt: skip
