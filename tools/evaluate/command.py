"""``mien evaluate``: how far mien is off, on labelled stills or on rendered people and films."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from ...models.errors import InputError
from ...stream.detector_names import DEFAULT_DETECTOR
from ..files import check_place, write_png
from ..json_file import write_json
from ..options import (
    BundleOption,
    CameraOption,
    DetectorOption,
    Lines,
    load_bundle,
    of_option,
    read_camera,
)

if TYPE_CHECKING:
    import numpy as np

    from .estimator import Estimator
    from .labels import LabelledImage, TrueFace
    from .scores import Scored


@dataclass(frozen=True)
class Evaluate:
    """Measure accuracy on a labelled set; print a table, write JSON and a picture sheet.

    Stills: by default faces are detected, matched to the true ones by overlap, and missed ones
    counted. Rendered sets (of "mien synthesize faces" or "mien synthesize evaluation-set"):
    one crop by the truth, and beyond landmarks and angles also 3D shape, expression, blinks, gaze,
    stated variances and errors by group; films are followed, for steadiness, lag and failures.

    Attributes:
        set: folder with labels.jsonl and the images that it names, or with rendered shards.
        use_boxes: measure the regressor alone: a crop by the truth (the box of the landmarks where
            there are any, else the given box), looked at twice as a given box is in a still, no
            detection.
        json: file for the summary and what was found of every true face.
        sheet: PNG file for pictures of the worst cases, truth green, estimate red.
        sheet_count: how many cases the sheet shows.
        yaw_max: only faces whose label says |yaw| up to this, degrees; others are ignored.
        pitch_max: only faces whose label says |pitch| up to this, degrees; others are ignored.
        lines: which lines of labels.jsonl: choose on even ones, report odd ones. These three are
            for stills only.
        bundle: folder of a model bundle; default: the one that mien ships.
        detector: what finds faces: own or centerface.
        camera: camera file (TOML or JSON: fx, fy, cx, cy, width, height in pixels; or YAML or XML
            of OpenCV's calibration or ROS), or field of view across the longer side in degrees.
        threads: threads of the networks.
    """

    set: Positional[Path]
    use_boxes: bool = False
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None
    sheet_count: int = 24
    yaw_max: Annotated[float | None, tyro.conf.arg(metavar="DEGREES")] = None
    pitch_max: Annotated[float | None, tyro.conf.arg(metavar="DEGREES")] = None
    lines: Lines = "all"
    bundle: BundleOption = None
    detector: DetectorOption = DEFAULT_DETECTOR
    camera: CameraOption = "60"
    threads: int = 1

    def run(self) -> int:
        """Evaluate and return the exit status."""
        from .held_out import is_shard_folder
        from .labels import read_labels

        if is_shard_folder(self.set):
            return self._run_rendered()
        images = self._selected(read_labels(self.set, self.lines))
        if not images:
            raise InputError(f"{self.set}: no image is left to evaluate")
        self._check()
        from tqdm import tqdm

        from .estimator import Estimator
        from .scores import summarise, table

        bundle = load_bundle(self.bundle)
        faces: list[Scored] = []
        false: list[dict[str, Any]] = []
        failed: list[str] = []
        estimator = Estimator(bundle, self.camera, self.threads, self.detector)
        for image in tqdm(images, unit="image", disable=None, leave=False):
            self._evaluate(image, estimator, faces, false, failed)
        summary = self._options() | {
            "bundle_hash": bundle.hash,
            "images": len(images),
            "images_failed": len(failed),
            **summarise(faces, len(false)),
        }
        print(f"{self.set.name or self.set}: {len(images)} images, {len(failed)} failed")
        print(table(summary))
        self._write(summary, faces, false, lambda name: read_image(self.set / name))
        for line in failed:
            print(f"mien: {line}", file=sys.stderr)
        return 1 if failed else 0

    def _check(self) -> None:
        """Refuse what could not end well, before the work."""
        with of_option("--json"):
            check_place(self.json)
        with of_option("--sheet"):
            check_place(self.sheet)
        read_camera(self.camera)
        if self.threads < 1:
            raise InputError(f"--threads is {self.threads}, expected 1 or more")

    def _run_rendered(self) -> int:
        """Evaluate pictures and films of synthetic people."""
        if self.yaw_max is not None or self.pitch_max is not None or self.lines != "all":
            raise InputError(f"{self.set}: --yaw-max, --pitch-max and --lines are for stills only")
        self._check()
        from .held_out import picture_reader
        from .rendered import measure_rendered

        bundle = load_bundle(self.bundle)
        measured = measure_rendered(self.set, bundle, self.camera, self.threads, self.detector)
        summary = self._options() | {"use_boxes": True, "bundle_hash": bundle.hash}
        summary |= measured.summary
        print(f"{self.set.name or self.set}: rendered people")
        print(measured.table)
        self._write(summary, measured.faces, measured.false, picture_reader(self.set))
        return 0

    def _options(self) -> dict[str, Any]:
        return {
            "set": self.set.resolve().name,
            "use_boxes": self.use_boxes,
            "lines": self.lines,
            "yaw_max": self.yaw_max,
            "pitch_max": self.pitch_max,
            "detector": self.detector,
            "camera": self.camera,
        }

    def _selected(self, images: Iterable[LabelledImage]) -> list[LabelledImage]:
        """Images with the faces that the limits exclude set to be ignored, if any face is left."""
        selected = []
        for image in images:
            faces = tuple(
                replace(face, ignore=face.ignore or not self._inside(face)) for face in image.faces
            )
            if not faces or not all(face.ignore for face in faces):
                selected.append(replace(image, faces=faces))
        return selected

    def _inside(self, face: TrueFace) -> bool:
        for limit, angle in ((self.yaw_max, face.yaw_deg), (self.pitch_max, face.pitch_deg)):
            if limit is not None and (angle is None or abs(angle) > limit):
                return False
        return True

    def _evaluate(
        self,
        image: LabelledImage,
        estimator: Estimator,
        faces: list[Scored],
        false: list[dict[str, Any]],
        failed: list[str],
    ) -> None:
        """Add what one image yields; an unreadable one is a failure, its faces are missed."""
        from .scores import score

        pixels = read_image(image.path)
        if pixels is None:
            failed.append(f"{image.path}: not a readable picture")
            faces.extend(score(image.name, face, None) for face in image.faces)
        elif self.use_boxes:
            estimates = estimator.at_truth(pixels, image.faces)
            faces.extend(
                score(image.name, face, estimate)
                for face, estimate in zip(image.faces, estimates, strict=True)
            )
        else:
            estimates, unmatched = estimator.detected(pixels, image.faces)
            faces.extend(
                score(image.name, face, estimate)
                for face, estimate in zip(image.faces, estimates, strict=True)
            )
            false.extend({"image": image.name, "box": box.tolist()} for box in unmatched)

    def _write(
        self,
        summary: dict[str, Any],
        faces: list[Scored],
        false: list[dict[str, Any]],
        read: Callable[[str], np.ndarray | None],
    ) -> None:
        from .scores import face_entry

        if self.json is not None:
            content = {
                "summary": summary,
                "faces": [face_entry(face) for face in faces],
                "false_detections": false,
            }
            write_json(self.json, content)
        if self.sheet is not None:
            from .sheet import worst_cases

            write_png(self.sheet, worst_cases(faces, read, self.sheet_count))


def read_image(path: Path) -> np.ndarray | None:
    """A picture as (H, W, 3) uint8 BGR, None where there is none."""
    from ...models.picture_file import read_bgr

    try:
        return read_bgr(path)
    except InputError:
        return None
