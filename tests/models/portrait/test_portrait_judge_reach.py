"""What edits are judged on, and how far apart a judge of edits holds true pictures."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mien.models.errors import InputError
from mien.models.portrait.attributes import JUDGED, AttributeClassifier
from mien.models.portrait.evaluation import sentences_of
from mien.models.portrait.judge_reach import judge_reach
from mien.models.portrait.pictures import Pictures
from mien.models.portrait.vocabulary import OF_LIGHT, SLOTS, Description, parse


class Reader(AttributeClassifier):
    """Tells the hat by the brightness; the share in which it is sure is ``certainty``."""

    certainty = 1.0

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        found = {slot: torch.zeros(len(images), len(SLOTS[slot])) for slot in JUDGED}
        likely = 0.5 + self.certainty * 0.5 * images.mean((1, 2, 3))
        likely = likely.clamp(1e-6, 1 - 1e-6)
        found["hat"] = torch.stack([(1 - likely).log(), likely.log()], 1)
        return found


def _pictures(words: list[dict[str, str]]) -> Pictures:
    bright = np.array([255 if w.get("hat") == "hat" else 0 for w in words], np.uint8)
    count = len(words)
    return Pictures(
        images=np.broadcast_to(bright[:, None, None, None], (count, 8, 8, 3)).copy(),
        masks=np.full((count, 8, 8), 255, np.uint8),
        cameras=np.zeros((count, 25), np.float32),
        light=np.zeros((count, 9), np.float32),
        person=np.arange(count),
        look=np.arange(count),
        words=tuple(words),
        numbers=tuple(range(count)),
    )


def test_a_sure_judge_can_be_moved_by_all_and_a_blind_one_by_nothing() -> None:
    pictures = _pictures(
        [{"hat": "hat"}, {"hat": "none"}, {"hat": "none", "age": "old"}, {"age": "young"}] * 60
    )
    judge = Reader()
    hat = parse("hat")
    assert judge_reach(judge, pictures, hat) == pytest.approx(1.0, abs=1e-4)
    judge.certainty = 0.3
    assert judge_reach(judge, pictures, hat) == pytest.approx(0.3, abs=1e-4)
    assert judge_reach(judge, pictures, parse("an old person")) == pytest.approx(0.0, abs=1e-4)


def test_what_no_picture_shows_is_not_judged() -> None:
    pictures = _pictures([{"hat": "hat"}, {"hat": "hat"}])
    assert judge_reach(Reader(), pictures, parse("hat")) is None
    assert judge_reach(Reader(), pictures, parse("smiling")) is None
    assert judge_reach(Reader(), pictures, Description({"view": "front"})) is None


def test_all_edits_are_the_values_of_a_person_that_are_judged() -> None:
    sentences = sentences_of(" all ")
    properties = [parse(sentence).properties for sentence in sentences]
    assert len(sentences) == sum(len(SLOTS[slot]) for slot in set(JUDGED) - set(OF_LIGHT)) == 37
    assert all(len(one) == 1 for one in properties)
    assert {slot for one in properties for slot in one} == set(JUDGED) - set(OF_LIGHT)
    assert len({next(iter(one.items())) for one in properties}) == 37
    assert sentences_of("smiling; a hat;") == ["smiling", "a hat"]
    with pytest.raises(InputError, match="moustache"):
        sentences_of("a hat; a moustache")
