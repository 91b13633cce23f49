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
    try:
        arguments = sys.argv[1:]
        if arguments == ["--version"]:
            print(f"mien {importlib.metadata.version('mien')}")
            return ExitStatus.DONE
        from .commands import parse

        status = parse(arguments).run()
        sys.stdout.flush()
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return ExitStatus.NOTHING_BEGAN
    except BrokenPipeError:
        # Whoever read our output (head, for instance) has seen enough: an interruption.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.INTERRUPTED
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"mien: {str(error.filename)[:60]!r}: such a name no file can have", file=sys.stderr)
        return ExitStatus.NOTHING_BEGAN
    except KeyboardInterrupt as error:
        # A command may say how far it came; whoever pressed Ctrl-C did not.
        print(f"mien: interrupted{f': {error}' if str(error) else ''}", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    """A request to terminate ends as Ctrl-C does: files are closed, temporary ones removed."""
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
