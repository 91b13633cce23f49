"""Work in processes that cannot prepare themselves, or die, ends with an error."""

from __future__ import annotations

import math
import multiprocessing
import operator
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.models.errors import InputError, MienError
from mien.models.people.body_generate import BodiesConfig
from mien.models.people.generate import HeadsConfig, synthesise_people
from mien.models.processes import share_out
from mien.models.synthetic.generate import SynthesisConfig, synthesise
from mien.models.synthetic.scenes import CutOutConfig, render_cut_outs
from mien.tools.options import shipped_face_model

# Functions are the standard library's: a process that is spawned finds them by their names.


def test_every_task_is_done_once() -> None:
    done = list(share_out(operator.neg, range(7), 2, time.sleep, 0.0))
    assert sorted(done) == [-6, -5, -4, -3, -2, -1, 0]
    assert not multiprocessing.active_children()


def test_what_a_task_raises_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match=r"math domain|nonnegative"):
        list(share_out(math.sqrt, [-1.0] * 5, 2, time.sleep, 0.0))
    assert not multiprocessing.active_children()


def test_a_process_that_dies_ends_the_work() -> None:
    with pytest.raises(MienError, match="a worker process died"):
        list(share_out(os._exit, [1, 1, 1], 2, time.sleep, 0.0))
    assert not multiprocessing.active_children()


def test_who_stops_listening_ends_the_processes() -> None:
    made = share_out(time.sleep, [0.0, 600.0], 2, time.sleep, 0.0)
    assert next(made) is None
    made.close()
    assert not multiprocessing.active_children()


FACE_MODEL = shipped_face_model()
NOWHERE = Path("no-such-folder")


def _portraits(out: Path) -> int:
    pytest.importorskip("torch")
    from mien.models.portrait.synthesize import PortraitsConfig, synthesise

    return synthesise(PortraitsConfig(out, 2, FACE_MODEL, data=NOWHERE, workers=2))


@pytest.mark.parametrize(
    "make",
    [
        lambda out: synthesise(SynthesisConfig(out, 1, FACE_MODEL, data=NOWHERE)),
        lambda out: render_cut_outs(CutOutConfig(out, 1, FACE_MODEL, data=NOWHERE)),
        lambda out: synthesise_people(HeadsConfig(out, 1, 1, 64, FACE_MODEL, data=NOWHERE)),
        lambda out: synthesise_people(BodiesConfig(out, 1, 1, 64, FACE_MODEL, data=NOWHERE)),
        _portraits,
    ],
    ids=["faces", "scenes", "heads", "bodies", "portraits"],
)
def test_makehumans_data_that_are_missing_are_an_error_and_not_for_ever(
    make: Callable[[Path], int], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no MakeHuman base mesh"):
        make(tmp_path)
