"""Faces followed through a source, as the options of a command say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from ..models.documents import is_file
from ..models.errors import InputError
from ..models.face.bundle import Bundle
from ..models.face.camera import Camera
from ..stream.detector_names import DEFAULT_DETECTOR, DetectorName
from ..stream.frame import Frame
from ..stream.observation import FaceObservation
from ..stream.sinks.base import Matrix3, Recording
from ..stream.sinks.drawing import Annotator
from ..stream.sources.base import SourceInfo
from ..stream.stopwatch import Stopwatch
from ..stream.tracker import FaceTracker
from .options import camera_for, of_option, read_camera

if TYPE_CHECKING:
    from ..stream.smoother import SmoothingConfig
    from ..stream.two_pass import TwoPass


@dataclass(frozen=True)
class FollowingOptions:
    """How faces are followed; files are read and all is checked in construction.

    Attributes:
        smoothing: preset or TOML file.
        camera: camera file, or field of view across the longer side in degrees.
        max_faces: at most so many at once.
        ipd_mm: distance between the pupils, where it is known.
        threads: of the networks.
        detector: what finds faces.
    """

    smoothing: str = "responsive"
    camera: str = "60"
    max_faces: int = 1
    ipd_mm: float | None = None
    threads: int = 1
    detector: DetectorName = DEFAULT_DETECTOR

    def __post_init__(self) -> None:
        _ = self.settings, self.lens
        if self.max_faces < 1:
            raise InputError(f"--max-faces is {self.max_faces}, expected 1 or more")
        if self.threads < 1:
            raise InputError(f"--threads is {self.threads}, expected 1 or more")
        if self.ipd_mm is not None and not 40.0 <= self.ipd_mm <= 90.0:
            raise InputError(f"--ipd-mm is {self.ipd_mm:g}, expected 40 to 90 mm")
        from ..stream.detector.choice import check_detector

        check_detector(self.detector)

    @cached_property
    def settings(self) -> SmoothingConfig:
        """What ``smoothing`` means."""
        from ..stream.smoother import PRESETS, resolve_smoothing

        if self.smoothing not in PRESETS and not is_file(self.smoothing):
            raise InputError(
                f"--smoothing is {self.smoothing!r}, expected {', '.join(PRESETS)}, or a TOML file"
            )
        with of_option("--smoothing"):
            return resolve_smoothing(self.smoothing)

    @cached_property
    def lens(self) -> Camera | float:
        """What ``camera`` means: the camera of a file, or degrees across the longer side."""
        return read_camera(self.camera)

    def plain(self, bundle: Bundle) -> dict[str, Any]:
        """What the results depend on, as plain values: of a file its content, not its name.

        Args:
            bundle: that is used; where it has no detector, that of the shipped one counts as well.
        """
        from ..stream.smoother import PRESETS

        values = asdict(self)
        del values["threads"]
        if self.detector == "own" and bundle.detector_path is None:
            values["detector_bundle"] = Bundle.default().hash
        if self.smoothing not in PRESETS:
            values["smoothing"] = asdict(self.settings)
        values["camera"] = asdict(self.lens) if isinstance(self.lens, Camera) else self.lens
        return values


class Follower:
    """A tracker for one source."""

    def __init__(
        self,
        bundle: Bundle,
        options: FollowingOptions,
        info: SourceInfo,
        *,
        search_beside: bool = False,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        """Load the networks.

        Args:
            bundle: the model bundle.
            options: how faces are followed.
            info: of the source; an image is fitted as a still.
            search_beside: detect in a thread, so that no frame waits for it.
            stopwatch: told where the time of each frame goes.

        Raises:
            BundleError: a network cannot be used.
        """
        self._bundle = bundle
        self._camera = camera_for(options.lens, info.width, info.height)
        self._still = info.kind == "image"
        self._tracker = FaceTracker(
            bundle,
            options.lens,
            options.settings,
            options.max_faces,
            detector=options.detector,
            ipd_mm=options.ipd_mm,
            threads=options.threads,
            search_beside=search_beside,
            stopwatch=stopwatch,
        )

    def close(self) -> None:
        """End the search's thread, if there is one."""
        self._tracker.close()

    @property
    def camera_matrix(self) -> Matrix3:
        """The 3x3 matrix that the poses hold for, px."""
        first, second, third = self._camera.matrix.tolist()
        return tuple(first), tuple(second), tuple(third)

    def annotator(self) -> Annotator:
        """What draws this tracker's faces."""
        return Annotator(self._camera.matrix, self._bundle.face_model)

    def follow(
        self, frame: Frame, boxes: Float32[np.ndarray, "K 4"] | None = None
    ) -> list[FaceObservation]:
        """The faces of the next frame.

        Args:
            frame: of the source, in order.
            boxes: where the faces are (x, y, w, h), px; None: they are detected.
        """
        if self._still:
            return self._tracker.fit(frame.image_bgr, boxes)
        return self._tracker.track(frame, boxes)

    def two_pass(self, folder: Path) -> TwoPass | None:
        """What smooths this source's rows after its end; None where there is nothing to smooth.

        Args:
            folder: for unnamed temporary files.

        Raises:
            OutputError: they cannot be written.
        """
        if self._still or self._tracker.smoothing.publish_raw:
            return None
        from ..stream.two_pass import TwoPass

        return TwoPass(self._tracker.fitter, self._tracker.smoothing, folder)

    def remember(self, later: TwoPass, frame: Frame, rows: Sequence[FaceObservation]) -> None:
        """Let the second pass take the frame that was followed last."""
        later.add(frame, rows, self._tracker.steps, self._tracker.camera)

    def recording(self, info: SourceInfo, options: dict[str, Any]) -> Recording:
        """What files and publishers say about where their rows come from."""
        return Recording(
            source=info.name if info.live else Path(info.name).name,
            rate=info.rate,
            width=info.width,
            height=info.height,
            bundle_hash=self._bundle.hash,
            camera_matrix=self.camera_matrix,
            options=options,
        )
