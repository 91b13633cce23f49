"""The faces of one picture, for the tools that work on one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import UInt8

from ..models.errors import InputError, SourceError
from .options import camera_for, read_camera

if TYPE_CHECKING:
    import numpy as np

    from ..models.face.bundle import Bundle
    from ..models.face.camera import Camera
    from ..stream.observation import FaceObservation

_USUAL_FOV: str = "60"
_MOST_FACES = 32


def read_picture(place: Path) -> UInt8[np.ndarray, "H W 3"]:
    """A picture file, upright, BGR.

    Raises:
        InputError: it is a video.
        SourceError: it cannot be read.
    """
    from ..stream.sources.opening import open_source

    with open_source(place) as source:
        if source.info.kind != "image":
            raise InputError(
                f'{place}: is a {source.info.kind}, expected a picture or key frames: "mien '
                'annotate" and "mien keyframes" make these of a video'
            )
        for frame in source:
            return frame.image_bgr
    raise SourceError(f"{place}: holds no picture")


def faces_of(
    image_bgr: UInt8[np.ndarray, "H W 3"], camera: str | None, bundle: Bundle
) -> tuple[Camera, list[FaceObservation]]:
    """Fits of all faces in a picture, the one of which most is seen first.

    Args:
        image_bgr: the picture.
        camera: as ``--camera`` says it; None: assumed.
        bundle: that fits them.

    Raises:
        InputError: no such camera.
    """
    from ..stream.tracker import FaceTracker

    height, width = image_bgr.shape[:2]
    known = camera_for(read_camera(camera or _USUAL_FOV), width, height)
    with FaceTracker(bundle, camera=known, max_faces=_MOST_FACES) as tracker:
        rows = tracker.fit(image_bgr)
    return known, sorted(rows, key=lambda row: -_shown_area(row, width, height))


def _shown_area(row: FaceObservation, width: int, height: int) -> float:
    """Square pixels of a face's box that lie in the picture: what is cut off is not seen."""
    across = min(row.box_x + row.box_w, width) - max(row.box_x, 0.0)
    down = min(row.box_y + row.box_h, height) - max(row.box_y, 0.0)
    return max(across, 0.0) * max(down, 0.0)
