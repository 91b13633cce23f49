"""Clips for the benches of ``mien annotate``: a short real one, encoded once and looped."""

from __future__ import annotations

from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from tracked_frame import demo_video

RATE = 25
_TICK = Fraction(1, 12_800)
_STEP = 512  # ticks a frame


def pictures(video: Path | None, size: tuple[int, int], most: int) -> list[np.ndarray]:
    """The first frames of a video, cut to the shape of ``size`` about the middle, and resized.

    A little noise, the same in every run, stands for a camera's.
    """
    rng = np.random.default_rng(0)
    found: list[np.ndarray] = []
    with (
        demo_video() if video is None else nullcontext(video) as path,
        av.open(str(path)) as container,
    ):
        for picture in container.decode(video=0):
            image = picture.to_ndarray(format="bgr24")
            height, width = image.shape[:2]
            cut_w = min(width, round(height * size[0] / size[1]))
            cut_h = min(height, round(width * size[1] / size[0]))
            x, y = (width - cut_w) // 2, (height - cut_h) // 2
            cut = image[y : y + cut_h, x : x + cut_w]
            image = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_CUBIC), np.int16)
            noise = rng.normal(0.0, 2.0, image.shape[:2])[..., None]
            found.append(np.clip(image + np.rint(noise), 0, 255).astype(np.uint8))
            if len(found) == most:
                break
    return found


def make_clip(
    path: Path, video: Path | None, size: tuple[int, int], frames: int, crf: int = 23
) -> Path:
    """A clip of so many frames with x264's usual quality, 25 a second.

    The pictures run to and fro; that is encoded once, and its packets are repeated.

    Args:
        path: of the clip, MP4.
        video: what it shows; None: the clip that mien ships.
        size: width and height, px.
        frames: how many, rounded down to whole loops, one at least.
        crf: of x264: the lower the better, and the longer to decode.
    """
    once = path.with_suffix(".once.mp4")
    images = pictures(video, size, min(180, frames))
    images += images[-2:0:-1]
    with av.open(str(once), "w") as container:
        stream = container.add_stream(
            "libx264", rate=RATE, options={"crf": str(crf), "preset": "fast"}
        )
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    loop(once, path, max(1, frames // len(images)))
    once.unlink()
    return path


def loop(once: Path, path: Path, times: int) -> None:
    """Repeat a clip by copying its packets."""
    with av.open(str(path), "w") as target:
        stream = None
        shift = 0
        for _ in range(times):
            with av.open(str(once)) as source:
                first = source.streams.video[0]
                if stream is None:
                    stream = target.add_stream_from_template(first)
                end = 0
                for packet in source.demux(first):
                    if packet.pts is None or packet.dts is None or packet.time_base is None:
                        continue
                    scale = packet.time_base / _TICK
                    pts, dts = round(packet.pts * scale), round(packet.dts * scale)
                    packet.time_base = _TICK
                    packet.pts, packet.dts = pts + shift, dts + shift
                    end = max(end, pts + _STEP)
                    packet.stream = stream
                    target.mux(packet)
                shift += end
