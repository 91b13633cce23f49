"""What ``mien portrait`` works on: a key frame or a picture, aligned and cut out."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, UInt8

from ...models.errors import InputError
from ...stream.published_pose import camera_from_head_of
from ..still_faces import faces_of, read_picture

if TYPE_CHECKING:
    from ...models.face.bundle import Bundle
    from ...models.portrait.cutout import CutOut
    from ...stream.export.eg3d import AlignedFace
    from ...stream.observation import FaceObservation

MOST_YAW_DEG = 60.0
_LOW_QUALITY = 0.5


@dataclass(frozen=True)
class PortraitInput:
    """A face to be edited.

    Attributes:
        name: of the outputs.
        source: where it is from.
        aligned: crop and label.
        cut: the crop over black.
        landmarks: the 68 points in the crop, its side counting 1.
        remarks: what is to be said.
    """

    name: str
    source: str
    aligned: AlignedFace
    cut: CutOut
    landmarks: Float64[np.ndarray, "68 2"]
    remarks: tuple[str, ...]

    def digest(self) -> str:
        """SHA-256 of what is edited: the crop, its mask and its camera."""
        found = hashlib.sha256()
        for part in (self.cut.image, self.cut.mask, self.aligned.label):
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class _Found:
    name: str
    source: str
    image_bgr: UInt8[np.ndarray, "H W 3"]
    row: FaceObservation
    camera_matrix: Float64[np.ndarray, "3 3"]
    ipd_mm: float | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """Which face, and how it is seen.

    Attributes:
        frame: of a folder of key frames; None: its best.
        face: of a picture, 1 for the one of which most is seen.
        camera: of a picture, as ``--camera`` says it; None: assumed.
        bundle: folder of the bundle; None: the one that mien ships.
        mask: of the person, for the whole picture.
    """

    frame: int | None = None
    face: int | None = None
    camera: str | None = None
    bundle: Path | None = None
    mask: Path | None = None


def read_input(place: Path, choice: Choice, size: int) -> PortraitInput:
    """Read, fit, align and cut out.

    Args:
        place: a folder of key frames, or a picture.
        choice: which face.
        size: of the portrait, px.

    Raises:
        InputError: there is no face, it is turned beyond 60 degrees, or the input cannot be read.
        SourceError: the picture cannot be read.
    """
    from ...models.face.eg3d_camera import yaw_pitch_of
    from ...models.portrait.cutout import cut_out
    from ...stream.export.base import ExportContext
    from ...stream.export.eg3d import Aligner
    from ...stream.sinks.base import Recording
    from ..options import load_bundle

    bundle = load_bundle(choice.bundle)
    found = _found(place, choice, bundle)
    height, width = found.image_bgr.shape[:2]
    options = {} if found.ipd_mm is None else {"ipd_mm": found.ipd_mm}
    matrix: list[list[float]] = found.camera_matrix.tolist()
    rows = tuple((a, b, c) for a, b, c in matrix)
    recording = Recording(
        source=found.source,
        rate=None,
        width=width,
        height=height,
        camera_matrix=(rows[0], rows[1], rows[2]),
        options=options,
    )
    aligned = Aligner(ExportContext(recording, bundle.face_model)).align(found.row)
    yaw_deg = math.degrees(yaw_pitch_of(aligned.label)[0])
    if abs(yaw_deg) > MOST_YAW_DEG:
        raise InputError(
            f"{found.source}: the face is turned {abs(yaw_deg):.0f} degrees away; up to "
            f"{MOST_YAW_DEG:.0f} can be made a portrait of"
        )
    mask = None
    if choice.mask is not None:
        from ..reconstruct.inputs import read_mask

        mask = read_mask(choice.mask, (found.name,))
    cut = cut_out(
        found.image_bgr, found.camera_matrix, camera_from_head_of(found.row),
        found.row.landmarks_px, aligned.crop, size, mask,
    )  # fmt: skip
    remarks = list(found.remarks)
    if cut.quality < _LOW_QUALITY:
        why = f": {'; '.join(cut.doubts)}" if cut.doubts else ""
        remarks.append(
            f"the person was cut out with quality {cut.quality:.2f} of 1{why}; --mask gives one"
        )
    marks = aligned.crop.from_image(found.row.landmarks_px.astype(np.float64), size)
    return PortraitInput(
        found.name, found.source, aligned, cut, (marks + 0.5) / size, tuple(remarks)
    )


def _found(place: Path, choice: Choice, bundle: Bundle) -> _Found:
    if place.is_dir() or place.name == "keyframes.json":
        return _of_folder(place, choice, bundle)
    if not place.is_file():
        raise InputError(f"{place}: no such folder of key frames, and no such picture")
    return _of_picture(place, choice, bundle)


def _of_folder(place: Path, choice: Choice, bundle: Bundle) -> _Found:
    from ...stream.keyframes import KeyframeFolder

    if choice.camera is not None or choice.face is not None:
        raise InputError("--camera and --face are for pictures; key frames have one face each")
    folder = KeyframeFolder.load(place)
    folder.check_bundle(bundle.hash)
    frames = [keyframe.frame for keyframe in folder.keyframes]
    if not frames:
        raise InputError(f"{place}: holds no key frame")
    if choice.frame is not None and choice.frame not in frames:
        raise InputError(
            f"--frame {choice.frame}: not a key frame; there are {', '.join(map(str, frames))}"
        )
    number = 0 if choice.frame is None else frames.index(choice.frame)
    keyframe = folder.keyframes[number]
    stem = folder.path.resolve().name.removesuffix(".keyframes")
    ipd = folder.facts.options.get("ipd_mm")
    return _Found(
        name=f"{stem}-{keyframe.stem}",
        source=f"{folder.facts.source}, frame {keyframe.frame}",
        image_bgr=folder.image_bgr(keyframe),
        row=keyframe.row,
        camera_matrix=folder.camera_matrix,
        ipd_mm=float(ipd) if isinstance(ipd, int | float) else None,
        remarks=(),
    )


def _of_picture(place: Path, choice: Choice, bundle: Bundle) -> _Found:
    if choice.frame is not None:
        raise InputError("--frame chooses among key frames, and a picture is given")
    image = read_picture(place)
    camera, rows = faces_of(image, choice.camera, bundle)
    if not rows:
        raise InputError(f"{place}: no face found")
    number = choice.face or 1
    if not 1 <= number <= len(rows):
        raise InputError(f"{place}: --face {number}, but {len(rows)} found")
    remarks = ()
    if len(rows) > 1 and choice.face is None:
        remarks = (
            f"{len(rows)} faces; took the one of which most is seen, --face 2 takes the next",
        )
    return _Found(place.stem, place.name, image, rows[number - 1], camera.matrix, None, remarks)
