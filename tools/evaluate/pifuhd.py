"""``mien evaluate-models pifuhd``: heads or bodies from one picture, on held-out people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import tyro

from ...models.errors import InputError
from ...models.learning.device import Device, find_device
from ..files import check_place, write_png
from ..json_file import write_json
from ..options import need_torch

if TYPE_CHECKING:
    import numpy as np

    from ...models.pifuhd.baselines import MeanShape
    from ...models.pifuhd.dataset import PeopleFolder
    from ...models.pifuhd.evaluation import Evaluated, Evaluator
    from ...models.pifuhd.figures import Spread
    from ...models.pifuhd.network import Pifuhd

SHIPPED: Final = "shipped"
COLUMNS: Final[Mapping[str, tuple[str, int]]] = {
    "iou": ("IoU", 3),
    "chamfer_mm": ("Chamfer mm", 2),
    "chamfer_percent": ("Chamfer %", 2),
    "point_to_surface_mm": ("P2S mm", 2),
    "point_to_surface_percent": ("P2S %", 2),
    "back_chamfer_mm": ("back mm", 2),
    "back_chamfer_percent": ("back %", 2),
    "front_normal": ("normal front", 3),
    "back_normal": ("normal back", 3),
    "front_normal_deg": ("front deg", 1),
    "back_normal_deg": ("back deg", 1),
    "largest_share": ("largest piece", 3),
    "seconds": ("seconds", 1),
}
"""Figures with their headings and digits."""


@dataclass(frozen=True)
class EvaluatePifuhd:
    """Reconstruct held-out people from one picture each, and compare with their true surfaces.

    Rows: both levels with predicted normals; the coarse level only; the mean of the training
    identities fitted into the mask (the baseline); both levels with true normals (the ceiling).
    Only people whom no training sees are looked at. Figures are means over people with their
    standard deviations. Needs torch: mien[heavy].

    Attributes:
        data: folder of "mien synthesize heads" or "bodies".
        weights: file of weights (.safetensors of "mien train pifuhd", or the published
            pifuhd.pt), or "shipped".
        preset: which of the shipped weights.
        count: held-out people, at most; default: all.
        views: pictures of each.
        resolution: cells along the cube's edge: 64 times a power of two.
        mean_of: training identities that the mean shape is of, at most; 0 leaves that row out.
        json: file for all figures, of every person too.
        sheet: PNG file for pictures, from the best to the worst.
        sheet_count: people on the sheet.
        threads: processor threads.
        device: where to; auto takes the graphics card where there is one.
    """

    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    weights: Annotated[str, tyro.conf.arg(metavar="FILE|shipped")] = SHIPPED
    preset: Literal["head", "body"] = "head"
    count: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    views: int = 1
    resolution: int = 128
    mean_of: int = 64
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None
    sheet_count: int = 8
    threads: int = 1
    device: Device = "auto"

    def run(self) -> int:
        """Evaluate, print the table, write what is asked for."""
        need_torch("evaluate-models pifuhd")
        self._check()
        from ...models.learning.pace import processor_threads
        from ...models.pifuhd.dataset import PeopleFolder
        from ...models.pifuhd.evaluation import Evaluator

        folder = PeopleFolder(self.data)
        model = self._model()
        with processor_threads(self.threads):
            mean_shape = _mean_shape(folder, self.mean_of) if self.mean_of else None
            evaluator = Evaluator(model, mean_shape, self.resolution)
            done, strips = self._evaluated(evaluator, folder, model.config.image_size)
        summary = summarise(done)
        print(f"{self.data.name or self.data}: {len(done)} pictures of held-out people (synthetic)")
        print(table(summary["rows"]))
        for line in normal_lines(summary):
            print(line)
        self._write(folder, model, done, summary, strips)
        return 0

    def _check(self) -> None:
        check_place(self.json)
        check_place(self.sheet)
        if self.count is not None and self.count < 1:
            raise InputError(f"--count is {self.count}, expected 1 or more")
        if min(self.views, self.threads, self.sheet_count) < 1:
            raise InputError("--views, --threads and --sheet-count: expected 1 or more")
        if self.mean_of < 0:
            raise InputError(f"--mean-of is {self.mean_of}, expected 0 or more")

    def _model(self) -> Pifuhd:
        from ...models.pifuhd.weights import load_weights, shipped

        path = shipped(self.preset) if self.weights == SHIPPED else Path(self.weights)
        return load_weights(path).to(find_device(self.device))

    def _evaluated(
        self, evaluator: Evaluator, folder: PeopleFolder, size: int
    ) -> tuple[list[Evaluated], list[np.ndarray]]:
        """All cases without their meshes, and the sheet's lines."""
        from dataclasses import replace

        from tqdm import tqdm

        from ...models.pifuhd.cases import held_out_cases
        from ...models.pifuhd.evaluation_sheet import case_strip

        people = min(self.count or len(folder.held_out), len(folder.held_out))
        cases = held_out_cases(folder, size, self.count, self.views)
        done: list[Evaluated] = []
        strips: list[np.ndarray] = []
        bar = tqdm(total=people * self.views, unit="picture", disable=None, leave=False)
        with bar:
            for evaluated in evaluator.evaluate(cases):
                if self.sheet is not None:
                    strips.append(case_strip(evaluated))
                done.append(replace(evaluated, meshes={}, drawn=None))
                bar.update()
        if not done:
            raise InputError(f"{self.data}: nobody is held out there")
        return done, strips

    def _write(
        self,
        folder: PeopleFolder,
        model: Pifuhd,
        done: Sequence[Evaluated],
        summary: dict[str, Any],
        strips: Sequence[np.ndarray],
    ) -> None:
        if self.json is not None:
            about = {
                "data": {k: v for k, v in folder.meta.items() if k != "command"},
                "weights": self.weights if self.weights == SHIPPED else Path(self.weights).name,
                "network": model.config.name,
                "resolution": self.resolution,
                "held_out": len(folder.held_out),
            }
            write_json(self.json, about | summary | {"pictures": [entry(e) for e in done]})
        if self.sheet is not None:
            from ...models.pifuhd.evaluation_sheet import chosen, sheet

            places = chosen([e.figures["full"].iou for e in done], self.sheet_count)
            shown = sheet([strips[place] for place in places], model.config.use_normals)
            write_png(self.sheet, shown)


def _mean_shape(folder: PeopleFolder, people: int) -> MeanShape:
    """The baseline, with a bar: it reads many people."""
    from tqdm import tqdm

    from ...models.pifuhd.baselines import MeanShape

    with tqdm(total=1.0, desc="mean shape", disable=None, leave=False) as bar:
        return MeanShape.of_training(folder, people, lambda share: _advance(bar, share))


def _advance(bar: Any, share: float) -> None:
    bar.update(share - bar.n)


def summarise(done: Sequence[Evaluated]) -> dict[str, Any]:
    """Means and spreads by row, how often nothing was found, and the normal networks' errors.

    Pictures of one person are averaged first: the spread is over people.
    """
    import numpy as np

    from ...models.pifuhd.figures import Figures, spread, spreads

    rows: dict[str, Any] = {}
    for row in done[0].figures if done else ():
        by_person: dict[int, list[Figures]] = {}
        for evaluated in done:
            by_person.setdefault(evaluated.case.subject, []).append(evaluated.figures[row])
        people = [_mean_of(figures) for figures in by_person.values()]
        rows[row] = {
            "figures": {name: asdict(s) for name, s in spreads(people).items()},
            "empty": sum(row not in e.figures or e.figures[row].iou == 0 for e in done),
        }
    summary: dict[str, Any] = {"rows": rows, "count": len(done)}
    known = [e.normals for e in done if e.normals is not None]
    if known:
        summary["normals"] = {
            name: asdict(spread(np.array([getattr(n, name) for n in known])))
            for name in ("front_deg", "back_deg", "flat_deg")
        }
    return summary


def _mean_of(figures: Sequence[Any]) -> Any:
    import numpy as np

    from ...models.pifuhd.figures import FIGURES, Figures

    return Figures(**{k: float(np.mean([getattr(f, k) for f in figures])) for k in FIGURES})


def table(rows: Mapping[str, Any]) -> str:
    """The rows of a summary as a table: a line a figure, a column a row of the summary."""
    from ...models.pifuhd.evaluation import ROWS

    names = {str(row): title for row, title in ROWS.items()}
    lines = [
        f"{letter}: {names.get(row, row)}" for letter, row in zip("ABCDEFGH", rows, strict=False)
    ]
    width = 17
    lines.append(" " * 15 + "".join(f"{'ABCDEFGH'[k]:>{width}}" for k in range(len(rows))))
    for name, (heading, digits) in COLUMNS.items():
        cells = [_cell(content["figures"][name], digits) for content in rows.values()]
        lines.append(f"{heading:<15}" + "".join(f"{text:>{width}}" for text in cells))
    empty = {row: content["empty"] for row, content in rows.items() if content["empty"]}
    lines += [f"{names.get(row, row)}: {count} came to nothing" for row, count in empty.items()]
    return "\n".join(lines)


def normal_lines(summary: Mapping[str, Any]) -> list[str]:
    """What is to be said of the normal networks, if there are any."""
    if "normals" not in summary:
        return []
    front, back, flat = (summary["normals"][k] for k in ("front_deg", "back_deg", "flat_deg"))
    return [
        f"normal networks: front {_cell(front, 1)} deg, back {_cell(back, 1)} deg "
        f"(all towards the camera: {_cell(flat, 1)} deg)"
    ]


def _cell(spread: Mapping[str, float] | Spread, digits: int) -> str:
    known = spread if isinstance(spread, Mapping) else asdict(spread)
    if not known["count"]:
        return "-"
    text = f"{known['mean']:.{digits}f}"
    return text + (f" +- {known['deviation']:.{digits}f}" if known["count"] > 1 else "")


def entry(evaluated: Evaluated) -> dict[str, Any]:
    """One picture's figures, for JSON."""
    case, normals = evaluated.case, evaluated.normals
    return {
        "subject": case.subject,
        "view": case.view,
        "height_mm": case.height_mm,
        "rows": {row: asdict(figures) for row, figures in evaluated.figures.items()},
        "normals": None if normals is None else asdict(normals),
    }
