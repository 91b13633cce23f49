"""``FaceTracker``: follows the faces of a stream of pictures, or fits those of a still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64

from ..models.errors import InputError
from ..models.face.camera import Camera
from ..models.face.crop import FACE_BOX, crop_from_box
from ..models.face.perspective import PerspectivePose
from .association import (
    covered,
    is_young,
    known_again,
    settle_duplicates,
    slid_off,
    uncovered,
)
from .candidate import Candidate
from .confirm import confirmed, worth_a_look
from .detector.choice import check_detector, open_detector
from .detector.protocol import Detector
from .detector_names import DEFAULT_DETECTOR, DetectorName
from .fit import FaceFitter
from .frame_camera import FrameCamera
from .observation import FaceObservation
from .rows import check_image, checked_boxes, checked_time, row_of
from .search import FaceSearch, Found
from .smoother import PRESETS, SmoothingConfig, resolve_smoothing
from .stopwatch import Stopwatch
from .track import Track
from .tracker_config import TrackerConfig

if TYPE_CHECKING:
    from ..models.face.bundle import Bundle
    from .frame import Frame
    from .regression import RegressorLike
    from .smoother.smoother import FilterStep

Boxes = Float[np.ndarray, "_ _"]

_NS = 1e-9


class FaceTracker:
    """Faces of one source, with stable numbers.

    Nothing here reads a clock: time is an argument. The detector runs only where a face is missing,
    is due, or on the first frame; what it finds is confirmed by the network's presence.

    Args:
        bundle: the model bundle, or its folder; None takes the one that ships with mien.
        camera: of the source, or its field of view across the longer side of a picture, degrees.
        smoothing: ``raw``, ``responsive``, ``steady``, a TOML file, or settings.
        max_faces: followed at once.
        detector: finds faces, or the name of one that is opened when it is first needed: ``own``
            (the bundle's) or ``centerface``.
        regressor: reads crops; None opens the bundle's networks, that of the
            blendshapes too.
        config: when a face counts as found and lost.
        ipd_mm: distance between the subject's pupils, mm; it fixes the unknown size of the head.
        threads: that the networks may use.
        search_beside: let the detector work in a thread of its own: a followed face never waits for
            it, and what it finds comes a frame or two later. Pictures must not be written to.
        stopwatch: told where the time of each frame goes: ``regress``, ``fit``, ``smooth``, and
            ``detect``, which is all that finding faces cost the frame.

    Raises:
        InputError: a setting is impossible (BundleError: the bundle is damaged, or the detector of
            that name is not installed).
    """

    def __init__(
        self,
        bundle: Bundle | Path | str | None = None,
        camera: Camera | float = 60.0,
        smoothing: str | Path | SmoothingConfig = "responsive",
        max_faces: int = 1,
        *,
        detector: Detector | DetectorName = DEFAULT_DETECTOR,
        regressor: RegressorLike | None = None,
        config: TrackerConfig | None = None,
        ipd_mm: float | None = None,
        threads: int = 1,
        search_beside: bool = False,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        from ..models.face.bundle import Bundle

        if max_faces < 1:
            raise InputError(f"max_faces must be 1 or more, got {max_faces}")
        self._camera = FrameCamera(camera)
        if bundle is None:
            bundle = Bundle.default()
        elif not isinstance(bundle, Bundle):
            bundle = Bundle.load(Path(bundle))
        self.bundle = bundle
        self.config = config or TrackerConfig()
        self.smoothing = resolve_smoothing(smoothing).tuned(bundle)
        self.max_faces = max_faces
        self._watch = stopwatch or Stopwatch()
        if isinstance(detector, str):
            check_detector(detector)
        self._finder: FaceSearch[Track] = FaceSearch(
            partial(open_detector, detector, bundle, threads)
            if isinstance(detector, str)
            else lambda: detector,
            search_beside,
        )
        self._fitter = (
            FaceFitter.of_bundle(bundle, threads, ipd_mm, self._watch)
            if regressor is None
            else FaceFitter(bundle.face_model, regressor, ipd_mm, self._watch)
        )
        Track.warm_up(self._fitter, self.smoothing)
        self.reset()

    def reset(self) -> None:
        """Forget all faces; numbers begin at 0 again."""
        self._finder.drop()
        self._tracks: list[Track] = []
        self._lost: list[Track] = []
        self._shown: list[Track] = []
        self._next_number = 0
        self._frames = 0
        self._t_ns: int | None = None
        self._since_search_s = float("inf")

    def __enter__(self) -> FaceTracker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget all faces and end the search's thread, if there is one."""
        self.reset()
        self._finder.close()

    @property
    def camera(self) -> Camera | None:
        """The camera in use; None before the first picture where none was given."""
        return self._camera.newest

    @property
    def fitter(self) -> FaceFitter:
        """What poses the faces."""
        return self._fitter

    @property
    def steps(self) -> list[FilterStep | None]:
        """What the filters did in the last frame, by row; of use until the next (see two_pass)."""
        return [track.step() for track in self._shown]

    def update(
        self, image_bgr: np.ndarray, t_ns: int, boxes: Boxes | None = None
    ) -> list[FaceObservation]:
        """Follow the faces into the next picture.

        Args:
            image_bgr: (H, W, 3) uint8, BGR.
            t_ns: its time of capture, ns, on any clock; a step back counts as no time at all.
            boxes: (K, 4 or 5) faces x, y, w, h (px) to take instead of detecting.

        Returns:
            A row a face, seen or predicted, by track number.

        Raises:
            InputError: the picture, the time or the boxes are not of that form.
        """
        t_ns = checked_time(t_ns)
        tracks = self._follow(image_bgr, t_ns, boxes)
        rows = [row_of(track, self._frames, None, t_ns) for track in tracks]
        self._frames += 1
        self._watch.lap("fit")
        return rows

    def track(self, frame: Frame, boxes: Boxes | None = None) -> list[FaceObservation]:
        """As :meth:`update`, for a frame of a source, whose index and times the rows take."""
        tracks = self._follow(frame.image_bgr, frame.t_ns, boxes)
        times = frame.index, frame.t_media_ns, frame.t_capture_ns
        rows = [row_of(track, *times) for track in tracks]
        self._watch.lap("fit")
        return rows

    def fit(self, image_bgr: np.ndarray, boxes: Boxes | None = None) -> list[FaceObservation]:
        """The faces of a still, unsmoothed; nothing of what is followed changes.

        Args:
            image_bgr: (H, W, 3) uint8, BGR.
            boxes: (K, 4 or 5) faces x, y, w, h (px) to fit whatever the presence; None detects,
                thoroughly, and keeps the ``max_faces`` most prominent that the presence confirms.

        Returns:
            A row a face; ``track`` counts them, or the boxes, from 0. A box whose content could
            stand in front of no camera has no row.

        Raises:
            InputError: the picture or the boxes are not of that form.
        """
        camera = self._prepare(image_bgr)
        if boxes is not None:
            crops = [crop_from_box(box) for box in checked_boxes(boxes)]
            return self._still_rows(self._fitter.look_twice(image_bgr, crops), camera)
        found = self._finder.now(image_bgr, thorough=True)
        faces = confirmed(self._fitter, self.config, image_bgr, found.boxes, found)
        return self._still_rows(faces[: self.max_faces], camera)

    def _still_rows(
        self, looks: Sequence[Candidate | None], camera: Camera
    ) -> list[FaceObservation]:
        rows: list[FaceObservation] = []
        for number, candidate in enumerate(looks):
            track = Track(self._fitter, replace(PRESETS["raw"], tuning=self.smoothing.tuning))
            track.number = number
            if candidate is not None and track.take(candidate, camera):
                rows.append(row_of(track, 0, None, None))
        return rows

    def mesh_px(self, row: FaceObservation) -> Float64[np.ndarray, "N 2"]:
        """All vertices of an observed face's mesh in the image, px.

        Raises:
            InputError: no picture has been seen yet, so that the camera is not known.
        """
        camera = self._camera.newest
        if camera is None:
            raise InputError("mesh_px: the camera is known from the first picture on")
        pose = PerspectivePose(
            np.array([row.qw, row.qx, row.qy, row.qz]), np.array([row.tx, row.ty, row.tz])
        )
        return self._fitter.mesh_px(pose, row.shape, row.expression, row.blendshapes, camera)

    def _follow(self, image_bgr: np.ndarray, t_ns: int, boxes: Boxes | None) -> list[Track]:
        camera = self._prepare(image_bgr)
        dt_s = 0.0 if self._t_ns is None else max(0.0, (t_ns - self._t_ns) * _NS)
        self._t_ns = t_ns
        self._since_search_s += dt_s
        for track in self._tracks:
            track.predict(dt_s, camera)
        for track in self._lost:
            track.unseen_s += dt_s
        self._retire()
        self._watch.lap("smooth")
        self._look_on(image_bgr, camera)
        if boxes is not None or self._finder.busy or self._search_is_due():
            with self._watch.whole("detect"):
                found = self._found(image_bgr, boxes)
                if found is not None:
                    self._merge(image_bgr, camera, found, given=boxes is not None)
        self._watch.lap("detect")
        self._make_room()
        shown = [track for track in self._tracks if track.state is not None]
        self._shown = sorted(shown, key=lambda t: -1 if t.number is None else t.number)
        return self._shown

    def _look_on(self, image_bgr: np.ndarray, camera: Camera) -> None:
        """Look for each followed face where it is predicted to be."""
        height, width = image_bgr.shape[:2]
        placed = [(track, track.crop) for track in self._tracks]
        crops = [crop for _, crop in placed if crop is not None]
        seen = iter(self._fitter.look(image_bgr, crops))
        looks: list[tuple[Track, Candidate]] = []
        for track, crop in placed:
            candidate = None if crop is None else next(seen)
            lost = track.unseen_frames > 1
            needed = self.config.regain_presence if lost else self.config.lose_presence
            if candidate is None or track.doubted or not candidate.shows_face(needed):
                track.miss(candidate)
            elif candidate.plausible(width, height):
                looks.append((track, candidate))
            else:
                track.miss(candidate, strayed=True)
        kept, losers = settle_duplicates(looks, self.config.duplicate_overlap)
        for track, candidate in kept:
            if not track.take(candidate, camera):
                track.miss(candidate)
        for track in losers:
            track.miss(None)
        self._tracks = [t for t in self._tracks if t.seen or not is_young(t) or t not in losers]

    def _search_is_due(self) -> bool:
        seen = sum(track.seen for track in self._tracks)
        if seen >= self.max_faces and all(track.presence is not None for track in self._tracks):
            return self._since_search_s >= self.config.verify_interval_s
        just_missed = any(track.unseen_frames == 1 for track in self._tracks if not track.seen)
        missing = not self._tracks or seen < len(self._tracks)
        interval = self.config.search_interval_s if missing else self.config.detect_interval_s
        return just_missed or self._since_search_s >= interval

    def _found(self, image_bgr: np.ndarray, boxes: Boxes | None) -> Found[Track] | None:
        """Faces of the present picture, or of one searched a moment ago; else begins a search."""
        if boxes is not None:
            self._since_search_s = 0.0
            return Found(checked_boxes(boxes), FACE_BOX, {})
        if not self._finder.busy:
            self._since_search_s = 0.0
            places = {track: track.box_xywh_px for track in self._tracks if track.seen}
            self._finder.ask(image_bgr, places, complete=len(places) >= self.max_faces)
        return self._finder.answer()

    def _merge(
        self, image_bgr: np.ndarray, camera: Camera, found: Found[Track], given: bool
    ) -> None:
        """Take in faces that are on no track; known ones go on, others begin.

        Boxes and followed faces are compared where both lay in the picture that was searched.
        A track on which the detector sees nothing, with a face beside it that no track follows, has
        slid off that face, and goes back to it. Where the network has no word on presence and there
        is no such face, the detector decides that nobody is there.
        """
        seen = [track for track in self._tracks if track.seen]
        then = {track: found.places.get(track, track.box_xywh_px) for track in seen}
        overlap = self.config.duplicate_overlap
        suspects = [
            track
            for track in self._tracks
            if track.strayed or (track.seen and not covered(then[track], found.boxes, overlap))
        ]
        free = uncovered(found.boxes, list(then.values()), overlap)
        room = self.max_faces - len(seen)
        looked_at = worth_a_look(free, found.sure_score, 2 * (room + len(suspects)))
        taken = [track.box_xywh_px for track in seen]
        for candidate in confirmed(
            self._fitter, self.config, image_bgr, looked_at, found, taken, given=given
        ):
            track = slid_off(candidate, suspects)
            if track is not None:
                suspects.remove(track)
                room -= 0 if track.seen else 1
                track.restart(self.smoothing, same_person=False)
                track.take(candidate, camera)
                continue
            if room <= 0:
                continue
            room -= 1
            absent = [track for track in (*self._tracks, *self._lost) if not track.seen]
            track = known_again(candidate, absent)
            if track is None:
                track = Track(self._fitter, self.smoothing)
            elif track in self._lost:
                self._lost.remove(track)
                track.restart(self.smoothing)
            if track.take(candidate, camera):
                if track.number is None:
                    track.number = self._next_number
                    self._next_number += 1
                if track not in self._tracks:
                    self._tracks.append(track)
        for track in suspects:
            if track.presence is None:
                track.doubt()

    def _retire(self) -> None:
        """Unseen for too long is lost; lost for too long is forgotten."""
        gap, memory = self.config.max_gap_s, self.config.memory_s
        self._lost += [track for track in self._tracks if track.expired(gap)]
        self._tracks = [track for track in self._tracks if not track.expired(gap)]
        self._lost = [track for track in self._lost if track.unseen_s <= gap + memory]

    def _make_room(self) -> None:
        """Predicted faces give way where there are more than ``max_faces``, the longest first."""
        unseen = sorted((t for t in self._tracks if not t.seen), key=lambda t: -t.unseen_s)
        for track in unseen[: max(len(self._tracks) - self.max_faces, 0)]:
            self._tracks.remove(track)
            self._lost.append(track)

    def _prepare(self, image_bgr: np.ndarray) -> Camera:
        """Check a picture, and begin with it; the camera for its size."""
        check_image(image_bgr)
        self._watch.begin()
        return self._camera.of(image_bgr.shape[1], image_bgr.shape[0])
