"""Figures in a JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..models.writing import whole_file


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write figures; what is not a number becomes null. A file of that name stays whole till then.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
