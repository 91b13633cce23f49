"""``mien synthesize closeups``: faces seen from near, for the blendshapes' network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .rendering import Rendering


@dataclass(frozen=True, kw_only=True)
class SynthesizeCloseups(Rendering):
    """Render faces from near, upright, into shards; resumable.

    "mien train blendshapes" cuts its views from them. The same for the same seed.

    Attributes:
        count: pictures in all, rounded up to whole shards.
        shard_size: pictures a shard.
        assets: folder of CC0 MakeHuman hair meshes; default: procedural hair only.
        sheet: PNG file for a sheet of the first shard, each picture with views of a training.
    """

    count: int = 40000
    shard_size: int = 400
    assets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None

    def run(self) -> int:
        """Render what is missing."""
        self.check(self.sheet)
        from ...models.synthetic.closeups import CloseupsConfig, render_closeups

        rendered = render_closeups(
            CloseupsConfig(
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
        print(f"rendered {rendered} shards of {self.shard_size} pictures into {self.out}")
        if self.sheet is not None:
            from ...models.blendshapes.sheet import closeup_sheet
            from ..files import write_png

            write_png(self.sheet, closeup_sheet(self.out, self.model_file))
            print(f"wrote {self.sheet}")
        return 0
