"""Does an avatar talk as its driving video does? From a clip to an avatar, tracked again.

    python bench/talking_avatar.py VIDEO [--work DIR] [--weights FILE] [--every 2] [--steps 16]
        [--table FILE.md] [--sheet FILE.png]

Runs ``mien annotate``, ``mien keyframes --for avatar`` and ``mien avatar``; then each mesh is drawn
from in front, whatever way the driving head looks, and read by mien's tracker. Compared with the
driving vectors over time: correlation of each blendshape that moves in the video, and of all.
The sheet shows the avatar's form alone, in one colour: the pictures of an evaluation set, and what
is coloured after them, are not ours to print.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from mien.models.errors import MienError
from mien.models.face.names import BLENDSHAPE_NAMES
from mien.models.mesh.files import read_mesh
from mien.models.scans.picture import FacePicture
from mien.tools.annotate.command import Annotate
from mien.tools.avatar.command import MakeAvatar
from mien.tools.avatar.expression import read_expressions
from mien.tools.evaluate.avatar import picture_tracker
from mien.tools.files import write_png
from mien.tools.keyframes import ENDING, Keyframes
from mien.tools.options import load_bundle

MOVES = 0.08
"""Deviation over the clip from which a blendshape is one that moves."""
SHOWN = 8
CLAY = (205, 190, 175)


def make(options: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Run the tools; the annotation, and the folder with the meshes."""
    rows = folder / "rows" / f"{options.video.stem}.parquet"
    keys = folder / "keys" / f"{options.video.stem}{ENDING}"
    avatar = folder / "avatar"
    tools = (
        Annotate((options.video,), out=rows.parent),
        Keyframes((rows,), keys.parent, (options.video,), "avatar", count=1),
        MakeAvatar(
            avatar, keys, str(rows), weights=options.weights, steps=options.steps,
            every=options.every, formats="ply", film=False, threads=1, overwrite=True,
        ),
    )  # fmt: skip
    for tool in tools:
        if tool.run():
            raise SystemExit("talking_avatar: a step before the measurement failed")
    return rows, avatar


def tracked(meshes: Sequence[Path]) -> Float32[np.ndarray, "F 52"]:
    """What the tracker reads off each mesh, NaN where it finds no face."""
    drawer = FacePicture()
    rows = []
    with picture_tracker(load_bundle(None)) as tracker:
        for place in meshes:
            found = tracker.fit(drawer.draw(read_mesh(place)))
            values = found[0].blendshapes if found else None
            rows.append(np.full(52, np.nan, np.float32) if values is None else values)
    return np.stack(rows)


def drawn(meshes: Sequence[Path]) -> list[UInt8[np.ndarray, "240 240 3"]]:
    """Pictures of the meshes as if of clay."""
    drawer, pictures = FacePicture(), []
    for place in meshes:
        mesh = read_mesh(place)
        clay = replace(mesh, colours=np.full(mesh.vertices.shape, CLAY, np.uint8))
        picture = cv2.resize(drawer.draw(clay), (240, 240), interpolation=cv2.INTER_AREA)
        pictures.append(np.asarray(picture, np.uint8))
    return pictures


def correlated(
    ours: Float32[np.ndarray, "F 52"], theirs: Float32[np.ndarray, "F 52"]
) -> dict[str, tuple[float, float]]:
    """Correlation over time and deviation of each blendshape that moves in the driving video."""
    seen = np.isfinite(ours).all(1)
    figures = {}
    for number, name in enumerate(BLENDSHAPE_NAMES):
        driving, made = theirs[seen, number], ours[seen, number]
        if driving.std() >= MOVES and made.std() > 0:
            figures[name] = (float(np.corrcoef(driving, made)[0, 1]), float(driving.std()))
    return figures


def table(figures: dict[str, tuple[float, float]], about: str, found: float) -> str:
    """Markdown."""
    lines = ["### A talking avatar", "", about, ""]
    lines += ["| blendshape | correlation with the driving video | deviation there |"]
    lines += ["|---|---:|---:|"]
    for name, (value, deviation) in sorted(figures.items(), key=lambda item: -item[1][1]):
        lines.append(f"| {name} | {value:.2f} | {deviation:.2f} |")
    values = [value for value, _ in figures.values()]
    lines.append(f"| mean of {len(values)} | {np.mean(values):.2f} | |")
    return "\n".join([*lines, "", f"The tracker found the face in {100 * found:.0f} % of them."])


def strip(
    ours: Float32[np.ndarray, "F 52"], theirs: Float32[np.ndarray, "F 52"], shown: np.ndarray
) -> UInt8[np.ndarray, "h w 3"]:
    """Curves of the open jaw: of the driving video, grey, and of the avatar, blue."""
    wide, tall, edge = 240 * SHOWN, 200, 14
    image = np.full((tall, wide, 3), 255, np.uint8)
    number = BLENDSHAPE_NAMES.index("jawOpen")
    high = max(float(theirs[:, number].max()), float(np.nanmax(ours[:, number])), 1e-3)
    x = np.linspace(120, wide - 120, len(theirs))
    for i in shown:
        at = round(float(x[i]))
        cv2.line(image, (at, 0), (at, tall), (225, 225, 225))
    for values, colour in ((theirs, (140, 140, 140)), (ours, (180, 110, 30))):
        y = tall - edge - np.nan_to_num(values[:, number]) / high * (tall - 2 * edge)
        line = np.stack([x, y], 1).round().astype(np.int32)
        cv2.polylines(image, [line], False, colour, 2, cv2.LINE_AA)
    title = f"jawOpen, 0 to {high:.2f}"
    cv2.putText(image, title, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 60, 60), 1, cv2.LINE_AA)
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows, avatar = make(options, options.work or Path(temporary))
        meshes = sorted(avatar.rglob("*.ply"))
        theirs = read_expressions(str(rows)).every(options.every).vectors
        ours = tracked(meshes)
        places = np.linspace(0, len(meshes) - 1, SHOWN).round().astype(int)
        pictures = drawn([meshes[i] for i in places]) if options.sheet is not None else []
    if len(meshes) != len(theirs):
        raise SystemExit(f"talking_avatar: {len(meshes)} meshes of {len(theirs)} expressions")
    about = (
        f"`python bench/talking_avatar.py {options.video.name} --every {options.every} --steps "
        f"{options.steps}`: {len(meshes)} expressions."
    )
    text = table(correlated(ours, theirs), about, float(np.isfinite(ours).all(1).mean()))
    print(text)
    if options.table is not None:
        options.table.write_text(text + "\n", encoding="utf-8")
    if options.sheet is not None:
        write_png(options.sheet, np.vstack([np.hstack(pictures), strip(ours, theirs, places)]))


if __name__ == "__main__":
    try:
        main()
    except MienError as error:
        raise SystemExit(f"talking_avatar: {error}") from error
