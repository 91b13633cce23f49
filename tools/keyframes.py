"""``mien keyframes``: the frames of an annotated video that a heavy model should see."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro
from tyro.conf import Positional

from ..models.digest import file_sha256
from ..models.errors import InputError, OutputError, SourceError, TruncatedError
from ..stream.frame import Frame
from ..stream.observation import FaceObservation
from .options import BundleOption, load_bundle

if TYPE_CHECKING:
    from ..models.face.bundle import Bundle
    from ..stream.keyframes.selection import Choice, Pool
    from .annotate.annotated import Annotation, VideoFinder

ENDING = ".keyframes"
"""Of the folders that are written."""


@dataclass(frozen=True)
class Keyframes:
    """Pick key frames of annotated videos and write them as folders for the heavy models.

    Every frame with an observed face is scored: sharpness of the face (comparable between sizes),
    size, turn, eyes, expression, confidence, how much of head or body is in the picture. The video
    is read twice. Each video gets a folder <name>.keyframes below --out with keyframes.json, whole
    frames, aligned square crops, fits and a contact sheet; what is finished is skipped on a second
    run.

    Attributes:
        inputs: Parquet files of "mien annotate", or folders of them.
        out: folder for the folders; made where it is absent.
        videos: folders with the videos, or videos; default: beside the rows.
        purpose: portrait (sharp, frontal, eyes open, neutral), avatar (a neutral one, then varied
            expressions), body (the whole person in the picture, frontal) or coverage (spread over
            yaw and pitch).
        count: how many frames a video; fewer where not so many are apart and differ.
        track: number of the face; default: the one that is seen in most frames.
        crop: side of the aligned crops, px.
        bundle: folder of the model bundle that the rows were made with, for the meshes; default:
            the one that mien ships.
        overwrite: replace folders that were made with other options.
    """

    inputs: Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE.parquet|DIR")]]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    videos: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR|FILE")] = ()
    purpose: Annotated[
        Literal["portrait", "avatar", "body", "coverage"], tyro.conf.arg(name="for")
    ] = "portrait"
    count: Annotated[int, tyro.conf.arg(aliases=["-k"], metavar="K")] = 5
    track: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    crop: Annotated[int, tyro.conf.arg(metavar="PX")] = 512
    bundle: BundleOption = None
    overwrite: bool = False

    def run(self) -> int:
        """Write the folders and return the exit status."""
        from tqdm import tqdm

        from ..stream.sinks.partial import sweep
        from .annotate.annotated import Annotation, VideoFinder
        from .annotate.command import check_folder

        if not self.inputs:
            raise InputError("keyframes: no input; give Parquet files or folders of them")
        if self.count < 1:
            raise InputError(f"--count is {self.count}, expected 1 or more")
        if not 32 <= self.crop <= 4096:
            raise InputError(f"--crop is {self.crop}, expected 32 to 4096 px")
        items = [item for place in self.inputs for item in self._items(place)]
        names = Counter(name for _, name, _ in items)
        twice = [name for name, times in names.items() if times > 1]
        if twice:
            raise InputError(f"{twice[0]}: two inputs have this name; give them another --out each")
        finders = {folder: VideoFinder(self.videos, folder) for *_, folder in items}
        bundle = load_bundle(self.bundle)
        check_folder(self.out)
        sweep(self.out)
        for rows_path, name, _ in items:
            with suppress(InputError):  # it is told when its turn comes
                self._finished(Annotation.open(rows_path, name), bundle)
        outcomes: Counter[str] = Counter()
        with tqdm(items, unit="video", disable=None, leave=False) as bar:
            for rows_path, name, folder in bar:
                bar.set_postfix_str(name)
                try:
                    line = self._pick(rows_path, name, finders[folder], bundle)
                except (InputError, SourceError) as error:
                    outcomes["failed"] += 1
                    bar.write(f"mien: {error}", file=sys.stderr)
                    continue
                outcomes["done" if line else "skipped"] += 1
                if line:
                    bar.write(line, file=sys.stdout)
        parts = [
            f"{outcomes[word]} {word}" for word in ("done", "skipped", "failed") if outcomes[word]
        ]
        print(f"{', '.join(parts)}: {self.out}")
        return 1 if outcomes["failed"] else 0

    def _items(self, place: Path) -> list[tuple[Path, str, Path]]:
        """Files of rows, their names, and the folder that they were looked for in."""
        from .annotate.annotated import find_rows

        if not place.is_dir():
            if place.suffix.lower() != ".parquet":
                raise InputError(f"{place}: expected a .parquet file or a folder of them")
            if not place.is_file():
                raise InputError(f"{place}: no such file or folder")
            return [(place, place.stem, place.parent)]
        found = [(path, name, place) for path, name in find_rows(place, self.out)]
        if not found:
            raise InputError(f"{place}: no annotation in this folder")
        return found

    def _pick(self, rows_path: Path, name: str, finder: VideoFinder, bundle: Bundle) -> str:
        """Write the folder of one video; a line about it, "" where it was finished before.

        Raises:
            InputError: the rows cannot be used, or show no face.
            OutputError: the folder cannot be written, or was made with other options.
            SourceError: the video is missing, cannot be read, or is another one.
        """
        from ..stream.keyframes.selection import Pool, choose
        from .annotate.annotated import Annotation

        annotation = Annotation.open(rows_path, name)
        if annotation.camera is None:
            raise InputError(f"{rows_path}: does not say its camera; key frames need Parquet")
        if self._finished(annotation, bundle):
            return ""
        video, missing = finder.find(annotation)
        if video is None:
            raise SourceError(f"{rows_path}: no video: {missing}")
        track = main_track(annotation) if self.track is None else self.track
        pool = Pool(self.purpose)
        score_frames(annotation, video, track, pool)
        chosen = choose(pool.candidates, self.purpose, self.count)
        if not chosen:
            raise InputError(f"{rows_path}: face {track} is observed in no frame")
        place = self._write(annotation, video, track, chosen, pool.seen, bundle)
        frames = ", ".join(str(choice.candidate.frame) for choice in chosen)
        said = f"{name}: {len(chosen)} of {self.count}: frames {frames}: {place}"
        if _meshes(annotation, bundle):
            return said
        theirs = annotation.bundle_hash[:12] or "one that they do not name"
        return f"{said}; no meshes: the rows are of another bundle, {theirs}; --bundle takes it"

    def _place(self, annotation: Annotation) -> Path:
        return self.out / f"{annotation.name}{ENDING}"

    def _request(self, rows_path: Path) -> dict[str, Any]:
        return {
            "for": self.purpose,
            "count": self.count,
            "track": self.track,
            "crop": self.crop,
            "rows_sha256": file_sha256(rows_path),
        }

    def _finished(self, annotation: Annotation, bundle: Bundle) -> bool:
        """Whether the folder of a video was made with these options.

        Raises:
            InputError: the rows cannot be read.
            OutputError: it was made with others, or is damaged.
        """
        from ..stream.keyframes.folder import FACTS, KeyframeFolder

        place = self._place(annotation)
        if self.overwrite or not (place / FACTS).is_file():
            return False
        try:
            folder = KeyframeFolder.load(place)
        except InputError as error:
            raise OutputError(f"{error}; --overwrite replaces it") from error
        before, now = folder.facts.request, self._request(annotation.rows_path)
        changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
        if _meshes(annotation, bundle) and not all(k.mesh for k in folder.keyframes):
            changed.append("bundle")
        if changed:
            raise OutputError(
                f"{place}: was made with other {', '.join(changed)}; "
                "--overwrite replaces it, another --out keeps it"
            )
        return True

    def _write(
        self,
        annotation: Annotation,
        video: Path,
        track: int,
        chosen: list[Choice],
        candidates: int,
        bundle: Bundle,
    ) -> Path:
        from ..stream.keyframes.folder import FORMAT, VERSION, FolderFacts, Keyframe
        from ..stream.keyframes.writing import KeyframeWriter

        place = self._place(annotation)
        model = bundle.face_model if _meshes(annotation, bundle) else None
        matrix, size, camera = annotation.camera_matrix, annotation.size, annotation.camera
        if matrix is None or size is None or camera is None:
            raise InputError(f"{annotation.rows_path}: does not say its camera and size")
        ranks = {choice.candidate.frame: rank for rank, choice in enumerate(chosen)}
        written: dict[int, Keyframe] = {}
        with KeyframeWriter(place, camera, model, self.crop) as writer:
            for frame, row in pictures_of(annotation, video, track, max(ranks)):
                rank = ranks.get(frame.index)
                if rank is not None:
                    written[rank] = writer.write(frame.image_bgr, row, chosen[rank], rank)
            (a, b, c), (d, e, f), (g, h, i) = matrix
            facts = FolderFacts(
                format=FORMAT,
                version=VERSION,
                source=annotation.source,
                rows=annotation.rows_path.name,
                width=size[0],
                height=size[1],
                rate=annotation.rate,
                camera_matrix=((a, b, c), (d, e, f), (g, h, i)),
                bundle_hash=annotation.bundle_hash,
                options=dict(annotation.options),
                request=self._request(annotation.rows_path),
                candidates=candidates,
                keyframes=tuple(written[rank] for rank in sorted(written)),
            )
            writer.finish(facts)
        return place


def _meshes(annotation: Annotation, bundle: Bundle) -> bool:
    """Whether this bundle's face model is the one that the rows mean."""
    return bundle.hash == annotation.bundle_hash


def main_track(annotation: Annotation) -> int:
    """The face that is observed in most frames; of equal ones the first.

    Raises:
        InputError: no face is observed, or the rows cannot be read.
    """
    frames = Counter(row.track for row in annotation.rows() if row.observed)
    if not frames:
        raise InputError(f"{annotation.rows_path}: no face is observed in any frame")
    return min(frames, key=lambda track: (-frames[track], track))


def score_frames(annotation: Annotation, video: Path, track: int, pool: Pool) -> None:
    """Put every frame in which a face is observed into a pool of candidates.

    Raises:
        InputError: the rows cannot be read.
        SourceError: the video cannot, or is another one.
    """
    from ..stream.keyframes.scoring import measure

    camera = np.zeros((3, 3)) if annotation.camera is None else annotation.camera
    rate = annotation.rate or 25.0
    for frame, row in pictures_of(annotation, video, track, bar="scoring"):
        t_s = row.frame / rate if row.t_media_ns is None else row.t_media_ns / 1e9
        pool.add(measure(frame.image_bgr, row, camera, t_s))


def pictures_of(
    annotation: Annotation, video: Path, track: int, last: int | None = None, bar: str | None = None
) -> Iterator[tuple[Frame, FaceObservation]]:
    """The frames in which a face is observed, with its rows, in order.

    Args:
        annotation: where the rows are.
        video: that was annotated.
        track: of the face.
        last: frame to stop behind; None: all.
        bar: what a progress bar says; None: there is none.

    Raises:
        InputError: the rows cannot be read.
        SourceError: the video cannot, or is another one.
    """
    from tqdm import tqdm

    from ..stream.sources.opening import open_source

    rows = (row for row in annotation.rows() if row.observed and row.track == track)
    row = next(rows, None)
    with open_source(video) as source:
        if annotation.size != (source.info.width, source.info.height):
            raise SourceError(f"{video}: has pictures of another size than the rows say")
        quiet = True if bar is None else None
        with tqdm(
            desc=bar, total=source.info.frames, unit="frame", disable=quiet, leave=False
        ) as progress:
            for frame in _whole(source, progress.update):
                if row is None or (last is not None and frame.index > last):
                    break
                if frame.index != row.frame:
                    continue
                if frame.t_media_ns != row.t_media_ns:
                    raise SourceError(f"{video}: is not the video of these rows: other times")
                yield frame, row
                row = next(rows, None)
    if row is not None and (last is None or row.frame <= last):
        raise SourceError(f"{video}: ends before frame {row.frame}, which the rows know")


def _whole(source: Any, step: Callable[[], object]) -> Iterator[Frame]:
    """The frames of a source; one that breaks off ends there, as it did for the annotation."""
    try:
        for frame in source:
            step()
            yield frame
    except TruncatedError:
        return
