"""Captions as a condition of the avatar, and as they are read from the data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mien.models.avatar.dataset import ScanFolder
from mien.models.avatar.words import WORDS, caption_vector, caption_vectors, fewer_words
from mien.models.errors import InputError
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.models.portrait.vocabulary import PROPERTIES, SLOTS


def said(vector: np.ndarray) -> dict[str, str]:
    return dict(PROPERTIES[i] for i in np.flatnonzero(vector))


def test_each_word_is_one_value() -> None:
    vector = caption_vector("an old man with dark skin")
    assert vector.shape == (WORDS,)
    assert said(vector) == {"age": "old", "gender": "male", "skin": "dark"}
    assert set(np.unique(vector)) == {0, 1}
    with pytest.raises(InputError, match="not in the vocabulary"):
        caption_vector("a purple man")


def test_expressions_are_said_with_the_person() -> None:
    blendshapes = np.zeros((4, 52), np.float32)
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        blendshapes[1, BLENDSHAPE_INDEX[name]] = 0.8
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        blendshapes[2, BLENDSHAPE_INDEX[name]] = 1.0
    blendshapes[3, BLENDSHAPE_INDEX["cheekPuff"]] = 1.0  # has no word
    rows = [said(vector) for vector in caption_vectors("young, woman", blendshapes)]
    assert all((row["age"], row["gender"]) == ("young", "female") for row in rows)
    assert [row.get("expression") for row in rows] == ["neutral", "smiling", "neutral", None]
    assert [row["eyes"] for row in rows] == ["open", "open", "closed", "open"]


def test_training_leaves_words_out_and_adds_none() -> None:
    one = caption_vector("old man, dark skin, black hair, beard, smiling")
    whole = np.tile(one, (400, 1))
    fewer = fewer_words(whole, np.random.default_rng(0))
    assert fewer.dtype == np.float32
    assert bool((fewer <= whole).all())
    counts = fewer.sum(1)
    assert 0.5 < counts.mean() / one.sum() < 0.8
    assert counts.min() <= 1
    assert counts.max() == one.sum()
    assert len(SLOTS) > one.sum()


def test_data_without_captions_load_and_say_so_when_asked(
    ellipsoid_scans: Path, tmp_path: Path
) -> None:
    plain = ScanFolder(ellipsoid_scans)
    assert plain.person(0).caption is None
    with pytest.raises(InputError, match="before captions were recorded"):
        plain.need_captions()
    folder = tmp_path / "scans"
    shutil.copytree(ellipsoid_scans, folder)
    captions = {str(number): "old, man" for number in range(5)}
    (folder / "captions.json").write_text(json.dumps(captions))
    found = ScanFolder(folder)
    assert found.person(4).caption == "old, man"
    with pytest.raises(InputError, match="person 5 and 0 more"):
        found.need_captions()
    (folder / "captions.json").write_text(json.dumps({**captions, "5": "young, woman"}))
    ScanFolder(folder).need_captions()
    for damaged in ("[]", "{", '{"a": "b"}'):
        (folder / "captions.json").write_text(damaged)
        with pytest.raises(InputError, match=r"captions\.json"):
            ScanFolder(folder)
