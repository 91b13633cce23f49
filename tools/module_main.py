"""How helpers that are run with ``python -m`` end: as ``mien`` does, one line for a mistake."""

from __future__ import annotations

import sys
from typing import NoReturn, Protocol, runtime_checkable

import tyro

from ..models.errors import MienError
from .cli import ExitStatus


@runtime_checkable
class Helper(Protocol):
    """A dataclass of options that does something."""

    def run(self) -> int:
        """Do it; the exit status."""
        ...


def end_with(helper: type[Helper]) -> NoReturn:
    """Read the command line, do what it asks, and exit."""
    try:
        status = tyro.cli(helper).run()
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        status = ExitStatus.NOTHING_BEGAN
    raise SystemExit(int(status))
