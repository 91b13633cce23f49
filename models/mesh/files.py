"""Meshes in files: PLY and OBJ in the mesh's own unit and axes, GLB in glTF's."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..documents import one_line
from ..errors import InputError, how_to_install
from ..writing import whole_file
from .glb import glb_bytes, mesh_of_glb
from .triangle_mesh import TriangleMesh

MISSING = f"mesh files need trimesh and Pillow: {how_to_install('heavy')}"
SUFFIXES = (".ply", ".obj", ".glb")
_MOST_MATERIALS: Final = 1000


def write_mesh(path: Path, mesh: TriangleMesh) -> None:
    """Write a mesh; the name's ending says how.

    PLY (binary) and OBJ keep numbers as they are, mm for mien's meshes. GLB is in metres with y up
    and the mesh's front towards +z, as glTF asks: (x, y, z) mm become (x, -y, -z) / 1000. Vertex
    colours are kept in all three.

    Raises:
        InputError: another ending, or trimesh is missing.
        OutputError: the file cannot be written.
    """
    suffix = _suffix(path)
    content = glb_bytes(mesh) if suffix == ".glb" else _plain_bytes(mesh, suffix)
    with whole_file(path) as part:
        part.write_bytes(content)


def read_mesh(path: Path) -> TriangleMesh:
    """Read what :func:`write_mesh` writes, and other triangles in these formats.

    All meshes of a file become one, in the numbers of a PLY or OBJ; of a GLB back in mm with y
    down. Vertices are as in the file, not merged. Of colours, those of vertices are read.

    Raises:
        InputError: another ending, an unreadable file, or one without triangles.
    """
    suffix = _suffix(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        if suffix == ".glb":
            mesh = mesh_of_glb(content)
        else:
            content = checked_obj(content, materials=False) if suffix == ".obj" else content
            load = _trimesh().load_mesh
            mesh = _plain(
                load(io.BytesIO(content), file_type=suffix[1:], process=False, maintain_order=True)
            )
    except Exception as error:  # trimesh's readers raise whatever comes
        if isinstance(error, ModuleNotFoundError) and error.name in ("trimesh", "PIL"):
            raise InputError(MISSING) from error
        why = one_line(error)
        raise InputError(f"{path}: not a readable {suffix[1:].upper()} mesh ({why})") from error
    if not len(mesh.triangles):
        raise InputError(f"{path}: no triangles in it")
    return mesh


def checked_obj(content: bytes, materials: bool) -> bytes:
    """An OBJ file's text as trimesh may read it: with materials within bounds, or without.

    trimesh makes room for whatever vertex a face names, and a mesh of its own, with a look at all
    vertices, for every material.

    Raises:
        ValueError: a face names a vertex far beyond the last, or there are too many materials.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # in names only; trimesh would guess, and drop what does not fit
        text = content.decode("latin-1")
    # Continued lines are joined here, not by trimesh: what is looked at is what it reads.
    text = text.replace("\r", "").replace("\\\n", " ")
    digits = len(str(text.count("\n") + 1)) + 1
    if re.search(rf"^[ \t]*f[^\n]*[0-9]{{{digits}}}", text, re.MULTILINE):
        raise ValueError("a face names a vertex far beyond the last one")
    if not materials:
        return text.replace("usemtl", "#").encode()
    names = {part.partition("\n")[0].strip() for part in text.split("usemtl ")[1:]}
    if len(names) > _MOST_MATERIALS:
        raise ValueError(f"{len(names)} materials, expected up to {_MOST_MATERIALS}")
    return text.encode()


def _plain_bytes(mesh: TriangleMesh, suffix: str) -> bytes:
    """A PLY or OBJ file's content."""
    plain = _trimesh().Trimesh(
        mesh.vertices, mesh.triangles, vertex_colors=mesh.colours, process=False
    )
    written = plain.export(file_type=suffix[1:])
    return written.encode() if isinstance(written, str) else bytes(written)


def _plain(mesh: Any) -> TriangleMesh:
    """Vertices, triangles and vertex colours of trimesh's mesh."""
    colours = None
    if mesh.visual.kind == "vertex":
        colours = np.ascontiguousarray(mesh.visual.vertex_colors[:, :3], np.uint8)
    return TriangleMesh(
        np.ascontiguousarray(mesh.vertices, np.float32),
        np.ascontiguousarray(mesh.faces, np.int32),
        colours,
    )


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a name that ends {', '.join(SUFFIXES)}")
    return suffix


def _trimesh() -> Any:
    try:
        import trimesh
    except ModuleNotFoundError as error:
        raise InputError(MISSING) from error
    return trimesh
