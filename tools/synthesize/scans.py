"""``mien synthesize scans``: true faces and simulated scans for the avatar's training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .rendering import Rendering


@dataclass(frozen=True, kw_only=True)
class SynthesizeScans(Rendering):
    """Make people with many expressions as grids over the face, and scans of them; resumable.

    A file a person: signed distance and colour of each expression over a box of 18 x 18 x 14 cm,
    small pictures with cameras, the true surface, and simulated TrueDepth scans of the neutral
    face, complete and partial. Finished persons are kept; the same for the same seed.

    Attributes:
        count: persons to make, each another one.
        expressions: of each person; the first is the neutral face.
        cells: along each side of the box: 32, 48 or 64.
        first: number of the first person, to make more beside what there is.
        sheet: PNG file for a sheet of the first person: surfaces, slices, pictures, scans.
    """

    count: int = 300
    expressions: int = 18
    cells: int = 32
    first: int = 0
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None

    def run(self) -> int:
        """Make what is missing."""
        self.check(self.sheet)
        from ...models.scans.generate import ScansConfig, synthesise_scans

        made = synthesise_scans(
            ScansConfig(
                out=self.out,
                count=self.count,
                face_model=self.model_file,
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
            from ..files import write_png

            write_png(self.sheet, scans_sheet(self.out, self.first))
        return 0

    def _command(self) -> str:
        words = f"mien synthesize scans --count {self.count} --expressions {self.expressions}"
        return words + f" --cells {self.cells} --seed {self.seed} --first {self.first}"
