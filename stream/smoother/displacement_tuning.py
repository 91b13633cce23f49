"""What displacements are worth to the filter: ``[displacement]`` of ``smoother.toml``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ...models.errors import InputError
from .channels import CHANNEL_GROUPS, POSE, POSE_GROUPS, ROTATION


@dataclass(frozen=True)
class DisplacementTuning:
    """How displacements of a pose are taken.

    The error of one step has the variance that is stated, and beside it an error that grows with
    the motion, since the mesh is not quite this head's.

    Attributes:
        variance: what multiplies the variance that is stated of rotation, direction and depth.
        share: of a turn about the camera's x, y and z axis, how much the alignment finds; rotations
            are divided by it.
        motion: standard deviation of the error of rotation, direction and depth over how far each
            moved.
        turning: that of the error of direction (a share of the distance) and of the logarithm of
            the depth a radian of turn.

    Raises:
        InputError: a variance or share is not positive, or another value negative.
    """

    variance: tuple[float, ...] = (1.0,) * len(POSE_GROUPS)
    share: tuple[float, ...] = (1.0,) * (ROTATION.stop - ROTATION.start)
    motion: tuple[float, ...] = (0.0,) * len(POSE_GROUPS)
    turning: tuple[float, ...] = (0.0,) * (len(POSE_GROUPS) - 1)

    def __post_init__(self) -> None:
        for name in ("variance", "share"):
            if min(getattr(self, name)) <= 0.0:
                raise InputError(f"[displacement]: {name} must be positive")
        for name in ("motion", "turning"):
            if min(getattr(self, name)) < 0.0:
                raise InputError(f"[displacement]: {name} must be 0 or more")

    @property
    def gain(self) -> Float64[np.ndarray, " 6"]:
        """What multiplies each channel of a displacement."""
        gain = np.ones(POSE.stop)
        gain[ROTATION] = 1.0 / np.array(self.share)
        return gain

    @property
    def factor(self) -> Float64[np.ndarray, " 6"]:
        """What multiplies the variance that is stated of each, the gain's square included."""
        groups = [POSE_GROUPS.index(name) for name in CHANNEL_GROUPS[POSE]]
        return np.array(self.variance)[groups] * self.gain**2

    @property
    def by_motion(self) -> Float64[np.ndarray, "2 G"]:
        """Variance of a group a squared unit of its own way, and a squared radian of turn."""
        return np.square([self.motion, (0.0, *self.turning)])
