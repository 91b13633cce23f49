"""``mien evaluate-models``: how well meshes are reconstructed, on held-out people or by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import subcommand

from .avatar import EvaluateAvatar
from .meshes import EvaluateMeshes
from .pifuhd import EvaluatePifuhd
from .portrait import EvaluatePortrait


@dataclass(frozen=True)
class EvaluateModels:
    """Measure reconstructions against true surfaces."""

    what: (
        Annotated[EvaluatePifuhd, subcommand("pifuhd", prefix_name=False)]
        | Annotated[EvaluatePortrait, subcommand("portrait", prefix_name=False)]
        | Annotated[EvaluateAvatar, subcommand("avatar", prefix_name=False)]
        | Annotated[EvaluateMeshes, subcommand("meshes", prefix_name=False)]
    )

    def run(self) -> int:
        """Measure, print a table, and return the exit status."""
        return self.what.run()
