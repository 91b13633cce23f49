"""Footage that is no plain 8-bit film: interlaced, deep, HDR, with sound, titles and covers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import av.stream
import cv2
import numpy as np
import pytest

from mien.models.face.camera import Camera
from mien.stream.reading import read_observations, read_parquet_metadata
from mien.stream.sources import open_source
from mien.tools.options import read_camera

Mien = Callable[..., subprocess.CompletedProcess[str]]
Told = Callable[..., None]
Painter = Callable[[av.VideoFrame], None]


def write(
    path: Path,
    frames: list[av.VideoFrame],
    codec: str,
    options: dict[str, str] | None = None,
    *,
    trc: int = 2,
    primaries: int = 2,
    matrix: int = 2,
) -> Path:
    """Encode frames as they are, 25 a second, with the colours that the stream says it has."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = frames[0].format.name
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = trc, primaries, matrix
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def grey_10_bits(luma: list[int]) -> av.VideoFrame:
    """64 px wide stripes of 10-bit luma, without colour, 48 px high."""
    frame = av.VideoFrame(64 * len(luma), 48, "yuv420p10le")
    rows = np.repeat(np.array(luma, np.uint16), 64)
    y, u, v = frame.planes
    padded = np.zeros((48, y.line_size // 2), np.uint16)
    padded[:, : len(rows)] = rows
    y.update(padded.tobytes())
    for plane in (u, v):
        plane.update(np.full(plane.buffer_size // 2, 512, np.uint16).tobytes())
    return frame


def stripes(path: Path, count: int) -> list[int]:
    with open_source(path) as source:
        image = next(iter(source)).image_bgr
    middles = image[24, 32 :: image.shape[1] // count]
    assert np.ptp(middles, axis=1).max() <= 1  # grey stays grey
    return middles[:, 1].tolist()


def pq_luma(nits: float) -> int:
    """SMPTE ST 2084 in 10 bits of limited range."""
    y = (nits / 10_000.0) ** 0.1593017578125
    return round(64 + 876 * ((0.8359375 + 18.8515625 * y) / (1.0 + 18.6875 * y)) ** 78.84375)


def hlg_luma(nits: float) -> int:
    """ARIB STD-B67 for a display of 1000 cd/m2, in 10 bits of limited range."""
    scene = (nits / 1000.0) ** (1.0 / 1.2)
    code = (
        np.sqrt(3.0 * scene)
        if scene <= 1.0 / 12.0
        else 0.17883277 * np.log(12.0 * scene - 0.28466892) + 0.55991073
    )
    return round(64 + 876 * float(code))


@pytest.mark.parametrize(("trc", "luma_of"), [(16, pq_luma), (18, hlg_luma)])
def test_high_dynamic_range_looks_as_on_an_ordinary_screen(
    tmp_path: Path, trc: int, luma_of: Callable[[float], int]
) -> None:
    nits = [0.0, 10.0, 50.0, 100.0, 203.0, 400.0, 900.0]
    frame = grey_10_bits([luma_of(n) for n in nits])
    path = write(tmp_path / "a.mkv", [frame], "ffv1", trc=trc, primaries=9, matrix=9)
    seen = stripes(path, len(nits))
    # A display of gamma 2.4 on which diffuse white, 203 cd/m2, is white.
    for at, n in enumerate(nits[:4]):
        assert seen[at] == pytest.approx(255.0 * (n / 203.0) ** (1.0 / 2.4), abs=2.5)
    assert 240 <= seen[4] <= seen[5] <= seen[6] <= 255


def test_ten_bits_without_high_range_are_what_eight_are(tmp_path: Path) -> None:
    luma = [16, 60, 110, 180, 235]
    frame = grey_10_bits([4 * y for y in luma])
    path = write(tmp_path / "a.mkv", [frame], "ffv1", trc=1, primaries=1, matrix=1)
    expected = [255.0 * (y - 16) / 219.0 for y in luma]
    assert stripes(path, len(luma)) == pytest.approx(expected, abs=1.01)


def moving_face(eval_dir: Path, shift_px: float) -> np.ndarray:
    """A real face, so far to the right, (512, 512, 3)."""
    image = cv2.imread(str(eval_dir / "astronaut.png"))
    assert image is not None
    moved = np.array([[1.0, 0.0, shift_px], [0.0, 1.0, 0.0]])
    return np.asarray(cv2.warpAffine(image, moved, (512, 512)), np.uint8)


def test_an_interlaced_picture_is_of_one_moment(tmp_path: Path, eval_dir: Path) -> None:
    first, second = moving_face(eval_dir, 0.0), moving_face(eval_dir, 24.0)
    woven = first.copy()
    woven[1::2] = second[1::2]
    frame = av.VideoFrame.from_ndarray(woven, format="bgr24").reformat(format="yuv422p")
    options = {"crf": "4", "x264-params": "interlaced=1:tff=1"}
    path = write(tmp_path / "a.mkv", [frame], "libx264", options)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    with open_source(path) as source:
        seen = next(iter(source)).image_bgr.astype(np.float64)
    apart = np.abs(seen - first).mean()
    assert np.abs(woven.astype(np.float64) - first).mean() > 3.0 * apart
    assert np.abs(seen[1:-1:2] - (seen[0:-2:2] + seen[2::2]) / 2.0).max() <= 0.5


def test_a_progressive_picture_stays_whole(tmp_path: Path, eval_dir: Path) -> None:
    frame = av.VideoFrame.from_ndarray(moving_face(eval_dir, 0.0), format="bgr24")
    path = write(tmp_path / "a.mkv", [frame.reformat(format="bgr0")], "ffv1")
    with open_source(path) as source:
        assert np.array_equal(next(iter(source)).image_bgr, moving_face(eval_dir, 0.0))


def with_company(path: Path, film: Path, cover: np.ndarray | None, titles: Path) -> Path:
    """The film with sound, titles and perhaps a cover, none of which come after it."""
    with (
        av.open(str(film)) as source,
        av.open(str(titles)) as spoken,
        av.open(str(path), "w") as target,
    ):
        sound = target.add_stream("aac", rate=16000)
        picture: Any = None
        if cover is not None:
            picture = target.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 160, 160, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        copied = []
        if cover is None:  # MP4 has other titles
            copied += [(target.add_stream_from_template(spoken.streams.subtitles[0]), spoken)]
        copied += [(target.add_stream_from_template(source.streams.video[0]), source)]
        if cover is not None:
            target.mux(picture.encode(av.VideoFrame.from_ndarray(cover, format="bgr24")))
            target.mux(picture.encode(None))
        samples = np.zeros((1, 1024), np.float32)
        piece = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        piece.sample_rate = 16000
        piece.time_base = Fraction(1, 16000)
        for number in range(15):
            piece.pts = 1024 * number
            target.mux(sound.encode(piece))
        for stream, origin in copied:
            for packet in origin.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        target.mux(sound.encode(None))
    return path


def test_sound_titles_and_a_cover_are_passed_over(
    mien: Mien, tmp_path: Path, portrait_video: Path
) -> None:
    titles = tmp_path / "titles.srt"
    titles.write_text("1\n00:00:00,100 --> 00:00:00,600\nWhat was said.\n\n")
    cover = np.zeros((160, 160, 3), np.uint8)
    with_company(tmp_path / "cover.mp4", portrait_video, cover, titles)
    with_company(tmp_path / "titles.mkv", portrait_video, None, titles)
    with av.open(str(tmp_path / "titles.mkv")) as container:
        assert [s.type for s in container.streams] == ["audio", "subtitle", "video"]
    done = mien("annotate", "cover.mp4", "titles.mkv", portrait_video, "--out", "out")
    assert done.returncode == 0, done.stderr
    plain = list(read_observations(tmp_path / "out/portrait.parquet"))
    for name in ("cover", "titles"):
        facts = json.loads((tmp_path / f"out/{name}.json").read_text())
        assert (facts["frames_read"], facts["stopped"]) == (24, "end")
        rows = list(read_observations(tmp_path / f"out/{name}.parquet"))
        assert len(rows) == len(plain)
        assert [row.landmarks.tolist() for row in rows] == [r.landmarks.tolist() for r in plain]


def test_the_camera_may_be_an_opencv_calibration(
    mien: Mien, told: Told, tmp_path: Path, portrait_video: Path
) -> None:
    K = np.array([[800.0, 0.0, 160.0], [0.0, 800.0, 160.0], [0.0, 0.0, 1.0]])
    storage = cv2.FileStorage(str(tmp_path / "lens.yaml"), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 320)
    storage.write("image_height", 320)
    storage.write("camera_matrix", K)
    storage.write("distortion_coefficients", np.zeros((1, 5)))
    storage.release()
    (tmp_path / "ros.yaml").write_text(
        "image_width: 320\nimage_height: 320\ncamera_name: one\ncamera_matrix:\n  rows: 3\n"
        "  cols: 3\n  data: [800.0, 0.0, 160.0, 0.0, 800.0, 160.0, 0.0, 0.0, 1.0]\n"
    )
    (tmp_path / "six.json").write_text(
        '{"fx": 800, "fy": 800, "cx": 160, "cy": 160, "width": 320, "height": 320}'
    )
    expected = Camera(800.0, 800.0, 160.0, 160.0, 320, 320)
    for name in ("lens.yaml", "ros.yaml", "six.json"):
        assert read_camera(str(tmp_path / name)) == expected
    done = mien("annotate", portrait_video, "--out", "out", "--camera", "lens.yaml")
    assert done.returncode == 0, done.stderr
    told_of = read_parquet_metadata(tmp_path / "out/portrait.parquet")
    assert json.loads(told_of["camera_matrix"]) == K.tolist()
    (tmp_path / "bad.yaml").write_text("%YAML:1.0\n---\nimage_width: 320\n")
    command = ("annotate", portrait_video, "--out", "x", "--camera", "bad.yaml")
    told(mien(*command), 2, "bad.yaml", "camera_matrix")


def test_what_is_deep_and_bright_is_annotated(
    mien: Mien, tmp_path: Path, portrait_video: Path
) -> None:
    """HLG made of an ordinary film: the same face at the same place."""
    with av.open(str(portrait_video)) as container:
        pictures = islice(container.decode(video=0), 8)
        plain = [np.asarray(f.to_ndarray(format="bgr24"), np.uint8) for f in pictures]
    # Ordinary code values as light of a display, and that as HLG.
    light = 203.0 * (np.arange(256) / 255.0) ** 2.4
    code = np.array([(hlg_luma(max(1e-3, n)) - 64) / 876.0 for n in light])
    table: np.ndarray = np.rint(65535.0 * code).astype(np.uint16)
    deep = [
        av.VideoFrame.from_ndarray(np.take(table, image), format="bgr48le").reformat(
            format="yuv444p10le"
        )
        for image in plain
    ]
    write(tmp_path / "hlg.mkv", deep, "ffv1", trc=18, primaries=1, matrix=2)
    usual = [av.VideoFrame.from_ndarray(image, format="bgr24") for image in plain]
    bgr0 = [frame.reformat(format="bgr0") for frame in usual]
    write(tmp_path / "sdr.mkv", bgr0, "ffv1")
    done = mien("annotate", "hlg.mkv", "sdr.mkv", "--out", "out")
    assert done.returncode == 0, done.stderr
    marks = [
        np.array([row.landmarks for row in read_observations(tmp_path / f"out/{name}.parquet")])
        for name in ("hlg", "sdr")
    ]
    assert marks[0].shape == marks[1].shape
    assert len(marks[0]) == 8
    assert np.abs(marks[0] - marks[1]).mean() < 0.5
