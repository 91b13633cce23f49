"""``mien synthesize scenes``: heads cut out of their background, for the detector's training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .rendering import Rendering


@dataclass(frozen=True, kw_only=True)
class SynthesizeScenes(Rendering):
    """Render heads and shoulders without background into shards; resumable.

    "mien train detector" composes its scenes of them. The same for the same seed.

    Attributes:
        count: cut-outs in all, rounded up to whole shards.
        shard_size: cut-outs a shard.
        assets: folder of CC0 MakeHuman hair meshes; default: procedural hair only.
        sheet: PNG file for a sheet of scenes composed of the first shard, boxes drawn in.
    """

    count: int = 6000
    shard_size: int = 200
    assets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None

    def run(self) -> int:
        """Render what is missing."""
        self.check(self.sheet)
        from ...models.synthetic.scenes import CutOutConfig, render_cut_outs

        rendered = render_cut_outs(
            CutOutConfig(
                out=self.out,
                count=self.count,
                face_model=self.model_file,
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
            from ..files import write_png

            write_png(self.sheet, scenes_sheet(self.out))
        return 0
