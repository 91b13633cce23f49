"""``mien synthesize``: labelled pictures and shapes for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import subcommand

from .closeups import SynthesizeCloseups
from .evaluation_set import EvaluationSet
from .faces import SynthesizeFaces
from .people import SynthesizeBodies, SynthesizeHeads
from .portraits import SynthesizePortraits
from .scans import SynthesizeScans
from .scenes import SynthesizeScenes


@dataclass(frozen=True)
class Synthesize:
    """Make labelled pictures and shapes for training."""

    what: (
        Annotated[SynthesizeFaces, subcommand("faces", prefix_name=False)]
        | Annotated[SynthesizeCloseups, subcommand("closeups", prefix_name=False)]
        | Annotated[SynthesizeScenes, subcommand("scenes", prefix_name=False)]
        | Annotated[SynthesizeHeads, subcommand("heads", prefix_name=False)]
        | Annotated[SynthesizeBodies, subcommand("bodies", prefix_name=False)]
        | Annotated[SynthesizeScans, subcommand("scans", prefix_name=False)]
        | Annotated[SynthesizePortraits, subcommand("portraits", prefix_name=False)]
        | Annotated[EvaluationSet, subcommand("evaluation-set", prefix_name=False)]
    )

    def run(self) -> int:
        """Render what is missing."""
        return self.what.run()
