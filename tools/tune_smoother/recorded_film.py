"""What the network says of each frame of a film, recorded once, so that smoothing can be compared.

The network is by far the slowest part of following a face; smoothers that are measured or tuned
read one recording again and again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8

from ...models.face.camera import DEFAULT_FOV_DEG, Camera
from ...models.face.crop import Crop, crop_from_box, crop_from_landmarks, tight_box
from ...models.face.names import N_SHAPE
from ...models.noise.video import VideoNoise, degraded
from ...models.synthetic.evaluation import Clip
from ...stream.candidate import Candidate
from ...stream.detector.protocol import Detector
from ...stream.fit import FaceFitter
from ...stream.smoother import FaceMeasurement, FaceSmoother, SmoothingConfig
from ...stream.sources import open_source
from ...stream.tracker_config import TrackerConfig

_MOST_STRAYED: Final = 0.5
"""Of the true box's longer side, between the middles of both boxes."""
_CONFIG: Final = TrackerConfig()


@dataclass(frozen=True)
class RecordedVideo:
    """The main face of a video as the network sees it, unsmoothed.

    Attributes:
        t_ns: (T,) times.
        candidates: T of them; None where the frame shows no face, or none that can be read.
        camera: of the pictures.
    """

    t_ns: Int64[np.ndarray, " T"]
    candidates: tuple[Candidate | None, ...]
    camera: Camera

    @property
    def steps_s(self) -> list[float]:
        """T times since the frame before; 0 for the first."""
        return (np.diff(self.t_ns, prepend=self.t_ns[:1]) * 1e-9).tolist()


@dataclass(frozen=True)
class RecordedFilm(RecordedVideo):
    """The same of a rendered film, with its truth.

    Attributes:
        rotation: (T, 3, 3) ``camera_from_head``.
        translation_mm: (T, 3) as in the clip: for a head of the face model's size, unless the clip
            was resized.
        landmarks: (T, 68, 2) true projections, px.
        blendshapes: (T, 52).
        still: (T,) where the head rests and only sways; nowhere where the clip does not say.
        head_size: true size of this head over the model's.
    """

    rotation: Float64[np.ndarray, "T 3 3"]
    translation_mm: Float64[np.ndarray, "T 3"]
    landmarks: Float32[np.ndarray, "T 68 2"]
    blendshapes: Float32[np.ndarray, "T 52"]
    still: Bool[np.ndarray, " T"]
    head_size: float


def record_film(
    clip: Clip, fitter: FaceFitter, noise: VideoNoise | None, rng: np.random.Generator
) -> RecordedFilm:
    """Follow a film as an unsmoothed tracker does, each frame degraded anew.

    The first crop is the true one and each next one lies about the landmarks just found, or about
    the true ones where nothing was found or it strayed from the face.

    Args:
        clip: the film.
        fitter: reads its crops.
        noise: of every frame; its movements are not applied. None leaves the pictures as they are.
        rng: source of the noise; the same state gives the same recording.
    """
    candidates: list[Candidate | None] = []
    crop: Crop | None = None
    for image, landmarks in zip(clip.images, clip.landmarks, strict=True):
        seen = image if noise is None else degraded(image, noise, rng)
        candidate = _followed(fitter, seen, crop or crop_from_landmarks(landmarks))
        if candidate is not None and _strayed(candidate, landmarks):
            candidate = None
        crop = None if candidate is None else candidate.next_crop
        candidates.append(candidate)
    return RecordedFilm(
        t_ns=clip.t_ns,
        candidates=tuple(candidates),
        camera=clip.pinhole,
        rotation=clip.rotation,
        translation_mm=clip.translation_mm,
        landmarks=clip.landmarks,
        blendshapes=clip.blendshapes,
        still=np.zeros(len(clip.t_ns), bool) if clip.still is None else clip.still,
        head_size=clip.head_size,
    )


def record_video(
    path: Path,
    fitter: FaceFitter,
    detector: Detector,
    fov_deg: float = DEFAULT_FOV_DEG,
    most_frames: int | None = None,
) -> RecordedVideo:
    """Follow the most prominent face of a video without smoothing; detect it where it is missing.

    Args:
        path: the video.
        fitter: reads its crops.
        detector: finds the face.
        fov_deg: assumed of the camera, across the longer side.
        most_frames: to read; None reads all.

    Raises:
        SourceError: the video cannot be read.
    """
    times: list[int] = []
    candidates: list[Candidate | None] = []
    crop: Crop | None = None
    with open_source(path) as source:
        camera = Camera.from_fov(source.info.width, source.info.height, fov_deg)
        for frame in source:
            image = frame.image_bgr
            if crop is None:
                candidate = _detected(fitter, image, detector)
            else:
                candidate = _followed(fitter, image, crop)
            crop = None if candidate is None else candidate.next_crop
            times.append(frame.t_ns)
            candidates.append(candidate)
            if len(times) == most_frames:
                break
    return RecordedVideo(np.array(times, np.int64), tuple(candidates), camera)


def follow(
    video: RecordedVideo, fitter: FaceFitter, config: SmoothingConfig
) -> tuple[list[FaceMeasurement | None], Float64[np.ndarray, "T 40"]]:
    """What is measured in each frame, as a track with these settings measures it.

    Args:
        video: as the network saw it.
        fitter: that read it.
        config: of the filter, whose shape and poses the measurements go on from.

    Returns:
        A measurement a frame, None where there is no face, and the filtered shapes.
    """
    smoother, meter = FaceSmoother(config), fitter.displacement_meter()
    measured: list[FaceMeasurement | None] = []
    shapes, shape = [], np.zeros(N_SHAPE)
    for candidate, dt_s in zip(video.candidates, video.steps_s, strict=True):
        smoother.predict(dt_s)
        taken = None
        if candidate is not None:
            shape = smoother.update_shape(
                candidate.shape, candidate.shape_variance, candidate.conditions
            )
            taken = fitter.measure(candidate, shape, video.camera)
        if candidate is None or taken is None:
            smoother.miss()
            meter.forget()
        else:
            scale = fitter.head_scale(shape)
            taken = meter.compare(candidate, taken, shape, scale, video.camera)
            smoother.update(taken)
            state = smoother.state(config.head_scale_sd)
            if state is not None:
                meter.believe(state.pose)
        measured.append(taken)
        shapes.append(shape)
    return measured, np.array(shapes).reshape(-1, N_SHAPE)


def _followed(
    fitter: FaceFitter, image_bgr: UInt8[np.ndarray, "H W 3"], crop: Crop
) -> Candidate | None:
    """What is seen in a crop, where that is a face that would go on being followed."""
    height, width = image_bgr.shape[:2]
    candidate = fitter.look(image_bgr, [crop])[0]
    followed = (
        candidate is not None
        and candidate.shows_face(_CONFIG.lose_presence)
        and candidate.plausible(width, height)
    )
    return candidate if followed else None


def _detected(
    fitter: FaceFitter, image_bgr: UInt8[np.ndarray, "H W 3"], detector: Detector
) -> Candidate | None:
    """The most prominent face that the network confirms, seen in its nominal crop."""
    boxes = detector.detect(image_bgr)
    prominence = boxes[:, 4] * np.sqrt(boxes[:, 2] * boxes[:, 3])
    for box in boxes[np.argsort(-prominence, kind="stable")]:
        first = fitter.look(image_bgr, [crop_from_box(box, detector.box_style)])[0]
        if first is None or not first.shows_face(_CONFIG.lose_presence):
            continue
        found = _followed(fitter, image_bgr, first.next_crop)
        if found is not None and found.shows_face(_CONFIG.find_presence):
            return found
    return None


def _strayed(candidate: Candidate, landmarks_px: Float[np.ndarray, "68 2"]) -> bool:
    """Whether the candidate lies beside the true face."""
    x, y, w, h = candidate.box_xywh_px
    true_x, true_y, true_w, true_h = tight_box(landmarks_px)
    dx, dy = x + w / 2 - true_x - true_w / 2, y + h / 2 - true_y - true_h / 2
    return float(np.hypot(dx, dy)) > _MOST_STRAYED * max(true_w, true_h)
