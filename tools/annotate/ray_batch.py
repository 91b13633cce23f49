"""Many inputs annotated by the processes of a Ray cluster; Ray decides what runs where."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from ...models.errors import InputError, how_to_install
from .annotation import Batch, Result
from .batch import AnnotateWork, BatchBar, worth_another_try
from .inputs import Input
from .workers import Tell, Work

_LOOK_S: Final = 0.5
_END_S: Final = 10.0
"""How long cancelled tasks may take to tidy up."""


def annotate_on_ray(
    address: str,
    make_batch: Callable[[], Batch],
    items: Sequence[Input],
    threads: int,
    silence_s: float,
) -> list[Result]:
    """Annotate inputs on an existing Ray cluster; failures are tried once more at the end.

    Every node sees the same files under the same paths, this process's working folder among them,
    and has the same mien installed.

    Args:
        address: of the cluster as Ray takes it (``host:6379``, ``ray://host:10001``, ``auto``), or
            ``local`` to begin one on this machine.
        make_batch: the options as values; see :class:`AnnotateWork`.
        items: the inputs.
        threads: cores that one input takes.
        silence_s: after so long without a frame, an input has failed.

    Returns:
        A result an input, in their order.

    Raises:
        InputError: Ray is not installed, the cluster cannot be reached, or none of its nodes has
            enough cores.
    """
    ray = _ray()
    results: dict[str, Result] = {}
    work = AnnotateWork(make_batch)
    with _connection(ray, address, threads), BatchBar(items) as bar:
        task = ray.remote(num_cpus=threads, max_retries=0)(annotate_there)
        for turn in (1, 2):
            turned = [item for item in items if turn == 1 or worth_another_try(results[item.name])]
            for result in _turn(ray, task, work, turned, silence_s):
                results[result.item.name] = result
                bar.ended(result, final=turn == 2 or not worth_another_try(result))
    return [results[item.name] for item in items]


def annotate_there(work: AnnotateWork, item: Input, folder: str, silence_s: float) -> Result:
    """Annotate an input in a process of the cluster, which ends should the input make it hang.

    ``folder`` is what relative paths are relative to.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        reason = f"the folder {folder} cannot be had on {platform.node()}: {error.strerror}"
        return Result(item, "failed", f"{item.path}: {reason}")
    with _alarm(silence_s) as tell:
        return _work_of(work)(item, tell)


@lru_cache(maxsize=1)
def _work_of(work: AnnotateWork) -> Work[Input, Result]:
    """Ray keeps its processes: the bundle is loaded once in each."""
    return work()


@contextmanager
def _alarm(silence_s: float) -> Iterator[Tell]:
    heard_s = time.monotonic()
    over = threading.Event()

    def tell(done: int, parts: int | None) -> None:
        nonlocal heard_s
        del done, parts
        heard_s = time.monotonic()

    def watch() -> None:
        while not over.wait(min(1.0, silence_s / 4.0)):
            if time.monotonic() - heard_s > silence_s:
                os._exit(1)  # nothing else ends a decoder that hangs

    threading.Thread(target=watch, name="alarm", daemon=True).start()
    try:
        yield tell
    finally:
        over.set()


def _turn(
    ray: Any, task: Any, work: AnnotateWork, items: Sequence[Input], silence_s: float
) -> Iterator[Result]:
    """The results of inputs, in the order of their coming."""
    running = {task.remote(work, item, os.getcwd(), silence_s): item for item in items}
    try:
        while running:
            ready, _ = ray.wait(list(running), num_returns=1, timeout=_LOOK_S)
            for reference in ready:
                item = running.pop(reference)
                yield _result(ray, reference, item, silence_s)
    except BaseException:
        # As Ctrl-C does: what runs removes what is unfinished.
        for reference in running:
            ray.cancel(reference)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=_END_S)
        raise


def _result(ray: Any, reference: Any, item: Input, silence_s: float) -> Result:
    try:
        return ray.get(reference)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
        reason = f"its worker process died, or nothing happened for {silence_s:g} s"
    except ray.exceptions.OutOfMemoryError:
        reason = "its worker process was ended: its node had no memory left"
    return Result(item, "failed", f"{item.path}: {reason}")


@contextmanager
def _connection(ray: Any, address: str, threads: int) -> Iterator[None]:
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise InputError(f"--ray {address}: no Ray cluster there: {reason}") from error
    try:
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = max((node.get("CPU", 0.0) for node in alive), default=0.0)
        if most < threads:
            raise InputError(
                f"--threads is {threads}, and no node of the Ray cluster has more than {most:g} "
                "cores for it"
            )
        yield
    finally:
        ray.shutdown()


def _ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports] - an optional extra
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(f"--ray needs ray: {how_to_install('ray')}") from error
    return ray
