"""The preview: what its picture holds, its keys, and the real window under a virtual display."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.models.face.names import BLENDSHAPE_INDEX
from mien.stream.frame import Frame
from mien.stream.observation import FaceObservation
from mien.stream.sinks.drawing import Annotator
from mien.stream.view.composition import Surroundings, compose
from mien.tools.live import preview as preview_module
from mien.tools.live.preview import Preview, open_preview

MATRIX = np.array([[554.0, 0.0, 319.5], [0.0, 554.0, 239.5], [0.0, 0.0, 1.0]])
LEFT, RIGHT, BOTH = (90, 185, 232), (248, 155, 185), (180, 209, 90)
RED = (90, 90, 245)


def face(centre: tuple[float, float] = (320.0, 240.0), **fields: Any) -> FaceObservation:
    """A face of 100 px, in a 640 x 480 picture."""
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([centre[0] + 50 * np.cos(angle), centre[1] + 50 * np.sin(angle)], axis=1)
    row: dict[str, Any] = {
        "frame": 0, "t_media_ns": 0, "t_capture_ns": None, "track": 0, "observed": True,
        "confidence": 0.9, "box_x": centre[0] - 50, "box_y": centre[1] - 50, "box_w": 100.0,
        "box_h": 100.0, "yaw": 0.0, "pitch": 0.0, "roll": 0.0, "qw": 1.0, "qx": 0.0, "qy": 0.0,
        "qz": 0.0, "tx": centre[0] - 320.0, "ty": 0.0, "tz": 554.0, "pose_variance": None,
        "shape": np.zeros(40, np.float32), "expression": np.zeros(10, np.float32),
        "landmarks": points.astype(np.float32).ravel(),
        "blendshapes": np.zeros(52, np.float32),
    }  # fmt: skip
    return FaceObservation(**{**row, **fields})


def with_blendshapes(**values: float) -> FaceObservation:
    blendshapes = np.zeros(52, np.float32)
    for name, value in values.items():
        blendshapes[BLENDSHAPE_INDEX[name]] = value
    return face(blendshapes=blendshapes)


def room(height: int = 480, width: int = 640) -> np.ndarray:
    """A picture that is brighter to the right."""
    ramp = np.linspace(40, 200, width).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (height, width, 3)))


def longest(image: np.ndarray, color: tuple[int, int, int]) -> int:
    """Length, px, of the longest row of exactly this colour."""
    return int((image == np.array(color)).all(axis=2).sum(axis=1).max())


@pytest.fixture
def annotator() -> Annotator:
    return Annotator(MATRIX)


def test_the_picture_is_whole_and_the_rest_stands_beside_it(annotator: Annotator) -> None:
    image, before = room(), room()
    composed = compose(image, [face()], annotator, Surroundings("30.0 frames/s"))
    np.testing.assert_array_equal(image, before)
    assert composed.shape[0] > 480
    assert composed.shape[1] > 640
    away = np.ones((480, 640), bool)
    away[150:340, 230:410] = False
    np.testing.assert_array_equal(composed[:480, :640][away], image[away])
    drawn = (composed[:480, :640] != image).any(axis=2)
    assert drawn[180:300, 260:380].mean() > 0.05  # landmarks and axes
    strip = composed[481:]
    assert (strip.max(axis=2) > 150).sum() > 50  # words


def test_bars_are_as_long_as_the_blendshapes_are_large(annotator: Annotator) -> None:
    def panel(**values: float) -> np.ndarray:
        return compose(room(), [with_blendshapes(**values)], annotator)[:480, 641:]

    full = longest(panel(jawOpen=1.0), BOTH)
    assert full > 60
    assert abs(longest(panel(jawOpen=0.5), BOTH) - full / 2) <= 1
    assert longest(panel(), BOTH) == 0
    wing = longest(panel(eyeBlinkLeft=1.0), LEFT)
    assert 0.4 * full < wing <= full / 2
    assert abs(longest(panel(eyeBlinkLeft=0.5), LEFT) - wing / 2) <= 1
    assert longest(panel(eyeBlinkRight=1.0), LEFT) < wing / 4  # but for the letter
    assert longest(panel(jawOpen=7.0), BOTH) == full


def test_each_wing_stands_on_the_side_where_the_eye_is_seen(annotator: Annotator) -> None:
    def middle(mirrored: bool, color: tuple[int, int, int]) -> float:
        row = with_blendshapes(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
        composed = compose(room(), [row], annotator, Surroundings(mirrored=mirrored))
        return float((composed[:480, 641:] == np.array(color)).all(axis=2).nonzero()[1].mean())

    assert middle(False, RIGHT) < middle(False, LEFT)  # the subject's right is to our left
    assert middle(True, LEFT) < middle(True, RIGHT)


def test_a_mirrored_picture_is_the_picture_mirrored_with_readable_words(
    annotator: Annotator,
) -> None:
    rows = [face((200.0, 240.0))]
    plain = compose(room(), rows, annotator)
    mirrored = compose(room(), rows, annotator, Surroundings(mirrored=True))
    np.testing.assert_array_equal(mirrored[:480, :640], plain[:480, 639::-1])
    np.testing.assert_array_equal(mirrored[481:], plain[481:])
    # Several faces bear names, each above its own.
    rows.append(face((450.0, 240.0), track=1))
    named = compose(room(), rows, annotator, Surroundings(mirrored=True))
    rows_of_names = slice(100, 160)
    changed = (named != compose(room(), [], annotator, Surroundings(mirrored=True))).any(axis=2)
    columns = changed[rows_of_names, :640].any(axis=0).nonzero()[0]
    assert abs(columns[columns < 320].mean() - (639 - 450)) < 12
    assert abs(columns[columns > 320].mean() - (639 - 200)) < 12


def test_what_happens_is_said(annotator: Annotator) -> None:
    def picture(**fields: Any) -> np.ndarray:
        return compose(room(), [], annotator, Surroundings(line="30.0 frames/s", **fields))

    plain = picture()
    assert longest(picture(recording=True)[481:], RED) > 5 > longest(plain[481:], RED)

    def amber(image: np.ndarray) -> int:
        return int((image[481:, :, 2].astype(int) - image[481:, :, 0] > 60).sum())

    assert amber(picture(warning="reconnecting: no answer")) > 30 > amber(plain) == 0
    notice = picture(notice="centred: this pose is neutral now")[:480, :640]
    changed = (notice != plain[:480, :640]).any(axis=2)
    assert changed[420:].any()
    assert not changed[:400].any()
    helped = picture(keys=[("c", "centre"), ("q", "end")])[:480, :640]
    assert (helped != plain[:480, :640]).any(axis=2)[215:265, 290:350].mean() > 0.9
    long = picture(warning="no answer " * 100)
    assert long.shape == plain.shape
    np.testing.assert_array_equal(long[481:, -30:], plain[481:, -30:])


@pytest.mark.parametrize(
    ("size", "shown"),
    [((120, 160), (480, 640)), ((2160, 3840), (1080, 1920)), ((1920, 1080), (1080, 608))],
)
def test_small_pictures_are_enlarged_and_large_ones_reduced(
    annotator: Annotator, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    composed = compose(room(*size), [face((40.0, 40.0)), face()], annotator, Surroundings("x"))
    assert shown[0] < composed.shape[0] < shown[0] * 1.12
    assert shown[1] < composed.shape[1] < shown[1] + 0.5 * shown[0]


def test_rows_that_lack_values_are_drawn_too(annotator: Annotator) -> None:
    row = face(blendshapes=None, confidence=None, observed=False)
    plain = compose(room(), [row], Annotator())
    assert longest(plain[:480, 641:], BOTH) == 0
    assert compose(room(20, 3000), [row], annotator).dtype == np.uint8


def test_keys_act_and_say_so_for_two_seconds(
    annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[np.ndarray] = []
    keys: list[int] = []
    window = {
        "namedWindow": lambda *_: None,
        "resizeWindow": lambda *_: None,
        "imshow": lambda _, image: shown.append(image),
        "waitKey": lambda _: keys.pop(0) if keys else -1,
        "getWindowProperty": lambda *_: 1.0,
        "destroyAllWindows": lambda: None,
    }
    for name, stand_in in window.items():
        monkeypatch.setattr(cv2, name, stand_in)
    now_ns = 10**10
    done: list[str] = []

    def centre() -> str:
        done.append("c")
        return "centred"

    preview = Preview("mien", annotator, {"c": centre}, clock=lambda: now_ns)

    def look(key: str = "") -> tuple[bool, np.ndarray]:
        keys.extend(map(ord, key))
        goes_on = preview.show(Frame(room(), 0), [], "line") and preview.refresh("line")
        return goes_on, shown[-1]

    with preview:
        goes_on, plain = look()
        assert goes_on
        goes_on, said = look("c")
        assert goes_on
        assert done == ["c"]
        assert not np.array_equal(said, plain)
        now_ns += 2_000_000_001
        np.testing.assert_array_equal(look()[1], plain)
        mirrored = look("m")[1]
        np.testing.assert_array_equal(mirrored[:480, :640], plain[:480, 639::-1])
        np.testing.assert_array_equal(look("M")[1], plain)
        assert not np.array_equal(look("h")[1], plain)
        np.testing.assert_array_equal(look("h")[1], plain)
        goes_on, same = look("z")  # means nothing
        assert goes_on
        np.testing.assert_array_equal(same, plain)
        assert not look("q")[0]
        assert not look("\x1b")[0]
        window["getWindowProperty"] = lambda *_: 0.0
        monkeypatch.setattr(cv2, "getWindowProperty", window["getWindowProperty"])
        assert not look()[0]  # closed
    assert done == ["c"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays are named on X11 only")
@pytest.mark.parametrize(
    ("display", "why"), [("", "no display here"), (":987", "no window can be opened")]
)
def test_without_a_display_it_is_said_in_a_line(
    annotator: Annotator,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    display: str,
    why: str,
) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    assert open_preview("mien", annotator) is None
    out, told = capfd.readouterr()
    assert out == ""
    assert told.count("\n") == 1
    assert told.startswith(f"mien: --preview: {why}")
    assert "going on without a window" in told


def test_a_build_of_opencv_without_windows_is_told(
    annotator: Annotator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unbuilt(*_: object) -> None:
        error = cv2.error("no windows")
        error.err = "The function is not implemented.\nRebuild the library"
        raise error

    monkeypatch.setattr(preview_module, "why_no_window", lambda: None)
    monkeypatch.setattr(cv2, "namedWindow", unbuilt)
    assert open_preview("mien", annotator) is None
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "not implemented. Rebuild" in told


WINDOW = """
import sys, time
import numpy as np
from mien.stream.frame import Frame
from mien.stream.sinks.drawing import Annotator
from mien.tools.live.preview import open_preview

picture = np.zeros((240, 320, 3), np.uint8)
picture[:, :160] = (20, 200, 60)
with open_preview("mien", Annotator(), {"c": lambda: "centred"}) as preview:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not preview.show(Frame(picture, 0), [], "30.0 frames/s"):
            sys.exit(7)
        print("shown", flush=True)
        time.sleep(0.02)
"""


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A virtual display: its name, and a file with its picture."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb here to open the window in (Debian: apt-get install xvfb)")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "900x700x24", "-fbdir", str(tmp_path)],
        stderr=subprocess.DEVNULL,
        pass_fds=(writing,),
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            number = told.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}", tmp_path / "Xvfb_screen0"
    finally:
        server.terminate()
        server.wait()


def screenshot(file: Path) -> np.ndarray:
    """The picture of an X window dump, (H, W, 3) BGR."""
    data = file.read_bytes()
    head = np.frombuffer(data, ">u4", 25)
    begin, width, height, pitch = int(head[0] + 12 * head[19]), *map(int, head[[4, 5, 12]])
    pixels = np.frombuffer(data, np.uint8, height * pitch, begin).reshape(height, pitch)
    return pixels[:, : 4 * width].reshape(height, width, 4)[..., :3]


def test_the_real_window_shows_the_picture_and_closes_by_key(screen: tuple[str, Path]) -> None:
    display, file = screen
    environment = {**os.environ, "DISPLAY": display}
    with subprocess.Popen(
        [sys.executable, "-c", WINDOW],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "shown\n"

            def green() -> np.ndarray:
                shot = screenshot(file).astype(int)
                return np.abs(shot - (20, 200, 60)).sum(axis=2) < 12

            wait_for(lambda: bool(green().sum() > 0.9 * 480 * 320))
            if shutil.which("xdotool") is None:
                process.terminate()
                return
            press(environment, "m")
            left = green().nonzero()[1].mean()
            wait_for(lambda: bool(green().any() and green().nonzero()[1].mean() > left + 200))
            press(environment, "q")
            assert process.wait(20) == 7
        finally:
            process.kill()


def press(environment: dict[str, str], key: str) -> None:
    """Type a key into the window, once it has the focus."""

    def xdotool(*arguments: str) -> str:
        command = ["xdotool", *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout.strip()

    def focused() -> bool:
        windows = xdotool("search", "--onlyvisible", "--name", "^mien$").split()
        if windows and xdotool("getwindowfocus") not in windows:
            xdotool("windowfocus", windows[-1])
        return bool(windows) and xdotool("getwindowfocus") in windows

    wait_for(focused)
    xdotool("key", key)


def wait_for(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "never came"
        time.sleep(0.05)
