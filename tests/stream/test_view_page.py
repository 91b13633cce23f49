"""The web view's page in a real browser: what it draws is looked at, pixel by pixel."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("websockets", reason="serves the web view (extra: view)")

from websockets.sync.client import connect

from mien.models.face.morphable import FaceModel
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.models.face.rotation import quaternion_from_rotation_vector
from mien.stream.frame import Frame
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Recording
from mien.stream.sinks.drawing import project
from mien.stream.view import WebStream, WebView

Maker = Callable[..., FaceObservation]
BLANK = np.zeros((2, 2, 3), dtype=np.uint8)


def read(url: str) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
        return answer.read()


class Page:
    """A page of a headless Chromium, driven by its DevTools protocol."""

    FLAGS = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--remote-debugging-port=0",
        "--disable-dev-shm-usage",
    )  # fmt: skip

    def __init__(self, program: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [program, *self.FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = self._wait(lambda: (folder / "DevToolsActivePort").read_text().split()[0])
            listed = f"http://127.0.0.1:{port}/json/list"
            (page,) = self._wait(
                lambda: [t for t in json.loads(read(listed)) if t["type"] == "page"] or None
            )
            self._stack = ExitStack()
            self._wire = self._stack.enter_context(
                connect(page["webSocketDebuggerUrl"], max_size=None, proxy=None)
            )
        except BaseException:
            self._end()
            raise
        self._count = 0
        self.errors: list[Any] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    @staticmethod
    def _wait(look: Callable[[], Any], limit_s: float = 60.0) -> Any:
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            try:
                found = look()
            except (OSError, IndexError, ValueError):
                found = None
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError("the browser did not come up")

    def call(self, method: str, **params: Any) -> Any:
        self._count += 1
        self._wire.send(json.dumps({"id": self._count, "method": method, "params": params}))
        while True:
            message = json.loads(self._wire.recv(timeout=60))
            if message.get("id") == self._count:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: Any) -> None:
        params = message.get("params", {})
        if (
            message.get("method") == "Runtime.exceptionThrown"
            or params.get("entry", {}).get("level") == "error"
            or (message.get("method"), params.get("type")) == ("Runtime.consoleAPICalled", "error")
        ):
            self.errors.append(params)

    def script(self, expression: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str, limit_s: float = 30.0) -> None:
        end = time.monotonic() + limit_s
        while not self.script(expression):
            assert time.monotonic() < end, f"never: {expression}; {self.errors}"
            time.sleep(0.05)

    def size(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def picture(self, element: str) -> np.ndarray:
        """An element as it is seen, (H, W, 3) BGR; two frames later, so that all is drawn."""
        self.script("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
        place = self.script(
            f"(r => ({{x: r.x, y: r.y, width: r.width, height: r.height, scale: 1}}))"
            f"(document.querySelector('{element}').getBoundingClientRect())"
        )
        shot = self.call("Page.captureScreenshot", format="png", clip=place)["data"]
        image = cv2.imdecode(np.frombuffer(base64.b64decode(shot), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        return image.astype(np.int32)

    def close(self) -> None:
        self._stack.close()
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def page() -> Iterator[Page]:
    programs = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, programs)), None)
    if program is None:
        pytest.skip("no Chromium here to open the page in (Debian: apt-get install chromium)")
    # Chromium may still write while it ends.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Page(program, Path(folder))
        try:
            yield page
        finally:
            page.close()


class Feeder:
    """Writes the present rows thirty times a second, as a tracker would."""

    def __init__(self, stream: WebStream, rows: list[FaceObservation]) -> None:
        self.rows = rows
        self._stream = stream
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        index = 0
        while not self._stop.wait(1 / 30):
            frame = Frame(BLANK, index, t_capture_ns=time.perf_counter_ns() - 7_000_000)
            self._stream.write(frame, self.rows)
            index += 1

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def turned(make: Maker, yaw_deg: float, *, blink: float = 0.0, **fields: Any) -> FaceObservation:
    """A face in the middle that looks aside; its right eye blinks."""
    blendshapes = np.zeros(52, np.float32)
    blendshapes[BLENDSHAPE_INDEX["eyeBlinkRight"]] = blink
    half = np.radians(yaw_deg) / 2
    turn = {"qw": float(np.cos(half)), "qx": 0.0, "qy": float(np.sin(half)), "qz": 0.0}
    return make(**{"yaw": yaw_deg, **turn, "tz": 500.0, "blendshapes": blendshapes, **fields})


def near(image: np.ndarray, bgr: tuple[int, int, int], within: int = 60) -> np.ndarray:
    """Where a picture has about this colour, (H, W) bool."""
    return np.abs(image - np.array(bgr)).sum(axis=2) < within


GREEN, YAW, RIGHT = (190, 235, 90), (143, 207, 111), (248, 155, 185)
"""Colours of track 0's points, of the plot of yaw and of right blinks, BGR."""


def look_at_turn_and_plots(page: Page, feeder: Feeder, make: Maker) -> None:
    frontal, plot = page.picture("#mesh"), page.picture("#pose")
    bright = frontal.sum(axis=2) > 300
    assert 0.1 < bright.mean() < 0.6
    # Frontal: as much on either side.
    columns = np.nonzero(bright)[1]
    assert abs(columns.mean() - frontal.shape[1] / 2) < 0.03 * frontal.shape[1]

    feeder.rows = [turned(make, 35.0, blink=0.9)]
    page.until("document.getElementById('yaw').textContent === '+35.0°'")
    page.until("+document.querySelector('#bars .bar span:last-child').textContent === 0.9")
    aside, moved = page.picture("#mesh"), page.picture("#pose")
    assert (np.abs(aside - frontal).sum(axis=2) > 60).mean() > 0.02
    # yaw > 0: the nose points to the left edge, so more of the left cheek is behind it.
    tip = near(aside, GREEN)[:, : aside.shape[1] // 2].sum()
    assert tip > 1.5 * near(aside, GREEN)[:, aside.shape[1] // 2 :].sum()
    # 0 lies in the middle of the plot, where the other lines cover that of yaw.
    above = slice(0, moved.shape[0] // 2 - 16)
    assert not near(plot, YAW)[above].any()
    turn_at = near(moved, YAW)[above].nonzero()[1].min()
    page.until(f"performance.now() > {page.script('performance.now()') + 700}")
    assert near(page.picture("#pose"), YAW)[above].nonzero()[1].min() < turn_at - 10
    assert near(page.picture("#blinks"), RIGHT)[:30].any()
    assert near(page.picture("#latencies"), (180, 209, 90)).any()


def look_through_the_camera(
    page: Page, feeder: Feeder, recording: Recording, face_model: FaceModel, make: Maker
) -> None:
    """Every point lies where the projection by the camera's matrix puts it."""
    rng = np.random.default_rng(4)
    blendshapes = np.zeros(52, np.float32)
    blendshapes[[BLENDSHAPE_INDEX[name] for name in ("jawOpen", "mouthSmileLeft")]] = 0.7
    turn = quaternion_from_rotation_vector(np.radians([16.0, 22.0, -14.0])).tolist()
    row = make(
        **dict(zip(("qw", "qx", "qy", "qz"), turn, strict=True)),
        yaw=12.3,
        tx=-60.0,
        ty=25.0,
        tz=450.0,
        shape=rng.normal(0.0, 1.5, 40).astype(np.float32),
        blendshapes=blendshapes,
    )
    feeder.rows = [row]
    page.script("document.getElementById('camera').click()")
    page.until("document.getElementById('yaw').textContent === '+12.3°'")
    seen = page.picture("#mesh")
    vertices = face_model.decode_seen(row.shape, row.expression, blendshapes)
    matrix = np.array(recording.camera_matrix)
    marks = project(vertices[face_model.landmark_vertices], row, matrix)
    high, wide = seen.shape[:2]
    scale = 0.94 * min(wide / recording.width, high / recording.height)
    corner = np.array([wide - scale * recording.width, high - scale * recording.height]) / 2
    places = np.rint(corner + (marks + 0.5) * scale).astype(int)
    green = near(seen, GREEN)
    # The jaw's far side and some of the nose are behind the face.
    shown = [*range(17, 27), *range(27, 36), *range(36, 60)]
    hit = [green[y - 1 : y + 2, x - 1 : x + 2].any() for x, y in places[shown]]
    assert np.mean(hit) > 0.9
    assert green.sum() < 4000  # and not everywhere


def choose_a_face(page: Page, feeder: Feeder, make: Maker) -> None:
    """The larger is chosen; then a click on the other."""
    small = turned(make, -20.0, track=1, tx=120.0, box_w=40.0)
    feeder.rows = [turned(make, 35.0), small]
    page.until("document.querySelectorAll('#faces button').length === 2")
    page.until("document.getElementById('yaw').textContent === '+35.0°'")
    page.script("document.querySelectorAll('#faces button')[1].click()")
    page.until("document.getElementById('yaw').textContent === '−20.0°'")
    assert page.script("document.getElementById('distance').textContent") == "50 cm"


def look_on_a_phone(page: Page) -> None:
    """All of it, below each other, and nothing beside the screen."""
    page.size(390, 844)
    page.until("document.documentElement.scrollWidth <= 390")
    assert page.script("document.getElementById('pose').getBoundingClientRect().top") > 400
    assert (page.picture("#mesh").sum(axis=2) > 300).mean() > 0.02


def test_the_page_draws_the_face_as_it_turns_and_plots_it(
    page: Page, recording: Recording, make_face_row: Maker
) -> None:
    folder = Path(str(resources.files("mien.models.weights.default")))
    face_model = FaceModel.load(folder / "face_model.npz")
    page.size(1280, 800)
    with WebView(":0") as view:
        stream = view.add("main", recording, face_model)
        with Feeder(stream, [turned(make_face_row, 0.0)]) as feeder:
            page.call("Page.navigate", url=view.url)
            page.until("document.getElementById('yaw')?.textContent === '0.0°'")
            page.until("document.getElementById('notice').textContent === ''")
            page.until("document.getElementById('state').textContent === 'running'")
            look_at_turn_and_plots(page, feeder, make_face_row)
            look_through_the_camera(page, feeder, recording, face_model, make_face_row)
            choose_a_face(page, feeder, make_face_row)
            look_on_a_phone(page)
            feeder.rows = []
            page.until("document.getElementById('notice').textContent === 'No face in the picture'")
        stream.close()
        page.until("document.getElementById('notice').textContent === 'The source has ended'")
        page.until("document.getElementById('state').textContent === 'ended'")
        assert page.errors == []
    page.until("document.getElementById('state').textContent === 'disconnected'")
    # The page comes back by itself, to what is then served there.
    with WebView(view.url.removeprefix("http://127.0.0.1").rstrip("/")) as again:
        stream = again.add("other", recording, face_model)
        with Feeder(stream, [turned(make_face_row, -10.0)]):
            page.until("document.querySelector('#streams button').textContent === 'other'")
            page.until("document.getElementById('yaw').textContent === '−10.0°'")
            page.until("document.getElementById('notice').textContent === ''")
            assert (page.picture("#mesh").sum(axis=2) > 300).mean() > 0.02
        page.until("document.getElementById('notice').textContent === 'Waiting for frames'")
