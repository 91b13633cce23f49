"""How accurate and how steady is a regressor, by its 62 parameters alone? For ``ablation.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8

from mien.models.errors import InputError
from mien.models.face.crop import Crop, crop_from_landmarks, extract
from mien.models.face.metrics import (
    mean_by_yaw,
    nme_percent,
    stability_percent,
    still_jitter_percent,
)
from mien.models.face.morphable import FaceModel
from mien.models.face.names import N_LANDMARKS
from mien.models.face.perspective import split_orthography
from mien.models.face.rotation import angle_between_deg
from mien.models.noise.degradation import gaussian_noise
from mien.models.regressor.dataset import validation_batches
from mien.models.regressor.losses import PointDecoder, split_params
from mien.models.regressor.network import FaceNetwork
from mien.models.synthetic.evaluation import Clip, clip_paths, load_clip
from mien.models.synthetic.shards import ShardFolder
from mien.tools.evaluate.command import read_image
from mien.tools.evaluate.estimator import crop_at
from mien.tools.evaluate.labels import read_labels

BATCH: Final = 128
JITTER_SIGMA: Final = 5.0
"""Of the noise whose effect is the jitter, 0 to 255 scale."""
_JITTER_FACES: Final = 64
_JITTER_COPIES: Final = 8

Figures = dict[str, float]
Crops = UInt8[np.ndarray, "B 120 120 3"]
Landmarks = Float64[np.ndarray, "B 68 2"]


@dataclass(frozen=True)
class Predicted:
    """What a network says of B crops.

    Attributes:
        landmarks: (B, 68, 2) crop px, from pose, shape and the ten expression components.
        rotation: (B, 3, 3) apparent.
    """

    landmarks: Landmarks
    rotation: Float64[np.ndarray, "B 3 3"]


def predict(network: FaceNetwork, decoder: PointDecoder, crops: Crops) -> Predicted:
    """Run a network in evaluation mode."""
    landmarks, poses = [], []
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(crops), BATCH):
            output = network(torch.from_numpy(crops[start : start + BATCH]))
            pose, shape, expression = split_params(network.denormalised(output.params))
            decoded = decoder(pose, shape, expression, output.blendshapes)
            landmarks.append(decoded.by_expression[:, :N_LANDMARKS, :2].numpy())
            poses.append(pose.numpy())
    return Predicted(np.concatenate(landmarks).astype(np.float64), rotations(np.concatenate(poses)))


def rotations(poses: Float32[np.ndarray, "B 3 4"]) -> Float64[np.ndarray, "B 3 3"]:
    """The rotation nearest to each matrix."""
    return np.stack([split_orthography(pose)[0] for pose in poses])


@dataclass(frozen=True)
class HeldOut:
    """Pictures of people who are in no training.

    Attributes:
        crops: of faces.
        landmarks: true, crop px.
        rotation: of the true orthography.
        yaw_deg: true, apparent.
    """

    crops: Crops
    landmarks: Landmarks
    rotation: Float64[np.ndarray, "B 3 3"]
    yaw_deg: Float64[np.ndarray, " B"]

    @classmethod
    def of(cls, folder: ShardFolder, most: int) -> HeldOut:
        """The validation pictures of a folder that show a face."""
        batches = list(validation_batches(folder, BATCH, most))
        faces = [batch.presence > 0 for batch in batches]

        def column(name: str) -> np.ndarray:
            parts = [getattr(b, name)[f] for b, f in zip(batches, faces, strict=True)]
            return np.concatenate(parts)

        return cls(
            column("crops"),
            column("points")[:, :N_LANDMARKS].astype(np.float64),
            rotations(column("pose")),
            column("yaw_deg").astype(np.float64),
        )

    def measure(self, network: FaceNetwork, decoder: PointDecoder) -> Figures:
        """NME and its mean over yaw bins (percent), rotation error (deg), jitter (percent)."""
        found = predict(network, decoder, self.crops)
        nme = nme_percent(found.landmarks, self.landmarks)
        figures = {
            "nme": float(nme.mean()),
            "rotation_deg": float(angle_between_deg(found.rotation, self.rotation).mean()),
            "jitter": self._jitter(network, decoder),
        }
        binned = mean_by_yaw(nme, self.yaw_deg).mean
        return figures if binned is None else figures | {"nme_bins": binned}

    def _jitter(self, network: FaceNetwork, decoder: PointDecoder) -> float:
        """Of the landmarks of a still crop under fresh noise in every frame, mean over faces."""
        rng = np.random.default_rng(0)
        values = []
        for crop in self.crops[:: max(1, len(self.crops) // _JITTER_FACES)][:_JITTER_FACES]:
            copies = [gaussian_noise(crop, JITTER_SIGMA, rng) for _ in range(_JITTER_COPIES)]
            found = predict(network, decoder, np.stack(copies))
            values.append(still_jitter_percent(found.landmarks))
        return float(np.mean(values))


class Films:
    """Films with their truth: each frame is cropped by the true landmarks of the one before.

    So all networks see the same crops, as a tracker that lost nothing would give them.

    Args:
        clips: the films.
    """

    def __init__(self, clips: list[Clip]) -> None:
        self._films = []
        for clip in clips:
            crops = [crop_from_landmarks(marks) for marks in clip.landmarks[:-1]]
            frames = [
                extract(image, crop) for image, crop in zip(clip.images[1:], crops, strict=True)
            ]
            truth = clip.landmarks[1:].astype(np.float64)
            self._films.append((np.stack(frames), crops, truth))

    @classmethod
    def of(cls, folder: Path) -> Films | None:
        """The films of an evaluation folder, None where there is none."""
        paths = clip_paths(folder)
        return cls([load_clip(path) for path in paths]) if paths else None

    def measure(self, network: FaceNetwork, decoder: PointDecoder) -> Figures:
        """Video stability (BRIEF's definition: offsets between frames) and NME, percent."""
        stability, nme = [], []
        for frames, crops, truth in self._films:
            found = in_image(predict(network, decoder, frames).landmarks, crops)
            stability.append(stability_percent(found, truth))
            nme.append(float(nme_percent(found, truth).mean()))
        return {"film_stability": float(np.mean(stability)), "film_nme": float(np.mean(nme))}


class RealFaces:
    """A set of real faces with landmarks, one crop each by the truth; even and odd lines apart.

    Args:
        folder: in the format of ``mien evaluate``.
    """

    def __init__(self, folder: Path) -> None:
        self._parts = {}
        for lines in ("even", "odd"):
            frames, crops, truth = [], [], []
            for image in read_labels(folder, lines):
                pixels = read_image(image.path)
                for face in image.faces:
                    crop = crop_at(face)
                    if pixels is None or crop is None or face.landmarks_px is None:
                        continue
                    frames.append(extract(pixels, crop))
                    crops.append(crop)
                    truth.append(face.landmarks_px)
            if frames:
                self._parts[lines] = (np.stack(frames), crops, np.stack(truth))

    def measure(self, network: FaceNetwork, decoder: PointDecoder) -> Figures:
        """NME, percent, of each half; with all points and without the jaw."""
        figures = {}
        for lines, (frames, crops, truth) in self._parts.items():
            found = in_image(predict(network, decoder, frames).landmarks, crops)
            figures[f"real_{lines}"] = float(nme_percent(found, truth).mean())
            without = nme_percent(found, truth, jaw=False)
            figures[f"real_{lines}_without_jaw"] = float(without.mean())
        return figures


def in_image(landmarks: Landmarks, crops: list[Crop]) -> Landmarks:
    """Landmarks in image pixels instead of crop pixels."""
    return np.stack([c.to_image(m) for m, c in zip(landmarks, crops, strict=True)])


class Measures:
    """All that a run is measured by; pictures are read once.

    Args:
        shards: whose held-out shards are measured where there is no evaluation folder.
        evaluation: folder of ``mien synthesize evaluation-set``, or None.
        real: set of real faces, or None.
        model: face model of the shards.
        most: held-out pictures at most.

    Raises:
        InputError: the evaluation folder was made with other landmarks than the face model's.
    """

    def __init__(
        self,
        shards: ShardFolder,
        evaluation: Path | None,
        real: Path | None,
        model: FaceModel,
        most: int,
    ) -> None:
        folder = shards if evaluation is None else ShardFolder(evaluation, validation=10**6)
        landmarks = folder.meta.point_vertices[:N_LANDMARKS]
        if list(landmarks) != model.landmark_vertices.tolist():
            raise InputError(f"{folder.folder}: rendered with another face model than the shards")
        held_out = HeldOut.of(folder if folder.validation else shards, most)
        films = Films.of(evaluation) if evaluation is not None else None
        self._decoder = PointDecoder(model.landmarks())
        self._parts: list[Callable[[FaceNetwork, PointDecoder], Figures]] = [held_out.measure]
        if films is not None:
            self._parts.append(films.measure)
        if real is not None:
            self._parts.append(RealFaces(real).measure)

    def of(self, network: FaceNetwork) -> Figures:
        """Every figure of a network."""
        return {
            name: value
            for part in self._parts
            for name, value in part(network, self._decoder).items()
        }
