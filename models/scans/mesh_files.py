"""Scanned meshes in files: colours of vertices or from a texture, units found or stated."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float64, UInt8

from ..documents import one_line
from ..errors import InputError, how_to_install
from ..mesh.files import checked_obj
from ..mesh.triangle_mesh import TriangleMesh
from ..picture_size import MOST_PX_A_BYTE, picture_fault
from .intrinsics import UNITS_MM

MESH_SUFFIXES: Final = (".ply", ".obj")
_MOST_TEXTURE_PX: Final = 3 << 25
"""Of all textures of a mesh, unless they have a byte for so many as other pictures."""
SMALLEST_MM, LARGEST_MM = 60.0, 1500.0
"""Extents of a scan of a face, of part of one, or of a head with shoulders."""


def read_scan_mesh(path: Path, unit: str | None = None) -> TriangleMesh:
    """Read a scanned mesh, mm, in the file's axes.

    Args:
        path: .ply or .obj; an OBJ's material and texture lie in its folder, or it has no colours.
        unit: of the file's numbers, ``mm``, ``cm`` or ``m``; None: mm or m, whichever a face fits.

    Raises:
        InputError: it cannot be read, is empty, holds numbers that are not finite, or is of a size
            that no face has.
    """
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise InputError(f"{path}: expected a mesh that ends {', '.join(MESH_SUFFIXES)}")
    loaded = _load(path)
    vertices = np.asarray(loaded.vertices, np.float64)
    faces = np.asarray(loaded.faces, np.int64).reshape(-1, 3)
    if not len(vertices) or not len(faces):
        raise InputError(
            f"{path}: an empty mesh ({len(vertices)} vertices, {len(faces)} triangles)"
        )
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(f"{path}: triangles point outside the {len(vertices)} vertices")
    finite = np.asarray(np.isfinite(vertices).all(axis=1))
    kept = finite[faces].all(axis=1)
    if kept.mean() < 0.5:
        raise InputError(f"{path}: most vertices are not finite numbers")
    used, flat = np.unique(faces[kept], return_inverse=True)
    scale = _unit_mm(path, vertices[used], unit)
    colours = _colours(loaded, len(vertices))
    return TriangleMesh(
        (vertices[used] * scale).astype(np.float32),
        flat.reshape(-1, 3).astype(np.int32),
        None if colours is None else np.ascontiguousarray(colours[used]),
    )


class _Beside:
    """Gives a mesh's material and texture, which its own text names, out of its folder only.

    A name that leads out of the folder (absolute, with ``..`` or through a link) is taken for one
    in it, as programs write the places of their own machine; what is not there has no colours.

    Attributes:
        fault: of a texture that the mesh named and must not have, else "".
    """

    def __init__(self, folder: Path) -> None:
        self.fault = ""
        self._folder = folder.resolve()
        self._known: dict[Path, bytes] = {}
        self._given_px = 0

    def __getitem__(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: the folder has none of that name.
        """
        plain = name.strip().replace("\\", "/")
        for place in (plain, plain.rpartition("/")[2]):
            try:
                path = (self._folder / place).resolve()
                there = path.is_relative_to(self._folder) and path.is_file()
            except (OSError, ValueError, RuntimeError):
                continue  # a name that no file can have, or links in a ring
            if there:
                return self._content(path)
        raise FileNotFoundError(f"{plain[:80]!r}: not in the mesh's folder")

    get = __getitem__

    def _content(self, path: Path) -> bytes:
        """What a file has; read once, as a mesh may name it often.

        Raises:
            FileNotFoundError: it cannot be read, or the mesh must not have it.
        """
        if self.fault:
            raise FileNotFoundError(self.fault)
        if path not in self._known:
            try:
                self._known[path] = path.read_bytes()
            except OSError as error:
                raise FileNotFoundError(f"{path.name[:80]!r}: {error.strerror}") from error
        content = self._known[path]
        width, height = _texture_size(content)
        # Every mention becomes a picture of its own in trimesh.
        self._given_px += width * height
        most = max(_MOST_TEXTURE_PX, MOST_PX_A_BYTE * sum(map(len, self._known.values())))
        fault = picture_fault(width, height, np.frombuffer(content, np.uint8))
        if not fault and self._given_px > most:
            fault = f"comes to {self._given_px} px with the textures before it"
        if fault:
            self.fault = f"its texture {path.name!r:.80} {fault}"
            raise FileNotFoundError(self.fault)
        return content


def _texture_size(content: bytes) -> tuple[int, int]:
    """Width and height, px, that a picture's header says; 0 of what is none, as a material.

    Pillow is what trimesh opens it with, and knows more formats than OpenCV. What else its readers
    raise comes out: trimesh, which would meet it next, takes the texture for missing.

    Raises:
        FileNotFoundError: it is a program, which Pillow would have Ghostscript run.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError:
        return 0, 0  # nobody decodes it
    try:
        with Image.open(io.BytesIO(content)) as picture:
            kind, size = picture.format, picture.size
    except UnidentifiedImageError:
        return 0, 0
    if kind == "EPS":
        raise FileNotFoundError("PostScript is no texture")
    return size


def _load(path: Path) -> Any:
    try:
        import trimesh
    except ModuleNotFoundError as error:
        raise InputError(f"scans in meshes need trimesh: {how_to_install('heavy')}") from error
    try:
        content = path.read_bytes()
        if not content.strip():
            raise InputError(f"{path}: an empty mesh (an empty file)")
        kind = path.suffix.lower()[1:]
        content = checked_obj(content, materials=True) if kind == "obj" else content
        files = _Beside(path.parent)
        beside: Any = files
        with warnings.catch_warnings():  # of Pillow's, over pictures that have their bytes
            warnings.filterwarnings("ignore", "Image size", module="PIL")
            scene = trimesh.load_scene(
                io.BytesIO(content), file_type=kind, resolver=beside, process=False
            )
            if files.fault:  # which trimesh passes over
                raise InputError(f"{path}: {files.fault}")
            return scene.to_mesh()
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or one_line(error)}") from error
    except Exception as error:  # trimesh's readers raise whatever comes
        why = one_line(error)
        raise InputError(f"{path}: not a readable mesh, or an empty one ({why})") from error


def _unit_mm(path: Path, vertices: Float64[np.ndarray, "V 3"], unit: str | None) -> float:
    """mm of the file's unit."""
    if unit is not None and unit not in UNITS_MM:
        raise InputError(f"unit {unit!r}; expected mm, cm or m")
    # A few stray points must not decide.
    extent = float(np.ptp(np.quantile(vertices, (0.005, 0.995), axis=0), axis=0).max())
    names = ["mm", "m"] if unit is None else [unit]
    for name in names:
        if SMALLEST_MM <= extent * UNITS_MM[name] <= LARGEST_MM:
            return UNITS_MM[name]
    said = " or ".join(f"{extent * UNITS_MM[name]:.4g} mm (in {name})" for name in names)
    raise InputError(
        f"{path}: {extent:.4g} across, that is {said}; a face's scan is {SMALLEST_MM:g} to "
        f"{LARGEST_MM:g} mm: say the unit of its numbers (mm, cm or m), or cut it"
    )


def _colours(mesh: Any, count: int) -> UInt8[np.ndarray, "V 3"] | None:
    """Colours of vertices, from a texture where there is one."""
    visual = mesh.visual
    try:
        if visual.kind == "texture":
            visual = visual.to_color()
        if visual.kind != "vertex":
            return None
        colours = np.asarray(visual.vertex_colors)[:, :3]
    except (AttributeError, ValueError, IndexError, TypeError, ModuleNotFoundError):
        return None  # a material without a picture: the shape is there all the same
    return colours.astype(np.uint8) if len(colours) == count else None
