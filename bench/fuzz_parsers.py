"""Every parser of foreign bytes in mien; ``fuzz.py`` runs them."""

from __future__ import annotations

from importlib.util import find_spec

from fuzz_checkpoints import PARSERS as CHECKPOINTS
from fuzz_frames import PARSERS as FRAMES
from fuzz_meshes import PARSERS as MESHES
from fuzz_parser import Parser
from fuzz_people import PARSERS as PEOPLE
from fuzz_sets import PARSERS as SETS
from fuzz_tables import PARSERS as TABLES
from fuzz_weights import PARSERS as WEIGHTS
from fuzz_wire import PARSERS as WIRE


def all_parsers() -> dict[str, Parser]:
    """By name, those whose packages are installed."""
    return {
        parser.name: parser
        for parser in (
            *(*WIRE, *TABLES, *MESHES, *FRAMES),
            *(*WEIGHTS, *CHECKPOINTS, *SETS, *PEOPLE),
        )
        if all(find_spec(name) is not None for name in parser.needs)
    }
