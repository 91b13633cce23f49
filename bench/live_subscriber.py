"""Notes when messages of a publisher arrive, until SIGTERM; the third process of ``live.py``.

    python bench/live_subscriber.py tcp://127.0.0.1:5570 --out FILE.jsonl

A line of JSON a frame: its index, the tracker's time of capture, when its pose was published and
when it had been received, decoded and checked (null where the frame had no face), and when the
frame's own message was. Status messages have a line of their own.
"""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path
from types import FrameType

from mien.stream.messages import FrameMessage, PoseMessage, StatusMessage
from mien.stream.subscriber import PoseSubscriber


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("endpoint")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    poses: dict[int, tuple[int, int]] = {}
    with (
        PoseSubscriber(options.endpoint, every=True) as subscriber,
        options.out.open("w", buffering=1) as out,
    ):
        while True:
            for received in subscriber.receive(0.5):
                message, now_ns = received.message, received.t_receive_ns
                if isinstance(message, PoseMessage):
                    poses[message.frame] = (message.t_publish_ns, now_ns)
                elif isinstance(message, FrameMessage):
                    published_ns, pose_ns = poses.pop(message.frame, (None, None))
                    poses.clear()
                    row = {
                        "frame": message.frame,
                        "t_capture_ns": message.t_capture_ns,
                        "t_publish_ns": published_ns,
                        "t_pose_ns": pose_ns,
                        "t_frame_ns": now_ns,
                    }
                    out.write(json.dumps(row) + "\n")
                elif isinstance(message, StatusMessage):
                    row = {
                        "t_receive_ns": now_ns,
                        "state": message.source_state,
                        "latency_ms": dict(message.latency_ms),
                        "latency_99_ms": dict(getattr(message, "latency_99_ms", {})),
                        "drops": dict(message.drops),
                        "lost": subscriber.stats.lost,
                    }
                    out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
