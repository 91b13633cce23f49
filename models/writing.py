"""Files that are whole or not there, and folders for them; whatever fails is said in one line."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Final

from .documents import one_line
from .errors import MienError, OutputError

_LEFT_BEHIND_S: Final = 24 * 3600.0
"""After so long what is not complete is of a writer that was killed."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write a file that takes the name ``path`` when it is complete.

    The place has the same suffix and lies in the same folder, which must be there. Where something
    is raised, what had the name before stays whole, and nothing else is left; what a killed writer
    of the same file left a day ago is removed.

    Raises:
        OutputError: it cannot be written.
    """
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        _sweep(path)
        yield part
        part.replace(path)
    except MienError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {one_line(error)}") from error
    finally:
        with suppress(OSError):
            part.unlink()


def _sweep(path: Path) -> None:
    """Remove what was begun for a file and left behind."""
    pattern = f".{escape(path.stem)}.{8 * '[0-9a-f]'}.part{escape(path.suffix)}"
    for part in path.parent.glob(pattern):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _LEFT_BEHIND_S:
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
