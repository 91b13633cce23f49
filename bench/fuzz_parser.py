"""What a parser of foreign bytes is to ``fuzz.py``: a function that takes bytes, and its seeds.

A parser gets a scratch folder of its own, into which it may write what it wants as a file. Seeds
are small valid files, made by mien's own writers where there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.models.errors import MienError

Errors = tuple[type[BaseException], ...]


@dataclass(frozen=True)
class Parser:
    """A reader of bytes that somebody else wrote.

    Attributes:
        name: for ``--only``.
        form: of the files, for :func:`fuzz_mutate.mutate`.
        seeds: makes valid files; the folder is for scratch.
        parse: reads one; the folder is for scratch.
        raises: errors that are an answer; every other one is a finding.
        share: of the inputs, beside the others' 1.
        needs: packages without which it is left out.
    """

    name: str
    form: str
    seeds: Callable[[Path], Sequence[bytes]]
    parse: Callable[[bytes, Path], object]
    raises: Errors = (MienError,)
    share: float = 1.0
    needs: tuple[str, ...] = ()


def in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    """A parser of paths as one of bytes."""

    def parse(data: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(data)
        return read(path)

    return parse


def as_text(read: Callable[[str], object]) -> Callable[[bytes, Path], object]:
    """A parser of what stands on a command line: any bytes of one line but NUL."""

    def parse(data: bytes, folder: Path) -> object:
        del folder
        text = data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
        return read(" ".join(text.split("\n")).replace("\r", " "))

    return parse


def fixed(*seeds: bytes | str) -> Callable[[Path], Sequence[bytes]]:
    """Seeds that stand in the program."""
    return lambda _: [seed.encode() if isinstance(seed, str) else seed for seed in seeds]


def written(name: str, write: Callable[[Path], object]) -> Callable[[Path], Sequence[bytes]]:
    """A seed that a writer of files makes."""

    def make(folder: Path) -> Sequence[bytes]:
        path = folder / name
        write(path)
        return [path.read_bytes()]

    return make
