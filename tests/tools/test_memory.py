"""Memory that was freed serves the next frame, and goes back to the system when asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PILE_UP = """
import ctypes, re, sys
from mien.tools.memory import give_back_free_memory

def resident_kb():
    with open("/proc/self/status") as file:
        return int(re.search(r"VmRSS:\\s+(\\d+)", file.read())[1])

frame = 640 * 480 * 3
bytearray(frame)  # freed: malloc takes such sizes from its heap from now on
before = resident_kb()
frames, between = [], []
for _ in range(40):
    frames.append(bytearray(b"x") * frame)
    between.append(ctypes.create_string_buffer(4000))  # keeps the heap from shrinking
piled_up = resident_kb()
frames.clear()
freed = resident_kb()
print(give_back_free_memory(), piled_up - before, freed - before, resident_kb() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for its memory")
def test_frames_that_piled_up_leave_no_hole_in_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PILE_UP], capture_output=True, text=True, check=True
    )
    ours, *kilobytes = done.stdout.split()
    if ours == "False":
        pytest.skip("the C library is not GNU's")
    piled_up, freed, given_back = map(int, kilobytes)
    assert piled_up > 30_000
    assert freed > 30_000, "nothing was left to give back"
    assert given_back < 3_000


_NEXT_FRAMES = """
import resource
from mien.tools.memory import keep_memory_of_frames

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def go_through(frames):
    kept = []
    for _ in range(frames):
        kept = [*kept[-1:], bytearray(1920 * 1080 * 3)]
    return kept

kept = keep_memory_of_frames() and keep_memory_of_frames()
go_through(8)
before = faults()
go_through(100)
print(kept, faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for its memory")
def test_the_room_of_one_frame_serves_the_next() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NEXT_FRAMES], capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    if kept == "False":
        pytest.skip("the C library is not GNU's")
    # 1,500 pages a frame (30, where the system gives large ones), were they asked for each time.
    assert int(faults) < 500
