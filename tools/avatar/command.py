"""``mien avatar``: a person's face, scanned or tracked, with any expression."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
import tyro

from ...models.errors import InputError, OutputError
from ...models.learning.device import Device, find_device
from ..json_file import write_json
from ..options import BundleOption, choices, load_bundle, need_heavy
from .expression import Expressions, described, read_expressions
from .files import (
    FACTS,
    FILM,
    GLB,
    MESH_FORMATS,
    AnimatedGlb,
    beside,
    check_out,
    driving_pictures,
)

if TYPE_CHECKING:
    from ...models.avatar.avatar import Avatar as Networks
    from ...models.mesh.triangle_mesh import TriangleMesh
    from .neutral import Neutral

_SMALLEST_SHARE: Final = 0.01
_CRF: Final = 18


@dataclass(frozen=True)
class MakeAvatar:
    """Give a person's face other expressions (needs mien[heavy]).

    The neutral face comes from a scan (a mesh, or depth maps with pictures, intrinsics and, of
    several, poses, as TrueDepth apps export them) or from a folder of "mien keyframes"; the
    expressions from an annotation, from vectors, or from sliders. With weights of "mien train
    avatar --condition captions", --caption makes new people instead. Writes a folder with the
    meshes, one GLB that plays them, and a film, beside the driving video where there is one. The
    same for the same seed.

    Attributes:
        neutral: scan (.ply, .obj; .png, .npy, .tiff, .pfm of depth; a folder with one, or with
            several depth maps and a JSON file of their poses), or a folder of key frames.
        expression: annotation (.parquet, .csv, .jsonl), vectors (.json, .csv; 52 blendshapes or 10
            components), numbers separated by commas, or sliders: jawOpen=0.5,mouthSmile=0.8.
        caption: describes people to make, in place of --neutral and --expression, in the words of
            "mien portrait --words".
        people: how many are made of --caption.
        out: folder for what is written; made where it is absent.
        weights: weights.safetensors of "mien train avatar"; default: those that mien ships.
        steps: of the sampler.
        guidance: how far beyond the condition, 1 for not at all; default: what the weights say.
        seed: of the noise.
        fps: frames per second of vectors without times; default 25.
        every: take each N-th expression.
        formats: of the meshes, separated by commas: glb (one file, metres, y up), ply, obj (a file
            a frame, mm, head frame).
        refine: triangles this many times finer than the grid's cells.
        film: a film is written; --no-film: none.
        video: driving video; default: that of the annotation, where it is found.
        turn: the face in the film turns as the driving head does; --no-turn: it looks ahead.
        picture: RGB picture of a depth map; default: the one beside it.
        intrinsics: JSON file of the depth map's camera; default: the one beside it.
        unit: of the scan's numbers: mm, cm or m; default: found.
        keyframe: frame number of the neutral key frame; default: the first.
        track: face of the annotation; default: the one that is seen in most frames.
        bundle: folder of the model bundle that fits faces; default: the one that mien ships.
        device: where the networks run; auto: CUDA where there is one.
        threads: processor threads; more than one only pay where as many cores are idle.
        overwrite: replace an avatar in the folder.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    neutral: Annotated[Path | None, tyro.conf.arg(metavar="SCAN|KEYFRAMES")] = None
    expression: Annotated[str | None, tyro.conf.arg(metavar="FILE|NUMBERS|NAME=VALUE")] = None
    caption: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    people: Annotated[int, tyro.conf.arg(metavar="N")] = 4
    weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    steps: int = 32
    guidance: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    seed: int = 0
    fps: float = 25.0
    every: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    formats: Annotated[str, tyro.conf.arg(metavar="LIST")] = "glb"
    refine: int = 1
    film: bool = True
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    turn: bool = True
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    intrinsics: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    unit: Annotated[Literal["mm", "cm", "m"] | None, tyro.conf.arg(metavar="{mm,cm,m}")] = None
    keyframe: Annotated[int | None, tyro.conf.arg(metavar="FRAME")] = None
    track: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    bundle: BundleOption = None
    device: Device = "auto"
    threads: int = 1
    overwrite: bool = False

    def run(self) -> int:
        """Make the avatar and return the exit status."""
        need_heavy("mien avatar")
        formats = choices(self.formats, MESH_FORMATS, "--formats")
        self._check()
        check_out(self.out, self.overwrite)
        expressions = self._expressions()
        networks, weights = self._networks()
        neutral = None if self.neutral is None else self._neutral(self.neutral, networks)
        video = self._video(expressions)
        facts = self._facts(weights, expressions, neutral, video)
        self._write(formats, expressions, neutral, networks, video, facts)
        print(f"{len(expressions.vectors)} expressions: {self.out}")
        return 0

    def _check(self) -> None:
        """Options that no work can be begun with.

        Raises:
            InputError: there is one.
        """
        for name in ("steps", "every", "refine", "people", "threads"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"--{name} is {value}, expected 1 or more")
        if not 0 < self.fps <= 1000:
            raise InputError(f"--fps is {self.fps}, expected more than 0")
        if (self.neutral is None) == (self.caption is None):
            raise InputError("expected --neutral with --expression, or --caption")
        if (self.expression is None) != (self.neutral is None):
            raise InputError("--neutral and --expression belong together")
        if self.neutral is not None and not self.neutral.exists():
            raise InputError(f"{self.neutral}: no such file or folder")

    def _expressions(self) -> Expressions:
        if self.caption is not None:
            return described(self.caption, self.people)
        assert self.expression is not None
        return read_expressions(self.expression, track=self.track).every(self.every)

    def _networks(self) -> tuple[Networks, Path]:
        import torch

        from ...models.avatar.weights import load_weights, shipped

        torch.set_num_threads(self.threads)
        path = self.weights or shipped()
        return load_weights(path).to(find_device(self.device)), path

    def _neutral(self, place: Path, networks: Networks) -> Neutral:
        from .neutral import read_neutral

        return read_neutral(
            place,
            load_bundle(self.bundle),
            networks.box,
            picture=self.picture,
            intrinsics=self.intrinsics,
            unit=self.unit,
            keyframe=self.keyframe,
        )

    def _video(self, expressions: Expressions) -> Path | None:
        """The driving video, if there is one."""
        if not self.film:
            return None
        if self.video is not None:
            if not self.video.is_file():
                raise InputError(f"{self.video}: no such file")
            return self.video
        if expressions.annotation is None:
            return None
        from ..annotate.annotated import Annotation, VideoFinder

        rows = expressions.annotation
        return VideoFinder((), rows.parent).find(Annotation.open(rows, rows.stem))[0]

    def _facts(
        self, weights: Path, expressions: Expressions, neutral: Neutral | None, video: Path | None
    ) -> dict[str, Any]:
        scan: dict[str, Any] = {}
        if self.neutral is not None and neutral is not None:
            scan = {
                "neutral": {"name": self.neutral.name, **neutral.facts},
                "size": neutral.size,
                "seen_share": float((neutral.scan.seen > 0).mean()),
            }
        return {
            **scan,
            "expression": {
                "name": self.caption or Path(self.expression or "").name,
                "kind": expressions.kind,
                "count": len(expressions.vectors),
            },
            "video": None if video is None else video.name,
            "weights": weights.name,
            "steps": self.steps,
            "guidance": self.guidance,
            "seed": self.seed,
        }

    def _write(
        self,
        formats: tuple[str, ...],
        expressions: Expressions,
        neutral: Neutral | None,
        networks: Networks,
        video: Path | None,
        facts: dict[str, Any],
    ) -> None:
        """Make all frames and write them; the folder gets its name when all is complete."""
        import shutil

        from ...models.mesh.files import write_mesh
        from ...models.scans.picture import FacePicture
        from ...stream.sinks.mp4 import Mp4Writer
        from ...stream.sinks.partial import PartialFolder

        times = self._times(expressions)
        folder = PartialFolder(self.out)
        try:
            spool = folder.path / "spool"
            plain = [kind for kind in formats if kind != "glb"]
            for kind in ("spool", *plain):
                (folder.path / kind).mkdir()
            glb = AnimatedGlb(spool, times) if "glb" in formats else None
            with ExitStack() as stack:
                film = None
                if self.film:
                    place, said = folder.path / FILM, self.out / FILM
                    film = stack.enter_context(
                        Mp4Writer(place, self._rate(times), said=said, crf=_CRF)
                    )
                driving = self._driving(video, expressions)
                for number, mesh in enumerate(self._meshes(expressions, neutral, networks)):
                    sized = mesh.transformed(np.diag([neutral.size if neutral else 1.0] * 3))
                    for kind in plain:
                        write_mesh(folder.path / kind / f"{number:06d}.{kind}", sized)
                    if glb is not None:
                        glb.add(sized)
                    if film is not None:
                        turned = expressions.rotations if self.turn else None
                        rotation = None if turned is None else turned[number]
                        picture = FacePicture().draw(mesh, rotation)
                        t_ns = round(float(times[number]) * 1e9)
                        film.add(beside(next(driving, None), picture), t_ns)
            if glb is not None:
                with (folder.path / GLB).open("wb") as stream:
                    glb.write(stream)
            shutil.rmtree(spool)
            write_json(folder.path / FACTS, facts)
            folder.commit()
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"{self.out}: cannot be written: {error.strerror or error}"
            ) from error
        finally:
            folder.discard()

    def _times(self, expressions: Expressions) -> np.ndarray:
        if expressions.times_s is not None:
            return expressions.times_s
        return np.arange(len(expressions.vectors)) * (self.every / self.fps)

    def _rate(self, times: np.ndarray) -> float:
        """Frames per second of the film, nominally."""
        if len(times) < 2:
            return self.fps
        return float(np.clip(1 / max(float(np.median(np.diff(times))), 1e-3), 1, 240))

    def _driving(self, video: Path | None, expressions: Expressions) -> Iterator[Any]:
        if video is None:
            return iter(())
        return driving_pictures(video, expressions.frames.tolist())

    def _meshes(
        self, expressions: Expressions, neutral: Neutral | None, networks: Networks
    ) -> Iterator[TriangleMesh]:
        """The surface of each expression, head frame, mm, at the mean head's size."""
        from tqdm import tqdm

        from ...models.avatar.sample import NeutralScan, generate_frames, generate_people
        from ...models.scans.surface import surface_of_box

        if neutral is None:
            parts = generate_people(
                networks, expressions.vectors, steps=self.steps, guidance=self.guidance,
                seed=self.seed,
            )  # fmt: skip
        else:
            scan = NeutralScan(neutral.scan.sdf, neutral.scan.seen, neutral.scan.colour)
            parts = generate_frames(
                networks, scan, expressions.vectors, steps=self.steps, guidance=self.guidance,
                seed=self.seed, set_name=expressions.kind,
            )  # fmt: skip
        with tqdm(total=len(expressions.vectors), unit="frame", disable=None, leave=False) as bar:
            for grids in parts:
                for sdf, colour in zip(grids.sdf, grids.colour, strict=True):
                    yield without_crumbs(surface_of_box(sdf, colour, self.refine))
                    bar.update()


def without_crumbs(mesh: TriangleMesh) -> TriangleMesh:
    """A mesh without its pieces of less than a hundredth of its area."""
    from ...models.mesh.triangle_mesh import TriangleMesh

    least = _SMALLEST_SHARE * mesh.area()
    pieces = [piece for piece in mesh.components() if piece.area() >= least]
    starts = np.cumsum([0, *(len(piece.vertices) for piece in pieces)])
    faces = [p.triangles + int(start) for p, start in zip(pieces, starts, strict=False)]
    colours = [piece.colours for piece in pieces if piece.colours is not None]
    return TriangleMesh(
        np.concatenate([piece.vertices for piece in pieces]),
        np.concatenate(faces).astype(np.int32),
        np.concatenate(colours) if len(colours) == len(pieces) else None,
    )
