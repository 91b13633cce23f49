"""Fixtures that every room's tests share: where the real faces lie, and small real videos."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mien.tools.demo import demo_clip

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def eval_dir() -> Path:
    """The folder of real faces with ground truth: ``$MIEN_EVAL``, or ``../shared/eval``."""
    named = os.environ.get("MIEN_EVAL")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "eval"
    if not folder.is_dir():
        pytest.skip(f"no evaluation sets at {folder} (set MIEN_EVAL to the folder that has them)")
    return folder


@pytest.fixture(scope="session")
def astronaut(eval_dir: Path) -> np.ndarray:
    """A public-domain portrait, (512, 512, 3) uint8 BGR, one face near (220, 110)."""
    image = cv2.imread(str(eval_dir / "astronaut.png"), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, dtype=np.uint8)


def write_video(path: Path, frames: list[np.ndarray], rate: int = 25) -> Path:
    """Encode BGR frames (H, W, 3) of one even size to a video file at a constant rate."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """:func:`write_video`, for tests that cannot import from here."""
    return write_video


@pytest.fixture(scope="session")
def portrait_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames, 320 px wide, 25 a second, of the embedded demo clip: one face throughout."""
    with demo_clip() as path, av.open(str(path)) as clip:
        pictures = [frame.to_ndarray(format="bgr24") for frame in islice(clip.decode(video=0), 24)]
    height = round(320 * pictures[0].shape[0] / pictures[0].shape[1] / 2) * 2
    frames = [cv2.resize(p, (320, height), interpolation=cv2.INTER_AREA) for p in pictures]
    folder = tmp_path_factory.mktemp("portrait")
    return write_video(folder / "portrait.mp4", [np.asarray(f, dtype=np.uint8) for f in frames])


@pytest.fixture(scope="session")
def empty_room_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames, 160 x 120, of a grey gradient: no face anywhere."""
    ramp = np.linspace(40, 200, 160, dtype=np.float64)
    image = np.repeat(np.repeat(ramp[None, :, None], 120, axis=0), 3, axis=2).astype(np.uint8)
    return write_video(tmp_path_factory.mktemp("empty") / "empty.mp4", [image] * 12)
