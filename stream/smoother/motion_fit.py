"""How faces move, fitted by the likelihood of the innovations on measured sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64

from ...models.face.rotation import quaternion_from_rotation_vector, quaternion_multiply
from .channels import BLENDSHAPES, INDEPENDENT, MODES_OF, ROTATION
from .smoother import stated_of_blendshapes
from .tuning import MODES, Tuning, channels_of

_MOST: Final = 12.0
_EVALUATIONS: Final = 40  # a parameter
_PULL: Final = 1e-3
_TIMES_S: Final = (0.02, 2.0)
# Heads have inertia. Fitted freely, the bursts of gaze shifts leave a head hardly any (0.07 s), and
# a smooth turn is then followed with a constant lag.
_INERTIA_S: Final[Mapping[str, tuple[float, float]]] = dict.fromkeys(
    ("rotation", "direction", "depth"), (0.2, 2.0)
)


@dataclass(frozen=True)
class Trajectory:
    """How a face moves, exactly.

    Attributes:
        dt_s: between frames.
        quats: (T, 4) ``camera_from_head``.
        values: (T, 68) of all channels; those of the rotation are not looked at.
    """

    dt_s: float
    quats: Float64[np.ndarray, "T 4"]
    values: Float64[np.ndarray, "T 68"]


@dataclass(frozen=True)
class MeasuredSequence:
    """Measured frames of all channels, one trajectory after another.

    Attributes:
        dt_s: (T,) since the frame before.
        first: (T,) where a trajectory begins.
        quats: (T, 4) ``camera_from_head``.
        values: (T, 68); those of the rotation are not looked at.
        white: (T, 68) variance of new errors.
        slow: (T, 68) of lasting ones that pass.
    """

    dt_s: Float64[np.ndarray, " T"]
    first: Bool[np.ndarray, " T"]
    quats: Float64[np.ndarray, "T 4"]
    values: Float64[np.ndarray, "T 68"]
    white: Float64[np.ndarray, "T 68"]
    slow: Float64[np.ndarray, "T 68"]


def measure_trajectories(
    trajectories: Sequence[Trajectory],
    stated: Float64[np.ndarray, "K 68"],
    conditions: Float64[np.ndarray, "K F"],
    tuning: Tuning,
    rng: np.random.Generator,
) -> MeasuredSequence:
    """Trajectories as a network that errs by the tuning's laws would measure them.

    Args:
        trajectories: exact ones.
        stated: log-variances that the network stated of K frames; each trajectory takes one's, but
            for the blendshapes, of which they follow from the value.
        conditions: of these frames.
        tuning: the laws of the errors.
        rng: source of chance.
    """
    bank = tuning.face
    parts: list[tuple[np.ndarray, ...]] = []
    for path in trajectories:
        pick = int(rng.integers(len(stated)))
        frames = len(path.quats)
        said = np.broadcast_to(stated[pick], path.values.shape).copy()
        said[:, BLENDSHAPES] = stated_of_blendshapes(path.values[:, BLENDSHAPES])
        frames_of = [tuning.variances(bank, row, conditions[pick]) for row in said]
        white, slow, _ = (np.array(part) for part in zip(*frames_of, strict=True))
        lasting = np.empty_like(slow)
        lasting[0] = np.sqrt(slow[0]) * rng.standard_normal(slow.shape[1])
        keeps = np.exp(-path.dt_s / bank.error_s[bank.group])
        for t in range(1, frames):
            new = np.sqrt(slow[t] * (1.0 - keeps**2)) * rng.standard_normal(slow.shape[1])
            lasting[t] = keeps * lasting[t - 1] + new
        error = lasting + np.sqrt(white) * rng.standard_normal(white.shape)
        turned = quaternion_multiply(
            quaternion_from_rotation_vector(error[:, ROTATION]), path.quats
        )
        first = np.arange(frames) == 0
        dt = np.where(first, 0.0, path.dt_s)
        parts.append((dt, first, turned, path.values + error, white, slow))
    return MeasuredSequence(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def fit_motion(name: str, tuning: Tuning, measured: MeasuredSequence) -> Tuning:
    """The motion of the groups with one set of modes that makes their innovations likeliest.

    Speeds, the time in which velocities die down, the usual shares of the modes and the time in
    which a mode is forgotten, by a simplex in their logarithms, from the tuning's present values.

    Args:
        name: of the set of modes.
        tuning: with the laws of the errors.
        measured: by them.
    """
    from scipy.optimize import minimize

    names = [group for group in tuning.groups if MODES_OF[group] == name]
    cost = _cost(name, names, tuning, measured)
    start = _packed(name, names, tuning)
    simplex = np.concatenate([start[None], start + 0.5 * np.eye(len(start))])
    found = minimize(
        cost,
        start,
        method="Nelder-Mead",
        options={
            "maxfev": _EVALUATIONS * len(start),
            "initial_simplex": simplex,
            "fatol": 1.0,
            "xatol": 1e-2,
            "adaptive": True,
        },
    )
    return _unpacked(found.x, name, names, tuning)


def _cost(
    name: str, names: Sequence[str], tuning: Tuning, measured: MeasuredSequence
) -> Callable[[Float64[np.ndarray, " P"]], float]:
    """Minus the log-likelihood, as a function of the packed parameters."""
    from . import _fit_kernel

    numbers = [number for group in names for number in channels_of(group)]
    group = np.repeat(np.arange(len(names)), [len(channels_of(one)) for one in names])
    apart = names[0] in INDEPENDENT
    # Channels that move each for itself have modes of their own: their likelihoods multiply.
    parts = [([number], group[:1]) for number in numbers] if apart else [(numbers, group)]
    columns = [
        [
            np.ascontiguousarray(part[:, channels])
            for part in (measured.values, measured.white, measured.slow)
        ]
        for channels, _ in parts
    ]
    error_s = np.array([tuning.groups[one].error_s for one in names])
    rotates = "rotation" in names
    start = _packed(name, names, tuning)
    pull = _PULL * len(measured.dt_s)

    def cost(packed: Float64[np.ndarray, " P"]) -> float:
        tried = _unpacked(packed, name, names, tuning)
        groups, modes = [tried.groups[one] for one in names], tried.modes[name]
        speeds = np.array([one.speeds for one in groups]) ** 2
        velocity_s = np.array([one.velocity_s for one in groups])
        usual = np.array([modes.usual])
        found = 0.0
        for (_, own), (values, white, slow) in zip(parts, columns, strict=True):
            found += _fit_kernel.log_likelihood(
                rotates, measured.dt_s, measured.first, measured.quats, values, white, slow, own,
                error_s, speeds, velocity_s, usual, modes.forget_s, modes.evidence, _MOST,
            )  # fmt: skip
        # A weak pull to the start: what the sequences do not tell stays where it was.
        return -found + pull * float(np.sum((packed - start) ** 2))

    return cost


def _packed(name: str, names: Sequence[str], tuning: Tuning) -> Float64[np.ndarray, " P"]:
    """Logarithms: odds and time of the modes; of each group the slowest speed, steps, and time."""
    modes = tuning.modes[name]
    usual = np.array(modes.usual)
    parts = [np.log(usual[1:] / usual[0]), [np.log(modes.forget_s)]]
    for one in names:
        group = tuning.groups[one]
        speeds = np.array(group.speeds)
        parts += [[np.log(speeds[0])], np.log(np.log(speeds[1:] / speeds[:-1]))]
        parts += [[np.log(group.velocity_s)]]
    return np.concatenate(parts)


def _unpacked(
    packed: Float64[np.ndarray, " P"], name: str, names: Sequence[str], tuning: Tuning
) -> Tuning:
    odds = np.exp(np.clip(np.concatenate([[0.0], packed[: MODES - 1]]), -8.0, 3.0))
    forget_s = float(np.clip(np.exp(packed[MODES - 1]), *_TIMES_S))
    modes = replace(
        tuning.modes[name], usual=tuple((odds / odds.sum()).tolist()), forget_s=forget_s
    )
    groups = dict(tuning.groups)
    for number, one in enumerate(names):
        own = packed[MODES + number * (MODES + 1) :][: MODES + 1]
        rises = np.exp(np.clip(own[1:MODES], -3.0, 1.5))
        speeds = np.exp(own[0] + np.concatenate([[0.0], np.cumsum(rises)]))
        groups[one] = replace(
            groups[one],
            speeds=tuple(speeds.tolist()),
            velocity_s=float(np.clip(np.exp(own[MODES]), *_INERTIA_S.get(one, _TIMES_S))),
        )
    return replace(tuning, groups=groups, modes={**tuning.modes, name: modes})
