"""Hands and forearms before the face, posed by the base mesh's own bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32

from ..documents import json_of, one_line
from ..errors import InputError
from ..face.rotation import matrix_from_rotation_vector, rotation_between
from ..makehuman.head import triangulate
from ..makehuman.source import MakeHumanData
from ..render.surface import Surface
from .cloth import cloth_colour
from .eyes import srgb
from .headmap import CENTRE, Table, directions, over, reach

_WEIGHTS = "mpfb2/rigs/standard/weights.default.json"
_FOREARM_X_DM = 3.1
_FINGERS = range(1, 6)
_PARENTS = ("forearm", "palm", *(f"{f}-{k}" for f in _FINGERS for k in (1, 2, 3)))


@dataclass(frozen=True)
class Grip:
    """How fingers are bent: ranges of degrees a joint, thumb first, and how far they spread."""

    curl: tuple[tuple[float, float], ...]
    spread: tuple[float, float]


_FLAT = ((0.0, 20.0), (-5.0, 15.0), (-5.0, 15.0), (-5.0, 15.0), (-5.0, 20.0))
_LOOSE = ((5.0, 30.0), (10.0, 40.0), (15.0, 45.0), (20.0, 50.0), (20.0, 55.0))
_FIST = ((15.0, 45.0), (60.0, 85.0), (65.0, 88.0), (65.0, 88.0), (65.0, 88.0))
_POINT = ((10.0, 40.0), (-5.0, 20.0), (55.0, 85.0), (60.0, 88.0), (60.0, 88.0))
_TWO = ((15.0, 45.0), (-5.0, 12.0), (-5.0, 12.0), (60.0, 88.0), (60.0, 88.0))
_GRIPS = (
    (0.28, Grip(_FLAT, (-4.0, 10.0))),
    (0.30, Grip(_LOOSE, (-6.0, 4.0))),
    (0.18, Grip(_FIST, (-6.0, -2.0))),
    (0.14, Grip(_POINT, (-5.0, 3.0))),
    (0.10, Grip(_TWO, (-2.0, 9.0))),
)


def _unit(v: Float[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    return v / max(float(np.linalg.norm(v)), 1e-9)


class HandMaker:
    """Poses the left hand of the base mesh; the right one is its mirror image.

    Args:
        data: the base mesh and its skinning weights.
        mm_per_dm: scale of the head frame.

    Raises:
        InputError: the weights are missing or damaged.
    """

    def __init__(self, data: MakeHumanData, mm_per_dm: float) -> None:
        base = data.base
        groups = np.array(base.groups)
        joints = {
            name: base.vertices[np.unique(base.quads[groups == "joint-l-" + name])].mean(0)
            for name in ("hand", "elbow", *(f"finger-{f}-{k}" for f in _FINGERS for k in (1, 2, 3)))
        }
        quads = base.quads[groups == "body"]
        quads = quads[base.vertices[quads][..., 0].min(1) > _FOREARM_X_DM]
        used, numbers = np.unique(quads, return_inverse=True)
        self._triangles = triangulate(numbers.reshape(-1, 4).astype(np.int32))
        # Own frame: origin at the wrist, x towards the thumb, y along the fingers, z to the palm.
        wrist = joints["hand"].astype(np.float64)
        along = _unit(joints["finger-3-1"] - wrist)
        thumbwards = joints["finger-2-1"] - joints["finger-5-1"]
        thumbwards = _unit(thumbwards - along * (thumbwards @ along))
        palm = np.cross(thumbwards, along)
        if palm @ (joints["finger-3-3"] - joints["finger-3-1"]) < 0:
            palm = -palm
        axes = np.stack([thumbwards, along, palm]) * mm_per_dm
        self._mirrored = bool(np.linalg.det(axes) < 0)
        self._rest = (base.vertices[used] - wrist) @ axes.T
        self._joints = {name: (p - wrist) @ axes.T for name, p in joints.items()}
        self._skinning = _skinning(data, used)

    def posed(
        self, grip: Grip, wrist_bend: Float64[np.ndarray, "3 3"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "K 3"]:
        """Vertices in the hand's own frame, mm; the forearm is turned about the wrist."""
        moves = {"forearm": (wrist_bend, np.zeros(3)), "palm": (np.eye(3), np.zeros(3))}
        spread = rng.uniform(*grip.spread)
        for f, limits in zip(_FINGERS, grip.curl, strict=True):
            curl = rng.uniform(*limits)
            parent = moves["palm"]
            for k in (1, 2, 3):
                joint = self._joints[f"finger-{f}-{k}"]
                ahead = self._joints[f"finger-{f}-{min(k + 1, 3)}"] - joint
                if k == 3:
                    ahead = joint - self._joints[f"finger-{f}-2"]
                inwards = np.array([0.0, 0.0, 1.0]) if f > 1 else np.array([-0.7, 0.0, 0.7])
                axis = _unit(np.cross(ahead, inwards))
                turn = axis * np.radians(curl * (0.9, 1.1, 0.6)[k - 1] if f > 1 else curl * 0.6)
                if k == 1:
                    turn = turn + [0, 0, np.radians(spread * (3 - f)) if f > 1 else 0.0]
                local = matrix_from_rotation_vector(turn)
                rotation = parent[0] @ local
                shift = parent[0] @ (joint - local @ joint) + parent[1]
                parent = moves[f"{f}-{k}"] = (rotation, shift)
        matrices = np.stack([moves[name][0] for name in _PARENTS])
        shifts = np.stack([moves[name][1] for name in _PARENTS])
        turned = np.einsum("bij,kj->bki", matrices, self._rest) + shifts[:, None]
        return np.einsum("kb,bki->ki", self._skinning, turned).astype(np.float32)

    def hand(
        self,
        head: Float32[np.ndarray, "V 3"],
        landmarks: Int32[np.ndarray, " 68"],
        table: Table,
        skin: tuple[float, float, float],
        rng: np.random.Generator,
    ) -> Surface:
        """A hand on or before a face, vertices in the head frame.

        Args:
            head: the head with its expression, mm.
            landmarks: vertices of the landmarks.
            table: the head's distances (see :mod:`.headmap`).
            skin: sRGB.
            rng: source of chance.
        """
        shares = np.array([share for share, _ in _GRIPS])
        grip = _GRIPS[rng.choice(len(_GRIPS), p=shares / shares.sum())][1]
        side = float(rng.choice((-1.0, 1.0)))
        place = self._contact(head, landmarks, table, side, rng)
        outwards = _unit((place - CENTRE) * [1.0, 0.6, 1.0])
        free = rng.random() < 0.3
        up = np.array([-side * rng.uniform(-0.2, 0.9), -1.0, rng.uniform(-0.2, 0.5)])
        fingers = up if not free else rng.normal(0, 1, 3)
        fingers = _unit(fingers - outwards * (fingers @ outwards))
        palm = -outwards if rng.random() < 0.8 else outwards
        # With the palm to the face, the thumb of the hand on the same side points inwards.
        thumb = np.cross(fingers, palm)
        own_left = side > 0 if rng.random() < 0.8 else side < 0
        if (thumb[0] * side > 0) == own_left and not free:
            thumb = -thumb
        axes = np.stack([thumb, fingers, palm], 1)
        elbow = np.array([side * rng.uniform(-0.1, 0.8), 1.0, rng.uniform(-0.7, 0.3)])
        bend = self._wrist_bend(axes, elbow)
        scale = rng.uniform(0.84, 1.08)
        hand = scale * self.posed(grip, bend, rng)
        mirrored = (np.linalg.det(axes) < 0) != self._mirrored
        middle = hand[self._skinning[:, 0] < 0.5].mean(0)
        touch = middle if rng.random() < 0.6 else middle + [0, rng.uniform(20, 80), 0]
        points = (hand - touch) @ axes.T + place
        points = _clear(points, outwards, table, self._skinning[:, 0] < 0.6)
        if free:
            points = points + outwards * rng.uniform(0, 70) + rng.normal(0, 25, 3)
        triangles = self._triangles[:, ::-1] if mirrored else self._triangles
        return Surface(
            points.astype(np.float32),
            np.ascontiguousarray(triangles),
            colour=self._colours(skin, rng),
            specular=0.025,
            roughness=float(rng.uniform(0.4, 0.6)),
            subsurface=float(rng.uniform(0.3, 0.9)),
            two_sided=True,
        )

    def _wrist_bend(
        self, axes: Float64[np.ndarray, "3 3"], elbow: Float64[np.ndarray, " 3"]
    ) -> Float64[np.ndarray, "3 3"]:
        """Turns the forearm towards the elbow's direction (head frame), by 65 degrees at most."""
        rest = _unit(self._joints["elbow"])
        wanted = _unit(elbow @ axes)
        apart = np.arccos(np.clip(rest @ wanted, -1, 1))
        share = min(1.0, np.radians(65) / max(float(apart), 1e-6))
        return rotation_between(rest, _unit(rest + share * (wanted - rest)))

    @staticmethod
    def _contact(
        head: Float32[np.ndarray, "V 3"],
        landmarks: Int32[np.ndarray, " 68"],
        table: Table,
        side: float,
        rng: np.random.Generator,
    ) -> Float64[np.ndarray, " 3"]:
        """A point on the face where the hand rests: cheek, chin, mouth, eye, ear, forehead."""
        marks = head[landmarks].astype(np.float64)
        kind = rng.random()
        if kind < 0.3:
            towards = directions(
                np.array(side * rng.uniform(35, 80)), np.array(rng.uniform(-45, 5))
            )
            return over(table, towards, 0.0).astype(np.float64)
        if kind < 0.5:
            place = marks[8] + rng.normal(0, 8, 3)
        elif kind < 0.75:
            place = marks[rng.integers(48, 68)] + rng.normal(0, 8, 3)
        elif kind < 0.9:
            first = 36 if side < 0 else 42
            place = marks[first : first + 6].mean(0) + rng.normal(0, 12, 3)
        else:
            place = marks[27] + [side * 20, -35, 10] + rng.normal(0, 15, 3)
        return place

    def _colours(
        self, skin: tuple[float, float, float], rng: np.random.Generator
    ) -> Float32[np.ndarray, "K 3"]:
        """Skin with redder fingertips and palm; beyond the wrist often a sleeve."""
        colour = srgb(skin) * np.exp(rng.normal(0, 0.12))
        tips = self._skinning[:, [4, 7, 10, 13, 16]].sum(1)
        red = np.array([0.04, -0.1, -0.08]) * tips[:, None] * rng.uniform(0.3, 1.5)
        waves = np.sin(self._rest @ rng.normal(0, 0.15, (3, 4)) + rng.uniform(0, 6, 4)).sum(1)
        made = colour * (1 + red + 0.03 * waves[:, None])
        if rng.random() < 0.55:
            made[self._rest[:, 1] < -rng.uniform(8, 90)] = srgb(cloth_colour(rng))
        return np.clip(made, 0.002, 1).astype(np.float32)


def _clear(
    points: Float64[np.ndarray, "K 3"],
    outwards: Float64[np.ndarray, " 3"],
    table: Table,
    counted: np.ndarray,
) -> Float64[np.ndarray, "K 3"]:
    """Shift a hand outwards until most of it is outside of the head."""
    for _ in range(3):
        away = points[counted] - CENTRE
        distance = np.linalg.norm(away, axis=1)
        deficit = reach(table, away / distance[:, None]) + 2 - distance
        need = float(np.quantile(deficit, 0.93))
        if need <= 0.5:
            break
        points = points + outwards * need
    return points


def _skinning(data: MakeHumanData, used: Int32[np.ndarray, " K"]) -> Float64[np.ndarray, "K 17"]:
    """Share of each bone of :data:`_PARENTS` in each vertex."""
    path = data.root / _WEIGHTS
    try:
        table = json_of(path.read_text(encoding="utf-8"))["weights"]
        place = np.full(len(data.base.vertices), -1)
        place[used] = np.arange(len(used))
        shares = np.zeros((len(used), len(_PARENTS)))
        for name, rows in table.items():
            stem, _, side = name.rpartition(".")
            if side != "L" or not rows:
                continue
            column = 1 if stem == "wrist" or stem.startswith("metacarpal") else 0
            if stem.startswith("finger"):
                column = _PARENTS.index(stem.removeprefix("finger"))
            ids, values = np.array(rows, np.float64).T
            if not ((ids >= 0) & (ids < len(place))).all():
                raise ValueError(f"{name} is of a vertex that is not there")
            kept = place[ids.astype(int)]
            np.add.at(shares[:, column], kept[kept >= 0], values[kept >= 0])
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError),
    ) as error:
        raise InputError(
            f"{path}: no skinning weights of the base mesh: {one_line(error)}"
        ) from error
    shares[shares.sum(1) < 1e-6, 0] = 1
    return shares / shares.sum(1, keepdims=True)
