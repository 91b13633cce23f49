"""What ``annotate.py`` measures beside mien, each in a process of its own.

    python bench/annotate_child.py decode|loop|twice|mediapipe CLIP THREADS [TASK]

``mediapipe`` runs in a Python that has it; it needs nothing of mien. The others keep the memory of
freed frames, as ``mien annotate`` does: the floor is to be as low as it can be.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path


def decode(clip: Path, threads: int) -> int:
    """Every frame as BGR."""
    from mien.stream.sources.opening import SourceOptions, open_source
    from mien.tools.memory import keep_memory_of_frames

    keep_memory_of_frames()
    with open_source(clip, SourceOptions(decode_threads=threads)) as source:
        return sum(1 for _ in source)


def loop(clip: Path, threads: int) -> int:
    """Frame by frame: decode, crop, network, 68 points."""
    from face_work import Bare

    from mien.models.face.bundle import Bundle
    from mien.stream.sources.opening import SourceOptions, open_source
    from mien.tools.memory import keep_memory_of_frames

    keep_memory_of_frames()
    with open_source(clip, SourceOptions(decode_threads=threads)) as source:
        frames = iter(source)
        first = next(frames).image_bgr
        bare = Bare(Bundle.default(), [first])
        marks, count = bare._first, 1
        for frame in frames:
            marks = bare._step(frame.image_bgr, marks)
            count += 1
    return count


def twice(clip: Path, threads: int) -> int:
    """The loop in two processes at once: what two cores give to work that shares nothing."""
    command = [sys.executable, __file__, "loop", str(clip), str(threads)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate()[0] for one in both]
    if any(one.returncode for one in both):
        raise SystemExit("a loop failed")
    return sum(int(text) for text in said)


def mediapipe(clip: Path, task: Path) -> int:
    """As MediaPipe's own examples do it."""
    import cv2
    from live_peer import open_landmarker, picture

    reader = cv2.VideoCapture(str(clip))
    rate = reader.get(cv2.CAP_PROP_FPS)
    count = 0
    with open_landmarker(task) as landmarker:
        while True:
            more, image = reader.read()
            if not more:
                return count
            image_rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            found = landmarker.detect_for_video(picture(image_rgb), round(count * 1000 / rate))
            if count == 0 and not found.face_landmarks:
                raise SystemExit("no face in the first frame")
            count += 1


def main() -> None:
    what, clip, threads, *more = islice(sys.argv, 1, None)
    if what == "mediapipe":
        print(mediapipe(Path(clip), Path(more[0])))
    else:
        modes = {"decode": decode, "loop": loop, "twice": twice}
        print(modes[what](Path(clip), int(threads)))


if __name__ == "__main__":
    main()
