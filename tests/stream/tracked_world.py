"""What a tracker's tests put before the camera, with exact labels in place of the networks.

The pictures are ramps: blue says x, green y, red that the pixel lies in the frame. So the fake
regressor can read from a crop's colours where it was cut, and answer as a perfect network would.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mien.models.face.bundle import Bundle
from mien.models.face.camera import Camera
from mien.models.face.crop import FACE_BOX, BoxStyle, Crop, crop_from_landmarks
from mien.models.face.perspective import nearest_scaled_orthography
from mien.models.face.rotation import matrix_from_yaw_pitch_roll
from mien.stream.regression import Regression

WIDTH, HEIGHT = 640, 480
CAMERA = Camera.from_fov(WIDTH, HEIGHT)


@dataclass
class Person:
    """A face before the camera; mm and degrees."""

    t: tuple[float, float, float] = (0.0, -30.0, 600.0)
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shape: np.ndarray = field(default_factory=lambda: np.zeros(40, np.float32))
    blendshapes: np.ndarray = field(default_factory=lambda: np.zeros(52, np.float32))

    @property
    def rotation(self) -> np.ndarray:
        return matrix_from_yaw_pitch_roll(np.array(self.angles))


class World:
    """What is in front of the camera at present, and networks that see it perfectly."""

    def __init__(self, bundle: Bundle) -> None:
        self.model = bundle.face_model
        self.people: list[Person] = []
        self.detectable: list[Person] | None = None  # None: all who are visible
        self.fakes: list[np.ndarray] = []  # boxes that the detector takes for faces, wrongly
        self.presence = 0.98
        self.detections = 0
        self.looks = 0
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        self.image = np.stack(
            [x * (255 / WIDTH), y * (255 / HEIGHT), np.full_like(x, 255)], axis=2
        ).astype(np.uint8)

    def pixels(self, person: Person) -> np.ndarray:
        vertices = self.model.decode(person.shape, None, person.blendshapes)
        return CAMERA.project(vertices @ person.rotation.T + np.array(person.t))

    def marks(self, person: Person) -> np.ndarray:
        return self.pixels(person)[self.model.landmark_vertices]

    def visible(self) -> list[Person]:
        """People whom nobody nearer covers."""
        result = []
        for person in self.people:
            crop = crop_from_landmarks(self.marks(person))
            hidden = any(
                other.t[2] < person.t[2]
                and abs(crop_from_landmarks(self.marks(other)).cx - crop.cx) < 0.35 * crop.side
                and abs(crop_from_landmarks(self.marks(other)).cy - crop.cy) < 0.35 * crop.side
                for other in self.people
                if other is not person
            )
            if not hidden:
                result.append(person)
        return result

    @property
    def box_style(self) -> BoxStyle:
        return FACE_BOX

    def detect(self, image_bgr: np.ndarray, thorough: bool = False) -> np.ndarray:
        self.detections += 1
        boxes = []
        for person in self.visible() if self.detectable is None else self.detectable:
            crop = crop_from_landmarks(self.marks(person))
            size = crop.side / FACE_BOX.crop_scale
            x, y = crop.cx - size / 2, crop.cy - (0.5 + FACE_BOX.centre_down) * size
            boxes.append(np.array([x, y, size, size, 0.9]))
        found = np.array([*boxes, *self.fakes], np.float32).reshape(-1, 5)
        found[:, :4] *= image_bgr.shape[1] / WIDTH  # a small copy may be searched
        return found

    def run(self, crops: np.ndarray) -> Regression:
        self.looks += len(crops)
        params = np.zeros((len(crops), 62), np.float32)
        params[:, [0, 5, 10]] = 0.6
        params[:, [3, 7]] = 59.5
        blendshapes = np.zeros((len(crops), 52), np.float32)
        presence = np.full(len(crops), 0.02, np.float32)
        for i, pixels in enumerate(crops):
            crop = place_of(pixels)
            person = self._person_in(crop)
            if person is None or crop is None:
                continue
            vertices = self.model.decode(person.shape, None, person.blendshapes)
            seen = crop.from_image(self.pixels(person))
            params[i, :12] = nearest_scaled_orthography(vertices, seen).reshape(-1)
            params[i, 12:52] = person.shape
            blendshapes[i] = person.blendshapes
            presence[i] = self.presence
        variance = np.full((len(crops), 62), np.log(0.01), np.float32)
        variance[:, :12] = np.log(1e-6)
        variance[:, [3, 7]] = np.log(0.05)
        return Regression(params, variance, blendshapes, presence)

    def _person_in(self, crop: Crop | None) -> Person | None:
        """The visible face nearest to the crop's middle, of about the right size."""
        best: tuple[float, Person] | None = None
        for person in self.visible():
            face = crop_from_landmarks(self.marks(person))
            if crop is None or not 0.5 < face.side / crop.side < 2.0:
                continue
            distance = np.hypot(face.cx - crop.cx, face.cy - crop.cy) / face.side
            if distance < 0.45 and (best is None or distance < best[0]):
                best = (float(distance), person)
        return None if best is None else best[1]


def place_of(pixels: np.ndarray) -> Crop | None:
    """Where a crop was cut, from its colours; None where too little of the picture is in it."""
    v, u = np.nonzero(pixels[..., 2] > 250)
    if len(u) < 200 or np.ptp(pixels[v, u, :2], axis=0).min() == 0:
        return None
    design = np.stack([u - 59.5, np.ones(len(u))], axis=1)
    (slope, x), *_ = np.linalg.lstsq(design, pixels[v, u, 0] * (WIDTH / 255.0))
    design[:, 0] = v - 59.5
    (_, y), *_ = np.linalg.lstsq(design, pixels[v, u, 1] * (HEIGHT / 255.0))
    half = 0.5 * WIDTH / 255.0  # colours were rounded down
    return Crop(float(x) + half, float(y) + half * HEIGHT / WIDTH, float(slope) * 120.0)
