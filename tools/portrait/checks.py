"""Numbers of ``mien portrait`` that cannot be, told before anything slow is loaded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...models.errors import InputError
from ...models.portrait.limits import LEAST_CELLS, MOST_STRENGTH

if TYPE_CHECKING:
    from .command import Portrait


def check_numbers(tool: Portrait) -> None:
    """Refuse numbers that are out of range.

    Raises:
        InputError: naming the option, its value and what would be accepted.
    """
    for name, value, least in (
        ("--steps", tool.steps, 1), ("--invert-steps", tool.invert_steps, 1),
        ("--threads", tool.threads, 1), ("--tuning-steps", tool.tuning_steps, 0),
        ("--cells", tool.cells, LEAST_CELLS), ("--reconstruction", tool.reconstruction, 0),
        ("--identity", tool.identity, 0), ("--sds", tool.sds, 0),
        ("--relight", tool.relight, 0),
    ):  # fmt: skip
        if not (value >= least and math.isfinite(value)):
            raise InputError(f"{name} is {value:g}, expected {least} or more")
    if not 0 <= tool.strength <= MOST_STRENGTH:
        raise InputError(f"--strength is {tool.strength:g}, expected 0 to {MOST_STRENGTH:g}")
    if not (tool.level > 0 and math.isfinite(tool.level)):
        raise InputError(f"--level is {tool.level:g}, expected more than 0")
