"""Memory that was freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PILE_UP = """
import ctypes, re, sys
from mien.tools.live.free_memory import give_back_free_memory

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
