"""What words add to codes: people made by the very model are read and changed as they were made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

import torch

from mien.models.errors import InputError
from mien.models.portrait.attributes import AttributeClassifier
from mien.models.portrait.config import PortraitConfig
from mien.models.portrait.convnet import ConvnetConfig
from mien.models.portrait.generator import Generator, Rendering
from mien.models.portrait.mapping import GaussianMapping
from mien.models.portrait.pictures import words_digest
from mien.models.portrait.train_words import WordOptions, train
from mien.models.portrait.vocabulary import SLOTS, Description
from mien.models.portrait.weights import save_weights
from mien.models.portrait.word_directions import CODED, COLUMNS, WordDirections
from mien.models.portrait.word_lengths import SHARES, measured_lengths
from mien.tools.train.portrait import TrainPortrait

TINY = PortraitConfig(
    name="tiny", z_dim=8, w_dim=8, plane_size=8, plane_channels=4, channel_max=8, decoder_hidden=8,
    feature_channels=4, render_size=8, super_channels=(4,), coarse=4, fine=4,
)  # fmt: skip
WIDTH, LOOKS = 24, 4000


def _people(rng: np.random.Generator) -> tuple[np.ndarray, list[dict[str, str]], np.ndarray]:
    """Codes, words and true effects of people who are the sum of both and of themselves."""
    effects = rng.normal(0, 1, (len(COLUMNS), WIDTH))
    words, codes = [], rng.normal(0, 0.3, (LOOKS, WIDTH)) + 5.0
    for i in range(LOOKS):
        said = {slot: str(rng.choice(SLOTS[slot])) for slot in CODED}
        codes[i] += effects[[COLUMNS.index(pair) for pair in said.items()]].sum(0)
        words.append(said)
    return codes, words, effects


@pytest.fixture(scope="module")
def people() -> tuple[np.ndarray, list[dict[str, str]], np.ndarray]:
    return _people(np.random.default_rng(0))


def test_effects_are_found_up_to_what_all_of_a_slot_share(
    people: tuple[np.ndarray, list[dict[str, str]], np.ndarray],
) -> None:
    codes, words, effects = people
    made = WordDirections.fit(codes, words)
    for slot in CODED:
        own = [i for i, (other, _) in enumerate(COLUMNS) if other == slot]
        found, true = made.effects.numpy()[own], effects[own]
        off = (found - found.mean(0)) - (true - true.mean(0))
        assert np.sqrt((off**2).mean()) < 0.15


def test_a_shift_makes_it_so_and_leaves_the_rest(
    people: tuple[np.ndarray, list[dict[str, str]], np.ndarray],
) -> None:
    codes, words, _ = people
    made = WordDirections.fit(codes, words)
    bare = [i for i, said in enumerate(words) if said["hat"] == "none"][:50]
    hat, glasses = (COLUMNS.index(pair) for pair in (("hat", "hat"), ("glasses", "none")))
    for i in bare:
        code = torch.from_numpy(codes[i]).float()
        moved = code + made.shift(code, Description({"hat": "hat"}))
        before, after = made.read(torch.stack([code, moved]))
        assert after[hat] > 0.75
        assert before[hat] < 0.3
        assert abs(float(after[glasses] - before[glasses])) < 0.25


def test_what_is_so_already_and_what_no_code_holds_moves_nothing(
    people: tuple[np.ndarray, list[dict[str, str]], np.ndarray],
) -> None:
    codes, words, _ = people
    made = WordDirections.fit(codes, words)
    code = torch.from_numpy(codes[0]).float()
    assert not made.shift(code, Description({"light": "left", "view": "front"})).any()
    wanted = Description({"skin": "dark"})
    there = code + made.shift(code, wanted)
    assert made.shift(there, wanted).norm() < 0.1 * made.shift(code, wanted).norm() + 1e-3


def test_only_what_is_lost_of_the_words_counts(
    people: tuple[np.ndarray, list[dict[str, str]], np.ndarray],
) -> None:
    codes, words, _ = people
    made = WordDirections.fit(codes, words)
    said = Description({"hat": "hat", "light": "left"})
    plain = torch.from_numpy(codes[words.index(next(w for w in words if w["hat"] == "none"))])
    plain = plain.float()[None, None].expand(1, 3, -1)
    worded = plain + made.shift(plain[0, 0], said)
    assert made.shortfall(worded, worded, said) == 0
    assert made.shortfall(worded + (worded - plain), worded, said) == 0
    assert made.shortfall(plain, worded, said) > 0.5
    # One layer of three that lost it is no less lost for the others.
    parted = torch.cat([plain[:, :1], 2 * worded[:, 1:] - plain[:, 1:]], 1)
    assert made.shortfall(parted, worded, said) > 0.15


def test_what_is_not_said_is_no_evidence() -> None:
    rng = np.random.default_rng(1)
    codes, words, _ = _people(rng)
    for said in words[::2]:
        del said["beard"]
    made = WordDirections.fit(codes, words)
    own = [i for i, (slot, _) in enumerate(COLUMNS) if slot == "beard"]
    assert float(made.middle[own].sum()) == pytest.approx(1.0)


def test_weights_keep(
    people: tuple[np.ndarray, list[dict[str, str]], np.ndarray], tmp_path: Path
) -> None:
    codes, words, _ = people
    made = WordDirections.fit(codes, words)
    made.save(tmp_path / "words.safetensors", {"looks": LOOKS})
    again = WordDirections.load(tmp_path / "words.safetensors")
    for name, value in made.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def _generator(path: Path, looks: int | None, words: str | None = None) -> Path:
    codes = None if looks is None else {"codes": torch.randn(looks, 8)}
    save_weights(path, Generator(TINY), {} if words is None else {"words_sha256": words}, codes)
    return path


def test_the_command_fits_words_to_a_generators_codes(
    portrait_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = _generator(tmp_path / "generator.safetensors", 6)  # 3 of 4 persons, 2 looks
    tool = TrainPortrait(portrait_folder, tmp_path / "words", "words", generator=generator)
    assert tool.run() == 0
    made = WordDirections.load(tmp_path / "words" / "weights.safetensors")
    old, young = (COLUMNS.index(("age", value)) for value in ("old", "young"))
    assert float(made.middle[old] + made.middle[young]) == pytest.approx(1.0)
    assert made.effects[old].norm() > 0
    assert "age" in capsys.readouterr().out
    assert made.lengths.eq(1).all()


def test_the_command_measures_how_far_words_go(
    portrait_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = _generator(tmp_path / "generator.safetensors", 6)
    judge = tmp_path / "attributes.safetensors"
    AttributeClassifier(ConvnetConfig(side=16, widths=(8, 8))).save(judge, {})
    tool = TrainPortrait(
        portrait_folder, tmp_path / "words", "words", generator=generator, attributes=judge
    )
    assert tool.run() == 0
    lengths = WordDirections.load(tmp_path / "words" / "weights.safetensors").lengths
    assert set(np.round(lengths.tolist(), 2)) <= {1.0, *SHARES}
    assert lengths.unique().numel() > 1, "as far as the linear reading asks, all of them"
    assert lengths[COLUMNS.index(("hat", "hat"))] == 1, "nobody is known to have none"
    for change, message in (
        ({"attributes": generator}, "expected portrait-attributes-1"),
        ({"attributes": tmp_path / "gone"}, "gone"),
        ({"stage": "light", "generator": None}, "--attributes is of --stage words"),
    ):
        with pytest.raises(InputError, match=message) as raised:
            replace(tool, out=tmp_path / "again", **change).run()
        assert len(str(raised.value).splitlines()) == 1


def test_what_does_not_belong_together_is_refused(portrait_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 codes, but 2 descriptions"):
        WordDirections.fit(np.zeros((3, 4)), [{}, {}])
    with pytest.raises(InputError, match="1 codes, expected 2"):
        WordDirections.fit(np.zeros((1, 4)), [{}])
    for looks, message in ((None, "holds no codes"), (5, "trained on 5 looks, but .* has 6")):
        generator = _generator(tmp_path / f"{looks}.safetensors", looks)
        with pytest.raises(InputError, match=message):
            train(WordOptions(portrait_folder, tmp_path / "out", generator))
    known = _generator(tmp_path / "known.safetensors", 6, words_digest(portrait_folder))
    other = tmp_path / "other"
    shutil.copytree(portrait_folder, other)
    shutil.copy(other / "person-00003.npz", other / "person-00000.npz")
    train(WordOptions(portrait_folder, tmp_path / "fitted", known))
    assert words_digest(portrait_folder) != words_digest(other)
    assert words_digest(tmp_path) is None
    with pytest.raises(InputError, match="trained on other portraits than") as raised:
        train(WordOptions(other, tmp_path / "out", known))
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(InputError, match="needs --generator"):
        TrainPortrait(portrait_folder, tmp_path / "out", "words").run()
    with pytest.raises(InputError, match="no other stage has it"):
        TrainPortrait(
            portrait_folder, tmp_path / "out", "light", generator=tmp_path / "5.safetensors"
        ).run()


class _Codes(Generator):
    """Draws codes as they are, so that a judge can read them."""

    def synthesise(
        self, ws: torch.Tensor, labels: torch.Tensor, *_: object, **__: object
    ) -> Rendering:
        image = torch.zeros(len(ws), 3, 8, 8)
        image.flatten(1)[:, :WIDTH] = ws
        blank = torch.zeros(len(ws), 1, 8, 8)
        return Rendering(image, image, blank, blank)


class _Reader(AttributeClassifier):
    """Says what a code is read as, by way of a curve."""

    def __init__(
        self, directions: WordDirections, curve: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        super().__init__()
        self._directions, self._curve = directions, curve

    def probabilities(
        self, images: torch.Tensor, description: Description
    ) -> dict[str, torch.Tensor]:
        read = self._directions.read(images.flatten(1)[:, :WIDTH])
        return {
            pair[0]: self._curve(read[:, COLUMNS.index(pair)])
            for pair in description.properties.items()
        }


def test_words_go_as_far_as_pictures_show_them_best(
    people: tuple[np.ndarray, list[dict[str, str]], np.ndarray],
) -> None:
    codes, words, _ = people
    made = WordDirections.fit(codes, words)
    looks = torch.from_numpy(codes).float()
    hat = COLUMNS.index(("hat", "hat"))
    drawn = _Codes(replace(TINY, z_dim=WIDTH, w_dim=WIDTH))
    assert isinstance(drawn.mapping, GaussianMapping)
    drawn.mapping.fit(looks)

    def lengths(curve: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        return measured_lengths(made, drawn, looks, words, _Reader(made, curve), heads=6)

    halfway = lengths(lambda read: torch.exp(-((read - 0.6) ** 2) / 0.01))
    assert 0.5 < halfway[hat] < 0.75, "beyond, it is something else again"
    early = lengths(lambda read: (read > 0.5).float())
    assert early[hat] <= 0.85, "no further than it takes"
    code = looks[next(i for i, said in enumerate(words) if said["hat"] == "none")]
    way = made.shift(code, Description({"hat": "hat"}))
    far = float(lengths(lambda read: read)[hat])
    assert far >= 1, "the further the better"
    ghost = drawn.mapping.whitened((code + 50 * way)[None]).norm()
    out = drawn.mapping.whitened((code + far * way)[None]).norm()
    assert out < 1.3 * drawn.mapping.whitened(looks).norm(dim=1).median() < ghost
    made.lengths[hat] = 0.5
    torch.testing.assert_close(made.shift(code, Description({"hat": "hat"})), 0.5 * way)
