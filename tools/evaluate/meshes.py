"""``mien evaluate-models meshes``: how well two mesh files agree."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from ...models.errors import InputError


@dataclass(frozen=True)
class EvaluateMeshes:
    """Compare two meshes that lie in the same place: distances, normals, overlap.

    Units and axes of PLY and OBJ files are taken as they are; a GLB's metres become millimetres
    with y down, as mien's own files have them. The overlap is told where both meshes are closed.

    Attributes:
        mesh: a reconstruction: .ply, .obj or .glb.
        truth: what it is compared with.
        samples: points drawn from each surface.
        cells: along each axis of the grid for the overlap.
        json: file for the figures.
    """

    mesh: Annotated[Positional[Path], tyro.conf.arg(metavar="MESH")]
    truth: Annotated[Positional[Path], tyro.conf.arg(metavar="TRUTH")]
    samples: int = 20_000
    cells: int = 128
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None

    def run(self) -> int:
        """Measure and print."""
        from ..files import check_place
        from ..json_file import write_json

        check_place(self.json)
        if min(self.samples, self.cells) < 1:
            raise InputError("--samples and --cells: expected 1 or more")
        from ...models.mesh.compare import chamfer, iou
        from ...models.mesh.files import read_mesh

        mesh, truth = read_mesh(self.mesh), read_mesh(self.truth)
        found = asdict(chamfer(mesh, truth, self.samples))
        closed = mesh.is_watertight() and truth.is_watertight()
        figures = found | {"iou": iou(mesh, truth, self.cells) if closed else None}
        print(f"mesh to truth   {found['point_to_surface_ab']:.4g}")
        print(f"truth to mesh   {found['point_to_surface_ba']:.4g}")
        print(f"Chamfer         {found['chamfer']:.4g}")
        print(f"normals         {found['normal_error_deg']:.2f} deg")
        overlap = f"{figures['iou']:.4f}" if closed else "- (a mesh is not closed)"
        print(f"IoU             {overlap}")
        if self.json is not None:
            write_json(self.json, {"mesh": self.mesh.name, "truth": self.truth.name, **figures})
        return 0
