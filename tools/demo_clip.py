"""Makes the clip of ``mien demo`` from one portrait: ``python -m mien.tools.demo_clip``.

The shipped clip shows the portrait of astronaut Eileen Collins (NASA, public domain; scikit-image
carries it), whose head mien's own face profiling turns and whose eyes it closes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ..models.errors import InputError
from ..models.picture_file import read_bgr


@dataclass(frozen=True)
class DemoClip:
    """Turn the face of a portrait for a few seconds and write a video.

    Attributes:
        portrait: picture with one face.
        out: video to write, MP4.
        seconds: length.
        rate: frames a second.
        size: side of the square video, px.
        view: side of what is shown, in longer sides of the face's box.
        bundle: folder of a model bundle; default: the one that mien ships.
    """

    portrait: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="PICTURE")]]
    out: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE.mp4")]]
    seconds: float = 7.2
    rate: int = 25
    size: int = 480
    view: float = 3.6
    bundle: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None

    def run(self) -> int:
        """Make the clip."""
        small = _close_up(read_bgr(self.portrait), self)
        _write(self.out, _frames(small, self), self.rate)
        print(f"wrote {self.out}")
        return 0


def _close_up(image: np.ndarray, settings: DemoClip) -> np.ndarray:
    """A square of the picture, a few faces wide, the face a little above its middle."""
    import cv2

    from ..stream import FaceTracker

    rows = FaceTracker(settings.bundle).fit(image)
    if not rows:
        raise InputError(f"{settings.portrait}: no face found in it")
    face = rows[0]
    height, width = image.shape[:2]
    side = min(settings.view * max(face.box_w, face.box_h), height, width)
    left = np.clip(face.box_x + face.box_w / 2 - side / 2, 0, width - side)
    top = np.clip(face.box_y + face.box_h / 2 - 0.45 * side, 0, height - side)
    x, y, n = round(float(left)), round(float(top)), int(side)
    square = image[y : y + n, x : x + n]
    size = (2 * (settings.size // 2),) * 2
    return np.asarray(cv2.resize(square, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _frames(image: np.ndarray, settings: DemoClip) -> list[np.ndarray]:
    """The portrait looking around, (H, W, 3) uint8 BGR each."""
    import cv2

    from ..models.face.camera import Camera
    from ..models.face.names import BLENDSHAPE_INDEX
    from ..models.face.rotation import matrix_from_quaternion, matrix_from_yaw_pitch_roll
    from ..models.noise.profiling import turn_in_head_frame, warp_face
    from ..models.synthetic.clip import blink
    from ..stream import FaceTracker

    height, width = image.shape[:2]
    tracker = FaceTracker(settings.bundle)
    rows = tracker.fit(image)
    if not rows:
        raise InputError(f"{settings.portrait}: no face found in it")
    face, model = rows[0], tracker.bundle.face_model
    camera = Camera.from_fov(width, height)
    pose = matrix_from_quaternion(np.array([face.qw, face.qx, face.qy, face.qz]))
    place = np.array([face.tx, face.ty, face.tz])
    seen = np.zeros(52, np.float32) if face.blendshapes is None else face.blendshapes
    before = model.decode(face.shape, blendshapes=seen).astype(np.float64)
    lids = sum(model.blendshape_basis[BLENDSHAPE_INDEX["eyeBlink" + s]] for s in ("Left", "Right"))
    rng = np.random.default_rng(0)
    frames = []
    for k in range(round(settings.seconds * settings.rate)):
        t = k / settings.rate
        w = 2 * np.pi * t
        # Everything starts from the portrait as it is.
        angles = np.array([13 * np.sin(w / 3.6), 6 * np.sin(w / 2.9), 5 * np.sin(w / 4.7)])
        closed = max(blink(t, at) for at in (1.2, 3.0, 4.9, 6.1))
        open_still = 1 - float(seen[BLENDSHAPE_INDEX["eyeBlinkLeft"]])
        after = turn_in_head_frame(
            before + closed * open_still * lids, matrix_from_yaw_pitch_roll(angles)
        )
        moved = warp_face(
            image, before @ pose.T + place, after @ pose.T + place, model.triangles, camera
        )
        drift = cv2.getRotationMatrix2D(
            (width / 2, height / 2), 2.0 * np.sin(w / 5.3), 1.06 + 0.04 * np.sin(w / 4.1)
        )
        drift[:, 2] += [6 * np.sin(w / 3.3), 4 * np.sin(w / 2.6)]
        moved = cv2.warpAffine(moved, drift, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        grain = rng.normal(0, 2.0, moved.shape)
        frames.append(np.clip(moved + grain, 0, 255).astype(np.uint8))
    return frames


def _write(path: Path, frames: list[np.ndarray], rate: int) -> None:
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "24"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    from .module_main import end_with

    end_with(DemoClip)
