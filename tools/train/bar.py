"""The progress bar of a training, with its latest figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def training_bar() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields what takes the lines of a training's log; ``done`` in one is the share of it."""
    from tqdm import tqdm

    with tqdm(
        total=100.0, disable=None, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
    ) as bar:

        def report(entry: dict[str, Any]) -> None:
            bar.update(100.0 * entry.get("done", 0.0) - bar.n)
            figures = {k: v for k, v in entry.items() if isinstance(v, float) and k != "done"}
            bar.set_postfix({name: f"{value:.3g}" for name, value in figures.items()})

        yield report
