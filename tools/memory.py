"""How this process's C library keeps memory: what hours of work need no more than its minutes."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any, Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LARGEST: Final = 32 << 20
"""Bytes: the most that GNU's ``malloc`` can be told to take from its heap in one piece."""
_KEPT: Final = 64 << 20


@lru_cache(maxsize=1)
def keep_memory_of_frames() -> bool:
    """Have the room of one frame serve the next; False where only that of C decides.

    GNU's ``malloc`` gives a freed frame's pages back to the system and asks for them again with the
    next frame, which is more than a quarter of what decoding to BGR takes at 640x480. Once called,
    pieces of up to 32 MB come from its heap, of which up to 64 MB may lie free at the end. It holds
    for the whole process, whoever else works in it; later calls do nothing.
    """
    library = _gnu_c_library()
    if library is None:
        return False
    done = library.mallopt(_M_MMAP_THRESHOLD, _LARGEST), library.mallopt(_M_TRIM_THRESHOLD, _KEPT)
    return all(done)


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
