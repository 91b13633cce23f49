"""One followed face: its filters, its number, and whether it was seen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from ..models.errors import InputError
from ..models.face.camera import Camera
from ..models.face.crop import CROP_SIZE, Crop, crop_from_landmarks, tight_box
from .candidate import Candidate
from .fit import FaceFitter
from .smoother import FaceSmoother, FaceState, SmoothingConfig
from .smoother.smoother import FilterStep

_MOST_UNSEEN_FRAMES = 60  # where the timestamps stand still, frames end a gap
_KNOWN_SIZE_SD = 0.015  # of a head whose pupils' distance was measured to a millimetre
_LEAST_SHAPE_VARIANCE = 0.05  # between two looks at one face, whatever the network believes


class Track:
    """The state of one face from its birth to its loss.

    Attributes:
        number: stable identity within the source; None until it is published.
        seen: whether the present frame shows it.
        presence: what the network said of the present frame; None where it has no word on that.
        variance_stated: whether the network states its uncertainty.
        doubted: whether the detector sees nothing here that the network could not deny; the face
            is taken as not seen until the detector finds it again.
        strayed: whether it was last missed because what is there fills its crop as no face does.
        unseen_s: time since it was last seen.
        unseen_frames: frames since then.
        seen_frames: in all.
        landmarks_px: (68, 2) at the present time: seen, or predicted.
        state: the smoothed face at the present time; None before it was first seen.
    """

    def __init__(self, fitter: FaceFitter, smoothing: SmoothingConfig) -> None:
        self.number: int | None = None
        self.seen = False
        self.strayed = False
        self.doubted = False
        self.presence: float | None = 0.0
        self.variance_stated = True
        self.unseen_s = 0.0
        self.unseen_frames = 0
        self.seen_frames = 0
        self.landmarks_px: Float64[np.ndarray, "68 2"] = np.zeros((68, 2))
        self.state: FaceState | None = None
        self._fitter = fitter
        self._smoother = FaceSmoother(smoothing)
        self._meter = fitter.displacement_meter()
        self._begun = False
        self._size_sd = relative_size_sd(fitter, smoothing)

    def predict(self, dt_s: float, camera: Camera) -> None:
        """Move on to the present frame's time, not seen so far."""
        self._smoother.predict(dt_s)
        self.unseen_s += max(dt_s, 0.0)
        self.unseen_frames += 1
        self.seen = False
        self._place(camera)

    def take(self, candidate: Candidate, camera: Camera) -> bool:
        """Take in what the present frame shows of this face.

        Returns:
            False where the candidate cannot stand before the camera: nothing was taken in.
        """
        shape = self._smoother.update_shape(
            candidate.shape, candidate.shape_variance, candidate.conditions
        )
        watch = self._fitter.watch
        watch.lap("smooth")
        measured = self._fitter.measure(candidate, shape, camera)
        if measured is not None:
            scale = self._fitter.head_scale(shape)
            measured = self._meter.compare(candidate, measured, shape, scale, camera)
        watch.lap("fit")
        if measured is None:
            return False
        self._smoother.update(measured)
        self._begun = True
        self.seen, self.strayed, self.doubted = True, False, False
        self.presence, self.variance_stated = candidate.presence, candidate.variance_stated
        self.unseen_s, self.unseen_frames = 0.0, 0
        self.seen_frames += 1
        self._place(camera)
        if self.state is not None:
            self._meter.believe(self.state.pose)
        return True

    def miss(self, candidate: Candidate | None, strayed: bool = False) -> None:
        """The present frame does not show it: the prediction stands.

        Args:
            candidate: what is seen in its place.
            strayed: whether that fills its crop as no face does.
        """
        if self.presence is not None:
            self.presence = 0.0 if candidate is None else candidate.presence
        self.strayed = strayed
        self._meter.forget()
        self._smoother.miss()

    def doubt(self) -> None:
        """The detector sees no face where this one was taken to be, and the network cannot say."""
        self.doubted, self.seen = True, False

    def restart(self, smoothing: SmoothingConfig, same_person: bool = True) -> None:
        """Forget pose and expression, and, unless it is the same person, who it is."""
        before = self._smoother
        self._smoother, self._begun = FaceSmoother(smoothing), False
        self._meter.forget()
        if same_person:
            self._smoother.inherit_identity(before)

    def step(self) -> FilterStep | None:
        """What the filter did with the present frame, for the off-line smoother; made when asked.

        None where the filter has begun anew and not taken anything in: the state is an old one.
        """
        return self._smoother.step() if self._begun else None

    @property
    def crop(self) -> Crop | None:
        """Where to look in the present frame; None where the prediction went astray."""
        try:
            return crop_from_landmarks(self.landmarks_px)
        except InputError:
            return None

    @property
    def box_xywh_px(self) -> tuple[float, float, float, float]:
        """Tight box of the landmarks at the present time."""
        return tight_box(self.landmarks_px)

    @classmethod
    def warm_up(cls, fitter: FaceFitter, smoothing: SmoothingConfig) -> None:
        """Follow an average face for two frames, so that everything is imported and compiled."""
        camera = Camera.from_fov(CROP_SIZE, CROP_SIZE)
        track = cls(fitter, smoothing)
        for _ in range(2):
            track.predict(0.03, camera)
            track.take(fitter.average_face(), camera)

    def expired(self, max_gap_s: float) -> bool:
        """Whether it has not been seen for too long."""
        return self.unseen_s > max_gap_s or self.unseen_frames > _MOST_UNSEEN_FRAMES

    def shape_distance(self, candidate: Candidate) -> float:
        """How unlike the candidate's shape is to this face's: 1 on average for one face."""
        variance = np.maximum(candidate.shape_variance, _LEAST_SHAPE_VARIANCE)
        variance = variance + _LEAST_SHAPE_VARIANCE
        return float(np.mean((candidate.shape - self._smoother.identity) ** 2 / variance))

    def _place(self, camera: Camera) -> None:
        self.state = self._smoother.state(self._size_sd)
        self._fitter.watch.lap("smooth")
        if self.state is not None:
            self.landmarks_px = self._fitter.landmarks_px(self.state, camera)
            self._fitter.watch.lap("fit")


def relative_size_sd(fitter: FaceFitter, smoothing: SmoothingConfig) -> float:
    """How uncertain the size of a head is that this fitter measures, relative to it."""
    return _KNOWN_SIZE_SD if fitter.head_size_known else smoothing.head_scale_sd
