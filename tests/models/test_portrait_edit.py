"""Edits with tiny random networks: terms, balance, ablations, resuming."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mien.models.errors import InputError
from mien.models.portrait import sh
from mien.models.portrait.cameras import frontal_label, orbit_label
from mien.models.portrait.config import PortraitConfig
from mien.models.portrait.convnet import ConvnetConfig
from mien.models.portrait.edit import edit
from mien.models.portrait.edit_figures import edit_figures, light_error, psnr
from mien.models.portrait.edit_options import EditOptions, Wish
from mien.models.portrait.edit_start import invert_input, start_of, still_like, unchanged
from mien.models.portrait.generator import Generator
from mien.models.portrait.identity import IdentityEmbedder
from mien.models.portrait.light import LightEstimator
from mien.models.portrait.losses import (
    GradientRatio,
    Judges,
    Weights,
    identity_loss,
    illumination_loss,
    reconstruction_loss,
)
from mien.models.portrait.prior import CaptionedDiffusion, PriorConfig
from mien.models.portrait.sds import SmallPrior
from mien.models.portrait.vocabulary import Description
from mien.models.portrait.weights import frozen
from mien.models.portrait.word_directions import COLUMNS, WordDirections

TINY = PortraitConfig(
    name="tiny", z_dim=8, w_dim=8, plane_size=8, plane_channels=4, channel_max=8, decoder_hidden=8,
    feature_channels=4, render_size=8, super_channels=(4,), coarse=4, fine=4,
)  # fmt: skip
SIZES = ConvnetConfig(side=16, widths=(8, 8), blocks=1)
QUICK = EditOptions(invert_steps=2, steps=4, tuning_steps=2, balance_every=2)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return frozen(Generator(TINY))


@pytest.fixture(scope="module")
def prior() -> SmallPrior:
    torch.manual_seed(1)
    network = CaptionedDiffusion(PriorConfig(side=8, channels=(8, 8), width=16))
    # A fresh network is deaf to words: its last layers are zero.
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return SmallPrior(network.eval().requires_grad_(False))


@pytest.fixture(scope="module")
def judges() -> Judges:
    torch.manual_seed(2)

    def features(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).square().mean((1, 2, 3))

    embedder = IdentityEmbedder(SIZES).eval().requires_grad_(False)
    return Judges(features, embedder, LightEstimator(SIZES).eval().requires_grad_(False))


@pytest.fixture(scope="module")
def wish(prior: SmallPrior) -> Wish:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32))
    return Wish(
        image, torch.ones(1, 1, 16, 16), frontal_label(), prior.condition("an old man"),
        sh.named_light("left"),
    )  # fmt: skip


def test_a_resumed_edit_ends_where_an_uninterrupted_one_does(
    generator: Generator, prior: SmallPrior, judges: Judges, wish: Wish, tmp_path: Path
) -> None:
    whole = edit(generator, prior, judges, wish, QUICK)
    for stop in (("edit", 2), ("tune", 1)):
        state = tmp_path / f"{stop[0]}.pt"

        def interrupt(stage: str, done: int, total: int, terms: Any, at: Any = stop) -> None:
            if (stage, done) == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            edit(generator, prior, judges, wish, QUICK, interrupt, state)
        resumed = edit(generator, prior, judges, wish, QUICK, None, state, resume=True)
        torch.testing.assert_close(resumed.after.ws, whole.after.ws, rtol=0, atol=0)
        view = orbit_label(0.2, 0.0)[None]
        torch.testing.assert_close(
            resumed.after.seen(view).image, whole.after.seen(view).image, rtol=0, atol=0
        )
        assert len(resumed.history) == len(whole.history) == QUICK.steps + QUICK.tuning_steps
    other = replace(wish, light=sh.named_light("right"))
    with pytest.raises(InputError, match="another edit"):
        edit(generator, prior, judges, other, QUICK, None, tmp_path / "edit.pt", resume=True)


def test_edits_of_one_input_may_share_its_inversion(
    generator: Generator, prior: SmallPrior, judges: Judges, wish: Wish
) -> None:
    found = invert_input(generator, judges, wish, QUICK)
    for wanted in (wish, replace(wish, light=sh.named_light("right"))):
        alone = edit(generator, prior, judges, wanted, QUICK)
        shared = edit(generator, prior, judges, wanted, QUICK, inversion=found)
        torch.testing.assert_close(shared.after.ws, alone.after.ws, rtol=0, atol=0)
        torch.testing.assert_close(shared.before.ws, alone.before.ws, rtol=0, atol=0)


def test_the_given_generator_is_left_as_it_was(
    generator: Generator, prior: SmallPrior, judges: Judges, wish: Wish
) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    made = edit(generator, prior, judges, wish, QUICK)
    for name, value in generator.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert made.before.generator is generator
    assert made.after.generator is not generator
    assert not torch.equal(made.after.ws, made.before.ws)


def test_terms_are_those_that_are_wanted(
    generator: Generator, prior: SmallPrior, judges: Judges, wish: Wish
) -> None:
    without_light = replace(wish, light=None)
    cases = (
        (wish, Weights(), {"rec", "id", "sds", "light", "cloud", "noise"}),
        (without_light, Weights(identity=0), {"rec", "sds", "cloud", "noise"}),
        (wish, Weights(reconstruction=0, sds=0), {"id", "light", "cloud", "noise"}),
        (without_light, Weights(reconstruction=0, identity=0, cloud=0), {"sds", "noise"}),
    )
    for wanted, weights, names in cases:
        options = replace(QUICK, weights=weights, steps=1, tuning_steps=0)
        (terms,) = edit(generator, prior, judges, wanted, options).history
        assert set(terms) == names
        assert all(np.isfinite(value) for value in terms.values())
    nothing = replace(without_light, condition=None)
    with pytest.raises(InputError, match="nothing to change"):
        edit(generator, prior, judges, nothing, QUICK)


def test_free_planes_move_without_the_code(
    generator: Generator, prior: SmallPrior, judges: Judges, wish: Wish
) -> None:
    options = replace(QUICK, space="planes", tuning_steps=0, known_light=False)
    made = edit(generator, prior, judges, wish, options)
    torch.testing.assert_close(made.after.ws, made.before.ws)
    assert not torch.equal(made.after.planes.features, made.before.planes.features)


def test_optimisation_lowers_what_it_follows(
    generator: Generator, judges: Judges, wish: Wish
) -> None:
    target = generator.synthesise(
        generator.map(torch.ones(1, TINY.z_dim), torch.from_numpy(frontal_label())[None]),
        torch.from_numpy(frontal_label())[None],
    ).image.detach()
    wanted = replace(wish, image=target, condition=None)
    options = replace(QUICK, steps=25, weights=Weights(sds=0, light=2.0), known_light=False)
    history = edit(generator, None, judges, wanted, options).history
    edited = [terms["light"] for terms in history[: options.steps]]
    assert wish.light is not None
    weighed = light_error(edit(generator, None, judges, wanted, options).after, judges, wish.light)
    assert np.isfinite(weighed["shading"])
    assert np.mean(edited[-5:]) < np.mean(edited[2:7])


def test_figures_of_an_edit(
    generator: Generator, prior: SmallPrior, judges: Judges, wish: Wish
) -> None:
    made = edit(generator, prior, judges, wish, QUICK)
    figures = edit_figures(made, wish, judges)
    assert -1 <= figures["identity_cosine_after"] <= 1.0001
    assert set(figures["light"]) == {"before", "after"}
    torch.testing.assert_close(torch.tensor(psnr(wish.image, wish.image)), torch.tensor(100.0))
    half = wish.image + 0.2
    assert psnr(half, wish.image) == pytest.approx(20.0, abs=0.01)


def test_a_gradient_gets_its_share() -> None:
    ratio = GradientRatio(0.25)
    reference, other = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 100.0])
    weight = ratio.update(reference, other)
    assert float((weight * other).norm()) == pytest.approx(0.25 * 5.0)
    for _ in range(60):
        weight = ratio.update(reference, 10 * other)
    assert float((weight * 10 * other).norm()) == pytest.approx(0.25 * 5.0, rel=1e-3)
    assert GradientRatio(0.25).update(torch.zeros(2), other) == 0.25


def test_losses_vanish_where_nothing_is_wrong(judges: Judges, wish: Wish) -> None:
    known = judges.identity(wish.image)
    assert float(identity_loss(judges.identity, wish.image, known)) == pytest.approx(0, abs=1e-5)
    half = torch.ones(1, 1, 16, 16)
    half[..., :8] = 0
    spoilt = wish.image.clone()
    spoilt[..., :8] += 0.5
    assert float(reconstruction_loss(judges.features, spoilt, wish.image, half, 1.0)) == 0.0
    assert float(reconstruction_loss(judges.features, spoilt, wish.image, None, 1.0)) > 0.1
    label = orbit_label(0.4, 0.1)
    seen = judges.light(wish.image)[0].numpy().astype(np.float64)
    world = sh.rotate(seen, sh.view_from_world(label).T)
    none = illumination_loss(judges.light, wish.image, world, label)
    assert float(none) == pytest.approx(0.0, abs=1e-8)
    assert float(illumination_loss(judges.light, wish.image, -world, label)) > 1e-3


def test_words_that_the_codes_know_are_where_the_edit_begins(
    generator: Generator, prior: SmallPrior, judges: Judges, wish: Wish
) -> None:
    directions = WordDirections(TINY.w_dim)
    hat = COLUMNS.index(("hat", "hat"))
    directions.effects[hat, 0] = 1.0
    directions.reading[hat, 0] = 1.0
    said = replace(wish, said=Description({"hat": "hat"}), light=None)
    still = replace(QUICK, learning_rate=1e-9, worded_reach=1e-9, tuning_steps=0)
    began = edit(generator, prior, judges, said, still, directions=directions)
    moved = began.after.ws - began.before.ws
    assert (moved[..., 0] > 0.1).all()
    twice = edit(
        generator, prior, judges, said, replace(still, strength=2 * still.strength),
        directions=directions,
    )  # fmt: skip
    torch.testing.assert_close(twice.after.ws - twice.before.ws, 2 * moved, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[..., 1:], torch.zeros_like(moved[..., 1:]), atol=1e-5, rtol=0)
    for other, using in ((replace(still, known_words=False), directions), (still, None)):
        unmoved = edit(generator, prior, judges, said, other, directions=using)
        torch.testing.assert_close(unmoved.after.ws, unmoved.before.ws, atol=1e-5, rtol=0)


def test_whom_an_edit_shows_is_told_by_the_input_and_the_words(
    generator: Generator, judges: Judges, wish: Wish
) -> None:
    lit = replace(wish, light=sh.named_light("left"))
    said = replace(lit, said=Description({"hat": "hat"}))
    directions = WordDirections(TINY.w_dim).eval()
    torch.manual_seed(0)
    directions.effects.normal_()
    directions.reading.copy_(directions.effects)
    found = invert_input(generator, judges, wish, QUICK)
    start = partial(start_of, generator, directions, judges)
    own = judges.identity(wish.image)
    plain = start(lit, QUICK, found.ws, found.noise)
    assert torch.equal(plain.person, own)
    worded = start(said, QUICK, found.ws, found.noise)
    label = torch.from_numpy(np.asarray(wish.label, np.float32))[None]
    before, after = (
        judges.identity(generator.render(generator.planes(ws, found.noise), label).image)
        for ws in (plain.ws, worded.ws)
    )
    assert not torch.equal(before, after)
    # What the inversion has lost of the person is still asked for, what the words change is not.
    torch.testing.assert_close(worded.person - own, after - before, atol=1e-5, rtol=0)


def test_words_leave_a_person_like_themselves() -> None:
    own = torch.tensor([[1.0, 0.0]])
    for change in ((-1.0, 1.0), (-2.0, 0.1), (0.0, 4.0)):
        told = still_like(own, torch.tensor([change]))
        like = float(torch.nn.functional.cosine_similarity(told, own))
        assert 0.8 <= like < 0.95
    torch.testing.assert_close(still_like(own, torch.zeros(1, 2)), own)
    # A change within bounds counts whole.
    torch.testing.assert_close(still_like(own, torch.tensor([[0.0, 0.5]])), own + 0.5 * own.flip(1))


def test_tuning_leaves_an_edit_by_words_as_it_is(
    generator: Generator, prior: SmallPrior, judges: Judges, wish: Wish
) -> None:
    directions = WordDirections(TINY.w_dim)
    hat = COLUMNS.index(("hat", "hat"))
    directions.effects[hat] = 3.0
    directions.reading[hat] = 0.05
    said = replace(wish, said=Description({"hat": "hat"}), light=None)
    made = edit(generator, prior, judges, said, QUICK, directions=directions)
    assert set(made.history[0]) >= {"rec", "id", "sds", "words"}
    assert set(made.history[-1]) == {"pivot", "local"}
    assert made.after.generator is not generator


def test_the_input_is_not_held_to_where_words_change_it() -> None:
    before = torch.zeros(1, 3, 16, 16)
    after = before.clone()
    after[..., :4] = 1.0
    kept = unchanged(before, after)
    assert kept[..., :2].max() < 0.05
    assert kept[..., 8:].min() > 0.99


def test_a_strength_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match="strength is 6, expected 0 to 5"):
        EditOptions(strength=6)
