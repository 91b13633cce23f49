"""Files that are whole or not there, and folders for them; whatever fails is said in one line."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Final

from .documents import one_line
from .errors import MienError, OutputError

LEFT_BEHIND_S: Final = 24 * 3600.0
"""After so long what is not complete is of a writer that was killed."""
_HELD_S: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8) if os.name == "nt" else ()
"""On Windows scanners and indexers hold new files for moments, which refuse a new name then."""


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name, in the place of what has it; on Windows with patience.

    Raises:
        OSError: it cannot be done.
    """
    for wait_s in _HELD_S:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            time.sleep(wait_s)
    os.replace(source, target)


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
        rename(part, path)
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
            if time.time() - part.stat().st_mtime > LEFT_BEHIND_S:
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
