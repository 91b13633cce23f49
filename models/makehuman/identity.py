"""Random identities over the MakeHuman targets: who a synthetic person is.

The distribution follows what looked like people: Gaussian weights of small deviation over the
detail targets, clipped, times a factor drawn per person (the full range gives caricatures); macro
targets blend age, gender, ancestry, muscle and weight as MakeHuman does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32

from .source import MakeHumanData

AGES = ("baby", "child", "young", "old")
AGE_YEARS = (1.0, 10.0, 25.0, 90.0)
GENDERS = ("female", "male")
ANCESTRIES = ("african", "asian", "caucasian")
LEVELS = ("min", "average", "max")

_DETAIL_FOLDERS = (
    "head", "nose", "mouth", "eyes", "ears", "chin", "cheek", "eyebrows", "forehead", "neck",
    "asym",
)  # fmt: skip
_OPPOSITES = (
    ("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"), ("concave", "convex"),
    ("compress", "uncompress"),
)  # fmt: skip
_DETAIL_SIGMA = 0.30
_STOUT: dict[str, float] = {
    "head/head-fat": 0.9, "cheek/cheek-volume": 0.5, "neck/neck-double": 0.7,
    "head/head-scale-horiz": 0.35, "head/head-scale-depth": 0.35,
}  # fmt: skip
"""What a heavy person's detail axes gain at most: the macro targets alone leave every face slim,
and a broad, deep cheek then looks to the regressor like a smaller yaw."""
_ASYMMETRY_SIGMA = 0.12
_CLIP = 0.9


@dataclass(frozen=True)
class Identity:
    """One person.

    Attributes:
        weights: (K,) weights of the sampler's targets.
        age_years: 3 to 85.
        masculinity: 0 female to 1 male.
        ancestry: (3,) african, asian, caucasian; sums to 1.
        weight: 0 thin to 1 heavy.
    """

    weights: Float32[np.ndarray, " K"]
    age_years: float
    masculinity: float
    ancestry: Float32[np.ndarray, " 3"]
    weight: float


@dataclass(frozen=True)
class _Detail:
    """A detail axis: one target, or two that are opposites of each other."""

    negative: int
    positive: int
    side: str
    stem: str


def _split(name: str) -> tuple[str, str, str]:
    """``eyes/l-eye-trans-up`` -> (stem ``eyes/eye-trans``, side ``l``, suffix ``up``)."""
    folder, _, leaf = name.partition("/")
    side = ""
    if leaf[:2] in ("l-", "r-"):
        side, leaf = leaf[0], leaf[2:]
    stem, _, suffix = leaf.rpartition("-")
    return f"{folder}/{stem}", side, suffix


def _pair_details(names: list[str], first: int) -> list[_Detail]:
    index = {name: first + i for i, name in enumerate(names)}
    positive_of = dict(_OPPOSITES)
    details: list[_Detail] = []
    taken: set[str] = set()
    for name in names:
        stem, side, suffix = _split(name)
        twin = name.removesuffix(suffix) + positive_of.get(suffix, "?")
        if twin in index:
            details.append(_Detail(index[name], index[twin], side, stem))
            taken |= {name, twin}
    details += [
        _Detail(-1, index[name], _split(name)[1], name) for name in names if name not in taken
    ]
    return details


class IdentitySampler:
    """Draws identities and builds their vertices, for a chosen set of base-mesh vertices."""

    def __init__(self, data: MakeHumanData, vertex_ids: Int32[np.ndarray, " V"]) -> None:
        self.vertex_ids = vertex_ids
        self.base = data.base.vertices[vertex_ids]
        self._ancestral = [
            f"macrodetails/{a}-{g}-{age}" for a in ANCESTRIES for g in GENDERS for age in AGES
        ]
        self._universal = [
            f"macrodetails/universal-{g}-{age}-{m}muscle-{w}weight"
            for g in GENDERS for age in AGES for m in LEVELS for w in LEVELS
        ]  # fmt: skip
        macros = self._ancestral + self._universal
        details = [
            name for folder in _DETAIL_FOLDERS for name in data.names(folder)
            if not name.startswith("asym/asymm-")
        ]  # fmt: skip
        self.names = macros + details
        self._details = _pair_details(details, len(macros))
        place = np.full(len(data.base.vertices), -1, np.int64)
        place[vertex_ids] = np.arange(len(vertex_ids))
        self._matrix = np.zeros((len(self.names), len(vertex_ids), 3), np.float32)
        for row, name in zip(self._matrix, self.names, strict=True):
            ids, offsets = data.target(name)
            inside = place[ids] >= 0
            row[place[ids[inside]]] = offsets[inside]

    def sample(self, rng: np.random.Generator) -> Identity:
        """Draw one person."""
        child = rng.random() < 0.2
        years = float(rng.uniform(3, 16) if child else 16 + 69 * rng.beta(1.1, 1.8))
        masculinity = float(rng.beta(0.35, 0.35))
        ancestry = rng.dirichlet((0.45, 0.45, 0.45)).astype(np.float32)
        muscle, weight = float(rng.beta(2.0, 2.0)), float(rng.beta(1.3, 1.2))
        weights = np.concatenate(
            [
                self._macro_weights(years, masculinity, ancestry, muscle, weight),
                self._detail_weights(rng, 2 * max(weight - 0.5, 0.0) * rng.uniform(0.2, 1.0)),
            ]
        ).astype(np.float32)
        return Identity(weights, years, masculinity, ancestry, weight)

    def vertices(self, identity: Identity) -> Float32[np.ndarray, "V 3"]:
        """Vertices in decimetres, in the frame of the base mesh."""
        rows = np.flatnonzero(identity.weights)
        flat = self._matrix.reshape(len(self.names), -1)
        return self.base + (identity.weights[rows] @ flat[rows]).reshape(-1, 3)

    @staticmethod
    def _macro_weights(
        years: float,
        masculinity: float,
        ancestry: Float32[np.ndarray, " 3"],
        muscle: float,
        weight: float,
    ) -> Float32[np.ndarray, " 96"]:
        """Products of the interpolation weights of each attribute, in the order of the names."""
        age = np.array([np.interp(years, AGE_YEARS, row) for row in np.eye(len(AGES))])
        gender = np.array([1 - masculinity, masculinity])
        level = np.eye(3)
        muscles, heaviness = (
            np.array([np.interp(x, (0, 0.5, 1), row) for row in level]) for x in (muscle, weight)
        )
        ancestral = np.einsum("i,j,k->ijk", ancestry, gender, age)
        universal = np.einsum("j,k,l,m->jklm", gender, age, muscles, heaviness)
        return np.concatenate([ancestral.ravel(), universal.ravel()]).astype(np.float32)

    def _detail_weights(self, rng: np.random.Generator, stout: float) -> Float32[np.ndarray, " D"]:
        """Weights of the detail targets; ``stout`` is 0 to 1, how much of ``_STOUT`` is added."""
        factor = rng.uniform(0.35, 0.95)
        first = len(self._ancestral) + len(self._universal)
        weights = np.zeros(len(self.names) - first, np.float32)
        shared: dict[str, float] = {}
        for detail in self._details:
            if detail.stem.startswith("asym/"):
                value = rng.normal(0, _ASYMMETRY_SIGMA)
            elif detail.side:
                if detail.stem not in shared:
                    shared[detail.stem] = rng.normal(0, _DETAIL_SIGMA)
                value = shared[detail.stem] + rng.normal(0, _ASYMMETRY_SIGMA / 2)
            else:
                value = rng.normal(0, _DETAIL_SIGMA)
            value = float(np.clip(value, -_CLIP, _CLIP)) * factor
            value = min(value + stout * _STOUT.get(detail.stem, 0.0), 1.2)
            if value >= 0:
                weights[detail.positive - first] = value
            elif detail.negative >= 0:
                weights[detail.negative - first] = -value
        return weights
