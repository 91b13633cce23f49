"""``mien report``: pages that show how an annotation went."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import tyro
from tyro.conf import Positional

from ...models.errors import InputError, OutputError, SourceError
from ..options import BundleOption, load_bundle

if TYPE_CHECKING:
    from ...models.face.bundle import Bundle
    from ..annotate.annotated import Annotation, VideoFinder
    from .index import Entry
    from .pictures import Moment, Shot

PAGES = "pages"
"""Folder of the pages of single videos, beside the index."""


@dataclass(frozen=True)
class Report:
    """Make HTML pages of an annotation: an index, and for each video curves, pictures and facts.

    Every page is one file that needs no other and no network. Pictures of the worst and best
    moments need the videos: they are looked for below --videos as the outputs' tree says, then by
    name, then beside the rows.

    Attributes:
        folder: that "mien annotate" wrote.
        out: folder of the pages; default: "report" in that folder.
        videos: folders with the videos, or videos.
        bundle: folder of the model bundle that the rows were made with, for the outline of the
            mesh; default: the one that mien ships.
    """

    folder: Positional[Annotated[Path, tyro.conf.arg(metavar="DIR")]]
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    videos: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR|FILE")] = ()
    bundle: BundleOption = None

    def run(self) -> int:
        """Write the pages and return the exit status."""
        from tqdm import tqdm

        from ..annotate.annotated import VideoFinder, find_rows
        from ..annotate.command import check_folder
        from .index import index_page

        if not self.folder.is_dir():
            fault = "is a file" if self.folder.exists() else "no such folder"
            raise InputError(f"{self.folder}: {fault}; expected an --out of mien annotate")
        out = self.folder / "report" if self.out is None else self.out
        items = find_rows(self.folder, out)
        if not items:
            raise InputError(f"{self.folder}: no annotation in this folder")
        finder = VideoFinder(self.videos, self.folder)
        bundle = load_bundle(self.bundle)
        check_folder(out)
        entries: list[Entry] = []
        with tqdm(items, unit="video", disable=None, leave=False) as bar:
            for rows_path, name in bar:
                bar.set_postfix_str(name)
                entries.append(_report(rows_path, name, out, finder, bundle))
                if entries[-1].problem:
                    bar.write(f"mien: {entries[-1].problem}", file=sys.stderr)
        title = self.folder.resolve().name or str(self.folder)
        _write(out / "index.html", index_page(entries, title))
        failed = sum(bool(entry.problem) for entry in entries)
        print(f"{len(entries) - failed} reported, {failed} failed: {out / 'index.html'}")
        return 1 if failed else 0


def _report(rows_path: Path, name: str, out: Path, finder: VideoFinder, bundle: Bundle) -> Entry:
    """Write the page of one video; its line in the index."""
    from ...stream.digest import digest
    from ..annotate.annotated import Annotation
    from .index import Entry
    from .page import video_page
    from .pictures import choose_moments

    try:
        annotation = Annotation.open(rows_path, name)
        sidecar = annotation.sidecar
        facts = digest(
            annotation.rows(),
            rate=annotation.rate,
            frames=None if sidecar is None else sidecar.frames_read,
            seconds=None if sidecar is None else sidecar.media_seconds,
        )
        shots, missing = _shots(annotation, choose_moments(facts), finder, bundle)
    except InputError as error:
        return Entry(name, problem=str(error))
    page = f"{PAGES}/{name}.html"
    home = "../" * page.count("/") + quote("index.html")
    _write(out / page, video_page(annotation, facts, shots, missing, home))
    if sidecar is None:
        return Entry.of(name, page, facts, None, "")
    return Entry.of(name, page, facts, sidecar.decode_errors, sidecar.stopped)


def _shots(
    annotation: Annotation, moments: Sequence[Moment], finder: VideoFinder, bundle: Bundle
) -> tuple[list[Shot], str]:
    """The pictures of a page, or why there are none."""
    from .pictures import take_shots

    video, missing = finder.find(annotation)
    if video is None:
        return [], missing
    model = bundle.face_model if bundle.hash == annotation.bundle_hash else None
    try:
        return take_shots(annotation, moments, video, model), ""
    except SourceError as error:
        return [], str(error)


def _write(path: Path, page: str) -> None:
    """Write a page; its name appears when it is complete.

    Raises:
        OutputError: it cannot be written.
    """
    from ...stream.sinks.partial import PartialFile

    file = PartialFile(path)
    try:
        file.path.write_text(page, encoding="utf-8", errors="replace")
        file.commit()
    except OSError as error:
        file.discard()
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
