"""What does each output cost a frame? Median and 99th percentile of ``write``, in microseconds.

    python bench/outputs.py [--frames N] [--json FILE]

UDP goes to a socket on this machine that nobody reads; LSL has no reader; Rerun writes a file.
``all`` is one frame to all of them, which share the relative pose.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from figures import add_json_option, write_figures

from mien.models.errors import InputError
from mien.models.face.morphable import FaceModel
from mien.models.face.rotation import matrix_from_yaw_pitch_roll, quaternion_from_matrix
from mien.stream.frame import Frame
from mien.stream.neutral import Neutral
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Recording, Sink
from mien.tools.live.outputs import OutputOptions, open_outputs
from mien.tools.options import shipped_face_model

MATRIX = ((554.0, 0.0, 319.5), (0.0, 554.0, 239.5), (0.0, 0.0, 1.0))
RECORDING = Recording(source="bench", rate=30.0, width=640, height=480, camera_matrix=MATRIX)
GREY = np.zeros((480, 640, 3), np.uint8)


def rows(count: int) -> list[FaceObservation]:
    """A head that turns and talks."""
    rng = np.random.default_rng(1)
    made = []
    for i in range(count):
        angles = np.array([20 * np.sin(0.1 * i), 5 * np.cos(0.13 * i), 3.0])
        quat = quaternion_from_matrix(matrix_from_yaw_pitch_roll(angles)).tolist()
        yaw, pitch, roll = angles.tolist()
        made.append(
            FaceObservation(
                frame=i, t_media_ns=None, t_capture_ns=i * 33_333_333, track=0, observed=True,
                confidence=0.99, box_x=270.0, box_y=190.0, box_w=100.0, box_h=100.0,
                yaw=yaw, pitch=pitch, roll=roll, qw=quat[0], qx=quat[1], qy=quat[2], qz=quat[3],
                tx=5.0, ty=-3.0, tz=600.0 + i % 7, pose_variance=np.full(6, 0.01, np.float32),
                shape=rng.normal(size=40).astype(np.float32),
                expression=rng.normal(size=10).astype(np.float32),
                landmarks=rng.uniform(200, 400, 136).astype(np.float32),
                blendshapes=rng.uniform(size=52).astype(np.float32),
            )
        )  # fmt: skip
    return made


def measure(sinks: Sequence[Sink], observations: Sequence[FaceObservation]) -> np.ndarray:
    """Microseconds a frame."""
    took = []
    for i, row in enumerate(observations):
        frame = Frame(GREY, i, t_capture_ns=row.t_capture_ns)
        begin_ns = time.perf_counter_ns()
        for sink in sinks:
            sink.write(frame, [row])
        took.append(1e-3 * (time.perf_counter_ns() - begin_ns))
    return np.array(took[len(took) // 10 :])  # without the first tenth, which warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    add_json_option(parser)
    asked = parser.parse_args()
    count: int = asked.frames
    observations = rows(count)
    figures: dict[str, list[float]] = {}
    refused: dict[str, str] = {}
    face_model = FaceModel.load(shipped_face_model())
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        tempfile.TemporaryDirectory() as folder,
    ):
        receiver.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{receiver.getsockname()[1]}"
        rrd, csv = str(Path(folder) / "a.rrd"), Path(folder) / "a.csv"
        everything = OutputOptions(
            opentrack=address, vmc=address, ifacialmocap=address, livelink=csv, lsl=True, rerun=rrd
        )
        cases = {
            "opentrack": OutputOptions(opentrack=address),
            "vmc": OutputOptions(vmc=address),
            "ifacialmocap": OutputOptions(ifacialmocap=address),
            "livelink": OutputOptions(livelink=csv),
            "lsl": OutputOptions(lsl=True),
            "rerun": OutputOptions(rerun=rrd),
            "all": everything,
        }
        print(f"{count} frames; microseconds a frame\n{'':14}{'median':>10}{'99 %':>10}")
        for name, options in cases.items():
            try:
                sinks = open_outputs(
                    options, RECORDING, Neutral(), f"bench-{name}", face_model=face_model
                )
            except InputError as error:
                print(f"{name:14}{error}")
                refused[name] = str(error)
                continue
            took = measure(sinks, observations)
            for sink in sinks:
                sink.close()
            middle, high = np.percentile(took, [50, 99])
            figures[name] = [middle, high]
            print(f"{name:14}{middle:10.1f}{high:10.1f}")
    write_figures(asked.json, {"median_and_99th_us": figures, "refused": refused})


if __name__ == "__main__":
    main()
