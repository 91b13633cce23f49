"""Every error that mien raises for a reason outside the program.

::

    MienError
    ├── InputError          (ValueError)  an argument, file or array is not what is accepted
    │   ├── BundleError                   a model bundle is damaged or incomplete
    │   └── LabelError                    an evaluation set cannot be read
    ├── SourceError         (OSError)     a source cannot be opened or read
    │   └── TruncatedError                a source broke off; what came before is good
    └── OutputError         (OSError)     a file, folder or port cannot be written or bound

Each message says in one line what was wrong, where, and what would be accepted.
"""

from __future__ import annotations


class MienError(Exception):
    """Base of all errors that mien raises on purpose."""


class InputError(MienError, ValueError):
    """An argument, file or array is not what is accepted."""


class BundleError(InputError):
    """A model bundle is damaged, incomplete or of another version."""


class LabelError(InputError):
    """An evaluation set cannot be read."""


class SourceError(MienError, OSError):
    """A source cannot be opened or read."""


class TruncatedError(SourceError):
    """A source broke off before its end; the frames that came before are good."""


class OutputError(MienError, OSError):
    """A file, folder or port cannot be written or bound."""


def how_to_install(extra: str) -> str:
    """What brings the packages of an extra; mien is on no package index, so its name is not it."""
    return f"pip install '.[{extra}]' in mien's checkout"
