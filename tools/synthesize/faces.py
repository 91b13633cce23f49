"""``mien synthesize faces``: labelled crops for the regressor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .rendering import Rendering


@dataclass(frozen=True, kw_only=True)
class SynthesizeFaces(Rendering):
    """Render labelled synthetic faces into shards; the same for the same seed, resumable.

    Crops of 144 x 144 px for the regressor, with pose, shape, expression, blendshapes, points and
    presence.

    Attributes:
        count: pictures in all, rounded up to whole shards.
        shard_size: pictures a shard.
        first_shard: number of the first shard, to render more beside what there is.
        assets: folder of CC0 MakeHuman hair meshes; default: procedural hair only.
        sheet: PNG file for a contact sheet of the first shard, landmarks drawn in.
    """

    count: int = 100_000
    shard_size: int = 480
    first_shard: int = 0
    assets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None

    def run(self) -> int:
        """Render what is missing."""
        self.check(self.sheet)
        from ...models.synthetic.generate import SynthesisConfig, synthesise

        rendered = synthesise(
            SynthesisConfig(
                out=self.out,
                count=self.count,
                face_model=self.model_file,
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
            from ..files import write_png

            write_png(self.sheet, contact_sheet(self.out))
        return 0
