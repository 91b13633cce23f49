"""A training from its first step to its last checkpoint."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

Result_co = TypeVar("Result_co", covariant=True)


@runtime_checkable
class Training(Protocol[Result_co]):
    """What can be run, saved at any time, and finished."""

    def run(self) -> None:
        """Train until the budget is spent."""
        ...

    def save(self) -> object:
        """Write a checkpoint."""
        ...

    def finish(self) -> Result_co:
        """Measure what was trained, and write the last checkpoint."""
        ...


def run_through(training: Training[Result_co]) -> Result_co:
    """Run a training to its end; one that is interrupted leaves a checkpoint.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """
    try:
        training.run()
    except KeyboardInterrupt:
        training.save()
        raise
    return training.finish()
