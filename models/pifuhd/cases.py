"""Held-out people, ready to be reconstructed and compared with: picture, maps and true surface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from ..archives import fitted
from ..errors import InputError
from ..mesh.triangle_mesh import TriangleMesh
from .augment import Placement, photograph, placed_normals, placed_picture
from .dataset import PeopleFolder, subject_path
from .mapped import map_arrays
from .pose import FitError, told_pose

_SURFACE: Final = {
    "vertices": (np.float32, "_ 3"), "triangles": (np.int32, "_ 3"), "height_mm": (np.float32, ""),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One picture of a held-out person, and what is true of it.

    Attributes:
        subject: number of the person.
        view: number of the picture.
        picture: (S, S, 3) BGR with its backdrop.
        image: (3, S, S) the network's: RGB from -1 to 1, the background zero.
        mask: (S, S) where the person is.
        front: (3, S, S) true front normals, as the network draws them.
        back: (3, S, S) true back normals.
        truth: the true surface, in the cube; it may go on beyond the cube.
        cube_from_subject: (3, 4) the view's similarity.
        mm_per_unit: of the cube: half its side.
        height_mm: of the object in the cube.
        head_from_cube: (3, 4) transform to the head's axes, off as a face fit is; None of people
            whose heads' poses are not known.
    """

    subject: int
    view: int
    picture: UInt8[np.ndarray, "S S 3"]
    image: Float32[np.ndarray, "3 S S"]
    mask: Bool[np.ndarray, "S S"]
    front: Float32[np.ndarray, "3 S S"]
    back: Float32[np.ndarray, "3 S S"]
    truth: TriangleMesh
    cube_from_subject: Float32[np.ndarray, "3 4"]
    mm_per_unit: float
    height_mm: float
    head_from_cube: Float32[np.ndarray, "3 4"] | None = None


def held_out_cases(
    folder: PeopleFolder, size: int, count: int | None = None, views: int = 1
) -> Iterator[Case]:
    """Pictures of the held-out identities; no training has seen any picture of theirs.

    Args:
        folder: of people.
        size: pixels across the pictures, as the network reads them.
        count: people at most, spread evenly over the held-out ones; all when None.
        views: pictures of each. With fewer than there are, each person gets other ones, so that
            all directions of view are among them.

    Raises:
        InputError: a person has no true surface.
    """
    numbers = sorted(folder.held_out)
    if count is not None and count < len(numbers):
        places = np.linspace(0, len(numbers) - 1, count).round().astype(int)
        numbers = [numbers[place] for place in places]
    for turn, number in enumerate(numbers):
        there = folder.held_out[number].views
        for step in range(min(views, there)):
            yield read_case(folder, number, (turn * views + step) % there, size)


def read_case(folder: PeopleFolder, number: int, view: int, size: int) -> Case:
    """One picture of a held-out person; see :func:`held_out_cases`."""
    subject = folder.held_out[number]
    path = subject_path(folder.path, number)
    surface, height = true_surface(folder, number)
    cube_from_subject = np.asarray(subject.cube_from_subject[view])
    scale = float(np.cbrt(abs(np.linalg.det(cube_from_subject[:, :3].astype(np.float64)))))
    if not scale > 0:
        raise InputError(f"{path}: the camera of view {view} has no size")
    place = Placement()
    told = None
    if folder.has_heads:
        rng = np.random.default_rng([number, view])
        told = told_pose(cube_from_subject, place, FitError(), rng)
    picture = placed_picture(subject.images[view], place, size)
    mask = placed_picture(subject.mask[view], place, size)
    return Case(
        subject=number,
        view=view,
        picture=picture,
        image=photograph(picture, mask, None, np.random.default_rng(0)),
        mask=mask > 127,
        front=placed_normals(subject.front[view], place, size),
        back=placed_normals(subject.back[view], place, size),
        truth=surface.transformed(cube_from_subject),
        cube_from_subject=cube_from_subject,
        mm_per_unit=1 / scale,
        height_mm=height,
        head_from_cube=told,
    )


def true_surface(folder: PeopleFolder, number: int) -> tuple[TriangleMesh, float]:
    """A person's true surface, in the subject's frame, mm, and the height that figures refer to.

    Raises:
        InputError: the file does not hold them.
    """
    path = subject_path(folder.path, number)
    arrays = map_arrays(path)
    missing = sorted(_SURFACE.keys() - set(arrays))
    if missing:
        raise InputError(f"{path}: no true surface: it has no {', '.join(missing)}")
    try:
        found = fitted({name: arrays[name] for name in _SURFACE}, _SURFACE)
    except ValueError as error:
        raise InputError(f"{path}: no true surface: {error}") from error
    mesh = TriangleMesh(np.array(found["vertices"]), np.array(found["triangles"]))
    return mesh, float(found["height_mm"])
