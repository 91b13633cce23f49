"""The real ``mien`` command, as a person would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import av
import cv2
import pytest

from mien.tools.annotate.command import Annotate
from mien.tools.keyframes import Keyframes
from mien.tools.reconstruct.command import Reconstruct

MIEN = Path(sys.executable).parent / "mien"
Mien = Callable[..., "subprocess.CompletedProcess[str]"]


def quiet_environment() -> dict[str, str]:
    """This environment without a display, whatever the machine has."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in hidden}


@pytest.fixture
def mien(tmp_path: Path) -> Mien:
    """Run ``mien ARGUMENTS`` in the test's folder, and return how it ended."""

    def run(*arguments: object, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [MIEN, *map(str, arguments)],
            cwd=tmp_path,
            env=quiet_environment(),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def start_mien(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start ``mien ARGUMENTS`` in the background; the test waits for it or ends it."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [MIEN, *map(str, arguments)],
            cwd=tmp_path,
            env=quiet_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def _one_line(done: subprocess.CompletedProcess[str], status: int, words: Sequence[str]) -> None:
    """The command ended with a status and one line on stderr that has all the words."""
    lines = done.stderr.splitlines()
    assert done.returncode == status, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("mien: ")
    for word in words:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"


@pytest.fixture
def told() -> Callable[..., None]:
    """``told(done, status, *words)``: asserts the exit status and the one line on stderr."""

    def check(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
        _one_line(done, status, words)

    return check


def _bytes_of(folder: Path) -> dict[str, bytes]:
    """What each file below a folder holds, by its place; of a folder nothing."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="session")
def bytes_of() -> Callable[[Path], dict[str, bytes]]:
    """:func:`_bytes_of`."""
    return _bytes_of


@pytest.fixture(scope="session")
def tiny_pifuhd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, but for the depth: a slab is inside, so that there is a surface."""
    torch = pytest.importorskip("torch", reason="runs the network (extra: heavy)")
    from mien.models.pifuhd.config import (
        EncoderConfig,
        ImplicitConfig,
        NormalConfig,
        PifuhdConfig,
    )
    from mien.models.pifuhd.network import Pifuhd
    from mien.models.pifuhd.weights import save_weights

    config = PifuhdConfig(
        name="tiny",
        image_size=64,
        normal=NormalConfig(64, 4, 1, 1, kernel=3, fold=2, skips=True, masked=True),
        coarse=EncoderConfig(64, 4, 8, 8, 8, 1, 2, True, 4, "bilinear"),
        coarse_implicit=ImplicitConfig((16, 8, 8), (1, 2), 1),
        fine=EncoderConfig(64, 4, 8, 8, 4, 1, 2, False, 4, "bilinear"),
        fine_implicit=ImplicitConfig((8, 8), (1,), 0),
        window=32,
    )
    torch.manual_seed(0)
    model = Pifuhd(config)
    with torch.no_grad():
        cast(Any, model.mlp.filters[-1]).bias.fill_(3.0)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_weights(path, model, {"steps": 0})
    return path


@pytest.fixture(scope="session")
def person_picture(tmp_path_factory: pytest.TempPathFactory, portrait_video: Path) -> Path:
    """A frame with one face."""
    with av.open(str(portrait_video)) as video:
        image = next(video.decode(video=0)).to_ndarray(format="bgr24")
    path = tmp_path_factory.mktemp("picture") / "person.png"
    cv2.imwrite(str(path), image)
    return path


@pytest.fixture(scope="session")
def person_keyframes(tmp_path_factory: pytest.TempPathFactory, person_picture: Path) -> Path:
    """A folder of one key frame."""
    folder, pictures = tmp_path_factory.mktemp("keyframes"), (person_picture,)
    assert Annotate(pictures, out=folder / "rows").run() == 0
    tool = Keyframes((folder / "rows" / "person.parquet",), folder, pictures, count=1, crop=64)
    assert tool.run() == 0
    return folder / "person.keyframes"


@pytest.fixture(scope="session")
def tiny_reconstruct(tiny_pifuhd: Path, tmp_path_factory: pytest.TempPathFactory) -> Reconstruct:
    """``mien reconstruct``, coarse and without film; input and output are to be replaced."""
    unused = tmp_path_factory.mktemp("unused")
    return Reconstruct((), unused, weights=tiny_pifuhd, resolution=32, turntable=False)
