"""Fills the figures of a model card: ``python -m mien.tools.evaluate.model_card CARD.md``.

A card is prose with places for figures, each between ``<!-- begin NAME -->`` and
``<!-- end NAME -->``; what stands there is replaced, everything else is kept.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from ...models.errors import InputError, OutputError
from ...models.writing import whole_file
from ..options import BundleOption, load_bundle


@dataclass(frozen=True)
class ModelCard:
    """Measure a bundle and write the figures into its model card.

    What is not given is left as the card has it. No picture of a real set is written
    anywhere; pictures are of rendered people only.

    Attributes:
        card: the card, Markdown with places for figures.
        bundle: folder of a model bundle; default: the one that mien ships.
        real: folder of the sets helen, dlib, pointing04 and noface.
        rendered: folder of "mien synthesize evaluation-set".
        log: log.jsonl of the training, for what the bundle says of that and its curves.
        pictures: folder for curves.png and worst.jpg.
    """

    card: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="CARD.md")]]
    bundle: BundleOption = None
    real: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    rendered: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    log: Annotated[Path | None, tyro.conf.arg(metavar="FILE.jsonl")] = None
    pictures: Path = Path(".github")

    def run(self) -> int:
        """Measure, then write."""
        try:
            text = self.card.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"{self.card}: cannot be read: {error.strerror}") from error
        parts: dict[str, str] = {}
        if self.log is not None:
            parts["training"] = self._training(self.log)
        if self.real is not None:
            parts["real"] = self._real(self.real)
        if self.rendered is not None:
            parts |= self._rendered(self.rendered)
        if not parts:
            raise InputError("nothing to measure: give --real, --rendered or --log")
        for name, part in parts.items():
            text = filled(text, name, part)
        with whole_file(self.card) as file:
            file.write_text(text, encoding="utf-8")
        print(f"wrote {self.card}: {', '.join(parts)}")
        return 0

    def _training(self, log: Path) -> str:
        """What the bundle says of its training, with its curves."""
        from ...models.learning.curves import draw_curves, read_log
        from ..files import write_png
        from .card_text import training_text

        path = self.pictures / "curves.png"
        write_png(path, draw_curves(read_log(log)))
        return training_text(load_bundle(self.bundle).info, self._link(path))

    def _link(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.card.parent)).as_posix()

    def _report(self, folder: Path, *, use_boxes: bool) -> dict[str, Any]:
        """What ``mien evaluate --json`` writes of a set."""
        from .command import Evaluate

        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "report.json"
            Evaluate(set=folder, use_boxes=use_boxes, json=file, bundle=self.bundle).run()
            report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return report

    def _real(self, folder: Path) -> str:
        from .card_text import REAL_SETS, real_text

        reports = {
            (name, use_boxes): self._report(folder / name, use_boxes=use_boxes)
            for name, use_boxes in REAL_SETS
        }
        return real_text(reports, folder)

    def _rendered(self, folder: Path) -> dict[str, str]:
        import cv2

        from .card_text import group_text, rendered_text
        from .held_out import picture_reader
        from .rendered import measure_rendered
        from .sheet import worst_cases

        measured = measure_rendered(folder, load_bundle(self.bundle), "60", 1)
        path = self.pictures / "worst.jpg"
        sheet = worst_cases(measured.faces, picture_reader(folder), 18)
        try:
            path.write_bytes(
                cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
            )
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        return {
            "rendered": rendered_text(measured.summary),
            "groups": group_text(measured.summary),
            "failures": f"![The worst of the rendered faces: truth green, estimate red]"
            f"({self._link(path)})",
        }


def filled(text: str, name: str, part: str) -> str:
    """A card's text with what stands in a place replaced.

    Raises:
        InputError: the card has no such place.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise InputError(f"the card has no place for figures between {begin} and {end}")
    return f"{before}{begin}\n{part.strip()}\n{end}{after}"


if __name__ == "__main__":
    from ..module_main import end_with

    end_with(ModelCard)
