"""Pictures that a training draws: its curves, and grids beside their truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from ..errors import InputError, how_to_install
from ..learning.curves import read_log
from ..scans.box import FaceBox
from ..writing import whole_file
from .avatar import Grids
from .volume_rendering import Rays, box_span, pixel_rays, sample_grid

_NOT_FIGURES = frozenset({"step", "images", "seconds", "done", "lr"})
_SIZE = 96
_SAMPLES = 48
_FOCAL_MM = 700.0
_SPAN_MM = 215.0


def draw_grids(grids: Grids) -> UInt8[np.ndarray, "H W 3"]:
    """A row of pictures of faces, a little from the side, lit from the front, BGR."""
    camera = torch.from_numpy(_camera()).float()[None]
    rays = pixel_rays(camera, _SIZE, _SIZE)
    return np.ascontiguousarray(
        np.hstack(
            [
                _drawn(torch.from_numpy(sdf).float(), torch.from_numpy(colour).float(), rays)
                for sdf, colour in zip(grids.sdf, grids.colour, strict=True)
            ]
        )
    )


def _drawn(sdf: torch.Tensor, colour: torch.Tensor, rays: Rays) -> np.ndarray:
    """One face: where rays first pass from outside to inside."""
    grid = sdf[None, None]
    near, far = box_span(rays)
    share = torch.linspace(0.002, 0.998, _SAMPLES)
    depth = near[..., None] + share * (far - near)[..., None]
    points = rays.origin[:, None, None] + depth[..., None] * rays.direction[:, :, None]
    values = sample_grid(grid, points.view(1, -1, 3)).view(-1, _SAMPLES)
    # Beyond the box nothing is known, and 0.
    inside = values < -1e-6
    first = inside.int().argmax(1, keepdim=True)
    hit = inside.any(1)
    before = values.gather(1, (first - 1).clamp(min=0))
    within = values.gather(1, first)
    part = torch.where(first > 0, before / (before - within).clamp(min=1e-6), 1.0)
    depths = depth[0]
    start = depths.gather(1, (first - 1).clamp(min=0))
    place = start + part * (depths.gather(1, first) - start)
    surface = (rays.origin[:, None] + place[None] * rays.direction)[0]
    step = 3.0 * torch.eye(3)
    ahead, behind = (
        torch.stack([sample_grid(grid, (surface + way)[None])[0, 0] for way in sign * step], 1)
        for sign in (1, -1)
    )
    normal = torch.nn.functional.normalize(ahead - behind, dim=1)
    light = 0.35 + 0.65 * (-(normal * rays.direction[0]).sum(1)).clamp(min=0)
    shade = sample_grid(colour.permute(3, 0, 1, 2)[None], surface[None])[0] * light
    image = torch.where(hit, shade, 255.0).clamp(0, 255).byte()
    return image.view(3, _SIZE, _SIZE).permute(1, 2, 0).numpy()[..., ::-1]


def stack_rows(
    rows: Sequence[tuple[str, UInt8[np.ndarray, "H W 3"]]],
) -> UInt8[np.ndarray, "h w 3"]:
    """Rows of pictures below each other, each with its name above it."""
    parts = []
    for name, row in rows:
        title = np.full((18, row.shape[1], 3), 255, np.uint8)
        cv2.putText(
            title, name, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (60, 60, 60), 1, cv2.LINE_AA
        )
        parts += [title, row]
    return np.ascontiguousarray(np.vstack(parts))


def write_picture(path: Path, picture: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write a PNG; an old one stays whole until the new one is.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(path) as part:
        part.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def write_curves(log: Path, path: Path) -> None:
    """Draw every figure of a log over the examples seen: training left, held out right.

    Raises:
        InputError: the log cannot be read, or matplotlib is missing.
        OutputError: the picture cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"drawing curves needs matplotlib: {how_to_install('heavy')}") from error
    lines = read_log(log)
    training = [line for line in lines if "validation" not in line]
    held_out = [{"images": line["images"], **line["validation"]} for line in lines
                if "validation" in line]  # fmt: skip
    figure = Figure((11, 4), 100, layout="constrained")
    for place, (title, rows) in enumerate((("training", training), ("held out", held_out))):
        axes = figure.add_subplot(1, 2, place + 1)
        for name in sorted({name for row in rows for name in row} - _NOT_FIGURES):
            points = [(row["images"], row[name]) for row in rows if _positive(row.get(name))]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, linewidth=1, marker=".", ms=2)
        axes.set(title=title, xlabel="examples seen", yscale="log")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., 2::-1]
    write_picture(path, np.ascontiguousarray(image))


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


def _camera() -> np.ndarray:
    """Pixels from head mm: from in front of the face, turned by 25 degrees."""
    box = FaceBox()
    centre = ((box.low + box.high) / 2).astype(np.float64)
    cosine, sine = np.cos(np.radians(25.0)), np.sin(np.radians(25.0))
    rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    focal = _SIZE * _FOCAL_MM / _SPAN_MM
    lens = np.array([[focal, 0, (_SIZE - 1) / 2], [0, focal, (_SIZE - 1) / 2], [0, 0, 1.0]])
    shift = np.array([0, 0, _FOCAL_MM]) - rotation @ centre
    return lens @ np.column_stack([rotation, shift])
