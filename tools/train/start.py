"""Where a training starts from."""

from __future__ import annotations

from ...models.errors import InputError


def check_start(resume: bool, init: object) -> None:
    """Refuse two starts at once.

    Args:
        resume: go on with the training's own checkpoint.
        init: weights of another one to begin with; None for none.

    Raises:
        InputError: both are asked for.
    """
    if resume and init is not None:
        raise InputError("train: --resume goes on with a checkpoint, --init begins from one")
