from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.tools.annotate.boxes import Boxes


def load(tmp_path: Path, text: str) -> Boxes:
    path = tmp_path / "boxes.csv"
    path.write_text(text, encoding="utf-8")
    return Boxes.load(path)


def test_boxes_by_frame_and_source(tmp_path: Path) -> None:
    boxes = load(tmp_path, "source,frame,x,y,w,h\na.mp4,0,1,2,3,4\na.mp4,0,5,6,7,8\n,3,1,1,1,1\n")
    np.testing.assert_array_equal(boxes.of(Path("in/a.mp4"), 0), [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert boxes.of(Path("b.mp4"), 0).shape == (0, 4)
    assert boxes.of(Path("b.mp4"), 3).shape == (1, 4)


def test_an_annotation_of_our_own_is_taken_back(tmp_path: Path) -> None:
    boxes = load(tmp_path, "frame,track,box_x,box_y,box_w,box_h\n7,0,1.5,2,3,4\n")
    assert boxes.of(Path("a.mp4"), 7).dtype == np.float32


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "header needs"),
        ("frame,x,y,w\n", "header needs"),
        ("frame,x,y,w,h\n0,1,2,3\n", "csv:2: not a box"),
        ("frame,x,y,w,h\n0,1,2,0,4\n", "csv:2: not a box"),
        ("frame,x,y,w,h\nzero,1,2,3,4\n", "csv:2: not a box"),
        ("frame,x,y,w,h\n0,nan,2,3,4\n", "csv:2: not a box"),
    ],
)
def test_what_is_no_box_is_refused_and_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        load(tmp_path, text)
