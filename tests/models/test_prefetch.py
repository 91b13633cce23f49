"""Items prepared ahead in a thread: in order, no more than asked for, errors in their place."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from mien.models.learning.prefetch import Prefetch


def counted(most: int, taken: list[int]) -> Iterator[int]:
    for number in range(most):
        taken.append(number)
        yield number


def test_all_items_come_in_order() -> None:
    with Prefetch(counted(500, []), 8) as items:
        assert list(items) == list(range(500))
        assert next(items, None) is None


def test_it_runs_ahead_and_not_too_far() -> None:
    taken: list[int] = []
    with Prefetch(counted(100, taken), 4) as items:
        iterator = iter(items)
        for given in range(20):
            assert next(iterator) == given
            deadline_s = time.monotonic() + 10.0
            while len(taken) < given + 5 and time.monotonic() < deadline_s:
                time.sleep(0.0005)
            # Four wait, and one is in the thread's hand.
            assert given + 5 <= len(taken) <= given + 6


def test_an_error_comes_after_what_was_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with Prefetch(failing(), 8) as items:
        iterator = iter(items)
        assert next(iterator) == 1
        with pytest.raises(OSError, match="no more"):
            next(iterator)


def test_the_thread_ends_with_the_block() -> None:
    def forever() -> Iterator[int]:
        while True:
            yield 0

    before = threading.active_count()
    with contextlib.suppress(KeyboardInterrupt), Prefetch(forever(), 3) as items:
        next(iter(items))
        raise KeyboardInterrupt
    assert threading.active_count() == before
