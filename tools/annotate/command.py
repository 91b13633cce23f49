"""``mien annotate``: faces of many files, in batch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional

from ...models.errors import InputError, SourceError
from ...models.writing import make_folder
from ...stream.detector_names import DEFAULT_DETECTOR
from ..options import (
    BundleOption,
    CameraOption,
    DetectorOption,
    SmoothingOption,
    choices,
    load_bundle,
    of_option,
)
from .inputs import collect_inputs

if TYPE_CHECKING:
    from .annotation import Batch, Result
    from .boxes import Boxes
    from .files import Wanted
    from .inputs import Input

_FORMATS = ("parquet", "csv", "jsonl", "openface")
_EXPORTS = ("elan", "eg3d", "nerfstudio", "coco", "gltf", "obj", "ply")


@dataclass(frozen=True)
class Annotate:
    """Annotate videos, pictures and folders of them; finished inputs are skipped on a second run.

    Faces are smoothed in two passes, without lag; --causal gives what live tracking would have
    given. Outputs mirror the input tree below --out: <name>.parquet (one row a face a frame), and a
    sidecar <name>.json that says what was read. What was finished with other options or another
    bundle is refused unless --overwrite is said.

    Attributes:
        inputs: videos, pictures or folders.
        out: folder for the outputs; made where it is absent.
        format: which tables to write, separated by commas; openface is OpenFace 2's CSV.
        export: what to write for other programs, separated by commas (stream/export/README.md).
        export_every: exports with pictures or meshes take every n-th frame,
        export_frames: or these frames only, by number from 0, separated by commas.
        export_png: whole frames as PNG, not JPEG.
        export_mirror: eg3d: also every crop mirrored.
        overlay: also write <name>.overlay.mp4, the faces drawn into the picture.
        causal: smooth with what came before a frame only, in one pass, as live tracking does.
        overwrite: redo what is finished, and replace what was made with other options.
        boxes: CSV of boxes in pixels (frame from 0, x, y, w, h; source where there are several
            inputs) that replaces the detector.
        bundle: folder of a model bundle; default: the one that mien ships.
        smoothing: preset or TOML file; raw publishes what the regressor says.
        detector: what finds faces: own or centerface.
        camera: camera file (TOML or JSON: fx, fy, cx, cy, width, height in pixels; or YAML or XML
            of OpenCV's calibration or ROS), or field of view across the longer side in degrees.
        max_faces: at most so many faces at once.
        ipd_mm: distance between the pupils in mm, where it is known; it fixes the distance.
        workers: processes, each with one input at a time.
        threads: processor cores that a worker may use: 1 does all in one thread, with more decoding
            runs ahead of tracking. Results are the same.
        shard: i/n: only every n-th input, from the i-th on (i from 1 to n), so that n machines
            share the work; default: the task of a Slurm job array, or all inputs.
        ray: address of a Ray cluster that does the work, as host:6379, or auto for the one that
            this machine belongs to; each input takes --threads of its cores.
        patience: seconds without a frame after which one of several inputs (with --ray: any) has
            failed; a single one is worked on in this process, for as long as it takes.
    """

    inputs: Positional[tuple[Path, ...]]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    format: Annotated[str, tyro.conf.arg(metavar=",".join(_FORMATS))] = "parquet"
    export: Annotated[str, tyro.conf.arg(metavar=",".join(_EXPORTS))] = ""
    export_every: int = 1
    export_frames: Annotated[str, tyro.conf.arg(metavar="N,...")] = ""
    export_png: bool = False
    export_mirror: bool = False
    overlay: bool = False
    causal: bool = False
    overwrite: bool = False
    boxes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    bundle: BundleOption = None
    smoothing: SmoothingOption = "responsive"
    detector: DetectorOption = DEFAULT_DETECTOR
    camera: CameraOption = "60"
    max_faces: int = 1
    ipd_mm: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    workers: int = 1
    threads: int = 2
    shard: Annotated[str | None, tyro.conf.arg(metavar="i/n")] = None
    ray: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    patience: float = 300.0

    def run(self) -> int:
        """Annotate all inputs and return the exit status."""
        if not self.inputs:
            raise InputError("annotate: no input; give videos, pictures or folders")
        if self.workers < 1:
            raise InputError(f"--workers is {self.workers}, expected 1 or more")
        if not self.patience > 0.0:
            raise InputError(f"--patience is {self.patience:g}, expected seconds above 0")
        if self.ray is not None and self.workers != 1:
            raise InputError("--ray and --workers: the cluster decides how many work at once")
        from .batch import Shard

        shard = Shard.parse(self.shard)
        items, missing = collect_inputs(self.inputs, self.out)
        if not items:
            raise SourceError("; ".join(missing))
        items = shard.of(items)
        batch = self._batch()
        from ...stream.sinks.partial import sweep
        from .annotation import finished

        sweep(self.out)  # what a run that was killed has left
        for item in items:  # a mismatch is told before hours of work, not after
            finished(batch, item)
        for line in missing:
            print(f"mien: {line}", file=sys.stderr)
        try:
            results = self._annotate(batch, items)
        finally:
            sweep(self.out)  # and what worker processes have left that died
        print(_summary(results, self.out))
        return 1 if missing or any(r.outcome in ("truncated", "failed") for r in results) else 0

    def _annotate(self, batch: Batch, items: Sequence[Input]) -> list[Result]:
        from .batch import annotate_here, annotate_in_processes

        if self.ray is not None:
            from .ray_batch import annotate_on_ray

            return annotate_on_ray(self.ray, self._batch, items, self.threads, self.patience)
        if len(items) == 1:
            return annotate_here(batch, items)
        # A damaged file may take down or hang the process that decodes it: never this one.
        return annotate_in_processes(self._batch, items, self.workers, self.patience)

    def _wanted(self) -> Wanted:
        from ...stream.export import ExportOptions
        from .files import FORMATS, Wanted

        if self.export_every < 1:
            raise InputError(f"--export-every is {self.export_every}, expected 1 or more")
        tables = choices(self.format, _FORMATS, "--format")
        exports = choices(self.export, _EXPORTS, "--export") if self.export else ()
        return Wanted(
            formats=tuple(name for name in tables if name in FORMATS),
            overlay=self.overlay,
            exports=(*(name for name in tables if name not in FORMATS), *exports),
            export=ExportOptions(
                every=self.export_every,
                frames=_numbers(self.export_frames, "--export-frames"),
                picture_format="png" if self.export_png else "jpg",
                mirror=self.export_mirror,
            ),
        )

    def _batch(self) -> Batch:
        """The options as checked values; the output folder is made and tried."""
        from ..following import FollowingOptions
        from .annotation import Batch

        batch = Batch(
            out=self.out,
            wanted=self._wanted(),
            bundle=load_bundle(self.bundle),
            tracking=FollowingOptions(
                smoothing=self.smoothing,
                # Boxes replace the detector: no result depends on its name.
                detector=self.detector if self.boxes is None else DEFAULT_DETECTOR,
                camera=self.camera,
                max_faces=self.max_faces,
                ipd_mm=self.ipd_mm,
            ),
            threads=self.threads,
            boxes=None if self.boxes is None else _boxes(self.boxes),
            overwrite=self.overwrite,
            causal=self.causal,
        )
        check_folder(self.out)
        return batch


def _numbers(text: str, option: str) -> tuple[int, ...]:
    wanted = "expected numbers from 0 on, separated by commas"
    try:
        numbers = tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError as error:
        raise InputError(f"{option} is {text!r}, {wanted}") from error
    if any(number < 0 for number in numbers):
        raise InputError(f"{option} is {text!r}, {wanted}")
    return numbers


def _boxes(path: Path) -> Boxes:
    from .boxes import Boxes

    with of_option("--boxes"):
        return Boxes.load(path)


def check_folder(folder: Path) -> None:
    """Make the folder that ``--out`` names, and see that files can be written to it.

    Raises:
        OutputError: they cannot.
    """
    from ...stream.sinks.partial import PartialFile

    with of_option("--out"):
        make_folder(folder)
    PartialFile(folder / "try").discard()


def _summary(results: Sequence[Result], out: Path) -> str:
    counts = dict.fromkeys(("done", "skipped", "truncated", "failed"), 0)
    frames = with_faces = 0
    for result in results:
        counts[result.outcome] += 1
        if result.sidecar is not None:
            frames += result.sidecar.frames_read
            with_faces += result.sidecar.frames_with_faces
    parts = [f"{count} {outcome}" for outcome, count in counts.items() if count]
    return f"{', '.join(parts)}; {frames} frames, {with_faces} with a face: {out}"
