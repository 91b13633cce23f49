"""Are heads made of real pictures still that person's? Tracked again and looked at from the side.

    python bench/real_heads.py SET [--count 8] [--weights FILE] [--resolution 256]
        [--sheet FILE.png] [--table FILE.md]

SET is a labelled folder (tools/evaluate/labels.py). Faces are taken from its odd lines, evenly.
Each is reconstructed as ``mien reconstruct`` does; its coloured mesh is drawn by the input's camera
over grey and read by the regressor in the label's crop. The error of these landmarks against the
hand-placed ones stands beside that of the photo itself. The sheet shows shapes without colours: the
pictures of an evaluation set are not ours to print.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from mien.models.errors import MienError
from mien.models.face.camera import Camera
from mien.models.face.metrics import nme_percent
from mien.models.learning.pace import processor_threads
from mien.models.mesh.turntable import view
from mien.models.pifuhd.inference import TorchNetwork
from mien.models.pifuhd.reconstruct import Reconstruction, Settings, reconstruct
from mien.models.pifuhd.weights import load_weights, shipped
from mien.models.render import Lights, Surface, linear_from_srgb, render, to_srgb
from mien.tools.evaluate.estimator import Estimator
from mien.tools.evaluate.labels import LabelledImage, TrueFace, read_labels
from mien.tools.files import write_png
from mien.tools.options import load_bundle
from mien.tools.reconstruct.command import upright
from mien.tools.reconstruct.inputs import FaceChoice, Picture, collect_jobs

GREY = 0.3
TURNS_DEG = (0.0, 30.0, 60.0, 90.0, -60.0)
TILE_PX = 200
SAME_FACE_PERCENT = 25.0


@dataclass(frozen=True)
class Head:
    """One picture's outcome.

    Attributes:
        name: of the picture.
        photo: landmark error of the photo itself, % of the face's size, with and without jaw.
        drawn: the same of the mesh, drawn.
        seconds: of the reconstruction.
        remarks: what the reconstruction says of itself.
        row: its shape from several sides.
    """

    name: str
    photo: tuple[float, float]
    drawn: tuple[float, float]
    seconds: float
    remarks: tuple[str, ...]
    row: UInt8[np.ndarray, "h w 3"]


def chosen(folder: Path, count: int) -> list[tuple[LabelledImage, TrueFace]]:
    """Evenly from the odd lines: one labelled face a picture."""
    found = [
        (image, image.faces[0])
        for image in read_labels(folder, "odd")
        if len(image.faces) == 1 and image.faces[0].landmarks_px is not None
    ]
    places = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    return [found[i] for i in places]


def picture_of(place: Path, face: TrueFace) -> Picture:
    """The picture with mien's own fit of the labelled face.

    Raises:
        InputError: mien does not find that face.
    """
    assert face.landmarks_px is not None
    number = 0
    while True:
        number += 1  # beyond the last face this is an error that says so
        (job,) = collect_jobs([place], None, FaceChoice(number))
        picture = job.read()
        assert picture.face is not None
        if float(nme_percent(picture.face.landmarks_px, face.landmarks_px)) < SAME_FACE_PERCENT:
            return picture


def drawn_again(result: Reconstruction, width: int, height: int) -> UInt8[np.ndarray, "H W 3"]:
    """The coloured mesh as the input's camera sees it; its colours hold the light already."""
    matrix = result.view.camera_matrix
    camera = Camera(
        float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2]),
        width, height,
    )  # fmt: skip
    mesh = result.mesh
    assert mesh.colours is not None
    surface = Surface(
        vertices=mesh.vertices.astype(np.float32),
        triangles=mesh.triangles,
        colour=linear_from_srgb(mesh.colours),
        specular=0.0,
        two_sided=True,
    )
    backdrop = np.full((height, width, 3), GREY, np.float32)
    return to_srgb(render([surface], camera, Lights.even(1.0), backdrop).image)


def errors(
    estimator: Estimator, image: UInt8[np.ndarray, "H W 3"], face: TrueFace
) -> tuple[float, float]:
    """With and without jaw, %; infinite where the network sees no face."""
    (found,) = estimator.at_truth(image, [face])
    if found is None:
        return float("inf"), float("inf")
    assert face.landmarks_px is not None
    ours, true = found.landmarks_px, face.landmarks_px
    return float(nme_percent(ours, true)), float(nme_percent(ours, true, jaw=False))


def heads(options: argparse.Namespace) -> Iterator[Head]:
    """Reconstruct and measure, one by one."""
    network = TorchNetwork(load_weights(options.weights or shipped("head")), "cpu")
    estimator = Estimator(load_bundle(None), "60", 1)
    for labelled, face in chosen(options.set, options.count):
        begin_s = time.perf_counter()
        picture = picture_of(labelled.path, face)
        result = reconstruct(
            picture.image_bgr,
            picture.camera_matrix,
            picture.face,
            network,
            Settings(resolution=options.resolution, assumed_camera=picture.assumed_camera),
        )
        seconds = time.perf_counter() - begin_s
        height, width = picture.image_bgr.shape[:2]
        again = drawn_again(result, width, height)
        shown = upright(result)
        yield Head(
            labelled.path.stem,
            errors(estimator, picture.image_bgr, face),
            errors(estimator, again, face),
            seconds,
            result.remarks,
            np.hstack([view(shown, TILE_PX, yaw, clay=True) for yaw in TURNS_DEG]),
        )


def table(found: list[Head], about: str) -> str:
    """Markdown."""
    lines = ["### Heads of real pictures", "", about, ""]
    lines += ["| picture | photo, NME % (without jaw) | its mesh, NME % (without jaw) | s |"]
    lines += ["|---|---:|---:|---:|"]
    for head in found:
        (a, b), (c, d) = head.photo, head.drawn
        lines.append(
            f"| {head.name} | {a:.2f} ({b:.2f}) | {c:.2f} ({d:.2f}) | {head.seconds:.0f} |"
        )
    means = [np.mean([getattr(head, key) for head in found], axis=0) for key in ("photo", "drawn")]
    (a, b), (c, d) = means
    seconds = np.mean([head.seconds for head in found])
    lines.append(f"| mean | {a:.2f} ({b:.2f}) | {c:.2f} ({d:.2f}) | {seconds:.0f} |")
    return "\n".join(lines)


def captioned(head: Head) -> UInt8[np.ndarray, "h w 3"]:
    """The row with its name below the first tile."""
    row = np.ascontiguousarray(head.row)
    words = f"{head.name[:18]}  NME {head.drawn[0]:.1f} %"
    place = (6, row.shape[0] - 8)
    cv2.putText(row, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (40, 40, 40), 1, cv2.LINE_AA)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", type=Path)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    found: list[Head] = []
    with processor_threads(1):
        for head in heads(options):
            found.append(head)
            print(f"{head.name}: {head.drawn[0]:.2f} % ({'; '.join(head.remarks) or 'no remark'})")
    about = (
        f"`python bench/real_heads.py {options.set.name} --count {options.count} --resolution "
        f"{options.resolution}`, odd lines of the set; one thread."
    )
    text = table(found, about)
    print(text)
    if options.table is not None:
        options.table.write_text(text + "\n", encoding="utf-8")
    if options.sheet is not None:
        write_png(options.sheet, np.vstack([captioned(head) for head in found]))


if __name__ == "__main__":
    try:
        main()
    except MienError as error:
        raise SystemExit(f"real_heads: {error}") from error
