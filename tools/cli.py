"""The ``mien`` command.

Exit status: 0 done; 1 any input failed or was truncated; 2 nothing could begin; 130 interrupted.
Everything else is imported within :func:`main`: an interruption is obeyed from the start.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import signal
import sys
from enum import IntEnum
from io import TextIOWrapper
from types import FrameType

from ..models.errors import MienError


class ExitStatus(IntEnum):
    """What the process says when it ends."""

    DONE = 0
    SOME_FAILED = 1
    NOTHING_BEGAN = 2
    INTERRUPTED = 130


def main() -> int:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, _interrupt)
    if os.name == "nt":
        speak_utf8(sys.stdout)
        speak_utf8(sys.stderr)
    try:
        arguments = sys.argv[1:]
        if arguments == ["--version"]:
            print(f"mien {importlib.metadata.version('mien')}")
            return ExitStatus.DONE
        from .commands import parse

        status = parse(arguments).run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output (head, for instance) has seen enough: an interruption.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.INTERRUPTED
    except KeyboardInterrupt as error:
        return _interrupted(error)
    except Exception as error:
        interruption = _behind(error)
        if interruption is not None:
            return _interrupted(interruption)
        told = _told(error)
        if told is None:
            raise
        print(f"mien: {told}", file=sys.stderr)
        return ExitStatus.NOTHING_BEGAN
    return status


def _told(error: Exception) -> str | None:
    """What a user needs to know of an error that is theirs; None of one that is not."""
    if isinstance(error, MienError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{str(error.filename)[:60]!r}: such a name no file can have"
    return None


def speak_utf8(stream: object) -> None:
    """Write UTF-8 where a program reads: Windows' code page lacks most names, and no one asks it.

    A console's stream stays as it is.
    """
    if isinstance(stream, TextIOWrapper) and not stream.isatty():
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _behind(error: BaseException) -> KeyboardInterrupt | None:
    """The interruption that made an error: a library that was being loaded says "failed"."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__
    return cause


def _interrupted(error: KeyboardInterrupt) -> int:
    # A command may say how far it came; whoever pressed Ctrl-C did not.
    print(f"mien: interrupted{f': {error}' if str(error) else ''}", file=sys.stderr)
    return ExitStatus.INTERRUPTED


def _interrupt(number: int, frame: FrameType | None) -> None:
    """A request to terminate ends as Ctrl-C does: files are closed, temporary ones removed."""
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
