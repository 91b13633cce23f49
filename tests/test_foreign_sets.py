"""Data folders whose arrays are of other kinds or shapes than theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models.avatar.dataset import ScanFolder
from mien.models.errors import InputError
from mien.models.people.sheet import people_sheet
from mien.models.scans.sheet import scans_sheet
from mien.models.synthetic.evaluation import load_people
from mien.models.synthetic.shards import ShardMeta
from mien.models.synthetic.sheet import contact_sheet


def grids(folder: Path, **odd: Any) -> None:
    """Two persons of scans, whose neutral alone was scanned."""
    grid = (1, 4, 4, 4)
    arrays: dict[str, Any] = {
        "sdf": np.zeros(grid, np.float16), "colour": np.zeros((*grid, 3), np.uint8),
        "blendshapes": np.zeros((1, 52), np.float32), "expression": np.zeros((1, 10), np.float32),
        "shape": np.zeros(40, np.float32), "scan_sdf": np.zeros(grid, np.float16),
        "scan_seen": np.zeros(grid, np.uint8), "scan_colour": np.zeros((*grid, 3), np.uint8),
        "scan_kind": np.zeros(1, np.uint8), "views": np.zeros((1, 2, 4, 4, 4), np.uint8),
        "cameras": np.zeros((1, 2, 3, 4), np.float32),
        "vertices": np.zeros((1, 5, 3), np.float32),
    }  # fmt: skip
    (folder / "meta.json").write_text('{"cells": 4}')
    for number in range(2):
        np.savez(folder / f"person-0000{number}.npz", **{**arrays, **odd})


@pytest.mark.parametrize(
    ("name", "odd", "words"),
    [
        ("sdf", np.zeros((1, 4, 4, 4), "S5"), r"not a person of scans: sdf is \|S5"),
        ("shape", np.zeros(40, np.complex64), "not a person of scans: shape is complex64"),
        ("blendshapes", np.zeros((2, 52), np.float32), "blendshapes is float32"),
        ("scan_seen", np.zeros((1, 4, 4, 5), np.uint8), "scan_seen is uint8"),
    ],
)
def test_scans_whose_arrays_are_no_numbers(name: str, odd: Any, words: str, tmp_path: Path) -> None:
    grids(tmp_path)
    assert ScanFolder(tmp_path).expressions == 1
    grids(tmp_path, **{name: odd})
    with pytest.raises(InputError, match=words):
        ScanFolder(tmp_path)


def test_scans_of_other_grids_or_of_none(tmp_path: Path) -> None:
    grids(tmp_path)
    (tmp_path / "meta.json").write_text('{"cells": 8}')
    with pytest.raises(InputError, match=r"grids of 4\^3 cells, expected 1 or more in grids of 8"):
        ScanFolder(tmp_path)


def test_sheets_of_damaged_folders(tmp_path: Path) -> None:
    for name in ("subject-00000.npz", "person-00000.npz", "shard-00000.npz"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 and no archive")
    np.save(tmp_path / "shard-00000.images.npy", np.zeros((0, 4, 4, 3), np.uint8))
    ShardMeta(4, tuple(range(68))).save(tmp_path)
    for draw in (
        lambda: people_sheet(tmp_path, 0, 1), lambda: scans_sheet(tmp_path, 0),
        lambda: contact_sheet(tmp_path),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"00000\.npz: no"):
            draw()


PEOPLE: dict[str, Any] = {
    "person": np.array([0, -1], np.int32), "age_years": np.zeros(2, np.float32),
    "masculinity": np.zeros(2, np.float32), "ancestry": np.zeros((2, 3), np.float32),
    "skin": np.zeros((2, 3), np.float32), "beard": np.zeros(2, np.float32),
    "glasses": np.zeros(2, bool), "covered": np.zeros(2, bool),
    "neutral": np.zeros((1, 5, 3), np.float32),
}  # fmt: skip


def test_tables_of_people_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "people-00000.npz"
    assert load_people(tmp_path, 0) is None
    np.savez(path, **PEOPLE)
    assert load_people(tmp_path, 0) is not None
    for name, odd, words in (
        ("skin", np.zeros((2, 3), "U2"), "skin is <U2"), ("beard", np.zeros(3), "beard is float64"),
        ("person", np.array([0, 1], np.int32), "people beyond the 1"),
    ):  # fmt: skip
        np.savez(path, **{**PEOPLE, name: odd})
        with pytest.raises(InputError, match=words):
            load_people(tmp_path, 0)
