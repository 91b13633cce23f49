"""The ``mien`` command: one sub-command a file, imported when it runs.

Exit status: 0 done; 1 any input failed or was truncated; 2 nothing could begin; 130 interrupted.
"""

from __future__ import annotations

import importlib.metadata
import os
import signal
import sys
from collections.abc import Sequence
from enum import IntEnum
from types import FrameType
from typing import Annotated, Final, Protocol, TypeAlias, runtime_checkable

import tyro

from ..models.errors import MienError
from .annotate import Annotate
from .build_face_model import BuildFaceModel
from .center import Center
from .demo import Demo
from .evaluate import Evaluate
from .export import Export
from .import_3ddfa import Import3ddfa
from .keyframes import Keyframes
from .keys import Keys
from .listen import Listen
from .report import Report
from .synthesize import Synthesize
from .track import Track
from .train import Train
from .tune_smoother import TuneSmoother


class ExitStatus(IntEnum):
    """What the process says when it ends."""

    DONE = 0
    SOME_FAILED = 1
    NOTHING_BEGAN = 2
    INTERRUPTED = 130


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
    | Annotated[Evaluate, _subcommand("evaluate")]
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


def main() -> int:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        arguments = sys.argv[1:]
        if arguments == ["--version"]:
            print(f"mien {importlib.metadata.version('mien')}")
            return ExitStatus.DONE
        status = parse(arguments).run()
        sys.stdout.flush()
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return ExitStatus.NOTHING_BEGAN
    except BrokenPipeError:
        # Whoever read our output (head, for instance) has seen enough: an interruption.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.INTERRUPTED
    except KeyboardInterrupt:
        print("mien: interrupted", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    """A request to terminate ends as Ctrl-C does: files are closed, temporary ones removed."""
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
