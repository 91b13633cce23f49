"""The figures of a bench as JSON, for programs such as ``summary.py``: ``--json FILE``."""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="file that takes the figures")


def system() -> str:
    """The operating system with its version to two numbers, such as ``Linux 6.18``."""
    return f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write them where a file was asked for; what is not finite becomes null.

    Args:
        path: of the file; None: nothing is written.
        figures: names to numbers, words, lists and maps of these.
    """
    if path is not None:
        path.write_text(json.dumps(_plain(figures), indent=1) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """As JSON has it: a number of numpy is a number."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, list | tuple) or getattr(value, "ndim", 0):
        return [_plain(one) for one in value]
    number = float(value)
    return number if math.isfinite(number) else None
