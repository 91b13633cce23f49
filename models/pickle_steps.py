"""Programs of pickles, walked over without running them: what would they make?

A pickle may use one value many times over, also within itself: thirty tuples, each twice the one
before, take a hundred bytes, and hashing or printing the last a billion steps.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any, Final

_PER_BYTE: Final = 32
_FREE: Final = 100_000
"""Values that a program may pass on, in all: so many, and so many for each of its bytes."""
_GROWING: Final = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})


def steps(data: bytes | io.BytesIO) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int]]:
    """Each step of a program, its argument, and where it ends.

    Args:
        data: the pickle, or a stream that stands before one; it is left behind it.

    Raises:
        ValueError: it is no pickle.
    """
    program = io.BytesIO(data) if isinstance(data, bytes) else data
    for step, argument, _ in pickletools.genops(program):
        yield step, argument, program.tell()


@dataclass(eq=False)
class _Value:
    """What stands on a program's stack.

    Attributes:
        count: of the values in it, itself among them.
        placed: whether it stands in another value, whose count would miss what it gets later.
    """

    count: int
    placed: bool = False


_MARK: Final = _Value(0)


class Spread:
    """How many values a program passes on, those within them counted each time.

    What is printed, hashed or copied later takes as many steps. A value that stands in another
    already may not be filled: no writer does so, and from the top down thirty lists, each twice in
    the one before, would be counted while they are empty.
    """

    def __init__(self) -> None:
        self._stack: list[_Value] = []
        self._memo: dict[int, _Value] = {}
        self._spent = 0

    def take(self, step: pickletools.OpcodeInfo, argument: Any, end: int) -> None:
        """Follow one step.

        Args:
            step: as :func:`steps` gives it.
            argument: of the step.
            end: of the step, bytes.

        Raises:
            pickle.UnpicklingError: it takes what is not there, fills what stands in another value,
                or the program passes on many more values than it has bytes.
        """
        try:
            self._follow(step, argument)
        except (LookupError, ValueError) as error:
            raise UnpicklingError(f"the step before byte {end} takes what is not there") from error
        if self._spent > _FREE + _PER_BYTE * end:
            raise UnpicklingError(f"it says the same over and over ({self._spent} values)")

    def _follow(self, step: pickletools.OpcodeInfo, argument: Any) -> None:
        stack, name = self._stack, step.name
        if name == "MARK":
            stack.append(_MARK)
        elif name == "DUP":
            stack.append(self._top())
        elif name == "POP":
            stack.pop()
        elif name == "MEMOIZE" or name.endswith("PUT"):
            self._memo[len(self._memo) if argument is None else argument] = self._top()
        elif name.endswith("GET"):
            stack.append(self._memo[argument])
        else:
            self._make(step)

    def _make(self, step: pickletools.OpcodeInfo) -> None:
        stack, before = self._stack, step.stack_before
        taken: list[_Value] = []
        left = len(before)
        if pickletools.markobject in before:
            while (value := stack.pop()) is not _MARK:
                taken.append(value)
            left = before.index(pickletools.markobject)
        for _ in range(left):
            taken.append(self._top())
            stack.pop()
        if step.name in _GROWING:
            whole = taken.pop()  # the lowest: the others go into it
            if whole.placed:
                raise UnpicklingError("it fills what stands in another value")
            inside = sum(value.count for value in taken)
            whole.count += inside
            stack.append(whole)
        else:
            inside = sum(value.count for value in taken)
            stack.extend(_Value(1 + inside) for _ in step.stack_after)
        for value in taken:
            value.placed = True
        self._spent += inside

    def _top(self) -> _Value:
        if self._stack[-1] is _MARK:
            raise ValueError("a mark where a value is to be")
        return self._stack[-1]
