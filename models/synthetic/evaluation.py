"""Held-out people to measure on: labelled pictures with who is in them, and short films.

An evaluation folder is a shard folder (:mod:`.shards`) with a table of people beside each shard,
``people-NNNNN.npz``, and films ``clip-NNNNN.npz``. Its random states have a third key, so no seed
of training pictures draws the same people.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt8

from ..archives import fitted, read_npz
from ..documents import one_line
from ..errors import InputError, OutputError
from ..face.camera import Camera
from ..face.names import N_BLENDSHAPES, N_LANDMARKS
from ..makehuman.build import HeadModel
from ..noise.motion import NaturalMotion
from ..writing import make_folder, whole_file
from .accessories import Outfit, Wardrobe
from .clip import following, render_clip
from .framing import SIZE
from .person import Person
from .scene import Studio, Truth
from .shards import Labels, ShardMeta, save_shard

PICTURES_A_PERSON = 6
HEAD_SIZE_SD = 0.045
"""Relative standard deviation of the size of adults' heads, as the tracker assumes it."""
_ABSENT_SHARE = 0.06
_PICTURES_KEY, _CLIPS_KEY = 0x51DE, 0xF11A
_CLIP_STEP_S = 3.7
_FORMAT = 2
ACTED_RATE = 25.0
"""Frames a second, unless another rate is asked for."""
MotionKind = Literal["acted", "natural"]


@dataclass(frozen=True)
class PeopleTable:
    """Who is in the n pictures of a shard.

    Attributes:
        person: (n,) row of ``neutral``; -1 where the picture shows no face.
        age_years: (n,).
        masculinity: (n,) 0 female to 1 male.
        ancestry: (n, 3) shares of African, Asian, Caucasian.
        skin: (n, 3) sRGB of the skin, 0 to 255.
        beard: (n,) 0 none, 1 full.
        glasses: (n,).
        covered: (n,) by a hand or something held before the face.
        neutral: (P, N, 3) true neutral faces, head frame, mm, vertex by vertex of the face model.
    """

    person: Int32[np.ndarray, " n"]
    age_years: Float32[np.ndarray, " n"]
    masculinity: Float32[np.ndarray, " n"]
    ancestry: Float32[np.ndarray, "n 3"]
    skin: Float32[np.ndarray, "n 3"]
    beard: Float32[np.ndarray, " n"]
    glasses: Bool[np.ndarray, " n"]
    covered: Bool[np.ndarray, " n"]
    neutral: Float32[np.ndarray, "P N 3"]


@dataclass(frozen=True)
class Clip:
    """A film of one person with its truth.

    Attributes:
        images: (T, H, W, 3) BGR.
        t_ns: (T,) times.
        camera: (4,) fx, fy, cx, cy, px.
        rotation: (T, 3, 3) ``camera_from_head``.
        translation_mm: (T, 3) for a head of the face model's size.
        landmarks: (T, 68, 2) true projections, px.
        blendshapes: (T, 52).
        head_size: true size of this head over the model's; a head so much larger, so much farther
            away, gives the same pictures.
        still: (T,) the head rests and only sways; None where the film does not say.
    """

    images: UInt8[np.ndarray, "T H W 3"]
    t_ns: Int64[np.ndarray, " T"]
    camera: Float64[np.ndarray, " 4"]
    rotation: Float64[np.ndarray, "T 3 3"]
    translation_mm: Float64[np.ndarray, "T 3"]
    landmarks: Float32[np.ndarray, "T 68 2"]
    blendshapes: Float32[np.ndarray, "T 52"]
    head_size: float
    still: Bool[np.ndarray, " T"] | None = None

    @property
    def pinhole(self) -> Camera:
        """The camera with its picture size."""
        fx, fy, cx, cy = self.camera.tolist()
        height, width = self.images.shape[1:3]
        return Camera(fx, fy, cx, cy, width, height)


@dataclass(frozen=True)
class EvaluationConfig:
    """What to render.

    Attributes:
        out: folder.
        pictures: rounded up to whole shards.
        clips: films.
        frames: a film.
        seed: of everything.
        shard_size: pictures a shard, a multiple of :data:`PICTURES_A_PERSON`.
        motion: of the films: the same act for all, or each person's own natural motion.
        rate: frames a second of the films.
    """

    out: Path
    pictures: int = 2880
    clips: int = 24
    frames: int = 50
    seed: int = 0
    shard_size: int = 480
    motion: MotionKind = "acted"
    rate: float = ACTED_RATE

    def __post_init__(self) -> None:
        if min(self.pictures, self.clips, self.frames, self.seed) < 0 or self.frames == 1:
            raise InputError("evaluation set: counts and seed must be 0 or more, frames 2 or more")
        if self.shard_size < 1 or self.shard_size % PICTURES_A_PERSON:
            raise InputError(
                f"evaluation set: {self.shard_size} pictures a shard, expected a multiple of "
                f"{PICTURES_A_PERSON}"
            )
        if not 0 < self.rate < math.inf:
            raise InputError(f"evaluation set: {self.rate} frames a second, expected more than 0")

    @property
    def settings(self) -> dict[str, int]:
        """What a folder must agree on to be continued; folders of older versions name less."""
        settings = {"seed": self.seed, "shard_size": self.shard_size, "evaluation": _FORMAT}
        if self.motion != "acted":
            settings["natural_motion"] = 1
        if self.rate != ACTED_RATE:
            settings["frames_per_1000_s"] = round(1000 * self.rate)
        return settings


class _Witness(Wardrobe):
    """Remembers what it dressed the last person in."""

    last = Outfit()

    def dress(
        self, person: Person, moved: Float32[np.ndarray, "V 3"], rng: np.random.Generator
    ) -> Outfit:
        self.last = super().dress(person, moved, rng)
        return self.last


class EvaluationStudio(Studio):
    """A studio that remembers what the last person wore and held."""

    def __init__(self, head: HeadModel, assets: Path | None = None) -> None:
        super().__init__(head, assets)
        self._wardrobe = self._witness = _Witness(head, self.reference)

    @property
    def glasses(self) -> bool:
        """Whether it was glasses: lenses are the only coated surfaces."""
        return any(surface.clear_coat for surface in self._witness.last.worn)

    @property
    def covered(self) -> bool:
        """Whether a hand or a thing was held before the face."""
        return bool(self._witness.last.held)


def render_evaluation(
    config: EvaluationConfig,
    head: HeadModel,
    assets: Path | None = None,
    report: Callable[[int], object] | None = None,
) -> int:
    """Render what is missing of an evaluation folder, in this process.

    Args:
        config: what.
        head: the head model, of the face model that is to be measured.
        assets: folder of CC0 hair meshes; procedural hair only when None.
        report: told how many pictures or frames were just finished.

    Returns:
        Pictures and frames rendered.

    Raises:
        OutputError: the folder cannot be written, or holds a set of other settings.
    """
    studio = EvaluationStudio(head, assets)
    meta = ShardMeta(SIZE, tuple(studio.points.tolist()), config.settings)
    done = 0
    make_folder(config.out)
    if (config.out / "meta.json").exists() and ShardMeta.load(config.out) != meta:
        raise OutputError(f"{config.out}: holds a set of other settings; give another folder")
    meta.save(config.out)
    for number in range(-(-config.pictures // config.shard_size)):
        if not (config.out / f"shard-{number:05d}.npz").exists():
            _render_shard(studio, config, number)
            done += config.shard_size
            if report is not None:
                report(config.shard_size)
    for number in range(config.clips):
        path = clip_path(config.out, number)
        if not path.exists():
            _save(path, _film(studio, config, number))
            done += config.frames
            if report is not None:
                report(config.frames)
    return done


def _render_shard(studio: EvaluationStudio, config: EvaluationConfig, number: int) -> None:
    rng = np.random.default_rng([config.seed, number, _PICTURES_KEY])
    images, truths, rows, neutral = [], [], [], []
    look = None
    for i in range(config.shard_size):
        if look is None or i % PICTURES_A_PERSON == 0:
            look = studio.sample_look(rng)
            neutral.append(look.person.neutral[studio.head.face_vertices])
        if rng.random() < _ABSENT_SHARE:
            image, truth = studio.shoot_nothing(rng)
            rows.append(_row(look.person, -1))
        else:
            image, truth = studio.shoot(look, rng)
            rows.append(_row(look.person, len(neutral) - 1, studio.glasses, studio.covered))
        images.append(image)
        truths.append(truth)
    columns = {
        column.name: np.stack([np.asarray(getattr(t, column.name), np.float32) for t in truths])
        for column in fields(Truth)
    }
    table = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    people = PeopleTable(**table, neutral=np.stack(neutral).astype(np.float32))
    _save(config.out / f"people-{number:05d}.npz", people)
    save_shard(config.out, number, np.stack(images), Labels(**columns))


def _row(
    person: Person, index: int, glasses: bool = False, covered: bool = False
) -> dict[str, np.ndarray]:
    return {
        "person": np.array(index, np.int32),
        "age_years": np.array(person.identity.age_years, np.float32),
        "masculinity": np.array(person.identity.masculinity, np.float32),
        "ancestry": person.identity.ancestry.astype(np.float32),
        "skin": np.array(person.skin, np.float32),
        "beard": np.array(person.beard, np.float32),
        "glasses": np.array(glasses),
        "covered": np.array(covered),
    }


def _film(studio: Studio, config: EvaluationConfig, number: int) -> Clip:
    camera = Camera.from_fov(320, 240)
    key = [config.seed, number, _CLIPS_KEY]
    still = None
    if config.motion == "acted":
        start_s = _CLIP_STEP_S * number
        frames = render_clip(studio, key, config.frames, camera, config.rate, start_s)
    else:
        rng = np.random.default_rng([*key, 2])
        natural = NaturalMotion(rng, config.frames / config.rate)
        still = natural.at(np.arange(config.frames) / config.rate).still
        motion = following(natural)
        frames = render_clip(studio, key, config.frames, camera, config.rate, motion=motion)
    film = list(frames)
    size = np.random.default_rng([*key, 1]).lognormal(0.0, HEAD_SIZE_SD)
    return Clip(
        images=np.stack([frame.image_bgr for frame in film]),
        t_ns=np.array([round(frame.t_s * 1e9) for frame in film], np.int64),
        camera=np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
        rotation=np.stack([frame.pose.rotation for frame in film]),
        translation_mm=np.stack([frame.pose.translation for frame in film]),
        landmarks=np.stack([frame.landmarks for frame in film]),
        blendshapes=np.stack([frame.blendshapes for frame in film]),
        head_size=float(size),
        still=still,
    )


def clip_path(folder: Path, number: int) -> Path:
    """The file of a film."""
    return folder / f"clip-{number:05d}.npz"


def _save(path: Path, table: PeopleTable | Clip) -> None:
    arrays = {column.name: getattr(table, column.name) for column in fields(table)}
    said = {name: array for name, array in arrays.items() if array is not None}
    with whole_file(path) as part:
        np.savez(part, allow_pickle=False, **said)


def load_people(folder: Path, number: int) -> PeopleTable | None:
    """The people of a shard; None where the folder has no such table (training shards).

    Raises:
        InputError: the file is damaged.
    """
    path = folder / f"people-{number:05d}.npz"
    if not path.exists():
        return None
    people = PeopleTable(**_load(path, PeopleTable, _PEOPLE))
    known = (people.person >= -1) & (people.person < len(people.neutral))
    if not known.all():
        raise InputError(f"{path}: names people beyond the {len(people.neutral)} that it holds")
    return people


_PEOPLE: Final = {
    "person": (np.int32, "n"), "age_years": (np.float32, "n"), "masculinity": (np.float32, "n"),
    "ancestry": (np.float32, "n 3"), "skin": (np.float32, "n 3"), "beard": (np.float32, "n"),
    "glasses": (np.bool_, "n"), "covered": (np.bool_, "n"), "neutral": (np.float32, "P N 3"),
}  # fmt: skip
_CLIP: Final = {
    "images": (np.uint8, "T H W 3"), "t_ns": (np.int64, "_"), "camera": (np.float64, "4"),
    "rotation": (np.float64, "T 3 3"), "translation_mm": (np.float64, "T 3"),
    "landmarks": (np.float32, "_ 68 2"), "blendshapes": (np.float32, "_ 52"),
    "head_size": (np.float64, ""), "still": (np.bool_, "_"),
}  # fmt: skip


def load_clip(path: Path) -> Clip:
    """A film.

    Raises:
        InputError: the file is missing or damaged.
    """
    arrays = _load(path, Clip, _CLIP)
    clip = Clip(**{**arrays, "head_size": float(arrays["head_size"])})
    frames = len(clip.images)
    wanted = (frames, N_LANDMARKS, 2), (frames, N_BLENDSHAPES)
    times = len(clip.t_ns), frames if clip.still is None else len(clip.still)
    if (clip.landmarks.shape, clip.blendshapes.shape) != wanted or times != (frames, frames):
        raise InputError(f"{path}: its arrays disagree about the number of frames")
    return clip


def clip_paths(folder: Path) -> list[Path]:
    """The films of a folder, by number."""
    return sorted(folder.glob("clip-[0-9][0-9][0-9][0-9][0-9].npz"))


def _load(
    path: Path,
    kind: type[PeopleTable | Clip],
    wanted: Mapping[str, tuple[type[np.generic], str]],
) -> dict[str, Any]:
    try:
        columns = fields(kind)
        needed = [column.name for column in columns if column.default is MISSING]
        return fitted(read_npz(path, needed, [column.name for column in columns]), wanted)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {one_line(error)}") from error


def resized_head(clip: Clip) -> Clip:
    """The same film of a head of its true size: everything is so much larger and farther away."""
    return replace(clip, translation_mm=clip.translation_mm * clip.head_size)
