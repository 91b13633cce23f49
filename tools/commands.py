"""The sub-commands of ``mien``, one a file, and how the arguments become one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Protocol, TypeAlias, runtime_checkable

import tyro

from .annotate.command import Annotate
from .avatar.command import MakeAvatar
from .build_face_model import BuildFaceModel
from .demo import Demo
from .evaluate.command import Evaluate
from .evaluate.models import EvaluateModels
from .export import Export
from .import_3ddfa import Import3ddfa
from .keyframes import Keyframes
from .live.center import Center
from .live.keys import Keys
from .live.listen import Listen
from .live.track import Track
from .portrait.command import Portrait
from .reconstruct.command import Reconstruct
from .report.command import Report
from .synthesize.command import Synthesize
from .train.command import Train
from .tune_smoother.command import TuneSmoother


@runtime_checkable
class Command(Protocol):
    """A sub-command: a frozen dataclass of its options."""

    def run(self) -> int:
        """Do it and return the exit status."""
        ...


_subcommand = tyro.conf.subcommand
Commands: TypeAlias = (
    Annotated[Demo, _subcommand("demo")]
    | Annotated[Track, _subcommand("track")]
    | Annotated[Listen, _subcommand("listen")]
    | Annotated[Center, _subcommand("center")]
    | Annotated[Keys, _subcommand("keys")]
    | Annotated[Annotate, _subcommand("annotate")]
    | Annotated[Report, _subcommand("report")]
    | Annotated[Keyframes, _subcommand("keyframes")]
    | Annotated[Reconstruct, _subcommand("reconstruct")]
    | Annotated[MakeAvatar, _subcommand("avatar")]
    | Annotated[Portrait, _subcommand("portrait")]
    | Annotated[Evaluate, _subcommand("evaluate")]
    | Annotated[EvaluateModels, _subcommand("evaluate-models")]
    | Annotated[BuildFaceModel, _subcommand("build-face-model")]
    | Annotated[Synthesize, _subcommand("synthesize")]
    | Annotated[Train, _subcommand("train")]
    | Annotated[TuneSmoother, _subcommand("tune-smoother")]
    | Annotated[Export, _subcommand("export")]
    | Annotated[Import3ddfa, _subcommand("import-3ddfa")]
)

DESCRIPTION: Final = """\
Follows faces through video: 3D pose, shape, 52 blendshapes and their uncertainty.

Exit status: 0 done; 1 any input failed or was truncated; 2 nothing could begin; 130 interrupted.
"mien --version" prints the version."""


def parse(arguments: Sequence[str]) -> Command:
    """The sub-command that the arguments describe; usage errors and help end the process."""
    return tyro.cli(
        Commands,  # pyright: ignore[reportArgumentType] - a union of types, as tyro documents
        prog="mien",
        description=DESCRIPTION,
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
