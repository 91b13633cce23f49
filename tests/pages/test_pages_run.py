"""What a reader types from the pages works as printed, in order: tracking and annotating.

What needs torch is in ``test_pages_train.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from .amounts import AMOUNTS, BEFORE, EXCEPT, LIGHT, TORCH, excepted
from .brought import bring
from .live import follow_live, live_stand_ins
from .reader import Reader, outputs
from .steps import Step, printed

STEPS = printed()
LIVE = re.compile("mien (track|listen|center|keys)")
NEEDS = {"--view": "websockets", "--lsl": "pylsl"}


def steps_of(page: str) -> list[Step]:
    """The commands of a page that run here."""
    missing = [option for option, package in NEEDS.items() if find_spec(package) is None]
    return [
        step
        for step in STEPS
        if step.page == page
        and not excepted(step)
        and not TORCH.match(step.line)
        and not any(option in step.line for option in missing)
    ]


@pytest.fixture
def reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_video: Callable[..., Path]
) -> Reader:
    bring(tmp_path, make_video)
    return Reader(tmp_path, monkeypatch, live_stand_ins())


@pytest.mark.parametrize("page", LIGHT)
def test_the_commands_of_a_page_run_in_their_order(page: str, reader: Reader) -> None:
    steps = steps_of(page)
    assert steps
    follow_live(reader, [step for step in steps if LIVE.match(step.line)])
    for step in steps:
        if not LIVE.match(step.line):
            reader.follow(step)


def test_no_exception_and_no_amount_is_left_over() -> None:
    lines = [step.line for step in STEPS]
    for pattern in EXCEPT:
        assert any(re.fullmatch(pattern, line) for line in lines), pattern
    for pattern in AMOUNTS:
        assert any(re.search(pattern, line) for line in lines), pattern
    assert {step.page for step in STEPS} >= BEFORE.keys()


def test_pages_that_are_followed_in_one_folder_do_not_meet() -> None:
    """Results of other options are refused: a folder belongs to one page, or to one command.

    Model cards record what was run to make the weights.
    """
    typed: dict[str, dict[str, str]] = {}
    for step in STEPS:
        if not (excepted(step) or step.elided or step.page.startswith("models/weights/")):
            words = [word.rstrip("/") for word in step.words]
            for place in outputs(words):
                typed.setdefault(str(place), {})[" ".join(words)] = step.page
    assert len(typed) > 30
    for place, commands in typed.items():
        assert len(commands) == 1 or len({*commands.values()}) == 1, f"{place}: {commands}"


def test_every_printed_command_is_run_or_excepted() -> None:
    """Here, or with torch: nothing stands on a page that neither file follows."""
    elsewhere = [step for step in STEPS if not excepted(step) and step.page not in LIGHT]
    pages = {step.page for step in elsewhere if TORCH.match(step.line)}
    assert {step.page for step in elsewhere} <= pages
