"""The pictures of a report: single frames of a video with the faces drawn in, as JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import av
import av.error
import cv2
import msgspec
import numpy as np
from jaxtyping import UInt8

from ...models.errors import SourceError
from ...models.face.morphable import FaceModel
from ...stream.digest import Digest
from ...stream.frame import Frame
from ...stream.observation import FaceObservation
from ...stream.sinks.drawing import Annotator, magnification
from ...stream.sources.container import ContainerSource
from ...stream.sources.opening import open_source
from ..annotate.annotated import Annotation

WIDTH: Final = 640
HEIGHT: Final = 480
"""Pictures are scaled down to fit, px."""
PICTURES: Final = 8
"""At most so many."""
QUALITY: Final = 82
_FARTHEST: Final = 900
"""Frames to decode behind a seek before it counts as failed."""


@dataclass(frozen=True)
class Moment:
    """A frame that the report shows.

    Attributes:
        frame: its index.
        t_s: its time, or that of its bin.
        kind: ``best``, ``worst`` or ``lost``.
        note: why it is shown, a few words.
    """

    frame: int
    t_s: float
    kind: str
    note: str


@dataclass(frozen=True)
class Shot:
    """A moment with what was found in it.

    Attributes:
        moment: which.
        rows: the faces in it.
        jpeg: the picture; empty where there is no video.
    """

    moment: Moment
    rows: list[FaceObservation]
    jpeg: bytes = b""


def choose_moments(facts: Digest) -> list[Moment]:
    """The least sure moments, the longest losses and the surest moments of a film."""
    if facts.frames <= 1:
        kind = "best" if facts.seen else "lost"
        return [Moment(0, 0.0, kind, "the picture" if facts.seen else "no face found")]
    apart_s = max(0.5, facts.seconds / 40)
    worst = facts.moments(4, apart_s, best=False)
    taken = {frame for frame, _ in worst}
    longest = sorted(facts.lost, key=lambda stretch: (-stretch.seconds, stretch.first))[:2]
    best = facts.moments(8, apart_s, best=True)
    best = [item for item in best if item[0] not in taken][: PICTURES - len(worst) - len(longest)]
    return [
        *(
            Moment(
                (stretch.first + stretch.last) // 2,
                (stretch.begin_s + stretch.end_s) / 2,
                "lost",
                f"no face for {stretch.seconds:.1f} s",
            )
            for stretch in longest
        ),
        *(Moment(frame, t_s, "worst", "least sure") for frame, t_s in worst),
        *(Moment(frame, t_s, "best", "surest") for frame, t_s in best),
    ]


def rows_at(annotation: Annotation, moments: Sequence[Moment]) -> list[list[FaceObservation]]:
    """The faces of each moment, by a pass over the rows.

    Raises:
        InputError: they cannot be read.
    """
    wanted: dict[int, list[FaceObservation]] = {moment.frame: [] for moment in moments}
    last = max(wanted, default=-1)
    for row in annotation.rows():
        if row.frame > last:
            break
        if row.frame in wanted:
            wanted[row.frame].append(row)
    return [wanted[moment.frame] for moment in moments]


def take_shots(
    annotation: Annotation,
    moments: Sequence[Moment],
    video: Path | None,
    model: FaceModel | None,
) -> list[Shot]:
    """The moments with their faces and, where there is a video, their pictures.

    Args:
        annotation: where the rows are.
        moments: which frames.
        video: that was annotated; None: no pictures.
        model: the face model of the rows, for the outline of the mesh; None: none is drawn.

    Raises:
        InputError: the rows cannot be read.
        SourceError: the video cannot, or is another one.
    """
    rows = rows_at(annotation, moments)
    if video is None:
        return [Shot(moment, faces) for moment, faces in zip(moments, rows, strict=True)]
    frames = _frames(annotation, video, moments, rows)
    annotator = Annotator(annotation.camera, model)
    return [
        Shot(moment, faces, b"" if image is None else jpeg(image, faces, annotator))
        for moment, faces, image in zip(moments, rows, frames, strict=True)
    ]


def jpeg(
    image_bgr: UInt8[np.ndarray, "H W 3"], rows: Sequence[FaceObservation], annotator: Annotator
) -> bytes:
    """A picture with its faces, no larger than :data:`WIDTH` x :data:`HEIGHT`."""
    height, width = image_bgr.shape[:2]
    scale = min(1.0, WIDTH / width, HEIGHT / height)
    if scale < 1.0:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image_bgr = np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA))
        matrix = annotator.camera_matrix
        if matrix is not None:
            matrix = np.diag([scale, scale, 1.0]) @ (matrix + _corner(0.5)) - _corner(0.5)
        annotator = replace(annotator, camera_matrix=matrix)
        rows = [_scaled(row, scale) for row in rows]
    else:
        fits = max(1, min(WIDTH // width, HEIGHT // height))
        annotator = replace(annotator, magnify=min(fits, magnification(height, width)))
    canvas = annotator.draw(image_bgr, rows)
    return cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _corner(shift: float) -> np.ndarray:
    """Added to a camera matrix, moves its principal point."""
    return np.array([[0.0, 0.0, shift], [0.0, 0.0, shift], [0.0, 0.0, 0.0]])


def _scaled(row: FaceObservation, scale: float) -> FaceObservation:
    return msgspec.structs.replace(
        row,
        box_x=(row.box_x + 0.5) * scale - 0.5,
        box_y=(row.box_y + 0.5) * scale - 0.5,
        box_w=row.box_w * scale,
        box_h=row.box_h * scale,
        landmarks=((row.landmarks + 0.5) * scale - 0.5).astype(np.float32),
    )


def _frames(
    annotation: Annotation,
    video: Path,
    moments: Sequence[Moment],
    rows: Sequence[Sequence[FaceObservation]],
) -> list[np.ndarray | None]:
    """The pictures of the moments; by seeking where that leads to the very frame."""
    first = next((faces[0] for faces in rows if faces and faces[0].t_media_ns is not None), None)
    with open_source(video) as source:
        if annotation.size is not None and annotation.size != (
            source.info.width,
            source.info.height,
        ):
            raise SourceError(f"{video}: has pictures of another size than the rows say")
        still = source.info.kind == "image"
        found: list[np.ndarray | None] = [None] * len(moments)
        if not still:
            # Of a frame without rows the time is known but roughly, from those that have some.
            shift_ns = 0
            if first is not None and first.t_media_ns is not None:
                known = next(m for m, faces in zip(moments, rows, strict=True) if faces)
                shift_ns = first.t_media_ns - round(1e9 * known.t_s)
            for i, (moment, faces) in enumerate(zip(moments, rows, strict=True)):
                exact = bool(faces) and faces[0].t_media_ns is not None
                t_ns = faces[0].t_media_ns if faces else None
                if t_ns is None:
                    t_ns = round(1e9 * moment.t_s) + shift_ns
                found[i] = _sought(video, t_ns, exact=exact)
        missing = {m.frame: i for i, m in enumerate(moments) if found[i] is None}
        for frame in source if missing else ():
            if frame.index in missing:
                i = missing.pop(frame.index)
                _check_time(video, frame, rows[i])
                found[i] = frame.image_bgr
            if not missing:
                break
    return found


def _check_time(video: Path, frame: Frame, rows: Sequence[FaceObservation]) -> None:
    if rows and rows[0].t_media_ns != frame.t_media_ns:
        raise SourceError(f"{video}: is not the video of these rows: other times")


def _sought(video: Path, t_ns: int, *, exact: bool) -> np.ndarray | None:
    """The picture of a time, or where it need not be exact the next one; None where it fails."""
    try:
        container = av.open(f"file:{video}", options={"pattern_type": "none"})
        with container:
            stream = container.streams.video[0]
            if stream.time_base is None:
                return None
            # A second early: pictures right behind a seek may lack what they refer to.
            at_s = max(0.0, t_ns / 1e9 - 1.0)
            container.seek(int(at_s / stream.time_base), stream=stream)
            source = ContainerSource(container, str(video), kind="video", live=False)
            for count, frame in enumerate(source):
                if frame.t_media_ns is None or count > _FARTHEST:
                    return None
                if frame.t_media_ns >= t_ns:
                    return frame.image_bgr if frame.t_media_ns == t_ns or not exact else None
    except (av.error.FFmpegError, SourceError, OSError, IndexError):
        return None  # read in order instead
    return None
