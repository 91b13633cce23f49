"""Makes a tuning from measured errors, natural motion and films with truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Float64

from ...models.errors import InputError
from ...models.face.morphable import FaceModel
from ...models.face.rotation import (
    matrix_from_yaw_pitch_roll,
    quaternion_conjugate,
    quaternion_from_matrix,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)
from .channels import (
    BLENDSHAPES,
    DEPTH,
    DIRECTION,
    EXPRESSION,
    GROUPS,
    INDEPENDENT,
    MODES_OF,
    N_CHANNELS,
    POSE_GROUPS,
    SHAPE_GROUPS,
)
from .config import PRESETS, SmoothingConfig
from .displacement_tuning import DisplacementTuning
from .error_fit import (
    LEAST_RATIO,
    MOST_PASSING,
    MeasuredErrors,
    condition_range,
    fit_errors,
    with_correlation,
)
from .motion_fit import Trajectory, fit_motion, measure_trajectories
from .pose import view_coordinates
from .smoother import FaceMeasurement, FaceSmoother
from .tuning import MODE_NAMES, GroupTuning, ModeTuning, Tuning, channels_of

_ROUNDS: Final = 4
_AGREEMENT: Final = 0.2
_STRETCH: Final = 120  # frames of a film

_SPEEDS: Final[Mapping[str, tuple[float, float, float]]] = {
    "rotation": (0.01, 0.4, 2.0),
    "direction": (0.002, 0.05, 0.3),
    "depth": (0.002, 0.05, 0.3),
    "expression": (0.05, 1.5, 8.0),
    "lids_left": (0.02, 1.0, 10.0),
    "lids_right": (0.02, 1.0, 10.0),
    "gaze": (0.02, 0.5, 8.0),
    "brows": (0.02, 0.5, 3.0),
    "mouth": (0.02, 0.8, 4.0),
    "shape": (1e-4, 2e-4, 3e-4),  # who it is does not move
}
"""Where the fit of the motion begins: unit/s at rest, on the move, fast."""


def tune_errors(errors: Mapping[str, MeasuredErrors], dt_s: float) -> Tuning:
    """The laws of the errors of every group, and first guesses of the motion.

    Args:
        errors: of every group and ``shape``.
        dt_s: between their frames.

    Raises:
        InputError: there are too few.
    """
    groups: dict[str, GroupTuning] = {}
    for name in (*GROUPS, *SHAPE_GROUPS):
        white, slow, lasts = fit_errors(errors[name], dt_s, name not in POSE_GROUPS)
        pose = name in POSE_GROUPS
        groups[name] = GroupTuning(
            white=white,
            slow=slow,
            error_s=lasts.error_s,
            error_share=MOST_PASSING,
            error_ratio=max(lasts.passing, LEAST_RATIO),
            speeds=_SPEEDS[name],
            velocity_s=1.0 if name == "shape" else 0.2 if pose else 0.08,
        )
    modes: dict[str, ModeTuning] = {}
    for name in MODE_NAMES:
        members = [group for group in groups if MODES_OF[group] == name]
        apart = members[0] in INDEPENDENT
        channels = 1 if apart else sum(len(channels_of(group)) for group in members)
        # Errors of channels agree in part; together they tell less than their number.
        modes[name] = ModeTuning((0.8, 0.15, 0.05), 0.2, channels**-_AGREEMENT)
    low, high = condition_range([measured.conditions for measured in errors.values()])
    return Tuning(groups, modes, low, high, displacement=DisplacementTuning())


def trajectory(
    model: FaceModel,
    dt_s: float,
    angles_deg: Float[np.ndarray, "T 3"],
    translation_mm: Float[np.ndarray, "T 3"],
    blendshapes: Float[np.ndarray, "T 52"],
) -> Trajectory:
    """A motion as channels; the expression components are those nearest to the blendshapes.

    Args:
        model: the face model, whose bases connect the two.
        dt_s: between frames.
        angles_deg: yaw, pitch, roll.
        translation_mm: camera frame.
        blendshapes: in [0, 1].
    """
    own = model.expression_basis.reshape(len(model.expression_basis), -1).astype(np.float64)
    units = model.blendshape_basis.reshape(len(model.blendshape_basis), -1).astype(np.float64)
    nearest = np.linalg.lstsq(own.T, units.T, rcond=None)[0]
    values = np.zeros((len(angles_deg), N_CHANNELS))
    values[:, 3:6] = [view_coordinates(np.asarray(place)) for place in translation_mm]
    values[:, EXPRESSION] = blendshapes @ nearest.T
    values[:, BLENDSHAPES] = blendshapes
    quats = quaternion_from_matrix(matrix_from_yaw_pitch_roll(angles_deg))
    return Trajectory(dt_s, quats, values)


def tune_motion(
    tuning: Tuning,
    trajectories: Sequence[Trajectory],
    errors: Mapping[str, MeasuredErrors],
    rng: np.random.Generator,
    step: Callable[[], object],
) -> Tuning:
    """Fit how every group moves, on trajectories measured with the tuned errors.

    Args:
        tuning: with the laws of the errors.
        trajectories: exact ones.
        errors: whose frames' conditions and stated variances are drawn.
        rng: source of chance.
        step: called after every group.
    """
    stated = np.concatenate([errors[name].stated for name in GROUPS], axis=-1)
    conditions = errors[GROUPS[0]].conditions
    measured = measure_trajectories(
        trajectories,
        stated.reshape(-1, N_CHANNELS),
        conditions.reshape(-1, conditions.shape[-1]),
        tuning,
        rng,
    )
    for name in dict.fromkeys(MODES_OF[group] for group in GROUPS):
        tuning = fit_motion(name, tuning, measured)
        step()
    return tuning


@dataclass(frozen=True)
class TruePath:
    """A face followed through a film with truth.

    Attributes:
        t_ns: (T,) times.
        measured: a measurement a frame; None where the face was not seen.
        quats: (T, 4) true ``camera_from_head``.
        translation_mm: (T, 3) true, for the head's true size.
    """

    t_ns: Sequence[int]
    measured: Sequence[FaceMeasurement | None]
    quats: Float64[np.ndarray, "T 4"]
    translation_mm: Float64[np.ndarray, "T 3"]


def correlate_pose(tuning: Tuning, paths: Sequence[TruePath], dt_s: float) -> Tuning:
    """How the pose's errors last, on films: they follow the pose, which stills turn but little.

    Args:
        tuning: with the laws of the errors.
        paths: of films; the longest stretch without a miss counts of each.
        dt_s: between frames.

    Raises:
        InputError: no film shows a face for long enough.
    """
    stretches = [stretch for path in paths if len(stretch := _errors(path)) >= _STRETCH]
    if not stretches:
        raise InputError(f"no film follows a face for {_STRETCH} frames")
    errors = np.stack([stretch[:_STRETCH] for stretch in stretches])
    groups = dict(tuning.groups)
    for name in POSE_GROUPS:
        groups[name] = with_correlation(groups[name], errors[..., channels_of(name)], dt_s)
    return replace(tuning, groups=groups)


def _errors(path: TruePath) -> Float64[np.ndarray, "T 6"]:
    """Measured less true pose, over the longest run of measurements."""
    rows: list[list[np.ndarray]] = [[]]
    for k, measured in enumerate(path.measured):
        if measured is None:
            rows.append([])
            continue
        pose = measured.pose.pose
        off = quaternion_multiply(pose.quat_wxyz, quaternion_conjugate(path.quats[k]))
        view = view_coordinates(pose.translation_mm) - view_coordinates(path.translation_mm[k])
        rows[-1].append(np.concatenate([rotation_vector_from_quaternion(off), view]))
    return np.array(max(rows, key=len)).reshape(-1, 6)


def calibrate(tuning: Tuning, paths: Sequence[TruePath]) -> Tuning:
    """Scale the lasting errors of the pose so that its published variance is true on films.

    What stills say of them holds for stills: other poses, other sizes. Rounds of running the filter
    and multiplying the variance by the mean normalised squared error.
    """
    config = replace(PRESETS["responsive"], tuning=tuning)
    for _ in range(_ROUNDS):
        ratios = normalised_errors(config, paths)
        groups = dict(tuning.groups)
        for name, ratio in zip(POSE_GROUPS, ratios, strict=True):
            slow = groups[name].slow
            level = tuple(value + float(np.log(ratio)) for value in slow.level)
            groups[name] = replace(groups[name], slow=replace(slow, level=level))
        tuning = replace(tuning, groups=groups)
        config = replace(config, tuning=tuning)
    return tuning


def normalised_errors(
    config: SmoothingConfig, paths: Sequence[TruePath]
) -> tuple[float, float, float]:
    """Mean squared error over published variance: of rotation, direction and log depth."""
    sums, count = np.zeros(6), 0
    for path in paths:
        smoother = FaceSmoother(config)
        before: int | None = None
        for k, measured in enumerate(path.measured):
            t_ns = path.t_ns[k]
            smoother.predict(0.0 if before is None else (t_ns - before) * 1e-9)
            before = t_ns
            if measured is None:
                smoother.miss()
                continue
            smoother.update(measured)
            state = smoother.state(0.0)
            if state is None:
                continue
            off = quaternion_multiply(path.quats[k], quaternion_conjugate(state.pose.quat_wxyz))
            error = np.empty(6)
            error[:3] = rotation_vector_from_quaternion(off)
            error[3:] = view_coordinates(path.translation_mm[k])
            error[3:] -= view_coordinates(state.pose.translation_mm)
            variance = smoother.pose_variance()
            # Nobody can see how large a head is.
            variance[DEPTH] += config.head_scale_sd**2
            sums += error * error / variance
            count += 1
    mean = sums / max(count, 1)
    return float(mean[:3].mean()), float(mean[DIRECTION].mean()), float(mean[DEPTH])
