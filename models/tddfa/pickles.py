"""NumPy arrays out of pickles that nobody vouches for.

A pickle is a program: it names functions and calls them. Here every name that it may use stands
for an object of this module, which makes an array of numbers or refuses; nothing of the file's
choosing is imported, called or changed. What arrays and plain containers need is all there is.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..pickle_steps import Spread, steps

MOST_BYTES: Final = 1 << 30
"""Largest file that is read; 3DDFA_V2's largest has about 0.2 GB."""
_MOST_STEPS: Final = 10_000
"""Of the pickle's program; 3DDFA_V2's have under 200. It bounds nesting, and the memo."""
_MOST_AXES: Final = 4
_NUMBERS = re.compile(r"[<>=|]?(f[248]|[iu][1248]|b1)")
# They make instances of classes, fetch registered or outside objects: arrays need none of them.
_REFUSED_STEPS: Final = frozenset(
    {
        *("PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"),
        *("NEXT_BUFFER", "READONLY_BUFFER"),
    }
)
_DAMAGE: Final = (
    *(pickle.UnpicklingError, ValueError, TypeError, AttributeError, LookupError, EOFError),
    *(ImportError, ArithmeticError, MemoryError, RecursionError),
)


def read_array(path: Path) -> NDArray[Any]:
    """The array of numbers that a file holds.

    Raises:
        InputError: the file cannot be read, or holds anything else.
    """
    content = _load(path)
    if not isinstance(content, _Array):
        raise InputError(f"{path}: holds {_kind(content)}, expected an array of numbers")
    with _explained(path):
        return content.numbers()


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Chosen arrays of the dictionary that a file holds.

    Raises:
        InputError: the file cannot be read, holds no dictionary, or one of the arrays is missing.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {_kind(content)}, expected a dictionary of arrays")
    arrays: dict[str, NDArray[Any]] = {}
    for name in names:
        entry = content.get(name)
        if not isinstance(entry, _Array):
            found = ", ".join(f"{key!r:.40}" for key in list(content)[:12] if isinstance(key, str))
            raise InputError(f"{path}: has no array {name!r}; it has {found or 'nothing'}")
        with _explained(path):
            arrays[name] = entry.numbers()
    return arrays


def _load(path: Path) -> object:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: larger than {MOST_BYTES >> 20} MB, which none of these is")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    with _explained(path):
        _check_steps(data)
        return _ArrayUnpickler(data).load()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Whatever is wrong with a pickle, in one line."""
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{path}: not read: {reason}; accepted are pickles of arrays of numbers in plain "
            "containers"
        ) from error


def _check_steps(data: bytes) -> None:
    """Walk over the program without running it; memory is bounded by the file's size.

    Raises:
        pickle.UnpicklingError: it does what no pickle of arrays does.
    """
    begin = frame_end = 0
    spread = Spread()
    for count, (step, argument, end) in enumerate(steps(data)):
        if count >= _MOST_STEPS:
            raise pickle.UnpicklingError(f"it has more than {_MOST_STEPS} steps")
        # Of a frame that a step leaves half-way the rest is dropped when the program runs: what
        # follows is another program, which nobody has looked at.
        if begin < frame_end and (end > frame_end or step.name == "FRAME"):
            raise pickle.UnpicklingError(f"the step at byte {begin} leaves its frame")
        if step.name == "FRAME":
            frame_end = end + argument
        begin = end
        if step.name in _REFUSED_STEPS:
            raise pickle.UnpicklingError(f"it makes objects ({step.name})")
        # The memo is a list: a high index alone would fill the machine's memory.
        if step.name.endswith("PUT") and argument is not None and argument > _MOST_STEPS:
            raise pickle.UnpicklingError(f"it keeps notes at place {argument}")
        spread.take(step, argument, end)


class _Named:
    """What a name in the pickle stands for: it can be called, and cannot be changed."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> object:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes a function")


class _Kind:
    """A data type in the making."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
            what = "Python objects" if str(code).lstrip("<>=|").startswith("O") else f"{code!r:.40}"
            raise pickle.UnpicklingError(f"an array of {what}, expected one of numbers")
        self.code = code.lstrip("<>=|")
        self.order = code[0] if code[0] in "<>" else "="

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("a data type that is not NumPy's")
        if any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array of records, expected one of numbers")
        self.order = "=" if state[1] == "|" else state[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """As NumPy's."""
        return np.dtype(self.order + self.code)


class _Array:
    """An array as the file describes it; made when it is asked for."""

    __slots__ = ("_parts",)

    def __init__(self, *parts: object) -> None:
        self._parts = parts

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array's state that is not NumPy's")
        _, shape, kind, fortran, raw = state
        self._parts = (raw, kind, shape, "F" if fortran else "C")

    def numbers(self) -> NDArray[Any]:
        """As NumPy's; no larger than the file.

        Raises:
            pickle.UnpicklingError: the description makes no array of numbers.
        """
        if len(self._parts) != 4:
            raise pickle.UnpicklingError("an array without its bytes")
        return _built(*self._parts)


def _built(raw: object, kind: object, shape: object, order: object) -> NDArray[Any]:
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not isinstance(kind, _Kind) or not isinstance(raw, (bytes, bytearray)):
        raise pickle.UnpicklingError("an array without its bytes, expected one of numbers")
    if (
        not isinstance(shape, tuple)
        or len(shape) > _MOST_AXES
        or not all(type(size) is int and size >= 0 for size in shape)
        or order not in ("C", "F")
    ):
        raise pickle.UnpicklingError(f"an array of shape {shape!r:.60}")
    dtype = kind.dtype
    if not raw or math.prod(shape) * dtype.itemsize != len(raw):
        raise pickle.UnpicklingError(
            f"an array of shape {shape!r:.60} and type {dtype} in {len(raw)} bytes"
        )
    array = np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _begin_array(*arguments: object) -> _Array:
    if not arguments or arguments[0] is not _NDARRAY:
        raise pickle.UnpicklingError("an array of a class of its own")
    return _Array()  # the shape asked for here is a preliminary one, and no matter


def _scalar(*arguments: object) -> _Array:
    return _Array(*arguments[::-1], (), "C")  # its type, its bytes


def _refuse_call(*_: object) -> object:
    raise pickle.UnpicklingError("it makes an array of a size that it names")


def _ordered(*arguments: object) -> object:
    if arguments:
        raise pickle.UnpicklingError("an ordered dictionary in Python 2's form")
    return {}


_NDARRAY: Final = _Named(_refuse_call)
_NAMES: Final[dict[tuple[str, str], _Named]] = {
    **{
        (f"numpy.{core}.{module}", name): _Named(make)
        for core in ("core", "_core")  # before NumPy 2, and since
        for module, name, make in (
            ("multiarray", "_reconstruct", _begin_array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _Array),  # bytes, type, shape, order
        )
    },
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Named(_Kind),
    ("collections", "OrderedDict"): _Named(_ordered),
}


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        # latin1: Python 2 kept the bytes of arrays in its strings.
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._left = len(data)
        self._encoder = _Named(self._encode)

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """The stand-in of a name; all others are refused."""
        if (module_name, global_name) == ("_codecs", "encode"):
            return self._encoder
        try:
            return _NAMES[module_name, global_name]
        except KeyError:
            name = f"{module_name}.{global_name}"
            raise pickle.UnpicklingError(f"it asks for {name!r:.80}") from None

    def _encode(self, text: object, encoding: object) -> bytes:
        """How old protocols write bytes; all together are fewer than the file's."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError("it encodes a text")
        self._left -= len(text)
        if self._left < 0:
            raise pickle.UnpicklingError("it holds more than its size")
        return text.encode("latin1")


def _kind(content: object) -> str:
    if isinstance(content, (_Array, dict)):
        return "an array" if isinstance(content, _Array) else "a dictionary"
    return f"a value of type {type(content).__name__.lstrip('_')}"
