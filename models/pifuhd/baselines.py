"""The reconstruction that looks at next to nothing: the mean person, fitted into the mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32

from ..errors import InputError
from ..mesh.distance import signed_distance
from ..mesh.marching import surface_of_grid
from ..mesh.orthographic import orthographic_maps
from ..mesh.triangle_mesh import TriangleMesh
from .cases import true_surface
from .dataset import PeopleFolder

PEOPLE: Final = 64
"""Of the training identities that the mean is of, at most."""
CELLS: Final = 56
"""Values along each axis of the grid that is averaged."""
REACH: Final = 1.3
"""Half the side of that grid, in units of the cube: shoulders go on beyond a turned cube."""
TRUNCATION: Final = 0.2
"""Greatest distance that is averaged, in units of the cube."""
_MASK_SIZE: Final = 256


@dataclass(frozen=True)
class MeanShape:
    """The mean of the training identities, by averaged signed distances.

    It is told the true direction of view, and fitted to the box of the mask: so it is a strong
    baseline, that only lacks the person.

    Attributes:
        mesh: in the cube's coordinates, before the view's rotation.
    """

    mesh: TriangleMesh

    @classmethod
    def of_training(
        cls,
        folder: PeopleFolder,
        people: int = PEOPLE,
        progress: Callable[[float], None] | None = None,
    ) -> MeanShape:
        """Average people whom nothing is held out of.

        Args:
            folder: of people.
            people: at most, spread evenly over the training identities.
            progress: told the share that is done, 0 to 1.

        Raises:
            InputError: the mean has no inside.
        """
        numbers = sorted(folder.training)
        chosen = np.unique(np.linspace(0, len(numbers) - 1, people).round().astype(int))
        low, high = (-REACH, -REACH, -REACH), (REACH, REACH, REACH)
        total = np.zeros((CELLS, CELLS, CELLS), np.float64)
        for done, place in enumerate(chosen):
            number = numbers[place]
            surface, _ = true_surface(folder, number)
            unturned = _unturned(np.asarray(folder.training[number].cube_from_subject[0]))
            placed = surface.transformed(unturned)
            total += signed_distance(placed, low, high, (CELLS, CELLS, CELLS), TRUNCATION)
            if progress is not None:
                progress((done + 1) / len(chosen))
        mean = (total / len(chosen)).astype(np.float32)
        mesh = surface_of_grid(mean, 0.0, low, high, inside_above=False)
        if not len(mesh.triangles):
            raise InputError(f"{folder.path}: the mean of its people has no inside")
        return cls(mesh.largest_component())

    def fitted(
        self, cube_from_subject: Float32[np.ndarray, "3 4"], mask: Bool[np.ndarray, "S S"]
    ) -> TriangleMesh:
        """The mean person in the cube, seen as the person is, with a silhouette of the same box.

        Depth is scaled by the geometric mean of width's and height's scales.

        Args:
            cube_from_subject: of the view; its rotation is looked at.
            mask: where the person is.
        """
        linear = cube_from_subject[:, :3].astype(np.float64)
        turned = self.mesh.transformed(linear / np.cbrt(np.linalg.det(linear)))
        ours, true = _box(orthographic_maps(turned, _MASK_SIZE).mask), _box(mask)
        if ours is None or true is None:
            return turned
        size = (true[1] - true[0]) / (ours[1] - ours[0])
        scale = np.array([size[0], size[1], np.sqrt(size[0] * size[1])])
        shift = np.append(true[0] - scale[:2] * ours[0], 0.0)
        return turned.transformed(np.column_stack([np.diag(scale), shift]))


def _unturned(cube_from_subject: Float32[np.ndarray, "3 4"]) -> np.ndarray:
    """The view's map into the cube without its rotation."""
    linear = cube_from_subject[:, :3].astype(np.float64)
    scale = np.cbrt(np.linalg.det(linear))
    offset = (linear / scale).T @ cube_from_subject[:, 3]
    return np.column_stack([scale * np.eye(3), offset])


def _box(mask: Bool[np.ndarray, "S S"]) -> tuple[np.ndarray, np.ndarray] | None:
    """Lowest and highest x and y of a mask, in the cube's coordinates."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    size = len(mask)
    low = np.array([columns[0], rows[0]]) * 2 / size - 1
    high = np.array([columns[-1] + 1, rows[-1] + 1]) * 2 / size - 1
    return low, high
