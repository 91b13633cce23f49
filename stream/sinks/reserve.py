"""Room in a file beyond what is written, so that its end can be written on a full disk."""

from __future__ import annotations

import errno
import os
from io import BufferedWriter
from typing import Final

_ZEROS: Final = bytes(1 << 16)


class Reserve:
    """Holds disk space within a file, ahead of what is written.

    The space is the file's own from the start, not that of a second file which is removed when the
    disk is full: no other program can take it in between, and it holds against a limit of the
    file's size too. Until :meth:`give_back` the file ends with zeros.

    On file systems that write a block elsewhere when it is overwritten and that compress (ZFS), no
    space can be held this way.
    """

    def __init__(self, stream: BufferedWriter) -> None:
        """Hold nothing yet.

        Args:
            stream: of a file that is written from its beginning to its end.
        """
        self._stream = stream
        self._end = 0

    def hold(self, size: int) -> None:
        """Make sure that so many bytes can be written from here, or leave what is held as it is.

        Raises:
            OSError: there is no room for them.
        """
        at = self._stream.tell()
        begin = max(self._end, at)
        if at + size > begin:
            self._stream.flush()
            _allocate(self._stream.fileno(), begin, at + size)
            self._end = at + size

    def give_back(self) -> None:
        """End the file where its writing ended.

        Raises:
            OSError: it cannot be cut.
        """
        self._stream.flush()
        self._stream.truncate()


def _allocate(file: int, begin: int, end: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, begin, end - begin)
        except OSError as error:
            # Where a C library does not emulate what the file system cannot do.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return
    back = os.lseek(file, 0, os.SEEK_CUR)
    try:
        os.lseek(file, begin, os.SEEK_SET)
        while begin < end:
            begin += os.write(file, _ZEROS[: end - begin])
    finally:
        os.lseek(file, back, os.SEEK_SET)
