"""Rows in the formats of other programs; axes and units are in the README beside this file.

An exporter is a :class:`~mien.stream.sinks.base.Sink` that is made with a place and an
:class:`ExportContext`::

    context = ExportContext(recording, bundle.face_model, ExportOptions(every=5))
    with open_exporter("nerfstudio", out / "interview", context) as exporter:
        for frame, rows in ...:
            exporter.write(frame, rows)
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ...models.errors import InputError
from .base import ExportContext, Exporter, ExportOptions
from .coco import CocoExporter
from .eg3d import Eg3dExporter
from .elan import ElanExporter
from .gltf import GltfExporter
from .mesh import ObjExporter, PlyExporter
from .nerfstudio import NerfstudioExporter
from .openface import OpenFaceExporter

EXPORTERS: Final[dict[str, type[Exporter]]] = {
    "openface": OpenFaceExporter,
    "elan": ElanExporter,
    "eg3d": Eg3dExporter,
    "nerfstudio": NerfstudioExporter,
    "coco": CocoExporter,
    "gltf": GltfExporter,
    "obj": ObjExporter,
    "ply": PlyExporter,
}
"""What each name on the command line means."""


def open_exporter(name: str, stem: Path, context: ExportContext) -> Exporter:
    """Begin an export beside the other outputs of an input.

    Args:
        name: of :data:`EXPORTERS`.
        stem: place of the outputs, to which the exporter's suffix is added.
        context: what the exporter is told.

    Raises:
        InputError: there is none of that name.
        OutputError: the place cannot be written to.
    """
    try:
        kind = EXPORTERS[name]
    except KeyError as error:
        raise InputError(f"{name}: no such export, expected {', '.join(EXPORTERS)}") from error
    return kind(stem.with_name(stem.name + kind.SUFFIX), context)


__all__ = [
    "EXPORTERS",
    "ExportContext",
    "ExportOptions",
    "Exporter",
    "open_exporter",
]
