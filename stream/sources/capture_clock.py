"""Times of capture for live sources: the device's time stamps on the machine's clock."""

from __future__ import annotations

_SAME_CLOCK_NS = 1_000_000_000
_DRIFT = 1e-4  # how fast two clocks may part, and be followed
_WINDOW_NS = 10_000_000_000


class CaptureClock:
    """Maps a source's time stamps to the arrival clock, without the jitter of arrival.

    A frame is never captured after it arrived, so the smallest difference of arrival and time stamp
    seen so far is the offset between the clocks plus the least delay on the way. It may grow by 0.1
    millisecond a second, to follow drift. Time stamps that jump forwards lower it at once; where
    they go back, or have stood still for 10 seconds and more, it begins anew. Where all frames of
    10 seconds came later than it says, it is raised to the least of them: less is taken for delay
    (frames that piled up on the way really are old).

    Where the time stamps are already of the arrival clock (video4linux stamps with the monotonic
    clock), they are taken as they are, delay included; where a device's own clock may happen to be
    near (DirectShow's begins with the machine, as Windows' does), ``may_be_ours`` is False.
    """

    def __init__(self, *, may_be_ours: bool = True) -> None:
        self._may_be_ours = may_be_ours
        self._offset_ns: int | None = None
        self._arrival_ns = 0
        self._source_ns = 0
        self._last_ns: int | None = None
        self._same_clock = False
        self._window_ns = 0
        self._window_least_ns = 0

    def stamp(self, t_source_ns: int | None, t_arrival_ns: int) -> int:
        """The time of capture, ns on the arrival clock: strictly increasing, never in the future.

        Args:
            t_source_ns: the source's time stamp; None where it has none.
            t_arrival_ns: when the frame came; later than that of the frame before.
        """
        captured = t_arrival_ns
        if t_source_ns is not None:
            captured = t_source_ns + self._offset(t_source_ns, t_arrival_ns)
            self._source_ns = t_source_ns
        self._arrival_ns = t_arrival_ns
        if self._last_ns is not None:
            captured = max(captured, self._last_ns + 1)
        self._last_ns = captured
        return captured

    def _offset(self, t_source_ns: int, t_arrival_ns: int) -> int:
        difference = t_arrival_ns - t_source_ns
        if self._offset_ns is None:
            self._same_clock = self._may_be_ours and 0 <= difference < _SAME_CLOCK_NS
            return self._anchor(0 if self._same_clock else difference, difference, t_arrival_ns)
        if self._same_clock:
            if not 0 <= difference < _SAME_CLOCK_NS:
                self._same_clock = False
                return self._anchor(difference, difference, t_arrival_ns)
            return 0
        if t_source_ns < self._source_ns or difference - self._offset_ns > _WINDOW_NS:
            return self._anchor(difference, difference, t_arrival_ns)
        drift = int(_DRIFT * max(0, t_arrival_ns - self._arrival_ns))
        self._offset_ns = min(self._offset_ns + drift, difference)
        self._window_least_ns = min(self._window_least_ns, difference)
        if t_arrival_ns - self._window_ns >= _WINDOW_NS:
            self._offset_ns = max(self._offset_ns, self._window_least_ns)
            self._window_ns, self._window_least_ns = t_arrival_ns, difference
        return self._offset_ns

    def _anchor(self, offset_ns: int, difference: int, t_arrival_ns: int) -> int:
        self._offset_ns = offset_ns
        self._window_ns, self._window_least_ns = t_arrival_ns, difference
        return offset_ns
