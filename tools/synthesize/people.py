"""``mien synthesize heads`` and ``bodies``: people with their true solid shape, to reconstruct."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from .rendering import Rendering

if TYPE_CHECKING:
    from ...models.people.generate import HeadsConfig


@dataclass(frozen=True, kw_only=True)
class _People(Rendering, ABC):
    """What heads and bodies have in common.

    Attributes:
        count: subjects; each is another person.
        views: pictures a subject.
        size: of a picture, px.
        first: number of the first subject, to share the work between machines.
        assets: folder of CC0 MakeHuman hair, for bodies also of suits; default: procedural ones
            only.
        sheet: PNG file for a sheet of the first subjects: pictures with the outline of the mask,
            front and back normals.
    """

    kind: ClassVar[str]
    count: int = 300
    views: int = 6
    size: int = 256
    first: int = 0
    assets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None

    def run(self) -> int:
        """Make what is missing."""
        self.check(self.sheet)
        made = self._make()
        print(f"made {made} {self.kind} of {self.views} views in {self.out}")
        if self.sheet is not None:
            from ...models.people.sheet import people_sheet
            from ..files import write_png

            write_png(self.sheet, people_sheet(self.out, self.first, min(self.count, 8)))
        return 0

    @abstractmethod
    def _make(self) -> int:
        """Make what is missing; how many that were."""

    def _config(self, kind: type[HeadsConfig]) -> Any:
        words = f"mien synthesize {self.kind} --count {self.count} --views {self.views}"
        words += f" --size {self.size} --seed {self.seed} --first {self.first}"
        return kind(
            out=self.out,
            count=self.count,
            views=self.views,
            size=self.size,
            face_model=self.model_file,
            seed=self.seed,
            first=self.first,
            assets=self.assets,
            data=self.data,
            workers=self.workers,
            command=words + (" --assets DIR" if self.assets is not None else ""),
        )


@dataclass(frozen=True, kw_only=True)
class SynthesizeHeads(_People):
    """Make heads and shoulders with hair and clothes: pictures, normals and solid shape; resumable.

    Each subject is one file: a watertight mesh in mm, points that are known to be inside or
    outside, and parallel pictures from several sides with masks, front and back normals.
    "mien train pifuhd" learns from them. The same for the same seed. A subject of 6 views takes
    about 3 seconds of one core and 15 MB.
    """

    kind: ClassVar[str] = "heads"

    def _make(self) -> int:
        from ...models.people.generate import HeadsConfig, synthesise_people

        return synthesise_people(self._config(HeadsConfig))


@dataclass(frozen=True, kw_only=True)
class SynthesizeBodies(_People):
    """Make clothed people from head to foot: pictures, normals and solid shape; resumable.

    Each subject is one file: a watertight mesh in mm, points that are known to be inside or
    outside, and parallel pictures from all round with masks, front and back normals.
    "mien train pifuhd" learns from them. The same for the same seed. A subject of 6 views takes
    about 3 seconds of one core and 10 MB.
    """

    kind: ClassVar[str] = "bodies"
    count: int = 150

    def _make(self) -> int:
        from ...models.people.body_generate import BodiesConfig
        from ...models.people.generate import synthesise_people

        return synthesise_people(self._config(BodiesConfig))
