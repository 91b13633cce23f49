"""How good is mien, on one page: speed, accuracy and stability against its peers and its goals?

    python bench/summary.py [--eval DIR] [--peer-python PATH] [--bundle-3ddfa DIR] [--films DIR]
        [--minutes 20] [--out bench/summary.md]

Runs the other benches one after another, each in a short setting and with a time limit, and writes
what they find as ratios, beside the goals. A question that fails or runs over is named on the page
with its last line, and the exit status is 1; what is not given or not installed is said there too.
Use a machine that does nothing else.

``--eval`` is a folder of labelled sets (``mien evaluate``), ``--peer-python`` a Python that has
mediapipe, ``--bundle-3ddfa`` a bundle of your own 3DDFA_V2 files (``mien import-3ddfa``). Films for
the smoother are rendered where ``--films`` gives none. All limits together are ``--minutes``: give
a slow or busy machine more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from figures import system
from live_measures import command_line
from live_runs import TASK, waited
from summary_page import About, page
from summary_questions import MINUTES, Absent, Outcome, Question, Settings, questions

from mien.models.face.bundle import Bundle

PACKAGES = ("mien", "numpy", "torch", "onnxruntime", "av", "opencv-python")
UNREADABLE = (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError)


def ask(question: Question, answered: dict[str, Any], folder: Path, limit_s: float) -> Outcome:
    """Run its command and read its figures, which join those that are answered.

    Args:
        question: to ask.
        answered: figures of the questions before, by name.
        folder: for its files, temporary ones too: what it leaves when it is killed is in there.
        limit_s: after which it is killed, with all that it has started.
    """
    if limit_s <= 0:
        return Outcome(question, 0.0, failed="not begun: no time was left")
    said, figures = folder / f"{question.name}.txt", folder / f"{question.name}.json"
    begin = time.perf_counter()
    with said.open("wb") as output:
        process = subprocess.Popen(
            question.arguments(figures),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
            start_new_session=True,
        )
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end_group(process)
    seconds = time.perf_counter() - begin
    if status is None:
        why = f"ran over its limit of {limit_s:.0f} s; its last line: {last_line(said, folder)}"
        return Outcome(question, seconds, failed=why)
    if status:
        why = f"ended with status {status}; its last line: {last_line(said, folder)}"
        return Outcome(question, seconds, failed=why)
    try:
        if question.json:
            answered[question.name] = json.loads(figures.read_text(encoding="utf-8"))
        rows = tuple(question.read(answered))
    except (OSError, *UNREADABLE) as error:
        why = f"its figures cannot be read: {type(error).__name__}: {error}"
        return Outcome(question, seconds, failed=scrubbed(why, folder))
    return Outcome(question, seconds, rows)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what it has left running, and itself."""
    with contextlib.suppress(ProcessLookupError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_line(said: Path, folder: Path) -> str:
    """What a program said last, between back quotes."""
    lines = [line for line in said.read_text(errors="replace").splitlines() if line.strip()]
    return f"`{scrubbed(lines[-1], folder)}`" if lines else "it said nothing"


def scrubbed(line: str, folder: Path) -> str:
    """In a page's line, without this machine's folders."""
    for place in (folder, Path(__file__).parents[1], Path.home()):
        line = line.replace(f"{place}/", "")
    return line.replace("`", "'").strip()[-300:]


def ask_all(asked: Sequence[Question], folder: Path, minutes: float) -> list[Outcome]:
    """One after another, with a line each; limits grow and shrink with ``minutes``."""
    deadline = time.perf_counter() + 60.0 * minutes
    answered: dict[str, Any] = {}
    outcomes = []
    for number, question in enumerate(asked, 1):
        print(f"[{number}/{len(asked)}] {question.shown}", flush=True)
        left_s = deadline - time.perf_counter()
        limit_s = min(question.limit_s * minutes / MINUTES, left_s)
        outcome = ask(question, answered, folder, limit_s)
        outcomes.append(outcome)
        print(f"    {outcome.failed or 'done'}, {outcome.seconds:.1f} s", flush=True)
    return outcomes


def machine() -> str:
    """Processor, cores and memory."""
    place = Path("/proc/cpuinfo")
    lines = place.read_text().splitlines() if place.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {size:.0f} GiB of memory"


def versions() -> dict[str, str]:
    """Of Python, the system, the packages that count, and the shipped bundle."""
    bundle = Bundle.default().info
    found = {"Python": platform.python_version(), bundle.name: bundle.version}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    name, number = system().split()
    return {name: number} | found


def busy_text(load: float, waiting: float) -> str:
    """How busy the machine was, and whether that spoils the figures."""
    text = f"Load {load:.1f} at the start"
    if math.isfinite(waiting):
        text += f"; {100 * waiting:.0f} % of the time some program waited for a core"
    if load > 0.5 * (os.cpu_count() or 1):
        text += ". **The machine was busy: speeds and latencies say little**"
    return f"{text}."


def peer_version(python: Path) -> str:
    """Of mediapipe there.

    Raises:
        SystemExit: that is no Python which has it.
    """
    code = "from importlib.metadata import version; print(version('mediapipe'))"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError as error:
        raise SystemExit(f"summary: --peer-python {python}: {error.strerror}") from error
    if done.returncode:
        raise SystemExit(f"summary: --peer-python {python}: it has no package mediapipe")
    return done.stdout.strip()


def peers(options: argparse.Namespace) -> dict[str, str]:
    """What mien is measured against, and what of it there was."""
    if options.peer_python is None:
        mediapipe = "not given (`--peer-python`); its errors, where they stand, are recorded"
    elif not options.task.exists():
        mediapipe = f"left out: there is no model {options.task.name} (`--task`)"
    else:
        mediapipe = f"{peer_version(options.peer_python)}, in a Python of its own, in the same runs"
    bundle = options.bundle_3ddfa
    return {
        "MediaPipe Face Landmarker": mediapipe,
        "One Euro": "all its settings that `python bench/smoothing.py` sweeps",
        "3DDFA_V2's architecture": "made by `python bench/network.py`, with weights of chance",
        "3DDFA_V2's licensed files": "not given (`--bundle-3ddfa`)"
        if bundle is None
        else f"the bundle {bundle.name}",
    }


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--eval", type=Path, help="folder of labelled sets")
    parser.add_argument("--peer-python", type=Path, help="a Python that has mediapipe")
    parser.add_argument("--task", type=Path, default=TASK, help="MediaPipe's model bundle")
    parser.add_argument("--bundle-3ddfa", type=Path, help="bundle of your own 3DDFA_V2 files")
    parser.add_argument("--films", type=Path, help="of mien synthesize evaluation-set")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all questions")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("summary.md"))
    options = parser.parse_args(words)
    for name in ("eval", "bundle_3ddfa", "films"):
        place = getattr(options, name)
        if place is not None and not place.is_dir():
            parser.error(f"--{name.replace('_', '-')} {place}: no such folder")
    if options.minutes <= 0:
        parser.error(f"--minutes is {options.minutes:g}, expected more than 0")
    if not options.out.resolve().parent.is_dir():
        parser.error(f"--out {options.out}: there is no such folder to write to")
    return options


def given(options: argparse.Namespace, folder: Path) -> Settings:
    """With whole paths, since the questions run elsewhere."""

    def whole(path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    task = options.task if options.task.exists() else None
    return Settings(
        folder,
        whole(options.eval),
        whole(options.peer_python),
        whole(task),
        whole(options.bundle_3ddfa),
        whole(options.films),
    )


def main() -> int:
    """Ask, write the page, and return the exit status."""
    options = arguments()
    known: Mapping[str, str] = peers(options)
    load, waited_s, begin = os.getloadavg()[0], waited(), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        listed = questions(given(options, folder))
        asked = [one for one in listed if isinstance(one, Question)]
        outcomes = ask_all(asked, folder, options.minutes)
    seconds = time.perf_counter() - begin
    about = About(
        command=command_line(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        versions=versions(),
        minutes=seconds / 60.0,
        busy=busy_text(load, (waited() - waited_s) / seconds),
        peers=dict(known),
    )
    absent = [one for one in listed if isinstance(one, Absent)]
    options.out.write_text(page(about, outcomes, absent), encoding="utf-8")
    failed = [one.question.name for one in outcomes if one.failed is not None]
    print(f"{options.out}: {seconds / 60:.1f} minutes; failed: {', '.join(failed) or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    # Whoever ends this ends what it has started.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
