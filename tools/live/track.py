"""``mien track``: faces followed live, shown, recorded, published."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...models.errors import InputError
from .options import LiveOptions

if TYPE_CHECKING:
    from .session import Session


@dataclass(frozen=True)
class Track(LiveOptions):
    """Follow faces live: show, record or publish their poses; a status line gives rate and latency.

    SOURCE is a webcam (0, /dev/video0, a device name), rtsp://, http://, a file, or - for standard
    input; of several each is a stream of its own. A camera or network stream that is lost is opened
    anew. Poses are printed where nothing else is asked for. Write sources before options.
    """

    def run(self) -> int:
        """Follow until every source ends, and return the exit status."""
        if self.list:
            from .cameras import list_cameras_text

            print(list_cameras_text())
            return 0
        if not self.source:
            raise InputError("track: no SOURCE; give a webcam (0), an address or a file, or --list")
        from ..files import check_row_place
        from ..options import of_option
        from .setup import LiveSetup

        self.publishing.check()
        with of_option("--record"):
            check_row_place(self.record)
        with LiveSetup(self, self.following()) as setup:
            interrupted = setup.group().run()
        for session in setup.sessions:
            _tell(session, len(setup.sessions) > 1)
        if interrupted:
            return 130
        return int(any(session.problem or session.complaints for session in setup.sessions))


def _tell(session: Session, named: bool) -> None:
    if session.problem is not None:
        print(f"mien: {session.problem}", file=sys.stderr)
    print(f"{session.name}: " * named + session.summary(), file=sys.stderr)
