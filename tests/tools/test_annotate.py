"""``mien annotate`` on real small files, good and bad."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from mien.stream.reading import read_observations, read_parquet_metadata

BytesOf = Callable[[Path], dict[str, bytes]]
Mien = Callable[..., subprocess.CompletedProcess[str]]
Told = Callable[..., None]


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        samples = np.zeros((1, 1024), dtype=np.float32)
        sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def zero_frames(path: Path) -> None:
    """A Matroska file with a video track and not a single packet."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()


def cut_program_stream(path: Path) -> None:
    """The first 100 bytes of an MPEG film: its headers, and hardly anything of a picture."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[:100])


def test_a_face_is_found_and_all_formats_agree(
    mien: Mien, tmp_path: Path, portrait_video: Path
) -> None:
    formats = ("--format", "parquet,csv,jsonl", "--overlay")
    done = mien("annotate", portrait_video, "--out", "out", *formats)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "1 done" in done.stdout
    out = tmp_path / "out"
    rows = list(read_observations(out / "portrait.parquet"))
    assert len({row.frame for row in rows if row.observed}) >= 22
    for other in ("portrait.csv", "portrait.jsonl"):
        assert list(read_observations(out / other)) == rows
    facts = json.loads((out / "portrait.json").read_text())
    assert facts["frames_read"] == 24
    assert facts["stopped"] == "end"
    assert facts["media_seconds"] == pytest.approx(0.96)
    assert facts["options"]["smoothing"] == "responsive"
    assert facts["options"]["causal"] is False
    metadata = read_parquet_metadata(out / "portrait.parquet")
    assert metadata["bundle_hash"] == facts["bundle_hash"]
    assert metadata["source"] == "portrait.mp4"
    with av.open(str(out / "portrait.overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 24
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


def test_two_runs_write_the_same_bytes(
    bytes_of: BytesOf, mien: Mien, tmp_path: Path, portrait_video: Path
) -> None:
    for out in ("one", "two"):
        formats = ("--format", "parquet,csv,jsonl", "--overlay")
        assert mien("annotate", portrait_video, "--out", out, *formats).returncode == 0
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_a_second_run_skips_a_mismatch_is_refused_and_overwrite_redoes(
    bytes_of: BytesOf, mien: Mien, told: Told, tmp_path: Path, empty_room_video: Path
) -> None:
    command = ("annotate", empty_room_video, "--out", "out")
    assert mien(*command).returncode == 0
    before = bytes_of(tmp_path / "out")
    changed_ns = (tmp_path / "out/empty.parquet").stat().st_mtime_ns
    again = mien(*command)
    assert again.returncode == 0
    assert "1 skipped" in again.stdout
    assert (tmp_path / "out/empty.parquet").stat().st_mtime_ns == changed_ns

    told(mien(*command, "--smoothing", "raw"), 2, "empty.json", "smoothing", "--overwrite")
    told(mien(*command, "--causal"), 2, "empty.json", "other causal;", "--overwrite")
    assert bytes_of(tmp_path / "out") == before
    done = mien(*command, "--smoothing", "raw", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/empty.json").read_text())["options"]["smoothing"] == "raw"


def test_overwriting_removes_what_the_new_run_does_not_make(
    bytes_of: BytesOf, mien: Mien, tmp_path: Path, empty_room_video: Path
) -> None:
    command = ("annotate", empty_room_video, "--out", "out")
    assert mien(*command, "--format", "csv,parquet", "--overlay").returncode == 0
    (tmp_path / "out/empty.jsonl").write_text("not ours")
    assert mien(*command, "--smoothing", "raw", "--overwrite").returncode == 0
    assert sorted(bytes_of(tmp_path / "out")) == ["empty.json", "empty.jsonl", "empty.parquet"]


def test_what_is_unfinished_is_done_again(
    mien: Mien, tmp_path: Path, empty_room_video: Path
) -> None:
    command = ("annotate", empty_room_video, "--out", "out")
    mien(*command)
    (tmp_path / "out/empty.parquet").unlink()
    assert "1 done" in mien(*command).stdout
    assert (tmp_path / "out/empty.parquet").is_file()


def test_no_face_no_row(mien: Mien, tmp_path: Path, empty_room_video: Path) -> None:
    assert mien("annotate", empty_room_video, "--out", "out").returncode == 0
    assert list(read_observations(tmp_path / "out/empty.parquet")) == []
    facts = json.loads((tmp_path / "out/empty.json").read_text())
    assert (facts["frames_read"], facts["frames_with_faces"]) == (12, 0)


def test_boxes_replace_the_detector(mien: Mien, tmp_path: Path, portrait_video: Path) -> None:
    assert mien("annotate", portrait_video, "--out", "a", "--format", "csv").returncode == 0
    boxes = ("--boxes", "a/portrait.csv", "--format", "parquet")
    done = mien("annotate", portrait_video, "--out", "b", *boxes)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "b/portrait.json").read_text())["frames_with_faces"] >= 22
    (tmp_path / "none.csv").write_text("frame,x,y,w,h\n")
    mien("annotate", portrait_video, "--out", "c", "--boxes", "none.csv")
    assert json.loads((tmp_path / "c/portrait.json").read_text())["frames_with_faces"] == 0


def test_a_picture_is_a_still(mien: Mien, tmp_path: Path, eval_dir: Path) -> None:
    done = mien("annotate", eval_dir / "astronaut.png", "--out", "out", "--overlay")
    assert done.returncode == 0, done.stderr
    (row,) = read_observations(tmp_path / "out/astronaut.parquet")
    assert row.t_media_ns is None
    assert (tmp_path / "out/astronaut.overlay.png").is_file()


def test_a_truncated_video_keeps_what_came_before(
    mien: Mien, told: Told, tmp_path: Path, portrait_video: Path
) -> None:
    # With its index in front, so that what is left of the file can be played.
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    with (
        av.open(str(portrait_video)) as source,
        av.open(str(whole), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = whole.read_bytes()
    cut.write_bytes(content[: round(0.93 * len(content))])
    told(mien("annotate", cut, "--out", "out", "--overlay"), 1, "cut.mp4", "broke off after")
    facts = json.loads((tmp_path / "out/cut.json").read_text())
    assert facts["stopped"] == "truncated"
    assert 0 < facts["frames_read"] < 24
    rows = list(read_observations(tmp_path / "out/cut.parquet"))
    assert 0 < len(rows) <= facts["frames_read"]
    with av.open(str(tmp_path / "out/cut.overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == facts["frames_read"]
    # It stays truncated on a second run, without being read again.
    told(mien("annotate", cut, "--out", "out", "--overlay"), 1, "cut.mp4", "broke off after")


def make_bad(kind: str, path: Path) -> None:
    if kind == "text":
        path.write_text("This is not a video.\n" * 50)
    elif kind == "empty":
        path.touch()
    elif kind == "audio":
        audio_only(path)
    elif kind == "zero frames":
        zero_frames(path)
    elif kind == "cut":
        cut_program_stream(path)
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(20_000))


@pytest.mark.parametrize(
    ("kind", "name", "word"),
    [
        ("text", "text.mp4", "not a video"),
        ("empty", "empty.mp4", "empty"),
        ("audio", "audio.mp4", "no video stream"),
        ("zero frames", "zero.mkv", "End of file"),
        ("noise", "noise.avi", "not a video"),
        ("cut", "cut.mpg", "holds one picture only, and that is damaged"),
    ],
)
def test_a_bad_input_fails_alone(
    bytes_of: BytesOf, mien: Mien, told: Told, tmp_path: Path, kind: str, name: str, word: str
) -> None:
    make_bad(kind, tmp_path / name)
    done = mien("annotate", name, "--out", "out")
    told(done, 1, name, word)
    assert "1 failed" in done.stdout
    assert bytes_of(tmp_path / "out") == {}
    told(mien("track", name), 2, name, word)


def test_of_many_inputs_the_others_complete(
    mien: Mien, tmp_path: Path, empty_room_video: Path
) -> None:
    make_bad("text", tmp_path / "bad.mp4")
    done = mien("annotate", "bad.mp4", "missing.mp4", empty_room_video, "--out", "out")
    assert done.returncode == 1
    lines = sorted(done.stderr.splitlines())
    assert ["bad.mp4" in lines[0], "missing.mp4" in lines[1], len(lines)] == [True, True, 2]
    assert (tmp_path / "out/empty.json").is_file()


def test_an_output_that_cannot_be_written_fails_its_input_alone(
    bytes_of: BytesOf, mien: Mien, told: Told, tmp_path: Path, empty_room_video: Path
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(empty_room_video.read_bytes())
    (tmp_path / "out/empty.parquet").mkdir(parents=True)
    done = mien("annotate", empty_room_video, other, "--out", "out")
    told(done, 1, "empty.parquet", "is a folder")
    assert "1 done, 1 failed" in done.stdout
    assert sorted(bytes_of(tmp_path / "out")) == ["empty.parquet", "other.json", "other.parquet"]


def test_a_missing_input_is_told(mien: Mien, told: Told) -> None:
    told(mien("annotate", "missing.mp4", "--out", "out"), 2, "missing.mp4", "no such file")


def test_an_unwritable_output_folder_is_told(
    mien: Mien, told: Told, tmp_path: Path, empty_room_video: Path
) -> None:
    (tmp_path / "file").touch()
    told(mien("annotate", empty_room_video, "--out", "file/out"), 2, "file/out")
    told(
        mien("annotate", empty_room_video, "--out", "file"), 2, "--out file: is a file, expected a"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--format", "xml"), ("--format", "xml", "parquet")),
        (("--smoothing", "sluggish"), ("--smoothing is 'sluggish'", "responsive")),
        (("--camera", "none.toml"), ("--camera none.toml: no such file", "1 to 175 degrees")),
        (("--camera", "0"), ("--camera is 0", "field of view of 1 to 175 degrees", "TOML")),
        (("--camera", "."), ("--camera .: is a folder", "camera file")),
        (("--export-every", "0"), ("--export-every is 0", "1 or more")),
        (("--export-frames", "2,-1"), ("--export-frames is '2,-1'", "from 0 on")),
        (("--patience", "nan"), ("--patience is nan",)),
        (("--max-faces", "0"), ("--max-faces",)),
        (("--threads", "0"), ("--threads",)),
        (("--ipd-mm", "6"), ("--ipd-mm", "mm")),
        (("--boxes", "none.csv"), ("--boxes none.csv",)),
        (("--bundle", "nowhere"), ("--bundle nowhere: no bundle: no such folder",)),
        (("--bundle", "."), ("--bundle .: no bundle: there is no bundle.toml",)),
    ],
)
def test_an_impossible_option_is_told(
    mien: Mien,
    told: Told,
    empty_room_video: Path,
    options: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    told(mien("annotate", empty_room_video, "--out", "out", *options), 2, *words)


def test_a_bundle_with_a_wrong_hash_is_told(
    mien: Mien, told: Told, tmp_path: Path, empty_room_video: Path
) -> None:
    from mien.models.face.bundle import Bundle

    copy = tmp_path / "bundle"
    copy.mkdir()
    for path in Bundle.default().folder.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    network = copy / "regressor.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"\0")
    done = mien("annotate", empty_room_video, "--out", "out", "--bundle", "bundle")
    told(done, 2, "regressor.onnx", "SHA-256")


def test_an_interrupted_batch_keeps_what_is_finished(
    bytes_of: BytesOf,
    start_mien: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    empty_room_video: Path,
    make_video: Callable[..., Path],
) -> None:
    picture = np.full((480, 640, 3), 90, np.uint8)
    long = make_video(tmp_path / "long.mp4", [picture] * 3000)
    process = start_mien("annotate", empty_room_video, long, "--out", "out")
    deadline_s = time.monotonic() + 60
    out = tmp_path / "out"
    while time.monotonic() < deadline_s:
        if (out / "empty.json").is_file() and list(out.glob(".long.json.*.part")):
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert sorted(bytes_of(out)) == ["empty.json", "empty.parquet"]
