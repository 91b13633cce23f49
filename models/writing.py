"""Files that are whole or not there, and folders for them; whatever fails is said in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .documents import one_line
from .errors import MienError, OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write a file that takes the name ``path`` when it is complete.

    The place has the same suffix and lies in the same folder, which must be there. Where something
    is raised, what had the name before stays whole, and nothing else is left.

    Raises:
        OutputError: it cannot be written.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    except MienError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {one_line(error)}") from error
    finally:
        with suppress(OSError):
            part.unlink()


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are absent.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder}: is a file, expected a folder") from error
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {one_line(error)}") from error
