"""Does the memory of ``mien annotate`` stay the same however long a video is?

    python bench/annotate_memory.py [--hours 2] [--threads 1]

A clip of 320x240 is looped to so many hours by copying its packets. The largest process of the
command is looked at every second; what counts is its resident memory by share of the frames done.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from annotate_clips import make_clip

MIEN = Path(sys.executable).parent / "mien"
BOUND_MB = 600.0


def resident_mb(pid: int) -> float:
    """Of a process, now; 0 when it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        clip = make_clip(
            Path(place) / "long.mp4", None, (320, 240), round(options.hours * 3600 * 25)
        )
        with av.open(str(clip)) as container:
            frames = container.streams.video[0].frames
        begin = time.monotonic()
        process = subprocess.Popen(
            [MIEN, "annotate", clip, "--out", Path(place) / "out"]
            + ["--threads", str(options.threads)]
        )
        seen: list[float] = []
        while True:
            seen.append(resident_mb(process.pid))
            time.sleep(1.0)
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
        process.returncode = os.waitstatus_to_exitcode(status)
        peak_mb = used.ru_maxrss / 1024  # also what came and went between two looks
        took_s = time.monotonic() - begin
    if process.returncode:
        raise SystemExit(f"mien annotate ended with status {process.returncode}")
    whole = np.array([mb for mb in seen if mb])
    print(f"{frames} frames ({frames / 25 / 3600:.2f} h) in {took_s:.0f} s")
    for low, high in ((0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.0)):
        part = whole[int(low * len(whole)) : max(1, int(high * len(whole)))]
        print(f"{low:.0%} to {high:.0%} of the time: median {np.median(part):.0f} MB")
    print(f"peak {peak_mb:.0f} MB, {'within' if peak_mb < BOUND_MB else 'ABOVE'} {BOUND_MB:g}")
    raise SystemExit(peak_mb >= BOUND_MB)


if __name__ == "__main__":
    main()
