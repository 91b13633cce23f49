"""Does a batch survive damaged files, with a reason for each?

    python bench/damaged.py [--count 300] [--seed 0] [--workers 2] [--keep DIR]

Makes a corpus of small damaged videos and pictures from a seed (bit flips, truncations, wrong
extensions, zero frames, absurd sizes and rates, missing time stamps, sound only, attached
pictures), lets ``mien annotate`` loose on it, and checks: no traceback, no hang, a bound on the
memory of every process, each input finished or named with a reason. Exit status 1 where that fails.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.stream import Disposition
from av.video.stream import VideoStream

from mien.tools.demo import demo_clip

MEMORY_MB = 900
LIMIT_S = 3600.0
MIEN = Path(sys.executable).parent / "mien"


def pictures() -> list[np.ndarray]:
    """A few real frames, small."""
    with demo_clip() as path, av.open(str(path)) as clip:
        frames = [frame.to_ndarray(format="bgr24") for frame in islice(clip.decode(video=0), 12)]
    return [np.asarray(cv2.resize(frame, (160, 160)), np.uint8) for frame in frames]


def usual(number: int) -> int:
    return number


def write(
    path: Path, frames: list[np.ndarray], codec: str, pts: Callable[[int], int] = usual
) -> None:
    """Encode frames with chosen time stamps: 1/25 s, or 1/1000 s for Motion JPEG."""
    unit = Fraction(1, 1000 if codec == "mjpeg" else 25)
    with av.open(str(path), "w") as container:
        stream = cast("VideoStream", container.add_stream(codec, rate=25))
        height, width = frames[0].shape[:2]
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = unit
        for number, image in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(image, format="bgr24")
            picture.pts, picture.time_base = pts(number), unit
            for packet in stream.encode(picture):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def sound(path: Path, cover: np.ndarray | None = None) -> None:
    """Sound without video, perhaps with an attached picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        picture = None
        if cover is not None:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 160, 160, "yuvj420p"
            picture.disposition = Disposition.attached_pic
        samples = np.zeros((1, 1024), np.float32)
        piece = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        piece.sample_rate = 16000
        container.mux(stream.encode(piece))
        if picture is not None and cover is not None:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(cover, format="bgr24")))
        container.mux(stream.encode(None))


def bases(folder: Path) -> dict[str, bytes]:
    """Whole files, by name."""
    frames = pictures()
    for name, codec in (
        *(("a.mp4", "libx264"), ("b.mkv", "libx264"), ("c.avi", "mjpeg"), ("d.ts", "mpeg2video")),
        *(("e.webm", "libvpx"), ("f.mov", "mpeg4")),
    ):
        write(folder / name, frames, codec, (lambda n: n * 40) if codec == "mjpeg" else usual)
    for name in ("g.png", "h.jpg", "i.webp", "j.bmp"):
        cv2.imwrite(str(folder / name), frames[0])
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def flips(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 4, 30, 300))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def head_flips(content: bytes, rng: random.Random) -> bytes:
    """Of the first bytes only: sizes, rates and counts become absurd."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        changed[rng.randrange(min(len(changed), 256))] = rng.randrange(256)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def hole(content: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(content))
    end = min(len(content), begin + rng.choice((16, 512, 4096)))
    return content[:begin] + bytes(end - begin) + content[end:]


def torn(content: bytes, rng: random.Random) -> bytes:
    """A stretch is missing."""
    begin = rng.randrange(len(content))
    return content[:begin] + content[begin + rng.choice((7, 188, 3000)) :]


def noise(content: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(len(content) // 4)


DAMAGE = (flips, flips, head_flips, head_flips, cut, cut, hole, torn, noise)


def special(folder: Path) -> None:
    """Files that are odd rather than damaged."""
    frames = pictures()
    stills = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames]
    (folder / "no-times.mjpeg").write_bytes(b"".join(stills))
    (folder / "no-times.avi").write_bytes(b"".join(stills))
    write(folder / "hours.mkv", frames, "mjpeg", lambda n: n * 3_600_000)
    write(folder / "two-pixels.mkv", [f[:2, :2].copy() for f in frames], "mjpeg")
    wide = np.zeros((8, 8000, 3), np.uint8)
    write(folder / "very-wide.mkv", [wide] * 3, "mjpeg", lambda n: n * 40)
    sound(folder / "sound.mp4")
    sound(folder / "sound-with-cover.mp4", frames[0])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("not a video\n" * 40)
    (folder / "zeros.mkv").write_bytes(bytes(5000))
    cv2.imwrite(str(folder / "x.png"), frames[0])
    (folder / "x.png").rename(folder / "picture-called.mp4")
    write(folder / "y.mp4", frames, "libx264")
    (folder / "y.mp4").rename(folder / "video-called.png")
    big = np.zeros((60, 1), np.uint8)
    cv2.imwrite(str(folder / "thin.png"), big)


def make_corpus(folder: Path, count: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        whole = bases(Path(place))
    special(folder)
    rng = random.Random(seed)
    number = 0
    while len(list(folder.iterdir())) < count:
        name, content = rng.choice(sorted(whole.items()))
        damage = rng.choice(DAMAGE)
        suffix = Path(rng.choice(sorted(whole)) if rng.random() < 0.15 else name).suffix
        (folder / f"{number:04d}-{damage.__name__}{suffix}").write_bytes(damage(content, rng))
        number += 1


def peak_mb(pid: int) -> float:
    """The largest resident size so far of a process and its children."""
    most = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        parent = re.search(r"^PPid:\t(\d+)", text, re.MULTILINE)
        high = re.search(r"^VmHWM:\s+(\d+)", text, re.MULTILINE)
        ours = status.parent.name == str(pid) or (parent and parent[1] == str(pid))
        if ours and high:
            most = max(most, int(high[1]) / 1024)
    return most


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for corpus and outputs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = args.keep or Path(place)
        corpus, out = work / "corpus", work / "out"
        corpus.mkdir(parents=True)
        make_corpus(corpus, args.count, args.seed)
        begin = time.monotonic()
        process = subprocess.Popen(
            [MIEN, "annotate", corpus, "--out", out, "--workers", str(args.workers)]
            + ["--patience", "60"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        peaks = [0.0]

        def watch() -> None:
            while process.poll() is None:
                peaks.append(peak_mb(process.pid))
                time.sleep(0.2)

        threading.Thread(target=watch, daemon=True).start()
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        report(corpus, out, stdout, stderr, process.returncode, max(peaks))
        print(f"{time.monotonic() - begin:.0f} s")


def report(corpus: Path, out: Path, stdout: str, stderr: str, status: int, peak: float) -> None:
    names = sorted(path.name for path in corpus.iterdir())
    lines = stderr.splitlines()
    kinds: collections.Counter[str] = collections.Counter()
    unexplained = []
    for name in names:
        place = out / f"{Path(name).stem}.json"
        if not place.is_file():
            place = out / f"{name}.json"
        ended = json.loads(place.read_text())["stopped"] if place.is_file() else "no file"
        kinds[ended] += 1
        told = any(f"{name}:" in line for line in lines)
        if ended != "end" and not told:
            unexplained.append(name)
    print(stdout.strip())
    print(f"exit status {status}; largest process {peak:.0f} MB; by ending: {dict(kinds)}")
    problems = [f"unexplained: {name}" for name in unexplained]
    problems += [f"no line of a reason: {line}" for line in lines if not line.startswith("mien: ")]
    problems += ["a traceback"] if "Traceback" in stderr else []
    problems += [f"more than {MEMORY_MB} MB"] if peak > MEMORY_MB else []
    problems += [f"status {status}"] if status != 1 else []
    problems += [f"left over: {path}" for path in out.rglob(".*")]
    for line in lines:
        if "worker process died" in line or "nothing happened" in line:
            problems.append(line)
    for problem in problems[:40]:
        print(f"PROBLEM {problem}")
    raise SystemExit(bool(problems))


if __name__ == "__main__":
    main()
