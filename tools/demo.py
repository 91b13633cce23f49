"""``mien demo``: the main job on a clip that mien ships."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import tyro

if TYPE_CHECKING:
    from ..stream.frame import Frame
    from ..stream.observation import FaceObservation

CLIP: Final = "demo.mp4"
_PRINT_EVERY: Final = 15
"""Frames between two printed poses."""


@dataclass(frozen=True)
class Demo:
    """Track the face in an embedded clip; print poses, write the annotation and an overlay video.

    Attributes:
        out: folder for what is written; made where it is absent, what is there is replaced.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("mien-demo")

    def run(self) -> int:
        """Track the clip and say where the results are."""
        from .annotate.annotation import Batch
        from .annotate.batch import annotate_here
        from .annotate.command import check_folder
        from .annotate.files import Wanted
        from .annotate.inputs import VIDEO_OVERLAY, Input
        from .following import FollowingOptions
        from .options import load_bundle

        check_folder(self.out)
        batch = Batch(
            out=self.out,
            wanted=Wanted(("parquet", "csv"), overlay=True),
            bundle=load_bundle(None),
            tracking=FollowingOptions(),
            overwrite=True,
        )
        with demo_clip() as path:
            item = Input(path, "demo")
            (result,) = annotate_here(batch, [item], _show)
        for output in batch.wanted.there(batch.stem(item)):
            print(f"wrote {output}")
        facts = result.sidecar
        if facts is not None:
            print(f"a face in {facts.frames_with_faces} of {facts.frames_read} frames")
        print(f"look at {self.out / f'{item.name}{VIDEO_OVERLAY}'}")
        return 0 if result.outcome == "done" else 1


def demo_clip() -> AbstractContextManager[Path]:
    """The embedded clip as a file, for as long as the context lasts."""
    return resources.as_file(resources.files("mien.tools.data").joinpath(CLIP))


def _show(frame: Frame, rows: Sequence[FaceObservation]) -> None:
    from .live.listen import pose_line

    if frame.index % _PRINT_EVERY == 0:
        for row in rows:
            print(pose_line(row))
