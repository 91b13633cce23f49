"""What was freed goes back to the system, so that hours of work need no more than its minutes."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any


def give_back_free_memory() -> bool:
    """Give the pages that hold nothing back to the system; False where only that of C decides.

    A moment in which frames pile up (the machine was busy, a source stalled) leaves holes in the
    heap as large as the frames. GNU's ``malloc`` keeps them for good unless it is asked; others
    give them back themselves. It takes about a millisecond, with the interpreter's lock released.
    """
    library = _gnu_c_library()
    if library is None:
        return False
    library.malloc_trim(0)
    return True


@lru_cache(maxsize=1)
def _gnu_c_library() -> Any:
    """The process's own C library where it is GNU's; else None."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None
