"""Learning curves: read from a log that was interrupted, drawn where the figures are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models.errors import InputError

pytest.importorskip("torch")

import torch

from mien.models.learning.curves import draw_curves, read_log, ticks
from mien.models.learning.training_log import TrainingLog


def line(images: int, **more: object) -> dict[str, Any]:
    return {"images": images, "seconds": 1.0, "done": 0.5, "pictures": 100, **more}


def test_of_what_was_trained_twice_the_last_counts(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = [
        line(0, begun={}), line(10, lr=1.0, loss=5.0), line(20, lr=1.0, loss=4.0),
        line(10, begun={}), line(20, lr=0.5, loss=3.0), line(20, validation={"nme_percent": 4.0}),
    ]  # fmt: skip
    log.write_text("".join(json.dumps(row) + "\n" for row in lines), "utf-8")
    read = read_log(log)
    assert [row["images"] for row in read] == [10, 20, 20]
    assert [row.get("loss") for row in read] == [5.0, 3.0, None]
    odd = ("[1]", "5", "{}", '{"images": "x"}', '{"images": 1e999}', '{"images": -1}')
    for text in ("{broken", *odd, '{"images": 5, "validation": 3}', "[" * 100_000):
        log.write_text(text, "utf-8")
        with pytest.raises(InputError, match="not the log of a training"):
            read_log(log)


def test_curves_are_drawn_where_the_values_are() -> None:
    """A falling loss: its curve is high on the left and low on the right of its panel."""
    rows = [line(n * 1000, lr=0.01, loss=float(2.0**-n)) for n in range(1, 12)]
    sheet = draw_curves(rows)
    panel = sheet[34:290, 63:510].astype(int)  # of the first panel, left of its legend
    coloured = np.abs(panel - panel.mean(2, keepdims=True)).max(2) > 40
    columns = np.flatnonzero(coloured.any(0))
    heights = [np.flatnonzero(coloured[:, column]).mean() for column in columns]
    assert len(columns) > 150
    assert heights[0] < heights[len(heights) // 2] < heights[-1]
    assert np.corrcoef(columns, heights)[0, 1] > 0.99  # the axis is logarithmic


def test_an_empty_log_and_odd_values_can_be_drawn() -> None:
    assert draw_curves([]).shape == draw_curves([line(5, loss=float("nan"), lr=0.0)]).shape
    draw_curves([line(5, loss=10**400, lr=1e300), line(10**17, loss=1.0), line(0, loss="x")])
    draw_curves([line(5, loss=0.0, lr=0.1), line(5, validation={"nme_percent": None})])


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 4.7), (0.001, 0.0012), (0, 3e6)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert 2 <= len(marks) <= 7
    assert low - 1e-9 * abs(low) <= marks[0]
    assert marks[-1] <= high + 1e-9 * abs(high)
    np.testing.assert_allclose(np.diff(marks), marks[1] - marks[0])


def test_a_figure_that_some_steps_lack_is_averaged_over_those_that_have_it(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, None)
    log.add({"loss": torch.tensor(1.0), "points": torch.tensor(4.0)})
    log.add({"loss": torch.tensor(3.0)})
    assert log.means() == {"loss": 2.0, "points": 4.0}
    assert log.means() == {}
