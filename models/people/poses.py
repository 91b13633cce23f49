"""How people stand, walk and hold their arms."""

from __future__ import annotations

from typing import Final

import numpy as np

from .skinning import Attitude

Aim = tuple[float, float, float]
Arm = tuple[Aim, Aim]
"""Directions of the upper arm and the forearm of the left side: x outwards, y down, z backwards."""

ARMS: Final[dict[str, Arm]] = {
    "down": ((0.20, 1.0, 0.06), (0.06, 1.0, -0.22)),
    "away": ((0.55, 1.0, 0.0), (0.40, 1.0, -0.25)),
    "akimbo": ((0.85, 0.70, 0.28), (-0.80, 0.62, -0.42)),
    "clasped": ((0.22, 1.0, -0.28), (-0.62, 0.62, -0.62)),
    "crossed": ((0.20, 1.0, -0.55), (-1.0, -0.12, -0.30)),
    "holding": ((0.18, 1.0, -0.20), (-0.22, -0.40, -1.0)),
    "waving": ((0.95, 0.30, -0.15), (0.15, -1.0, -0.25)),
    "raised": ((0.60, -0.85, -0.10), (0.10, -1.0, -0.12)),
    "aside": ((1.0, 0.10, -0.05), (1.0, 0.05, -0.20)),
    "forwards": ((0.25, 0.55, -0.85), (0.02, 0.10, -1.0)),
}
_CHANCES = (0.3, 0.14, 0.1, 0.08, 0.08, 0.1, 0.06, 0.05, 0.05, 0.04)
_TOGETHER: Final = frozenset({"clasped", "crossed"})
_WALKING, _SITTING = 0.25, 0.05


def sample_attitude(rng: np.random.Generator, stout: float) -> Attitude:
    """Draw an attitude.

    Args:
        rng: source of chance.
        stout: 0 to 1; arms hang farther from a heavy body.
    """
    kinds = list(ARMS)
    left = kinds[int(rng.choice(len(kinds), p=_CHANCES))]
    same = left in _TOGETHER or rng.random() < 0.55
    right = left if same else kinds[int(rng.choice(len(kinds), p=_CHANCES))]
    if not same and right in _TOGETHER:
        right = "down"
    stride = 0.0
    kind = rng.random()
    if kind < _WALKING:
        stride = float(rng.choice((-1.0, 1.0)) * rng.uniform(0.15, 0.5))
    return attitude_of(left, right, stride, sits=kind > 1 - _SITTING, stout=stout, rng=rng)


def attitude_of(
    left: str,
    right: str,
    stride: float,
    *,
    sits: bool,
    stout: float,
    rng: np.random.Generator,
) -> Attitude:
    """A named attitude with a person's own variation.

    Args:
        left, right: keys of :data:`ARMS`.
        stride: how far the left foot is ahead, over the leg's length; the arms swing against it.
        sits: thighs forwards.
        stout: 0 to 1.
        rng: source of chance.
    """
    aims: dict[str, Aim] = {}
    for kind, sign, side in ((left, 1.0, "l"), (right, -1.0, "r")):
        upper, lower = (np.array(aim) for aim in ARMS[kind])
        upper = upper + rng.normal(0, 0.06, 3)
        lower = lower + rng.normal(0, 0.07, 3)
        upper[0] += 0.22 * stout
        if kind in ("down", "away"):
            swing = sign * stride * rng.uniform(0.5, 1.0)
            upper[2] += swing
            lower[2] += swing - 0.1
        if kind == "crossed":  # one forearm lies on the other
            lower[1] += 0.1 * sign
            lower[2] -= 0.06 * (1 + sign)
        aims[f"upperarm_{side}"] = _aim(upper, sign)
        aims[f"lowerarm_{side}"] = _aim(lower, sign)
    apart = float(rng.uniform(0.02, 0.13)) + 0.04 * stout
    for sign, side in ((1.0, "l"), (-1.0, "r")):
        ahead = -sign * stride
        thigh = np.array([apart + rng.normal(0, 0.02), 1.0, ahead + rng.normal(0, 0.03)])
        # The leg behind is bent most, with its heel off the ground.
        calf = np.array([apart * 0.8, 1.0, ahead + max(0.0, ahead) + rng.uniform(0, 0.06)])
        if sits:
            thigh = np.array([0.12 + rng.normal(0, 0.05), rng.uniform(0.0, 0.25), -1.0])
            calf = np.array([0.05, 1.0, rng.normal(0.05, 0.1)])
        aims[f"thigh_{side}"] = _aim(thigh, sign)
        aims[f"calf_{side}"] = _aim(calf, sign)
        aims[f"foot_{side}"] = _aim(np.array([rng.uniform(0.0, 0.3), 0.75, -1.0]), sign)
    turns: dict[str, Aim] = {}
    bend = rng.normal(0, 1, 3) * (0.05, 0.08, 0.035)
    for bone in ("spine_01", "spine_02", "spine_03"):
        turns[bone] = _vector(bend)
    look = np.clip(rng.normal(0, 1, 3) * (0.08, 0.16, 0.05), -0.35, 0.35)
    turns["neck_01"] = _vector(look * 0.6)
    turns["head"] = _vector(look * 0.6)
    for kind, sign, side in ((left, 1.0, "l"), (right, -1.0, "r")):
        lift = 0.3 if kind == "raised" else 0.0
        turns[f"clavicle_{side}"] = (0.0, 0.0, -sign * lift)
        curl = float(rng.uniform(0, 0.5))
        for finger in ("index", "middle", "ring", "pinky"):
            for joint in ("01", "02"):
                turns[f"{finger}_{joint}_{side}"] = (0.4 * curl, 0.0, sign * curl)
    return Attitude(aims, turns)


def _aim(direction: np.ndarray, sign: float) -> Aim:
    return float(sign * direction[0]), float(direction[1]), float(direction[2])


def _vector(values: np.ndarray) -> Aim:
    return float(values[0]), float(values[1]), float(values[2])
