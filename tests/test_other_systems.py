"""What is done for Windows and macOS, as far as another system can show it."""

from __future__ import annotations

import errno
import importlib
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import av.error
import pytest

from mien.models import writing
from mien.models.errors import InputError, OutputError, SourceError
from mien.models.face.bundle import Bundle
from mien.stream.onnx_session import open_session
from mien.stream.sinks import partial
from mien.stream.sources import cameras, opening, printed_modes
from mien.stream.sources.capture_clock import CaptureClock
from mien.tools.annotate import inputs, workers
from mien.tools.cli import speak_utf8

CHECKOUT = Path(__file__).resolve().parents[1]

LONG_WORK = '''
import time
from pathlib import Path


class LongWork:
    """Says something every 20 ms for a minute; tidies up where it is ended before."""

    def __call__(self, item, tell):
        try:
            for part in range(3000):
                tell(part, 3000)
                time.sleep(0.02)
        finally:
            Path(item).write_text("tidied")
'''


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_a_clone_that_changes_line_ends_keeps_the_bundles_digests(tmp_path: Path) -> None:
    weights = Path("models/weights/default")
    (tmp_path / "a" / weights.parent).mkdir(parents=True)
    shutil.copytree(
        CHECKOUT / weights, tmp_path / "a" / weights, ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(CHECKOUT / ".gitattributes", tmp_path / "a")
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for words in (
        ("init", "-q", "a"),
        ("-C", "a", "add", "."),
        ("-C", "a", *who, "commit", "-q", "-m", "a"),
        ("-c", "core.autocrlf=true", "clone", "-q", "a", "b"),
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    assert Bundle.load(tmp_path / "b" / weights).hash == Bundle.default().hash
    assert b"\r" not in (tmp_path / "b" / weights / "__init__.py").read_bytes()


def test_a_file_that_others_hold_for_a_moment_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = [PermissionError(errno.EACCES, "held")] * 2
    replace = os.replace

    def held(source: Path, target: Path) -> None:
        if refused:
            raise refused.pop()
        replace(source, target)

    monkeypatch.setattr(writing, "_HELD_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(writing.os, "replace", held)
    file = partial.PartialFile(tmp_path / "a.csv")
    file.path.write_text("x")
    file.commit()
    assert (tmp_path / "a.csv").read_text() == "x"
    refused += [PermissionError(errno.EACCES, "held")] * 9
    with (
        pytest.raises(OutputError, match="cannot be written"),
        writing.whole_file(tmp_path / "b.txt") as part,
    ):
        part.write_text("y")


def test_a_folder_that_cannot_be_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.coco").mkdir()
    (tmp_path / "a.coco" / "old").touch()
    folder = partial.PartialFolder(tmp_path / "a.coco")
    rename = partial.rename

    def refuses_the_new(source: Path, target: Path) -> None:
        if source == folder.path:
            raise PermissionError(errno.EACCES, "held")
        rename(source, target)

    monkeypatch.setattr(partial, "rename", refuses_the_new)
    with pytest.raises(OutputError):
        folder.commit()
    assert [path.name for path in (tmp_path / "a.coco").iterdir()] == ["old"]


def test_without_locks_only_what_is_old_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial, "_NO_LOCKS", True)
    new, old = tmp_path / ".a.csv.00000000.part", tmp_path / ".b.csv.00000000.part"
    folder = tmp_path / ".c.coco.00000000.old"
    new.touch()
    old.touch()
    folder.mkdir()
    then = time.time() - 2 * writing.LEFT_BEHIND_S
    os.utime(old, (then, then))
    os.utime(folder, (then, then))
    assert sorted(partial.sweep(tmp_path)) == [old, folder]
    assert list(tmp_path.iterdir()) == [new]


def test_a_worker_that_cannot_be_asked_to_end_tidies_up_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "long_work.py").write_text(LONG_WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    make: Callable[[], Any] = importlib.import_module("long_work").LongWork
    monkeypatch.setattr(workers, "_ENDS_AT_ONCE", True)
    with workers.Workers[str, None](1, make, silence_s=60.0) as some:
        for _ in some.run([str(tmp_path / "said")]):
            break
    assert (tmp_path / "said").read_text() == "tidied"


def test_inputs_that_differ_in_case_alone_keep_their_endings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_ALIKE", True)
    films = [tmp_path / name for name in ("Take1.mp4", "take1.mov", "caf\u00e9.mp4")]
    films.append(tmp_path / "cafe\u0301.mov")
    for film in films:
        film.touch()
    found, _ = inputs.collect_inputs(films, tmp_path / "out")
    assert sorted(item.name for item in found) == sorted(film.name for film in films)
    (tmp_path / "TAKE1.mp4").touch()
    with pytest.raises(InputError, match="same output name"):
        inputs.collect_inputs([*films, tmp_path / "TAKE1.mp4"], tmp_path / "out")


def test_paths_of_two_drives_are_told_apart() -> None:
    paths = [PureWindowsPath(r"C:\a\clip.mp4"), PureWindowsPath(r"D:\b\clip.mp4")]
    assert [path.as_posix() for path in inputs.told_apart(paths)] == [
        "C/a/clip.mp4",
        "D/b/clip.mp4",
    ]


def test_a_device_whose_clock_is_near_by_chance_is_not_believed() -> None:
    ours, theirs = CaptureClock(), CaptureClock(may_be_ours=False)
    assert ours.stamp(10**12, 10**12 + 600_000_000) == 10**12
    assert theirs.stamp(10**12, 10**12 + 600_000_000) == 10**12 + 600_000_000


def test_screens_are_no_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [
        SimpleNamespace(name=str(number), description=name, media_types=["video"])
        for number, name in enumerate(("FaceTime HD Camera", "Capture screen 0"))
    ]
    monkeypatch.setattr(cameras.av, "enumerate_input_devices", lambda _: listed)
    assert [camera.description for camera in cameras.list_cameras()] == ["FaceTime HD Camera"]


DSHOW_DEVICES = (
    *('"Integrated Camera"', " (video", ")", "\n"),
    '  Alternative name "@device_pnp_usb#vid_1234&pid_5678#global"\n',
    *('"OBS Virtual Camera"', " (none", ")", "\n"),
    '  Alternative name "@device_sw_{860B}"\n',
    *('"Capture card"', " (video", ", audio", ")", "\n"),
    '  Alternative name "@device_pnp_pci#card"\n',
    "Could not enumerate audio only devices (or none found).\n",
)
"""What FFmpeg's dshow.c logs, piece by piece."""


def test_cameras_of_a_machine_without_a_microphone_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_: str) -> None:
        raise av.error.OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(cameras.sys, "platform", "win32")
    monkeypatch.setattr(cameras.av, "enumerate_input_devices", fails)
    monkeypatch.setattr(printed_modes, "_printed", lambda *_: "".join(DSHOW_DEVICES))
    assert [camera.description for camera in cameras.list_cameras()] == [
        "Integrated Camera",
        "OBS Virtual Camera",
        "Capture card",
    ]
    assert cameras.find_camera("0") == "video=@device_pnp_usb#vid_1234&pid_5678#global"
    assert cameras.find_camera("capture card") == "video=@device_pnp_pci#card"


@pytest.mark.parametrize(
    ("interface", "said"), [("avfoundation", "Privacy & Security"), ("dshow", "another program")]
)
def test_a_camera_that_only_fails_says_what_that_may_mean(
    interface: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise av.error.OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(opening.av, "open", fails)
    with pytest.raises(SourceError, match=said):
        opening._open_container("0", "camera 0", {}, opening.SourceOptions(), interface)


def test_a_runtime_that_cannot_be_loaded_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "onnxruntime":
                raise ImportError("DLL load failed while importing onnxruntime_pybind11_state")

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken, *sys.meta_path])
    with pytest.raises(InputError, match="onnxruntime cannot be loaded: DLL load failed"):
        open_session(b"")


def test_what_a_program_reads_is_utf8() -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="cp1252")
    speak_utf8(stream)
    print("動画", file=stream, flush=True)
    assert written.getvalue().decode().rstrip() == "動画"
