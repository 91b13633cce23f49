"""``mien synthesize``: labelled pictures for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import subcommand

from .synthesize_faces import SynthesizeFaces
from .synthesize_scenes import SynthesizeScenes


@dataclass(frozen=True)
class Synthesize:
    """Render labelled pictures for training."""

    what: (
        Annotated[SynthesizeFaces, subcommand("faces", prefix_name=False)]
        | Annotated[SynthesizeScenes, subcommand("scenes", prefix_name=False)]
    )

    def run(self) -> int:
        """Render what is missing."""
        return self.what.run()
