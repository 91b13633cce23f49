"""All filters of one followed face."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType

import msgspec
import numpy as np
from jaxtyping import Float64, UInt8

from ...models.face.names import N_SHAPE
from ...models.face.perspective import PerspectivePose
from .bank import ChannelBank, Measured, Motion
from .channels import BLENDSHAPES, EXPRESSION, N_CHANNELS, POSE
from .config import SmoothingConfig
from .pose import Displacement, PoseMeasurement, translation_variance
from .tuning import CONDITIONS, Tuning
from .unrest import Unrest

_LEAST = 1e-12  # variance
_SATURATION = 0.02  # what keeps the logarithm of b (1 - b) finite
_UNKNOWN = np.full(len(CONDITIONS), np.nan)


class FaceState(msgspec.Struct, frozen=True, eq=False):
    """One face at one time, smoothed.

    Attributes:
        pose: ``camera_from_head``.
        pose_variance: (6,) left perturbation about camera x, y, z (rad^2), then tx, ty, tz (mm^2).
        shape: (40,) standard deviations.
        expression: (10,) standard deviations.
        blendshapes: (52,) in [0, 1]; None where the network has none.
    """

    pose: PerspectivePose
    pose_variance: Float64[np.ndarray, " 6"]
    shape: Float64[np.ndarray, " 40"]
    expression: Float64[np.ndarray, " 10"]
    blendshapes: Float64[np.ndarray, " 52"] | None


class FaceMeasurement(msgspec.Struct, frozen=True, eq=False):
    """What one frame says of a face whose shape was already taken in.

    Attributes:
        pose: with its variance.
        expression: (10,) standard deviations.
        expression_variance: (10,) of these.
        blendshapes: (52,) in [0, 1]; None where the network has none.
        conditions: (4,) of the picture, see :func:`~mien.stream.quality.conditions`; None where
            nobody looked.
        displacement: of the pose since the last frame; None where nobody compared the pictures.
    """

    pose: PoseMeasurement
    expression: Float64[np.ndarray, " 10"]
    expression_variance: Float64[np.ndarray, " 10"]
    blendshapes: Float64[np.ndarray, " 52"] | None
    conditions: Float64[np.ndarray, " 4"] | None = None
    displacement: Displacement | None = None


@dataclass(frozen=True)
class FilterStep:
    """What a filter did with one frame; :meth:`FaceSmoother.step` gives it.

    Attributes:
        dt_s: time since the frame before.
        measured: what was measured; None where nothing was.
        lasting: (6,) variance of the pose's errors that stay for good.
        shares: (H, M) probabilities of the modes after it.
        likelihood: (H, M) logarithms, of the modes.
        events: (G,) what became of each group.
        shape: (40,) who it is, as far as is known by then.
        has_blendshapes: whether the network says any.
        displaced: the displacement that was taken in, if one was.
    """

    dt_s: float
    measured: Measured | None
    lasting: Float64[np.ndarray, " 6"]
    shares: Float64[np.ndarray, "H M"]
    likelihood: Float64[np.ndarray, "H M"]
    events: UInt8[np.ndarray, " G"]
    shape: Float64[np.ndarray, " 40"]
    has_blendshapes: bool
    displaced: Displacement | None = None


@cache
def _kernel() -> ModuleType:
    """Imported where it is first needed: numba is slow to import."""
    from . import _frame_kernel

    return _frame_kernel


class FaceSmoother:
    """Pose, identity and expression filters that share one clock.

    A frame goes: :meth:`predict` to its time, then either :meth:`update_shape` and :meth:`update`,
    or :meth:`miss`. The first :meth:`update` begins the filters.

    Args:
        config: the strength; without a tuning of its own it takes the default bundle's.
    """

    def __init__(self, config: SmoothingConfig) -> None:
        self.config = config
        self.tuning = tuning = config.filter_tuning
        self._identity = ChannelBank(tuning.identity, Motion.of(tuning.identity, config))
        self._looked = False
        self._raw_shape: Float64[np.ndarray, " 40"] = np.zeros(N_SHAPE)
        self._face = ChannelBank(tuning.face, Motion.of(tuning.face, config), rotates=True)
        self._begun = False
        self._lasting = np.zeros(N_CHANNELS)
        self._has_blendshapes = False
        self._raw: FaceMeasurement | None = None
        self._unrest = Unrest()
        self._measured: Measured | None = None
        self._dt_s = 0.0
        self._unseen_s = 0.0

    def predict(self, dt_s: float) -> None:
        """Move on by ``dt_s`` seconds; a negative step counts as none."""
        dt_s = max(dt_s, 0.0)
        self._raw, self._measured, self._dt_s = None, None, dt_s
        self._unseen_s += dt_s
        self._identity.predict(dt_s)
        if self._begun:
            self._face.predict(dt_s)

    def miss(self) -> None:
        """The frame predicted to showed no face: the prediction stands."""
        self._face.finish()

    def update_shape(
        self,
        shape: Float64[np.ndarray, " 40"],
        variance: Float64[np.ndarray, " 40"],
        conditions: Float64[np.ndarray, " 4"] | None = None,
    ) -> Float64[np.ndarray, " 40"]:
        """Take in one frame's shape; returns the shape to fit the pose with.

        Args:
            shape: standard deviations.
            variance: as the network states it.
            conditions: as in :class:`FaceMeasurement`.
        """
        self._raw_shape = shape
        seen = _all_conditions(conditions, self._unrest.log)
        if self._looked:
            self._identity.see(shape, variance, False, seen, self.tuning.limits)
        else:
            stated = np.log(np.maximum(variance, _LEAST))
            white, passing, _ = self.tuning.variances(self.tuning.identity, stated, seen)
            # Each component is N(0, 1) in the population: a first doubtful look is drawn to it.
            self._identity.expect(1.0, passing)
            self._looked = True
            self._identity.update(Measured(shape, white, passing))
        return self.shape

    def inherit_identity(self, other: FaceSmoother) -> None:
        """Take over what another smoother knows of this person's shape."""
        self._identity, self._looked = other._identity, other._looked

    @property
    def shape(self) -> Float64[np.ndarray, " 40"]:
        """The present shape, standard deviations."""
        return self._raw_shape if self.config.publish_raw else self._identity.values

    @property
    def identity(self) -> Float64[np.ndarray, " 40"]:
        """The averaged shape, whatever is published: for telling faces apart."""
        return self._identity.values

    def update(self, measured: FaceMeasurement) -> None:
        """Take in one frame's pose and expression."""
        self._raw = measured
        self._has_blendshapes = measured.blendshapes is not None
        unrest = self._unrest.update(measured.pose, self._unseen_s)
        self._unseen_s = 0.0
        if self._begun:
            values, stated = stated_channels(measured)
            self._measured, self._lasting = self._face.see(
                values, stated, True, _all_conditions(measured.conditions, unrest),
                self.tuning.limits, measured.pose.pose.quat_wxyz, measured.displacement,
            )  # fmt: skip
        else:
            self._measured, self._lasting = channel_values(measured, self.tuning, unrest)
            self._face.begin(self._measured)
            self._begun = True

    def pose_variance(self) -> Float64[np.ndarray, " 6"]:
        """Of the filtered rotation (rad^2), direction and log z; see :class:`.PoseMeasurement`."""
        return self._face.variances[POSE] + self._lasting[POSE]

    def step(self) -> FilterStep:
        """What became of the present frame, for the off-line smoother."""
        return FilterStep(
            self._dt_s,
            self._measured,
            self._lasting[POSE],
            self._face.shares.copy(),
            self._face.likelihood.copy(),
            self._face.events.copy(),
            self._identity.values,
            self._has_blendshapes,
            self._face.displaced,
        )

    def state(self, relative_size_sd: float) -> FaceState | None:
        """The present estimate, None before the first update.

        Args:
            relative_size_sd: how uncertain the size of this head is (see
                :func:`~mien.stream.smoother.pose.translation_variance`).
        """
        if not self._begun:
            return None
        raw = self._raw
        if not self.config.publish_raw or raw is None:
            values, place, variance = self._face.present(self._lasting, relative_size_sd**2)
            return FaceState(
                PerspectivePose(self._face.quat_wxyz.copy(), place),
                variance,
                self.shape,
                values[EXPRESSION],
                values[BLENDSHAPES] if self._has_blendshapes else None,
            )
        values = self._face.values
        variance = self.pose_variance()
        pose = raw.pose.pose
        if self._measured is not None:
            variance = (self._measured.white + self._measured.slow + self._lasting)[POSE]
        values[EXPRESSION] = raw.expression
        if raw.blendshapes is not None:
            values[BLENDSHAPES] = raw.blendshapes
        return face_state(
            pose, variance, self.shape, values, self._has_blendshapes, relative_size_sd
        )


def face_state(
    pose: PerspectivePose,
    variance: Float64[np.ndarray, " 6"],
    shape: Float64[np.ndarray, " 40"],
    values: Float64[np.ndarray, " 68"],
    has_blendshapes: bool,
    relative_size_sd: float,
) -> FaceState:
    """A state from the channels' values.

    Args:
        pose: ``camera_from_head``.
        variance: of rotation, direction and log z, as in :class:`~.pose.PoseMeasurement`.
        shape: standard deviations.
        values: of all channels; those of the pose are not looked at.
        has_blendshapes: whether the network has them.
        relative_size_sd: how uncertain the size of this head is.
    """
    in_mm = translation_variance(pose.translation_mm, variance, relative_size_sd)
    return FaceState(
        pose=pose,
        pose_variance=np.concatenate([variance[:3], in_mm]),
        shape=shape,
        expression=values[EXPRESSION].copy(),
        blendshapes=np.clip(values[BLENDSHAPES], 0.0, 1.0) if has_blendshapes else None,
    )


def channel_values(
    measured: FaceMeasurement, tuning: Tuning, log_unrest: float
) -> tuple[Measured, Float64[np.ndarray, " 68"]]:
    """A measurement as its channels, and the variance of the errors that stay for good."""
    values, stated = stated_channels(measured)
    seen = _all_conditions(measured.conditions, log_unrest)
    white, passing, lasting = tuning.variances(tuning.face, stated, seen)
    return Measured(values, white, passing, measured.pose.pose.quat_wxyz), lasting


def _all_conditions(
    of_picture: Float64[np.ndarray, " 4"] | None, log_unrest: float
) -> Float64[np.ndarray, " 5"]:
    """In the order of :data:`~.tuning.CONDITIONS`; NaN where not known."""
    if of_picture is None:
        conditions = _UNKNOWN.copy()
    else:
        conditions = np.empty(len(_UNKNOWN))
        conditions[:-1] = of_picture
    conditions[-1] = log_unrest
    return conditions


def stated_channels(
    measured: FaceMeasurement,
) -> tuple[Float64[np.ndarray, " 68"], Float64[np.ndarray, " 68"]]:
    """Values of the channels (rotation left out: zeros), and the log-variances stated of them."""
    values, stated = np.empty((2, N_CHANNELS))
    has = measured.blendshapes is not None
    _kernel().channels(
        measured.pose.pose.translation_mm, measured.expression,
        measured.blendshapes if has else measured.expression, measured.pose.variance,
        measured.expression_variance, has, values, stated,
    )  # fmt: skip
    return values, stated


def stated_of_blendshapes(values: Float64[np.ndarray, "*T 52"]) -> Float64[np.ndarray, "*T 52"]:
    """What stands for log-variances that no network states: of a value between its limits."""
    return np.log(np.maximum(values * (1.0 - values), 0.0) + _SATURATION)
