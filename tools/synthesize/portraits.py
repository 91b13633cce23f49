"""``mien synthesize portraits``: people under known light from labelled cameras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .rendering import Rendering


@dataclass(frozen=True, kw_only=True)
class SynthesizePortraits(Rendering):
    """Render portraits with cameras, light and captions, for "mien train portrait"; resumable.

    A file a person. A look is an expression and a light; each is seen from several cameras, with
    labels of 25 numbers as EG3D's. The same for the same seed.

    Attributes:
        count: persons to make, each another one.
        looks: expressions and lights of each person.
        views: cameras of each look: yaw to +-60 degrees, favouring +-35, pitch to +-20.
        size: side of the pictures, px.
        assets: folder of CC0 MakeHuman hair meshes; default: procedural hair only.
        first: number of the first person, to render more beside what there is.
        sheet: PNG file for a sheet of the first persons.
    """

    count: int = 300
    looks: int = 4
    views: int = 6
    size: int = 64
    assets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    first: int = 0
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None

    def run(self) -> int:
        """Render what is missing."""
        self.check(self.sheet)
        from tqdm import tqdm

        from ...models.portrait.synthesize import PortraitsConfig, contact_sheet, synthesise

        config = PortraitsConfig(
            out=self.out,
            count=self.count,
            face_model=self.model_file,
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
            from ..files import write_png

            write_png(self.sheet, contact_sheet(self.out))
        return 0
