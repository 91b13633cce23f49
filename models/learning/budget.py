"""How long a training may go on."""

from __future__ import annotations

import math

from ..errors import InputError


def check_budget(unit: str, amount: int | None, minutes: float | None) -> None:
    """Refuse a training without an end.

    Args:
        unit: what is counted, in the plural.
        amount: of it, at most; None for no such limit.
        minutes: at most; None for no such limit.

    Raises:
        InputError: neither limit is given, or one is not above 0.
    """
    if amount is None and minutes is None:
        raise InputError(
            f"training needs a budget: a number of {unit}, of minutes, or both "
            f"(--{unit}, --minutes)"
        )
    for name, value in ((unit, amount), ("minutes", minutes)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise InputError(f"training needs a budget above 0; {value:g} {name} given")
