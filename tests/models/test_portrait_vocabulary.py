"""Words to properties and back, and what cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.models.portrait import captions
from mien.models.portrait.vocabulary import (
    MOST_TOKENS,
    PHRASES,
    PROPERTIES,
    SLOTS,
    TOKEN,
    Description,
    parse,
    printed,
)

descriptions = st.fixed_dictionaries(
    {}, optional={slot: st.sampled_from(values) for slot, values in SLOTS.items()}
).map(Description)


@settings(max_examples=150, deadline=None)
@given(descriptions.filter(lambda d: bool(d.properties)), st.integers(0, 2**32))
def test_a_caption_says_nothing_that_is_not_so(said: Description, seed: int) -> None:
    text = captions.sentence(said, np.random.default_rng(seed))
    if text.lower() == "a person":
        return
    assert parse(text).properties.items() <= said.properties.items()


@settings(max_examples=150, deadline=None)
@given(descriptions.filter(lambda d: bool(d.properties)))
def test_a_plain_caption_says_everything(said: Description) -> None:
    assert parse(captions.plain(said)).properties == said.properties


def test_every_phrase_means_its_property() -> None:
    assert set(PHRASES) == set(PROPERTIES)
    for (slot, value), phrases in PHRASES.items():
        for phrase in phrases:
            assert parse(phrase).properties == {slot: value}
            assert parse(f"a person with the {phrase}").properties == {slot: value}


@settings(max_examples=50, deadline=None)
@given(descriptions)
def test_tokens_are_the_properties(said: Description) -> None:
    tokens = said.tokens()
    assert tokens.shape == (MOST_TOKENS,)
    found = {PROPERTIES[t - 1] for t in tokens.tolist() if t}
    assert found == set(said.properties.items())
    assert not said.without(*SLOTS).tokens().any()


def test_sentences() -> None:
    assert parse("An old man, smiling").properties == {
        "age": "old", "gender": "male", "expression": "smiling",
    }  # fmt: skip
    assert parse("boy with short black hair, dark skin; lit from the left").properties == {
        "age": "child", "gender": "male", "hair length": "short", "hair colour": "black",
        "skin": "dark", "light": "left",
    }  # fmt: skip
    assert parse("no glasses").properties == {"glasses": "none"}
    assert parse("light brown hair").properties == {"hair colour": "brown"}
    assert TOKEN["age", "child"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("   ,. ", "empty"),
        ("an oldd man", "'oldd' is not in the vocabulary; nearest: old"),
        ("a wizard", "'wizard' is not in the vocabulary"),
        ("a young old man", "both 'young' and 'old'"),
        ("a person with a face", "names nothing"),
    ],
)
def test_what_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text)


def test_the_vocabulary_is_printed() -> None:
    text = printed()
    for slot, value in PROPERTIES:
        assert slot in text
        assert PHRASES[slot, value][0] in text


def test_words_of_faces() -> None:
    values = np.zeros(52, np.float32)
    assert captions.expression_word(values) == "neutral"
    for side in ("Left", "Right"):
        values[BLENDSHAPE_INDEX["mouthSmile" + side]] = 0.9
    assert captions.expression_word(values) == "smiling"
    values[BLENDSHAPE_INDEX["jawOpen"]] = 0.5
    assert captions.expression_word(values) == "laughing"
    values[BLENDSHAPE_INDEX["eyeBlinkLeft"]] = 1.0
    assert captions.eyes_word(values) == "open"
    values[BLENDSHAPE_INDEX["eyeBlinkRight"]] = 1.0
    assert captions.eyes_word(values) == "closed"
    assert [captions.age_word(y) for y in (5, 20, 45, 70)] == list(SLOTS["age"])
    assert captions.hair_colour_word((20, 16, 14)) == "black"
    assert captions.hair_colour_word((215, 180, 120)) == "blond"
    assert captions.hair_colour_word((150, 150, 148)) == "grey"
    assert captions.skin_word((240, 212, 195)) == "light"
    assert captions.skin_word((70, 46, 36)) == "dark"
    # A camera to the right of the viewer sees the nose turned to the picture's left.
    assert captions.view_words(np.radians(30), 0.0)["view"] == "facing left"
    assert captions.view_words(0.0, np.radians(-15)) == {"view": "front", "height": "below"}
