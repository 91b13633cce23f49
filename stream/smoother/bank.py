"""A bank of channels: Kalman filters with adaptive process noise, in one compiled step.

Groups of channels have three modes of motion (at rest, on the move, fast) with a velocity variance
each. A measurement weighs them by the likelihood of its innovations (a generalised pseudo-Bayesian
estimator of first order: Bar-Shalom, Li, Kirubarajan 2001, 11.6), and the noise of the motion since
the last frame is their mean: a still face is held, a turn is followed at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from jaxtyping import Float64, UInt8

from .channels import ROTATION
from .config import SmoothingConfig
from .pose import Displacement
from .tuning import BankTuning

Channels = Float64[np.ndarray, " N"]

PREDICTED, CORRECTED, BEGUN = 0, 1, 2  # as the kernels write them
"""What became of a group in a step."""


class Measured(msgspec.Struct, frozen=True, eq=False):
    """One frame's values of a bank's channels.

    Attributes:
        values: (N,); the first three are not looked at where the bank has a rotation.
        white: (N,) variance of the error that is new in this frame.
        slow: (N,) variance of the error that lasts for a while.
        quat_wxyz: the rotation, where the bank has one.
    """

    values: Channels
    white: Channels
    slow: Channels
    quat_wxyz: Float64[np.ndarray, " 4"] | None = None


@dataclass(frozen=True)
class Motion:
    """How channels move, as a strength of smoothing sees it.

    Attributes:
        speeds: (G, M) variances of the velocity by group and mode.
        usual: (H, M) shares of the modes.
        gate: squared Mahalanobis distance a channel that makes an outlier.
        patience_s: time for which outliers are ignored.
    """

    speeds: Float64[np.ndarray, "G M"]
    usual: Float64[np.ndarray, "H M"]
    gate: float
    patience_s: float

    @classmethod
    def of(cls, tuning: BankTuning, config: SmoothingConfig) -> Motion:
        """The tuned motion, as far as a config goes with it."""
        speeds = tuning.speeds.copy()
        speeds[:, 0] *= config.rest**2
        speeds[:, 1:] *= config.motion**2
        usual = tuning.usual.copy()
        usual[:, 1:] *= config.readiness
        usual /= usual.sum(axis=1, keepdims=True)
        return cls(speeds, usual, config.gate, config.patience_s)


class ChannelBank:
    """Filters of N channels in G groups, which share nothing but the time and their modes.

    Args:
        tuning: of the channels.
        motion: how they move.
        rotates: whether the first three are a rotation: a vector from :attr:`quat_wxyz`, which
            takes it up in every step, so that it stays small.
    """

    def __init__(self, tuning: BankTuning, motion: Motion, rotates: bool = False) -> None:
        from . import _displacement_kernel, _frame_kernel, _kernel

        self._kernel, self._frame = _kernel, _frame_kernel
        self._compare = _displacement_kernel
        self._tuning = tuning
        self._motion = motion
        self._rotates = rotates
        channels, groups = len(tuning.group), len(tuning.speeds)
        self.x: Float64[np.ndarray, "N 3"] = np.zeros((channels, 3))
        self.P: Float64[np.ndarray, "N 6"] = np.zeros((channels, 6))
        self.quat_wxyz: Float64[np.ndarray, " 4"] = np.array([1.0, 0.0, 0.0, 0.0])
        self.shares: Float64[np.ndarray, "H M"] = motion.usual.copy()
        self.likelihood: Float64[np.ndarray, "H M"] = np.zeros(motion.usual.shape)
        self.events: UInt8[np.ndarray, " G"] = np.zeros(groups, np.uint8)
        self.slow: Channels = np.zeros(channels)
        self._noise = np.zeros((groups, 3))
        self._said = np.zeros(motion.speeds.shape)
        self._speed = np.zeros(groups)
        self._outlying_s = np.full(groups, -1.0)
        self._pending = False
        self._dt_s = 0.0
        worth = tuning.displacement
        self._worth = None if worth is None else (worth.gain, worth.factor, worth.by_motion)
        compared = 0 if worth is None else len(worth.gain)
        self._earlier = np.zeros((compared, 4))  # x, xx, xv, xc of the pose before the prediction
        self._earlier_quat = self.quat_wxyz.copy()
        self._last = np.zeros((2, compared))  # values and new errors' variances, measured last
        self._last_quat = self.quat_wxyz.copy()
        self._seen_before = False  # whether the frame before was measured
        self._none = np.zeros(6)
        self.displaced: Displacement | None = None

    def expect(self, variance: float, slow: Channels) -> None:
        """Begin before any measurement: values are 0 with a variance, and measured with errors."""
        self.x[:], self.P[:] = 0.0, 0.0
        self.P[:, 0], self.P[:, 5] = variance, slow
        self.slow = slow
        self._pending = False

    def begin(self, measured: Measured) -> None:
        """Start at a measurement, at rest."""
        self._kernel.begin(self.x, self.P, measured.values, measured.white, measured.slow)
        if self._rotates and measured.quat_wxyz is not None:
            self.x[ROTATION, 0] = 0.0
            self.quat_wxyz = measured.quat_wxyz.astype(np.float64)
        self.slow = measured.slow
        self.shares = self._motion.usual.copy()
        self.likelihood[:] = 0.0
        self.events[:] = BEGUN
        self._outlying_s[:] = -1.0
        self._pending = False
        self.displaced = None
        self._remember(measured)

    def predict(self, dt_s: float) -> None:
        """Move on by ``dt_s`` >= 0 seconds."""
        tuning = self._tuning
        self._frame.advance(
            self.x, self.P, self._noise, self.slow, tuning.group, tuning.velocity_s,
            tuning.error_s, self.shares, self._motion.usual, tuning.forget_s, tuning.modes,
            tuning.evidence, self._motion.speeds, self._speed, self.likelihood, self.events,
            self.quat_wxyz, self._rotates, self._pending, self._earlier, self._earlier_quat, dt_s,
        )  # fmt: skip
        self._pending = True
        self._dt_s = dt_s
        self.displaced = None

    def update(self, measured: Measured) -> None:
        """Correct the channels at the time predicted to.

        A group whose innovations no mode explains is an outlier: it is left alone for a short
        while, and then begins anew where it is seen.
        """
        tuning, motion = self._tuning, self._motion
        self._stand_still()
        quat = self.quat_wxyz if measured.quat_wxyz is None else measured.quat_wxyz
        self._frame.update(
            self.x, self.P, self.quat_wxyz, self._rotates, quat, measured.values, measured.white,
            measured.slow, self._noise, tuning.group, tuning.modes, tuning.evidence,
            tuning.velocity_s, tuning.error_s, motion.speeds, self.shares, self.likelihood,
            self._speed, self._outlying_s, self.events, motion.gate, motion.patience_s, self._dt_s,
            False, self._none, self._none, self._none, self._earlier, self._earlier_quat,
        )  # fmt: skip
        self.slow = measured.slow
        self._pending = False
        self._remember(measured)

    def see(
        self,
        values: Channels,
        stated: Channels,
        logarithms: bool,
        conditions: Float64[np.ndarray, " F"],
        limits: tuple[Float64[np.ndarray, " F"], Float64[np.ndarray, " F"]],
        quat: Float64[np.ndarray, " 4"] | None = None,
        displacement: Displacement | None = None,
    ) -> tuple[Measured, Channels]:
        """:meth:`update` with what the network states of the values' errors.

        Args:
            values: (N,) of the channels.
            stated: (N,) variances as stated, or their logarithms.
            logarithms: which of these.
            conditions: of the frame; NaN where not known.
            limits: lowest and highest conditions that count.
            quat: the rotation, where the bank has one.
            displacement: of the pose since the last frame, as it is stated; it counts where the
                tuning says what it is worth, the last frame was measured, and both measurements
                allow it. :attr:`displaced` then holds it as it counts.

        Returns:
            What was measured, and the variance of the errors that stay for good.
        """
        tuning, motion = self._tuning, self._motion
        by = variance = noise = self._none
        comparable = self._pending and self._seen_before
        if comparable and displacement is not None and self._worth is not None:
            by, variance, noise = counted = np.empty((3, len(self._none)))
            self._compare.weighted(
                displacement.by, displacement.variance, *self._worth, tuning.group, counted
            )
        self._stand_still()
        errors = np.empty((3, len(values)))
        taken = self._frame.see(
            self.x, self.P, self.quat_wxyz, self._rotates, self.quat_wxyz if quat is None else quat,
            values, stated, logarithms, conditions, *limits, tuning.white, tuning.slow,
            tuning.error_share, tuning.error_ratio, errors, self._noise, tuning.group, tuning.modes,
            tuning.evidence, tuning.velocity_s, tuning.error_s, motion.speeds, self.shares,
            self.likelihood, self._speed, self._outlying_s, self.events, motion.gate,
            motion.patience_s, self._dt_s, by is not self._none, by, variance, noise,
            self._earlier, self._earlier_quat, self._last, self._last_quat,
        )  # fmt: skip
        self.displaced = Displacement(by, variance) if taken else None
        self._seen_before = True
        white, self.slow, lasting = errors
        self._pending = False
        return Measured(values, white, self.slow, quat), lasting

    def finish(self) -> None:
        """Nothing was measured at the time predicted to."""
        self._seen_before = False
        self._settle_usual()

    def _stand_still(self) -> None:
        """Where the time has not moved on, the modes were weighed already."""
        if not self._pending:
            self._noise[:] = 0.0
            self._dt_s = 0.0

    def _remember(self, measured: Measured) -> None:
        """What the next displacement must agree with."""
        compared = self._last.shape[1]
        self._last[0], self._last[1] = measured.values[:compared], measured.white[:compared]
        if measured.quat_wxyz is not None:
            self._last_quat[:] = measured.quat_wxyz
        self._seen_before = True

    @property
    def values(self) -> Channels:
        """The present estimates; a copy."""
        return self.x[:, 0].copy()

    @property
    def variances(self) -> Channels:
        """Of the estimates; a copy. Before the update, with the noise of the likely modes."""
        if not self._pending:
            return self.P[:, 0].copy()
        speed = (self.shares[self._tuning.modes] * self._motion.speeds).sum(axis=1)
        return self.P[:, 0] + (speed * self._noise[:, 0])[self._tuning.group]

    def present(
        self, lasting: Channels, size_variance: float
    ) -> tuple[Channels, Float64[np.ndarray, " 3"], Float64[np.ndarray, " 6"]]:
        """Values, position (mm) and the pose's variance, of a bank with a face's channels."""
        out = np.empty(9 + len(self.x))
        self._frame.present(
            self.x, self.P, self._noise, self.shares, self._tuning.modes, self._motion.speeds,
            self._tuning.group, self._pending, lasting, size_variance, out,
        )  # fmt: skip
        return out[9:], out[:3], out[3:9]

    def _settle_usual(self) -> None:
        """The noise of a motion that nothing was seen of."""
        if not self._pending:
            return
        self._said[:] = 0.0
        self._choose()
        self._kernel.settle(self.P, self._noise, self._speed, self._tuning.group)
        self._pending = False

    def _choose(self) -> None:
        tuning = self._tuning
        self._kernel.choose_modes(
            self.shares, self.likelihood, self._said, tuning.modes, tuning.evidence,
            self._motion.speeds, self._speed,
        )  # fmt: skip
