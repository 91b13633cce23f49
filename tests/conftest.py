"""Fixtures that every room's tests share: where the real faces lie, and small real videos."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from mien.models.face.morphable import FaceModel
from mien.models.scans.box import FaceBox
from mien.tools.demo import demo_clip

CHECKOUT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """A shell that runs tests in the background has them, and their children, ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def eval_dir() -> Path:
    """The folder of real faces with ground truth: ``$MIEN_EVAL``, or ``../shared/eval``."""
    named = os.environ.get("MIEN_EVAL")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "eval"
    if not folder.is_dir():
        pytest.skip(f"no evaluation sets at {folder} (set MIEN_EVAL to the folder that has them)")
    return folder


@pytest.fixture
def port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


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


TDDFA_BLOCKS = (
    *(("dw2_1", 8), ("dw2_2", 16), ("dw3_1", 16), ("dw3_2", 32), ("dw4_1", 32), ("dw4_2", 64)),
    *(("dw5_1", 64), ("dw5_2", 64), ("dw5_3", 64), ("dw5_4", 64), ("dw5_5", 64)),
    *(("dw5_6", 128), ("dw6", 128)),
)
"""Names and output channels of 3DDFA_V2's MobileNet-V1, an eighth as wide."""


def tddfa_weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random weights under 3DDFA_V2's names; their outputs are a few tenths in size."""
    weights: dict[str, np.ndarray] = {}

    def norm(name: str, channels: int) -> None:
        weights[f"{name}.weight"] = rng.uniform(0.8, 1.2, channels)
        weights[f"{name}.bias"] = rng.normal(0.1, 0.1, channels)
        weights[f"{name}.running_mean"] = rng.normal(0.0, 0.1, channels)
        weights[f"{name}.running_var"] = rng.uniform(0.8, 1.2, channels)

    def convolution(name: str, shape: tuple[int, ...]) -> None:
        weights[f"{name}.weight"] = rng.normal(0.0, np.sqrt(2.0 / np.prod(shape[1:])), shape)

    channels = 4
    convolution("conv1", (channels, 3, 3, 3))
    norm("bn1", channels)
    for block, wide in TDDFA_BLOCKS:
        convolution(f"{block}.conv_dw", (channels, 1, 3, 3))
        norm(f"{block}.bn_dw", channels)
        convolution(f"{block}.conv_sep", (wide, channels, 1, 1))
        norm(f"{block}.bn_sep", wide)
        channels = wide
    weights["fc.weight"] = rng.normal(0.0, 0.05, (62, channels))
    weights["fc.bias"] = rng.normal(0.0, 0.1, 62)
    return {name: value.astype(np.float32) for name, value in weights.items()}


@pytest.fixture(scope="session")
def tddfa_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as a user of 3DDFA_V2 has it: the same names, keys, axes and units, small.

    The faces are the shipped model's in Basel's frame and micrometres, with raw coefficients of
    Basel's sizes; the network is random.
    """
    folder = tmp_path_factory.mktemp("3ddfa")
    rng = np.random.default_rng(3)
    shipped = Path(str(resources.files("mien.models.weights.default"))) / "face_model.npz"
    model = FaceModel.load(shipped)
    flip, origin = np.array([1.0, -1.0, -1.0]), np.array([400.0, 26000.0, 105000.0])

    def columns(basis: np.ndarray, std: np.ndarray, more: int) -> np.ndarray:
        flat = (1000.0 * basis * flip).reshape(len(basis), -1).T / std
        return np.c_[flat, rng.normal(0.0, 1.0, (len(flat), more))].astype(np.float32)

    shape_std, expression_std = rng.uniform(1e4, 5e5, 40), rng.uniform(0.2, 1.6, 10)
    vertices = model.landmark_vertices
    bfm = {
        "u": (1000.0 * model.mean * flip + origin).reshape(-1, 1).astype(np.float32),
        "w_shp": columns(model.shape_basis, shape_std, 5),
        "w_exp": columns(model.expression_basis, expression_std, 3),
        "keypoints": (3 * vertices[:, None] + np.arange(3)).reshape(-1).astype(np.int64),
        "tri": np.array([[0, 1], [1, 2], [53214, 3]], np.int32),
    }
    (folder / "bfm_noneck_v3.pkl").write_bytes(pickle.dumps(bfm, 4))
    (folder / "tri.pkl").write_bytes(pickle.dumps(np.ascontiguousarray(model.triangles.T), 2))
    # A frontal face that fills the crop: 0.57 px per mm, the sellion at (59, 31).
    pose = np.zeros((3, 4))
    pose[:, :3] = 5.7e-4 * np.eye(3)
    pose[:2, 3] = np.array([60.0, 89.0]) - pose[:2, :3] @ origin
    pose_std = np.tile([2e-5, 2e-5, 2e-5, 3.0], 3)
    statistics = {
        "mean": np.concatenate(
            [pose.ravel(), 0.2 * shape_std * rng.normal(size=40), 0.3 * expression_std]
        ).astype(np.float32),
        "std": np.concatenate([pose_std, shape_std, expression_std]).astype(np.float32),
    }
    (folder / "param_mean_std_62d_120x120.pkl").write_bytes(pickle.dumps(statistics, 3))
    torch = pytest.importorskip("torch", reason="writes a checkpoint (extra: train)")
    tensors = {f"module.{name}": torch.tensor(v) for name, v in tddfa_weights(rng).items()}
    tensors["module.bn1.num_batches_tracked"] = torch.tensor(7)
    torch.save({"epoch": 50, "state_dict": tensors}, folder / "mb05_120x120.pth")
    return folder


_BOX = FaceBox(16)
_CENTRE = np.array([0.0, 30.0, 40.0])


def _ellipsoid(radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance, nearly, and places on the surface."""
    offset = _BOX.centres() - _CENTRE
    scaled = np.linalg.norm(offset / radii, axis=-1)
    distance = (scaled - 1) * np.linalg.norm(offset, axis=-1) / np.maximum(scaled, 1e-6)
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(300, 3))
    places = _CENTRE + radii * ways / np.linalg.norm(ways, axis=1, keepdims=True)
    limit = _BOX.truncation
    return np.clip(distance, -limit, limit).astype(np.float16), places.astype(np.float32)


def ellipsoid_person(number: int) -> dict[str, np.ndarray]:
    """A person of scans, nearly: an ellipsoid.

    The first blendshape makes it taller, the second wider; half a scan misses one side.
    """
    rng = np.random.default_rng(number)
    base = np.array([45.0, 50.0, 40.0]) + rng.uniform(-6, 6, 3)
    shades = rng.integers(60, 200, 3).astype(np.uint8)
    blendshapes = np.zeros((4, 52), np.float32)
    blendshapes[1:, 0], blendshapes[1:, 1] = rng.uniform(0, 1, (2, 3))
    solids = [_ellipsoid(base + np.array([25 * row[1], 25 * row[0], 0])) for row in blendshapes]
    sdf = np.stack([solid[0] for solid in solids])
    colour = np.broadcast_to(shades, (*sdf.shape, 3)).copy()
    seen = np.full((2, _BOX.cells, _BOX.cells, _BOX.cells), 128, np.uint8)
    seen[1, : _BOX.cells // 2] = 0
    views = np.zeros((4, 2, 24, 24, 4), np.uint8)
    views[:, :, 8:16, 8:16, :3], views[:, :, 8:16, 8:16, 3] = shades[::-1], 255
    lens = np.array([[65.0, 0, 11.5], [0, 65.0, 11.5], [0, 0, 1]])
    shift = np.array([0.0, 0.0, 700.0]) - _CENTRE
    camera = (lens @ np.column_stack([np.eye(3), shift])).astype(np.float32)
    return {
        "sdf": sdf, "colour": colour, "blendshapes": blendshapes,
        "expression": np.zeros((4, 10), np.float32), "shape": np.full(40, base[0], np.float32),
        "scan_sdf": np.where(seen > 0, sdf[:1], np.float16(0)), "scan_seen": seen,
        "scan_colour": np.where(seen[..., None] > 0, colour[:1], np.uint8(0)),
        "scan_kind": np.array([0, 1], np.uint8), "views": views,
        "cameras": np.broadcast_to(camera, (4, 2, 3, 4)).copy(),
        "vertices": np.stack([solid[1] for solid in solids]),
    }  # fmt: skip


@pytest.fixture(scope="session")
def make_person() -> Callable[[int], dict[str, np.ndarray]]:
    """:func:`ellipsoid_person`, for tests that cannot import from here."""
    return ellipsoid_person


@pytest.fixture(scope="session")
def ellipsoid_scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``mien synthesize scans`` writes it: six persons of 16^3 cells."""
    folder = tmp_path_factory.mktemp("scans")
    meta = {"kind": "scans", "cells": _BOX.cells, "seed": 0}
    (folder / "meta.json").write_text(json.dumps(meta))
    for number in range(6):
        np.savez(folder / f"person-{number:05d}.npz", **ellipsoid_person(number))  # pyright: ignore[reportArgumentType]
    return folder


@pytest.fixture(scope="session")
def tiny_avatar() -> Callable[..., Any]:
    """``tiny_avatar(seed, **of the denoiser)``: an avatar of a few channels, never trained."""
    torch = pytest.importorskip("torch", reason="the avatar's networks (extra: heavy)")
    pytest.importorskip("monai", reason="the avatar's denoiser (extra: heavy)")
    from mien.models.avatar.avatar import Avatar
    from mien.models.avatar.config import avatar_preset, diffusion_preset

    config = replace(
        avatar_preset("small"), cells=_BOX.cells, latent_cells=4, latent_channels=4, embedding=16,
        widths=((4, 8), (8, 8), (16, 8)), attention=(4,),
    )  # fmt: skip
    denoiser = replace(
        diffusion_preset("small", 4), channels=(16, 16), head_channels=8, groups=4,
        token_width=16, field_channels=2,
    )  # fmt: skip

    def make(seed: int = 0, **options: Any) -> Any:
        torch.manual_seed(seed)
        avatar = Avatar(config, encoder=True, diffusion=replace(denoiser, **options))
        return avatar.eval().requires_grad_(False)

    return make
