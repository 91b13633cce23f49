"""Many inputs annotated: in this process or in several, with one progress bar over all."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from ...models.errors import InputError
from .annotation import Batch, OnFrame, Result, annotate
from .inputs import Input
from .workers import Ended, Tell, Work, Workers

if TYPE_CHECKING:
    from tqdm import tqdm

    from ...stream.frame import Frame
    from ...stream.observation import FaceObservation
    from ...stream.sources.base import SourceInfo

_SHARD = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True)
class Shard:
    """One part of a batch: every n-th input.

    Attributes:
        number: 1 to ``count``.
        count: of parts.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Shard:
        """``i/n``; None: the task of a Slurm job array, or everything.

        Raises:
            InputError: it is not of that form, or Slurm's variables are no numbers.
        """
        if text is not None:
            match = _SHARD.fullmatch(text.strip())
            number, count = map(int, match.groups()) if match else (0, 0)
            if not 1 <= number <= count:
                raise InputError(f"--shard is {text!r}, expected i/n with i from 1 to n, as 2/8")
            return cls(number, count)
        task, count = (
            os.environ.get("SLURM_ARRAY_TASK_ID"),
            os.environ.get("SLURM_ARRAY_TASK_COUNT"),
        )
        if task is None or count is None:
            return cls()
        first = os.environ.get("SLURM_ARRAY_TASK_MIN", "0")
        if not (task.isdigit() and count.isdigit() and first.isdigit()):
            raise InputError(
                f"SLURM_ARRAY_TASK_ID, _COUNT, _MIN are {task!r}, {count!r}, {first!r}, expected "
                "numbers; say --shard i/n instead"
            )
        place = int(task) - int(first)
        if not 0 <= place < int(count):
            raise InputError(
                f"Slurm's task {task} is not one of {count} from {first} on; a job array with gaps "
                "needs --shard i/n"
            )
        return cls(place + 1, int(count))

    def of(self, items: Sequence[Input]) -> list[Input]:
        """This part's inputs."""
        return list(items[self.number - 1 :: self.count])


@dataclass(frozen=True)
class AnnotateWork:
    """Makes, in a worker process, what annotates an input there.

    Attributes:
        make_batch: the options as values; called once a process.
    """

    make_batch: Callable[[], Batch]

    def __call__(self) -> Work[Input, Result]:
        """Load the bundle; what it returns annotates."""
        batch = self.make_batch()
        return lambda item, tell: annotate(batch, item, _Telling(tell))


def annotate_in_processes(
    make_batch: Callable[[], Batch], items: Sequence[Input], workers: int, silence_s: float
) -> list[Result]:
    """Annotate inputs in worker processes; failures are tried once more at the end.

    Args:
        make_batch: see :class:`AnnotateWork`.
        items: the inputs.
        workers: processes.
        silence_s: after so long without a frame, a worker is given up and its input has failed.

    Returns:
        A result an input, in their order.
    """
    results: dict[str, Result] = {}
    with (
        Workers[Input, Result](workers, AnnotateWork(make_batch), silence_s) as pool,
        BatchBar(items) as bar,
    ):
        for turn in (1, 2):
            turned = [item for item in items if turn == 1 or worth_another_try(results[item.name])]
            for told in pool.run(turned):
                if not isinstance(told, Ended):
                    bar.progress(told.item, told.done, told.parts)
                    continue
                result = told.result
                if result is None:
                    result = Result(told.item, "failed", f"{told.item.path}: {told.reason}")
                results[told.item.name] = result
                bar.ended(result, final=turn == 2 or not worth_another_try(result))
    return [results[item.name] for item in items]


def annotate_here(
    batch: Batch, items: Sequence[Input], on_frame: OnFrame | None = None
) -> list[Result]:
    """Annotate inputs one after the other in this process; failures are tried once more.

    Raises:
        OutputError: an input was finished with other options or another bundle.
    """
    results: dict[str, Result] = {}
    with BatchBar(items) as bar:
        for turn in (1, 2):
            for item in items:
                if turn == 2 and not worth_another_try(results[item.name]):
                    continue
                watcher = _Telling(lambda done, parts, item=item: bar.progress(item, done, parts))
                watcher.on_frame = on_frame
                result = annotate(batch, item, watcher)
                results[item.name] = result
                bar.ended(result, final=turn == 2 or not worth_another_try(result))
    return [results[item.name] for item in items]


def worth_another_try(result: Result) -> bool:
    """Whether it is worth another try: a pipe or a device can be read only once."""
    return result.outcome == "failed" and result.item.path.is_file()


class _Telling:
    """The watcher that tells how many frames are done; a second pass is far quicker."""

    def __init__(self, tell: Tell) -> None:
        self.on_frame: OnFrame | None = None
        self._tell = tell
        self._frames: int | None = None
        self._followed = 0
        self._again = False

    def opened(self, info: SourceInfo) -> None:
        self._frames = info.frames

    def followed(self) -> None:
        self._followed += 1
        self._tell(self._followed, self._frames)

    def smoothing(self, frames: int) -> None:
        del frames
        self._again = True

    def frame(self, frame: Frame, rows: Sequence[FaceObservation]) -> None:
        if self._again:
            self._tell(self._followed, self._frames)  # a sign of life
        else:
            self.followed()
        if self.on_frame is not None:
            self.on_frame(frame, rows)


class BatchBar:
    """One bar over all inputs, by their bytes; rate in frames; nothing where there is no terminal.

    Args:
        items: all inputs.
    """

    def __init__(self, items: Sequence[Input]) -> None:
        self._sizes = {item.name: _size(item) for item in items}
        self._done = dict.fromkeys(self._sizes, 0.0)
        self._frames = dict.fromkeys(self._sizes, 0)
        self._count, self._ended = len(items), 0
        self._began_s = time.monotonic()
        self._bar: tqdm[NoReturn] | None = None

    def progress(self, item: Input, done: int, parts: int | None) -> None:
        """So many of an input's frames are done."""
        self._frames[item.name] = done
        if parts:
            self._done[item.name] = self._sizes[item.name] * min(1.0, done / parts)
        self._show()

    def ended(self, result: Result, final: bool) -> None:
        """An input has ended; a failure is named when it is final."""
        if result.sidecar is not None:
            self._frames[result.item.name] = result.sidecar.frames_read
        self._done[result.item.name] = float(self._sizes[result.item.name])
        self._ended += final
        self._show()
        if final and result.reason:
            line = f"mien: {result.reason}"
            if self._bar is None:
                print(line, file=sys.stderr)
            else:
                self._bar.write(line, file=sys.stderr)

    def __enter__(self) -> BatchBar:
        from tqdm import tqdm

        total = sum(self._sizes.values())
        self._bar = tqdm(
            total=total, unit="B", unit_scale=True, disable=None, leave=False, miniters=0
        )
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self) -> None:
        if self._bar is None or self._bar.disable:
            return
        rate = sum(self._frames.values()) / max(1e-3, time.monotonic() - self._began_s)
        words = f"{self._ended}/{self._count} files, {rate:.0f} frames/s"
        self._bar.set_postfix_str(words, refresh=False)
        self._bar.update(sum(self._done.values()) - self._bar.n)


def _size(item: Input) -> int:
    try:
        return max(1, item.path.stat().st_size)
    except OSError:
        return 1
