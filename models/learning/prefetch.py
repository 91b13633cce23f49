"""Prepares the next items in a background thread, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """An iterator that runs ahead by a few items in its own thread; use it as a context manager.

    What the wrapped iterator raises is raised by :meth:`__next__`, after the items before it.

    Args:
        items: to be run ahead of; touched only by the thread from now on.
        ahead: items that may wait.
    """

    def __init__(self, items: Iterator[T], ahead: int = 4) -> None:
        self._items = items
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._waiting: deque[Future[T]] = deque()

    def __enter__(self) -> Prefetch[T]:
        for _ in range(self._ahead):
            self._order()
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        self._order()
        return self._waiting.popleft().result()

    def _order(self) -> None:
        self._waiting.append(self._pool.submit(next, self._items))
