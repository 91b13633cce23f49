"""Rendering ahead of a training: a child that ends with the block and says why it failed."""

import sys
import time
from functools import partial
from pathlib import Path

import pytest

from mien.models.errors import InputError

pytest.importorskip("torch")

from mien.models.regressor.render_ahead import RenderAhead
from mien.models.synthetic.shards import ShardMeta

LONG_S = 300.0


def test_the_child_ends_with_the_block(tmp_path: Path) -> None:
    start = time.monotonic()
    with RenderAhead(partial(time.sleep, LONG_S), tmp_path) as ahead:
        (tmp_path / "shard-00000.npz").write_bytes(b"")
        ahead.wait(1)
        ahead.check()
    ahead.check()  # to be ended is no failure
    assert time.monotonic() - start < LONG_S / 2


def test_an_interruption_of_the_parent_ends_the_child_too(tmp_path: Path) -> None:
    def train() -> None:
        with RenderAhead(partial(time.sleep, LONG_S), tmp_path):
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        train()
    assert time.monotonic() - start < LONG_S / 2


def test_a_mistake_is_one_line_in_the_parent(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with (
        RenderAhead(partial(ShardMeta.load, gone), tmp_path) as ahead,
        pytest.raises(InputError, match=r"rendering failed: .*not the description") as caught,
    ):
        ahead.wait(1)
    assert "\n" not in str(caught.value)


def test_a_crash_is_told_by_its_status(tmp_path: Path) -> None:
    with (
        RenderAhead(partial(sys.exit, 3), tmp_path) as ahead,
        pytest.raises(InputError, match="it ended with 3"),
    ):
        ahead.wait(1)


def test_what_is_rendered_completely_is_not_waited_for(tmp_path: Path) -> None:
    """A task that ends with fewer shards than the training wants leaves the word to the folder."""
    with RenderAhead(partial(time.sleep, 0.0), tmp_path) as ahead:
        ahead.wait(5)
