from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from mien.stream.reading import read_observations


def test_the_demo_tracks_its_clip(
    mien: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = mien("demo")
    assert done.returncode == 0, done.stderr
    assert "yaw" in done.stdout
    assert "demo.overlay.mp4" in done.stdout
    out = tmp_path / "mien-demo"
    names = {path.name for path in out.iterdir()}
    assert names == {"demo.parquet", "demo.csv", "demo.overlay.mp4", "demo.json"}
    rows = list(read_observations(out / "demo.parquet"))
    frames = {row.frame for row in rows if row.observed}
    assert len(frames) > 0.9 * (max(frames) + 1)
