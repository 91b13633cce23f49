"""The body's skeleton: joints that follow a person's shape, and linear blend skinning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32
from scipy import sparse

from ..documents import json_of, one_line
from ..errors import InputError
from ..face.rotation import matrix_from_rotation_vector, rotation_between
from ..makehuman.source import MakeHumanData

_FOLDER = "mpfb2/rigs/standard"
_RIG = "game_engine"
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError)


@dataclass(frozen=True)
class Attitude:
    """How a body holds itself, in subject axes: x to its left, y down, z backwards.

    Attributes:
        aims: bone to the direction from its joint to the next one, any length.
        turns: bone to a rotation vector, radians, on top of its parent's turn; bones that are
            aimed take no turn.
    """

    aims: Mapping[str, tuple[float, float, float]]
    turns: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Rig:
    """A skeleton over the base mesh.

    Attributes:
        names: (B) bones, parents before children.
        parents: (B,) index of each bone's parent, -1 for the root.
        heads, tails: (B, V) sparse; a bone's ends are means of vertices.
        weights: (V, B) sparse; rows sum to 1.
    """

    names: tuple[str, ...]
    parents: Int32[np.ndarray, " B"]
    heads: sparse.csr_array
    tails: sparse.csr_array
    weights: sparse.csr_array

    @classmethod
    def load(cls, data: MakeHumanData) -> Rig:
        """Read the small skeleton of 53 bones.

        Raises:
            InputError: the data hold none, or one of another layout.
        """
        folder = data.root / _FOLDER
        try:
            bones = json_of((folder / f"rig.{_RIG}.json").read_text(encoding="utf-8"))
            text = (folder / f"weights.{_RIG}.json").read_text(encoding="utf-8")
            weights = json_of(text)["weights"]
            names = _parents_first({name: bone["parent"] for name, bone in bones.items()})
            cubes = _cubes(data)
            place = {name: number for number, name in enumerate(names)}
            parents = np.array([place.get(bones[name]["parent"], -1) for name in names], np.int32)
            ends = [[_mean_of(bones[name][end], cubes) for name in names] for end in _ENDS]
            count = len(data.base.vertices)
            heads, tails = (_means(members, count) for members in ends)
            rows = [np.asarray(weights.get(name, []), np.float64).reshape(-1, 2) for name in names]
            column = np.repeat(np.arange(len(names)), [len(row) for row in rows])
            pairs = np.concatenate(rows)
            if not ((pairs >= 0) & (pairs < (count, np.inf))).all():
                raise ValueError("a weight is negative, or of a vertex that is not there")
            spread = sparse.csr_array(
                (pairs[:, 1], (pairs[:, 0].astype(np.int64), column)), (count, len(names))
            )
        except _DAMAGE as error:
            raise InputError(
                f"{folder}: no {_RIG} skeleton to be read: {one_line(error)}"
            ) from error
        total = np.asarray(spread.sum(axis=1)).reshape(-1)
        if not (total > 0).all():
            raise InputError(f"{folder}: {int((total <= 0).sum())} vertices follow no bone")
        return cls(
            names, parents, heads, tails, sparse.csr_array(sparse.diags_array(1 / total) @ spread)
        )

    def joints(self, vertices: Float[np.ndarray, "V 3"]) -> Float64[np.ndarray, "B 3"]:
        """Where each bone begins in a body's rest shape."""
        return np.asarray(self.heads @ vertices.astype(np.float64))

    def share(self, *prefixes: str) -> Float32[np.ndarray, " V"]:
        """How much each vertex follows the bones whose names begin so."""
        chosen = np.array([name.startswith(prefixes) for name in self.names], np.float64)
        return np.asarray(self.weights @ chosen, np.float32)

    def transforms(
        self, vertices: Float[np.ndarray, "V 3"], attitude: Attitude
    ) -> Float64[np.ndarray, "B 3 4"]:
        """Where each bone is carried from rest, the root staying.

        An aimed bone turns by the least angle from where its parent would carry it.
        """
        heads = self.joints(vertices)
        along = np.asarray(self.tails @ vertices.astype(np.float64)) - heads
        made = np.zeros((len(self.names), 3, 4))
        for bone, (name, parent) in enumerate(zip(self.names, self.parents, strict=True)):
            carried = made[parent] if parent >= 0 else np.eye(3, 4)
            turn = carried[:, :3]
            if name in attitude.aims:
                aim = np.asarray(attitude.aims[name], np.float64)
                turn = rotation_between(turn @ along[bone], aim) @ turn
            elif name in attitude.turns:
                vector = np.asarray(attitude.turns[name], np.float64)
                turn = turn @ matrix_from_rotation_vector(vector)
            place = carried[:, :3] @ heads[bone] + carried[:, 3]
            made[bone] = np.c_[turn, place - turn @ heads[bone]]
        return made


def skin(
    vertices: Float[np.ndarray, "V 3"],
    weights: sparse.csr_array,
    transforms: Float64[np.ndarray, "B 3 4"],
) -> Float32[np.ndarray, "V 3"]:
    """Carry vertices by the weighted mean of their bones' transforms."""
    blended = np.asarray(weights @ transforms.reshape(len(transforms), 12)).reshape(-1, 3, 4)
    moved = np.einsum("vij,vj->vi", blended[:, :, :3], vertices) + blended[:, :, 3]
    return moved.astype(np.float32)


_ENDS = ("head", "tail")


def _parents_first(parent_of: dict[str, str]) -> tuple[str, ...]:
    ordered: list[str] = []
    while len(ordered) < len(parent_of):
        ready = [
            name
            for name, parent in parent_of.items()
            if name not in ordered and (not parent or parent in ordered)
        ]
        if not ready:
            raise ValueError("bones are each other's parents")
        ordered += ready
    return tuple(ordered)


def _cubes(data: MakeHumanData) -> dict[str, Int32[np.ndarray, " K"]]:
    """Vertices of the little cubes that mark joints."""
    groups = np.array(data.base.groups)
    joints = [name for name in np.unique(groups) if str(name).startswith("joint")]
    return {str(name): np.unique(data.base.quads[groups == name]) for name in joints}


def _mean_of(end: dict[str, object], cubes: dict[str, np.ndarray]) -> np.ndarray:
    if end["strategy"] == "CUBE":
        return cubes[str(end["cube_name"])]
    return np.asarray(end["vertex_indices"], np.int64)


def _means(members: list[np.ndarray], count: int) -> sparse.csr_array:
    if not all(m.ndim == 1 and m.size and 0 <= m.min() <= m.max() < count for m in members):
        raise ValueError("a bone ends at vertices that are not there")
    row = np.repeat(np.arange(len(members)), [len(m) for m in members])
    value = np.concatenate([np.full(len(m), 1 / len(m)) for m in members])
    return sparse.csr_array((value, (row, np.concatenate(members))), (len(members), count))
