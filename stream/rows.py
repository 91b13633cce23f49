"""The two ends of the tracker: what it accepts, and the rows that it gives."""

from __future__ import annotations

import operator
from functools import cache
from types import ModuleType

import numpy as np
from jaxtyping import Float64

from ..models.errors import InputError
from ..models.face.crop import tight_box
from .detector.protocol import Detections
from .observation import FaceObservation
from .smoother import FaceState
from .track import Track


def check_image(image_bgr: np.ndarray) -> None:
    """Refuse what is not a picture.

    Raises:
        InputError: it is not a uint8 (H, W, 3) array with pixels in it.
    """
    if (
        not isinstance(image_bgr, np.ndarray)
        or image_bgr.dtype != np.uint8
        or image_bgr.ndim != 3
        or image_bgr.shape[2] != 3
        or min(image_bgr.shape) == 0
    ):
        what = getattr(image_bgr, "dtype", type(image_bgr).__name__)
        raise InputError(
            f"image is {what}{list(getattr(image_bgr, 'shape', []))}, expected a "
            "uint8[height, width, 3] array, BGR"
        )


def checked_time(t_ns: int) -> int:
    """A time as rows hold it.

    Raises:
        InputError: it is no integer; float seconds or nanoseconds would be rounded in silence.
    """
    try:
        return operator.index(t_ns)
    except TypeError as error:
        raise InputError(f"t_ns is {t_ns!r}, expected integer nanoseconds") from error


def checked_boxes(boxes: np.ndarray) -> Detections:
    """Boxes as a detector gives them.

    Raises:
        InputError: they are not (K, 4 or 5), not finite, or one is empty.
    """
    array = np.asarray(boxes, dtype=np.float32)
    if array.size == 0:
        return np.zeros((0, 5), np.float32)
    if array.ndim != 2 or array.shape[1] not in (4, 5):
        raise InputError(f"boxes have shape {list(array.shape)}, expected (K, 4): x, y, w, h in px")
    if not np.all(np.isfinite(array)) or np.any(array[:, 2:4] <= 0.0):
        raise InputError("boxes must be finite, with positive width and height")
    score = array[:, 4:] if array.shape[1] == 5 else np.ones((len(array), 1), np.float32)
    return np.concatenate([array[:, :4], score], axis=1)


def row_of(
    track: Track, frame: int, t_media_ns: int | None, t_capture_ns: int | None
) -> FaceObservation:
    """The published row of a track that has been seen at least once.

    Raises:
        InputError: it has never been seen.
    """
    if track.state is None:
        raise InputError("a face that was never seen has no row")
    return row_of_state(
        track.state,
        track.landmarks_px,
        frame=frame,
        t_media_ns=t_media_ns,
        t_capture_ns=t_capture_ns,
        track=-1 if track.number is None else track.number,
        observed=track.seen,
        confidence=track.presence,
        variance_stated=track.variance_stated,
    )


def row_of_state(
    state: FaceState,
    landmarks_px: Float64[np.ndarray, "68 2"],
    *,
    frame: int,
    t_media_ns: int | None,
    t_capture_ns: int | None,
    track: int,
    observed: bool,
    confidence: float | None,
    variance_stated: bool,
) -> FaceObservation:
    """The published row of a face in this state, with these landmarks; the rest is as in a row.

    ``variance_stated`` says whether the pose's variance rests on what the network states.
    """
    x, y, w, h = tight_box(landmarks_px)
    qw, qx, qy, qz = state.pose.quat_wxyz.tolist()
    tx, ty, tz = state.pose.translation_mm.tolist()
    yaw, pitch, roll = _kernels().angles_of(state.pose.quat_wxyz)
    return FaceObservation(
        frame=frame,
        t_media_ns=t_media_ns,
        t_capture_ns=t_capture_ns,
        track=track,
        observed=observed,
        confidence=confidence,
        box_x=x,
        box_y=y,
        box_w=w,
        box_h=h,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        qw=qw,
        qx=qx,
        qy=qy,
        qz=qz,
        tx=tx,
        ty=ty,
        tz=tz,
        pose_variance=state.pose_variance.astype(np.float32) if variance_stated else None,
        shape=state.shape.astype(np.float32),
        expression=state.expression.astype(np.float32),
        landmarks=landmarks_px.reshape(-1).astype(np.float32),
        blendshapes=None if state.blendshapes is None else state.blendshapes.astype(np.float32),
    )


@cache
def _kernels() -> ModuleType:
    """Imported where it is first needed: numba is slow to import."""
    from . import _fit_kernels

    return _fit_kernels
