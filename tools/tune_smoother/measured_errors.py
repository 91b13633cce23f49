"""How a network errs on short videos of stills: the measurements that a smoother is tuned with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from ...models.errors import InputError
from ...models.face.bundle import Bundle
from ...models.face.camera import Camera
from ...models.face.crop import Crop, crop_from_box, crop_from_landmarks
from ...models.face.perspective import orthography_to_image, split_orthography
from ...models.face.rotation import matrix_from_yaw_pitch_roll, rotation_vector_from_matrix
from ...models.noise.kinds import NOISE_KINDS
from ...models.noise.placed_face import LabelledFaces, PlacedFace
from ...models.noise.video import compose, degraded, moved_picture, similarity
from ...models.picture_file import read_bgr
from ...models.synthetic.shards import ShardFolder
from ...stream.smoother.channels import DEPTH, DIRECTION, GROUPS, ROTATION
from ...stream.smoother.error_fit import MeasuredErrors
from ...stream.smoother.smoother import stated_channels
from ...stream.smoother.tuning import channels_of
from ...stream.smoother.unrest import Unrest

if TYPE_CHECKING:
    from ...stream.candidate import Candidate
    from ...stream.fit import FaceFitter

FRAMES: Final = 26
_SETTLED: Final = 6
FRAME_S: Final = 1.0 / 30.0
_SIZES: Final = (1.0, 0.75, 0.5, 0.35)
"""Of the face in the video, over that in the still."""
_GRADES: Final = (0.25, 0.6, 1.0, 1.4)
_FOV_DEG: Final = 30.0
_STILL_PX: Final = 144
_STILL_CROP_PX: Final = 120
_LOOKS: Final = 6
"""After which the landmarks move by less than 0.2 % of the crop from one look to the next."""


@dataclass(frozen=True)
class Still:
    """A picture with the mesh that it shows, and what else is known of the face.

    Attributes:
        image_bgr: (H, W, 3) uint8.
        face: in it.
        shape: (40,) standard deviations.
        expression: (10,) standard deviations.
        blendshapes: (52,).
        exact: whether that is the truth; otherwise it is the network's own fit of the clean
            picture, and only what changes between frames tells anything.
    """

    image_bgr: UInt8[np.ndarray, "H W 3"]
    face: PlacedFace
    shape: np.ndarray
    expression: np.ndarray
    blendshapes: np.ndarray
    exact: bool


def rendered_stills(folder: Path, fitter: FaceFitter, rng: np.random.Generator) -> Iterator[Still]:
    """Faces of shards in random order, with their true meshes.

    Raises:
        InputError: the folder holds no shards, or those of another face model.
    """
    shards = ShardFolder(folder, validation=0)
    vertices = shards.meta.point_vertices
    if max(vertices) >= len(fitter.model.mean):
        raise InputError(f"{folder}: made with another face model than the bundle's")
    placed = LabelledFaces(fitter.model, vertices)
    counts = [len(shard) for shard in shards.training]
    for pick in rng.permutation(sum(counts)):
        number = int(np.searchsorted(np.cumsum(counts), pick, side="right"))
        at = int(pick) - sum(counts[:number])
        shard = shards.training[number]
        labels = shard.labels
        if labels.presence[at] < 0.5:
            continue
        shape, blendshapes = labels.shape[at], labels.blendshapes[at]
        face = placed.place(shape, blendshapes, labels.pose[at], labels.points[at])
        yield Still(
            np.asarray(shard.images[at]), face, shape, labels.expression[at], blendshapes, True
        )


def photographs(files: Sequence[Path], fitter: FaceFitter) -> Iterator[Still]:
    """The largest face of each photograph, with the network's own fit for its mesh.

    Raises:
        InputError: a file is no picture, or shows no face.
    """
    from ...stream.detector.choice import open_detector
    from ...stream.detector_names import DEFAULT_DETECTOR

    detector = None
    for path in files:
        image = read_bgr(path)
        detector = detector or open_detector(DEFAULT_DETECTOR, Bundle.default())
        boxes = detector.detect(image, True)
        if not len(boxes):
            raise InputError(f"{path}: no face found in it")
        box = boxes[np.argmax(boxes[:, 2] * boxes[:, 3])]
        seen = _converged(fitter, image, crop_from_box(box, detector.box_style))
        if seen is None or seen.blendshapes is None:
            raise InputError(f"{path}: no face that the network can read in it")
        crop = seen.next_crop
        # As large as a rendered still, so that sizes and strengths of noise mean the same.
        scale = _STILL_CROP_PX / crop.side
        middle = (_STILL_PX - 1) / 2
        to_still = np.array(
            [[scale, 0.0, middle - scale * crop.cx], [0.0, scale, middle - scale * crop.cy]]
        )
        picture = cv2.warpAffine(
            image, to_still, (_STILL_PX, _STILL_PX), flags=cv2.INTER_AREA,
            borderMode=cv2.BORDER_REFLECT_101,
        )  # fmt: skip
        mesh = fitter.model.decode_seen(
            seen.shape.astype(np.float32), seen.expression.astype(np.float32),
            seen.blendshapes.astype(np.float32),
        )  # fmt: skip
        pose = orthography_to_image(seen.orthography, seen.crop)
        face = PlacedFace.orthographic(mesh, fitter.model.triangles, pose).moved(to_still)
        yield Still(
            np.asarray(picture, np.uint8), face, seen.shape, seen.expression, seen.blendshapes,
            False,
        )  # fmt: skip


def _converged(
    fitter: FaceFitter, image: UInt8[np.ndarray, "H W 3"], crop: Crop
) -> Candidate | None:
    """What the network sees once its crop follows from its own landmarks, wherever it began."""
    seen = None
    for _ in range(_LOOKS):
        seen = fitter.look(image, [crop])[0]
        if seen is None:
            return None
        crop = seen.next_crop
    return seen


def measure_errors(
    stills: Iterator[Still], count: int, fitter: FaceFitter, rng: np.random.Generator,
    step: Callable[[], object],
) -> tuple[dict[str, MeasuredErrors], list[str]]:  # fmt: skip
    """Make a short video of each of ``count`` stills, and see how the network errs on it.

    Every video has a kind and a grade of noise (:data:`NOISE_KINDS`), a size of face, and a motion:
    half of them are at rest. Crops follow the landmarks found, as a tracker's do.

    Args:
        stills: an endless or long enough supply.
        count: videos.
        fitter: reads crops.
        rng: source of chance.
        step: called after each video.

    Returns:
        The errors by group of channels (and ``shape``), and the kind of noise of each video.

    Raises:
        InputError: too few of the stills can be read.
    """
    rows: list[_Video] = []
    kinds: list[str] = []
    names = list(NOISE_KINDS)
    for still in stills:
        kind = names[len(rows) % len(names)]
        video = _video(still, kind, fitter, rng)
        if video is not None:
            rows.append(video)
            kinds.append(kind)
            step()
        if len(rows) == count:
            break
    if len(rows) < min(count, 16):
        raise InputError(f"{len(rows)} stills could be read, expected {count}")
    return _by_group(rows), kinds


@dataclass(frozen=True)
class _Video:
    error: Float64[np.ndarray, "T 68"]
    stated: Float64[np.ndarray, "T 68"]
    shape_error: Float64[np.ndarray, "T 40"]
    shape_stated: Float64[np.ndarray, "T 40"]
    conditions: Float64[np.ndarray, "T 5"]
    exact: bool


def _by_group(rows: Sequence[_Video]) -> dict[str, MeasuredErrors]:
    absolute = np.array([row.exact for row in rows])
    conditions = np.stack([row.conditions for row in rows])
    error, stated = np.stack([r.error for r in rows]), np.stack([r.stated for r in rows])
    found = {
        name: MeasuredErrors(
            error[..., channels_of(name)], stated[..., channels_of(name)], conditions, absolute
        )
        for name in GROUPS
    }
    found["shape"] = MeasuredErrors(
        np.stack([row.shape_error for row in rows]),
        np.stack([row.shape_stated for row in rows]),
        conditions,
        absolute,
    )
    return found


def _video(still: Still, kind: str, fitter: FaceFitter, rng: np.random.Generator) -> _Video | None:
    """The errors on one short video; None where the network loses the face."""
    scale = float(rng.choice(_SIZES))
    grade = float(rng.choice(_GRADES))
    height, width = still.image_bgr.shape[:2]
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    camera = Camera.from_fov(size[0], size[1], _FOV_DEG)
    centre = np.array([width - 1, height - 1]) / 2
    shrink = similarity(scale, 0.0, (np.array(size) - 1) / 2 - centre, centre)
    noise = NOISE_KINDS[kind].scaled(degradation=grade)
    marks = fitter.model.landmark_vertices
    unrest = Unrest()
    crop = None
    rows = []
    for turn, motion in _movement(np.array(size), rng):
        affine = compose(motion, shrink)
        moved, face = moved_picture(still.image_bgr, still.face, turn, affine, size=size)
        if face is None:
            return None
        image = degraded(moved, noise, rng)
        crop = crop or crop_from_landmarks(face.pixels[marks])
        seen = fitter.look(image, [crop])[0]
        if seen is None or not seen.shows_face(0.3):
            return None
        row = _errors(seen, face, still, fitter, camera, unrest)
        if row is None:
            return None
        rows.append(row)
        crop = seen.next_crop
    # The first frames of a video know nothing of its unrest.
    columns = [np.array(part)[_SETTLED:] for part in zip(*rows, strict=True)]
    error, stated, shape_error, shape_stated, conditions = columns
    return _Video(error, stated, shape_error, shape_stated, conditions, still.exact)


def _movement(
    size: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "2 3"]]]:
    """Turns of the head and similarities of the picture, frame by frame."""
    moving = rng.random() < 0.5
    reach = np.array([12.0, 8.0, 5.0, 0.05, 0.05, 0.05]) * rng.uniform(-1.0, 1.0, 6) * moving
    rate, phase = rng.uniform(0.3, 2.0, 6), rng.uniform(0.0, 2.0 * np.pi, 6)
    for frame in range(FRAMES):
        angle = 2.0 * np.pi * rate * frame * FRAME_S + phase
        yaw, pitch, roll, grow, right, down = reach * (np.sin(angle) - np.sin(phase))
        turn = matrix_from_yaw_pitch_roll(np.array([yaw, pitch, 0.0]))
        shift = np.array([right, down]) * size
        yield turn, similarity(1.0 + grow, roll, shift, (size - 1) / 2)


def _errors(
    seen: Candidate,
    face: PlacedFace,
    still: Still,
    fitter: FaceFitter,
    camera: Camera,
    unrest: Unrest,
) -> tuple[np.ndarray, ...] | None:
    """Of one frame: errors and stated log-variances of channels and shape, conditions."""
    measured = fitter.measure(seen, seen.shape, camera)
    if measured is None:
        return None
    true_R, true_scale, _ = split_orthography(face.pose)
    own = orthography_to_image(seen.orthography, seen.crop)
    own_R, own_scale, _ = split_orthography(own)
    values, stated = stated_channels(measured)
    error = values.copy()
    error[ROTATION] = rotation_vector_from_matrix(own_R @ true_R.T)
    error[DIRECTION] = (own - face.pose)[:2, 3] / np.array([camera.fx, camera.fy])
    error[DEPTH] = -np.log(own_scale / true_scale)
    error[6:16] -= still.expression
    error[16:] -= still.blendshapes
    shape_stated = np.log(np.maximum(seen.shape_variance, 1e-12))
    conditions = np.append(seen.conditions, unrest.update(measured.pose, FRAME_S))
    return error, stated, seen.shape - still.shape, shape_stated, conditions
