from __future__ import annotations

import os
import struct
import subprocess
import sys
import wave
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mien.models.errors import InputError, SourceError, TruncatedError
from mien.stream.frame import Frame
from mien.stream.sources import Source, SourceOptions, open_source
from mien.stream.sources.picture import nanoseconds
from mien.stream.sources.truncation import missing_bytes

Maker = Callable[..., Path]
QUARTERS = {  # where a red top-left quarter goes: (row, column) of the half
    0: (0, 0),
    90: (1, 0),
    180: (1, 1),
    270: (0, 1),
}


def read(path: Path | str, **options: object) -> tuple[Source, list[Frame]]:
    with open_source(path, SourceOptions(**options)) as source:  # pyright: ignore[reportArgumentType]
        return source, list(source)


def red_quarter(image: np.ndarray) -> tuple[int, int]:
    h, w = image.shape[:2]
    means = {
        (i, j): float(image[i * h // 2 :, j * w // 2 :][: h // 2, : w // 2, 2].mean())
        for i in (0, 1)
        for j in (0, 1)
    }
    return max(means, key=lambda key: means[key])


def test_a_video_gives_its_frames_with_times(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray
) -> None:
    source, frames = read(make_clip(tmp_path / "a.mp4", [corner_picture] * 7, rate=30))
    assert [f.index for f in frames] == list(range(7))
    assert [f.t_media_ns for f in frames] == [round(i * 1e9 / 30) for i in range(7)]
    assert all(f.t_capture_ns is None and f.source.endswith("a.mp4") for f in frames)
    assert all(f.image_bgr.flags.c_contiguous for f in frames)
    info = source.info
    assert (info.kind, info.live, info.width, info.height) == ("video", False, 64, 48)
    assert (info.rate, info.codec, info.frames) == (30.0, "h264", 7)
    assert (source.stats.frames, source.stats.decode_errors) == (7, 0)


def test_variable_frame_rates_keep_their_times(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray
) -> None:
    ticks = [0, 20, 40, 300, 310, 333, 1200]
    path = make_clip(tmp_path / "a.mp4", [corner_picture] * 7, ticks=ticks)
    _, frames = read(path)
    assert [f.t_media_ns for f in frames] == [nanoseconds(t, Fraction(1, 600)) for t in ticks]


def test_nanoseconds_are_rounded_integers() -> None:
    assert nanoseconds(1, Fraction(1001, 30000)) == 33366667
    assert nanoseconds(-1, Fraction(1, 3)) == -333333333
    hour = 3600 * 90000
    assert nanoseconds(1000 * hour + 1, Fraction(1, 90000)) == 3600000 * 10**9 + 11111


def test_a_stream_without_times_gets_nominal_ones(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray
) -> None:
    source, frames = read(make_clip(tmp_path / "a.h264", [corner_picture] * 5))
    step = round(1e9 / (source.info.rate or 0))
    assert [f.t_media_ns for f in frames] == [i * step for i in range(5)]
    assert source.stats.guessed_times == 5


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_metadata_is_applied(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray, rotation: int
) -> None:
    path = make_clip(tmp_path / "a.mp4", [corner_picture] * 2, rotation=rotation)
    source, frames = read(path)
    shape = (48, 64, 3) if rotation in (0, 180) else (64, 48, 3)
    assert {f.image_bgr.shape for f in frames} == {shape}
    assert (source.info.height, source.info.width) == shape[:2]
    assert red_quarter(frames[0].image_bgr) == QUARTERS[rotation]
    assert frames[0].image_bgr.flags.c_contiguous


def test_a_mirroring_display_matrix_is_applied(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray
) -> None:
    path = make_clip(tmp_path / "a.mp4", [corner_picture] * 2, rotation=90)
    data = path.read_bytes()
    at = data.index(struct.pack(">2i", 0, -65536))  # the 90 degree matrix of the track header
    mirrored = struct.pack(">9i", -65536, 0, 0, 0, 65536, 0, 64 << 16, 0, 1 << 30)
    path.write_bytes(data[:at] + mirrored + data[at + 36 :])
    _, frames = read(path)
    assert red_quarter(frames[0].image_bgr) == (0, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(
    tmp_path: Path, corner_picture: np.ndarray, orientation: int
) -> None:
    jpeg = cv2.imencode(".jpg", corner_picture)[1].tobytes()
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    _, (frame,) = read(path)
    truth = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert truth is not None
    assert frame.image_bgr.shape == truth.shape
    assert red_quarter(frame.image_bgr) == red_quarter(np.asarray(truth))


@pytest.mark.parametrize(
    ("codec", "pixel_format", "ending", "tolerance"),
    [
        ("ffv1", "yuv444p10le", "mkv", 4),
        ("ffv1", "gray", "mkv", 0),
        ("ffv1", "bgra", "mkv", 0),
        ("ffv1", "gbrp10le", "mkv", 1),
        ("ffv1", "yuv410p", "mkv", 30),
        ("ffv1", "rgb48le", "mkv", 1),
        ("ffv1", "gray16le", "mkv", 1),
        ("qtrle", "rgb24", "mov", 0),
        ("rawvideo", "bgr24", "avi", 0),
        ("rawvideo", "uyvy422", "mov", 4),
        ("libx264", "yuv422p10le", "mp4", 8),
        ("mjpeg", "yuvj420p", "avi", 10),
        ("gif", "bgr8", "gif", 60),
        ("png", "monob", "mov", 200),
    ],
)
def test_any_pixel_format_becomes_bgr(
    tmp_path: Path,
    make_clip: Maker,
    codec: str,
    pixel_format: str,
    ending: str,
    tolerance: int,
) -> None:
    image = np.full((48, 64, 3), 128, dtype=np.uint8)
    image[:, :32] = 60
    path = tmp_path / f"a.{ending}"
    make_clip(path, [image] * 2, codec=codec, pixel_format=pixel_format)
    _, frames = read(path)
    shown = frames[0].image_bgr
    assert shown.shape == (48, 64, 3)
    assert shown.dtype == np.uint8
    inner = np.abs(shown[8:-8, 8:24].astype(int) - 60).max()
    outer = np.abs(shown[8:-8, 40:-8].astype(int) - 128).max()
    assert max(inner, outer) <= tolerance


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    index = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in index))),
        (b"IEND", b""),
    )
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in parts:
        data += struct.pack(">I", len(body)) + kind + body
        data += struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "a.png").write_bytes(data)
    _, (frame,) = read(tmp_path / "a.png")
    assert np.array_equal(frame.image_bgr, palette[index][..., ::-1])


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    image = np.full((20, 30, 4), 200, dtype=np.uint8)
    image[:, :10, 3], image[:, 10:20, 3], image[:, 20:, 3] = 0, 128, 255
    cv2.imwrite(str(tmp_path / "a.png"), image)
    _, (frame,) = read(tmp_path / "a.png")
    assert frame.image_bgr[5, [2, 15, 28], 1].tolist() == [0, 100, 200]


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp", "tiff"])
def test_an_image_is_a_source_of_one_frame_without_time(
    tmp_path: Path, corner_picture: np.ndarray, ending: str
) -> None:
    path = tmp_path / f"50%02d: a,b.{ending}"  # FFmpeg reads patterns and protocols into names
    path.write_bytes(cv2.imencode(f".{ending}", corner_picture)[1].tobytes())
    source, frames = read(path)
    assert [(f.index, f.t_media_ns, f.t_capture_ns, f.t_ns) for f in frames] == [(0, None, None, 0)]
    assert (source.info.kind, source.info.rate, source.info.frames) == ("image", None, 1)
    assert np.abs(frames[0].image_bgr.astype(int) - corner_picture)[4:-4, 4:20].max() < 12


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_a_truncated_video_gives_its_frames_and_then_says_so(
    tmp_path: Path, make_clip: Maker, ending: str
) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(40)]
    codec = "mpeg4" if ending == "avi" else "libx264"
    options = {"movflags": "faststart"} if ending == "mp4" else {}
    path = make_clip(tmp_path / f"a.{ending}", pictures, codec=codec, options=options)
    assert missing_bytes(path) == 0
    whole = read(path)[1]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    assert missing_bytes(path) == len(data) - len(data) * 6 // 10
    frames: list[Frame] = []
    with (
        open_source(path) as source,
        pytest.raises(TruncatedError, match=r"broke off after \d+ frames: the file ends \d+ bytes"),
    ):
        frames.extend(source)
    assert 15 <= len(frames) <= 28
    for frame, original in zip(frames, whole, strict=False):
        assert frame.t_media_ns == original.t_media_ns
    assert source.stats.frames == len(frames)


def test_damage_inside_is_counted_and_passed_over(tmp_path: Path, make_clip: Maker) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(30)]
    path = make_clip(tmp_path / "a.mkv", pictures, codec="ffv1", options={})
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 3, len(data) // 3 + 6000):
        data[at] ^= 0x5A
    path.write_bytes(bytes(data))
    with open_source(path) as source:
        frames = list(source)
    assert source.stats.decode_errors > 0
    assert 20 <= len(frames) <= 30


def test_bytes_after_the_end_are_no_truncation(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray
) -> None:
    path = make_clip(tmp_path / "a.mp4", [corner_picture] * 3)
    data = path.read_bytes()
    for tail in (b"\0", b"\0" * 100, b"\xff\xff\xff\xff\1\2\3\4junk", b"\0\0\0\0free"):
        path.write_bytes(data + tail)
        assert missing_bytes(path) == 0
    path.write_bytes(data + b"\0\0\0\1mdat" + struct.pack(">Q", 100) + b"x" * 50)
    assert missing_bytes(path) == 34
    (tmp_path / "b.avi").write_bytes(b"RIFF\xff\xff\xff\xffAVI ")
    assert missing_bytes(tmp_path / "b.avi") == 0


def _cut_mp4_at_its_end(path: Path, make_clip: Maker, picture: np.ndarray) -> None:
    make_clip(path, [picture] * 20)
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize("kept", [100, 1000])
@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
def test_a_film_cut_off_within_its_first_picture_is_refused(
    tmp_path: Path, make_clip: Maker, codec: str, kept: int
) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(9)]
    path = make_clip(tmp_path / "a.mpg", pictures, codec=codec)
    data = path.read_bytes()
    assert len(read(path)[1]) == 9
    path.write_bytes(data[: len(data) * 6 // 10])  # no length is said: what is whole counts
    source, frames = read(path)
    assert 1 < len(frames) < 9
    assert source.stats.frames == len(frames)
    path.write_bytes(data[:kept])
    with pytest.raises(SourceError, match=r"a\.mpg: holds one picture only, and that is damaged"):
        open_source(path)
    # One whole picture is a film, too.
    alone = make_clip(tmp_path / "alone.mpg", pictures[:1], codec=codec)
    assert len(read(alone)[1]) == 1


def _audio_only(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))


def _no_frames(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()


def test_bad_files_each_give_one_clear_line(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray
) -> None:
    (tmp_path / "text.mp4").write_text("a text\n" * 100)
    (tmp_path / "text.txt").write_text("a text\n" * 100)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "half.png").write_bytes(cv2.imencode(".png", corner_picture)[1].tobytes()[:60])
    _cut_mp4_at_its_end(tmp_path / "cut.mp4", make_clip, corner_picture)
    _audio_only(tmp_path / "sound.wav")
    _no_frames(tmp_path / "none.mp4")
    wanted = {
        "missing.mp4": "no such file, and no camera of that name",
        "text.mp4": "not a video or an image that can be read",
        "text.txt": "is a text, not a video or an image",
        "empty.mp4": "is empty",
        "half.png": "holds no picture that can be decoded",
        "sound.wav": "holds no video stream",
        "cut.mp4": "broke off before its first picture",
        ".": "is a folder",
    }
    for name, message in wanted.items():
        with pytest.raises(SourceError, match=message) as caught:
            open_source(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value) or name == "."
        assert isinstance(caught.value, OSError)
        assert isinstance(caught.value, TruncatedError) == (name == "cut.mp4")
    with pytest.raises(SourceError, match=r"none\.mp4: (holds no|not a video)"):
        open_source(tmp_path / "none.mp4")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file(tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray) -> None:
    path = make_clip(tmp_path / "a.mp4", [corner_picture])
    path.chmod(0)
    with pytest.raises(SourceError, match="Permission denied"):
        open_source(path)


@pytest.mark.parametrize(
    "spec", ["/dev/video97", "97", "/dev/v4l/by-id/none", "rtsp://127.0.0.1:1/a"]
)
def test_unknown_devices_each_give_one_clear_line(spec: str) -> None:
    with pytest.raises(SourceError, match=r"no such device|there is none|refused") as caught:
        open_source(spec)
    assert "\n" not in str(caught.value)


def test_passwords_are_not_repeated() -> None:
    with pytest.raises(SourceError, match=r"^http://127\.0\.0\.1:1/a: cannot be opened") as caught:
        open_source("http://me:secret@127.0.0.1:1/a")
    assert "secret" not in str(caught.value)


def test_standard_input_is_a_source(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray
) -> None:
    path = make_clip(tmp_path / "a.mkv", [corner_picture] * 5)
    program = (
        "from mien.stream.sources import open_source\n"
        "with open_source('-') as s: print(len(list(s)), s.info.width, s.info.name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=path.read_bytes(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == [b"5", b"64", b"-"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"decode_threads": -1},
        {"size": (0, 4)},
        {"rate": 0.0},
        {"max_age_s": 0.0},
        {"give_up_s": -1.0},
        {"live": True, "realtime": True},
    ],
)
def test_options_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        SourceOptions(**wrong)  # pyright: ignore[reportArgumentType]


def test_a_source_may_be_closed_twice_and_left_early(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray
) -> None:
    source = open_source(make_clip(tmp_path / "a.mp4", [corner_picture] * 9))
    assert isinstance(source, Source)
    with source:
        assert next(iter(source)).index == 0
    source.close()
