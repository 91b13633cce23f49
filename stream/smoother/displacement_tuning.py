"""What displacements are worth to the filter: ``[displacement]`` of ``smoother.toml``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64

from ...models.errors import InputError
from .channels import CHANNEL_GROUPS, POSE, POSE_GROUPS, ROTATION

AXES: Final = ROTATION.stop - ROTATION.start


@dataclass(frozen=True)
class DisplacementTuning:
    """How displacements of a pose are taken.

    Attributes:
        variance: what multiplies the variance that is stated of a displacement's rotation,
            direction and depth: it counts errors of single steps, which go together from step to
            step.
        share: of a turn about the camera's x, y and z axis, how much the alignment finds, whose
            mesh is not quite this head's; rotations are divided by it.

    Raises:
        InputError: a value is not positive.
    """

    variance: tuple[float, ...] = (1.0,) * len(POSE_GROUPS)
    share: tuple[float, ...] = (1.0,) * AXES

    def __post_init__(self) -> None:
        for name in ("variance", "share"):
            if min(getattr(self, name)) <= 0.0:
                raise InputError(f"[displacement]: {name} must be positive")

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
