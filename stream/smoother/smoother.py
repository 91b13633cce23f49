"""All filters of one followed face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ...models.face.names import BLENDSHAPE_NAMES, N_EXPRESSION, N_SHAPE
from ...models.face.perspective import PerspectivePose
from .bank import ChannelBank
from .config import SmoothingConfig
from .identity import IdentityFilter
from .pose import PoseFilter, PoseMeasurement, translation_variance

_EYES = np.array([name.startswith("eye") for name in BLENDSHAPE_NAMES])


@dataclass(frozen=True)
class FaceState:
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


@dataclass(frozen=True)
class FaceMeasurement:
    """What one frame says of a face whose shape was already taken in.

    Attributes:
        pose: with its variance.
        expression: (10,) standard deviations.
        expression_variance: (10,) of these.
        blendshapes: (52,) in [0, 1]; None where the network has none.
    """

    pose: PoseMeasurement
    expression: Float64[np.ndarray, " 10"]
    expression_variance: Float64[np.ndarray, " 10"]
    blendshapes: Float64[np.ndarray, " 52"] | None

    @property
    def channels(self) -> Float64[np.ndarray, " C"]:
        """Expression, and blendshapes where there are any, in one: (10,) or (62,)."""
        if self.blendshapes is None:
            return self.expression
        return np.concatenate([self.expression, self.blendshapes])


class FaceSmoother:
    """Pose, identity and expression filters that share one clock.

    A frame goes: :meth:`predict` to its time, then either :meth:`update_shape` and :meth:`update`,
    or :meth:`miss`. The first :meth:`update` begins the filters.
    """

    def __init__(self, config: SmoothingConfig) -> None:
        self.config = config
        self._identity = IdentityFilter(config, N_SHAPE)
        self._raw_shape: Float64[np.ndarray, " 40"] = np.zeros(N_SHAPE)
        self._pose: PoseFilter | None = None
        self._channels: ChannelBank | None = None
        self._raw: FaceMeasurement | None = None
        self._dt_s = 0.0

    def predict(self, dt_s: float) -> None:
        """Move on by ``dt_s`` seconds; a negative step counts as none."""
        self._dt_s = max(dt_s, 0.0)
        self._raw = None
        self._identity.predict(self._dt_s)
        if self._pose is not None and self._channels is not None:
            self._pose.predict(self._dt_s)
            self._channels.predict(self._dt_s)

    def miss(self) -> None:
        """The frame predicted to showed no face: the prediction stands, and calms down."""
        if self._pose is not None and self._channels is not None:
            self._pose.coast(self._dt_s)
            self._channels.hold()

    def update_shape(
        self, shape: Float64[np.ndarray, " 40"], variance: Float64[np.ndarray, " 40"]
    ) -> Float64[np.ndarray, " 40"]:
        """Take in one frame's shape; returns the shape to fit the pose with."""
        self._raw_shape = shape
        self._identity.update(shape, variance)
        return self.shape

    def inherit_identity(self, other: FaceSmoother) -> None:
        """Take over what another smoother knows of this person's shape."""
        self._identity = other._identity

    @property
    def shape(self) -> Float64[np.ndarray, " 40"]:
        """The present shape, standard deviations."""
        return self._raw_shape if self.config.publish_raw else self._identity.shape

    @property
    def identity(self) -> Float64[np.ndarray, " 40"]:
        """The averaged shape, whatever is published: for telling faces apart."""
        return self._identity.shape

    def update(self, measured: FaceMeasurement) -> None:
        """Take in one frame's pose and expression."""
        values = measured.channels
        variance = np.full(len(values), self.config.blendshape_sd**2)
        variance[:N_EXPRESSION] = measured.expression_variance
        self._raw = measured
        if self._pose is None or self._channels is None:
            self._pose = PoseFilter(self.config, measured.pose)
            self._channels = ChannelBank(
                self._densities()[: len(values)], values, variance, gate=self.config.gate
            )
        else:
            self._pose.update(measured.pose)
            self._channels.update(values, variance)

    def state(self, relative_size_sd: float) -> FaceState | None:
        """The present estimate, None before the first update.

        Args:
            relative_size_sd: how uncertain the size of this head is (see
                :func:`~mien.stream.smoother.pose.translation_variance`).
        """
        if self._pose is None or self._channels is None:
            return None
        pose, variance = self._pose.pose, self._pose.variance
        values = self._channels.values
        if self.config.publish_raw and self._raw is not None:
            pose, variance = self._raw.pose.pose, self._raw.pose.variance
            values = self._raw.channels
        blendshapes = values[N_EXPRESSION:]
        in_mm = translation_variance(pose.translation_mm, variance, relative_size_sd)
        return FaceState(
            pose=pose,
            pose_variance=np.concatenate([variance[:3], in_mm]),
            shape=self.shape,
            expression=values[:N_EXPRESSION],
            blendshapes=np.clip(blendshapes, 0.0, 1.0) if len(blendshapes) else None,
        )

    def _densities(self) -> Float64[np.ndarray, " 62"]:
        config = self.config
        blendshapes = np.where(_EYES, config.eye_process, config.blendshape_process)
        return np.concatenate([np.full(N_EXPRESSION, config.expression_process), blendshapes])
