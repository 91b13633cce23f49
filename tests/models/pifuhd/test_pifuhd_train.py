"""Training part by part: it learns, it resumes exactly, its parts come together."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")
pytest.importorskip("safetensors", reason="weights are safetensors")

from mien.models.errors import InputError, OutputError  # noqa: E402
from mien.models.pifuhd.augment import Augmentation  # noqa: E402
from mien.models.pifuhd.checkpoint import (  # noqa: E402
    PartCheckpoint,
    export,
    part_path,
    part_weights,
)
from mien.models.pifuhd.config import PifuhdConfig  # noqa: E402
from mien.models.pifuhd.train import train_pifuhd  # noqa: E402
from mien.models.pifuhd.train_config import Part, PifuhdTrainConfig  # noqa: E402
from mien.models.pifuhd.weights import load_weights, read_facts  # noqa: E402

STEPS = 6


@pytest.fixture
def config(ellipsoids: Path, tiny: PifuhdConfig, tmp_path: Path) -> PifuhdTrainConfig:
    return PifuhdTrainConfig(
        data=ellipsoids,
        out=tmp_path / "out",
        stage="normals",
        steps=STEPS,
        batch=2,
        points=100,
        device="cpu",
        log_steps=2,
        network=tiny,
    )


def test_stages_build_upon_each_other_and_come_together(config: PifuhdTrainConfig):
    fine = replace(config, stage="fine")
    with pytest.raises(InputError, match=r"normals-front/checkpoint.pt: train it first \(--stage"):
        train_pifuhd(fine)
    lines: list[dict[str, Any]] = []
    result = train_pifuhd(config, lines.append)
    assert [part.part for part in result.parts] == ["normals-front", "normals-back"]
    assert result.weights is None
    assert all(0 < part.figures["held_out_deg"] < 180 for part in result.parts)
    assert lines[-1]["done"] == 1
    with pytest.raises(InputError, match=r"coarse/checkpoint\.pt: train it first"):
        train_pifuhd(fine)
    train_pifuhd(replace(config, stage="coarse"))
    before = part_path(config.out, "coarse").read_bytes()
    result = train_pifuhd(fine)
    assert part_path(config.out, "coarse").read_bytes() == before
    assert result.weights == config.out / "weights.safetensors"
    assert result.weights is not None
    facts = read_facts(result.weights)
    assert facts["kind"] == "heads"
    assert facts["coarse"]["step"] == STEPS
    model = load_weights(result.weights)
    for part in ("normals-front", "coarse", "fine"):
        saved = PartCheckpoint.load(part_path(config.out, part)).weights
        for name, value in part_weights(model, part).items():
            torch.testing.assert_close(value, saved[name].half().float(), rtol=0, atol=0)
    for part in ("normals-front", "normals-back", "coarse", "fine"):
        for name in ("log.jsonl", "curves.png", "sheet.png"):
            assert (config.out / part / name).stat().st_size > 0


@pytest.mark.parametrize("kind", ["heads", "bodies"])
def test_surfaces_are_learnt_resumed_and_come_together(
    config: PifuhdTrainConfig, ellipsoids: Path, tmp_path: Path, kind: str
):
    people = shutil.copytree(ellipsoids, tmp_path / "people")
    meta = people / "meta.json"
    meta.write_text(meta.read_text().replace('"heads"', f'"{kind}"'))
    tiny = config.network
    assert tiny is not None
    coarse = replace(tiny.coarse, surfaces=True)
    bounded = replace(tiny.coarse_implicit, most_added=3.0)
    sizes = replace(tiny, coarse=coarse, coarse_implicit=bounded, use_pose=True)
    asked = replace(config, data=people, steps=2, use_normals=False, network=sizes)
    lines: list[dict[str, Any]] = []
    train_pifuhd(replace(asked, stage="coarse"), lines.append)
    train_pifuhd(replace(asked, stage="coarse", steps=4, resume=True), lines.append)
    learnt = [line["surfaces"] for line in lines if "surfaces" in line]
    assert len(learnt) >= 2
    assert all(np.isfinite(learnt))
    weights = train_pifuhd(replace(asked, stage="fine")).weights
    assert weights is not None
    found = load_weights(weights).config
    assert found.coarse.surfaces
    assert found.coarse_implicit == bounded
    assert found.use_pose == (kind == "heads")
    # What a level adds at most belongs to its weights, though no size shows it.
    other = replace(sizes, coarse_implicit=replace(bounded, most_added=2.0))
    with pytest.raises(InputError, match="of other sizes or another preset"):
        train_pifuhd(replace(asked, stage="fine", network=other, resume=True))
    # People without their true surfaces cannot be learnt from so.
    with np.load(people / "subject-00000.npz") as arrays:
        rest = {k: v for k, v in arrays.items() if k not in ("vertices", "triangles")}
    for file in people.glob("subject-*.npz"):
        np.savez(file, **{**rest, "identity": np.int32(int(file.stem[-5:]))})
    with pytest.raises(InputError, match="no true surface: it has no triangles, vertices"):
        train_pifuhd(replace(asked, stage="coarse", out=tmp_path / "other"))


@pytest.mark.parametrize("kind", ["heads", "bodies"])
def test_heads_are_learnt_in_their_own_axes_and_bodies_without(
    config: PifuhdTrainConfig, ellipsoids: Path, tmp_path: Path, kind: str
):
    people = shutil.copytree(ellipsoids, tmp_path / "people")
    meta = people / "meta.json"
    meta.write_text(meta.read_text().replace('"heads"', f'"{kind}"'))
    assert config.network is not None
    asked = replace(
        config,
        data=people,
        steps=2,
        use_normals=False,
        network=replace(config.network, use_pose=True),
    )
    figures = train_pifuhd(replace(asked, stage="coarse")).parts[0].figures
    assert figures.keys() == {"held_out_1_iou", "held_out_wrong_near", "known_wrong_near"}
    weights = train_pifuhd(replace(asked, stage="fine")).weights
    assert weights is not None
    assert load_weights(weights).config.use_pose == (kind == "heads")
    if kind == "heads":
        alone = replace(asked, out=tmp_path / "alone", stage="coarse", use_pose=False)
        train_pifuhd(alone)
        path = part_path(alone.out, "coarse")
        assert not PartCheckpoint.load(path).config.use_pose
        # With and without do not go together.
        with pytest.raises(InputError, match="of other sizes"):
            train_pifuhd(replace(alone, stage="fine", use_pose=True))


def test_a_training_begins_with_weights_of_others_as_far_as_they_fit(
    config: PifuhdTrainConfig, ellipsoids: Path, tmp_path: Path
):
    assert config.network is not None
    heads = replace(config, network=replace(config.network, use_pose=True), steps=2)
    for stage in ("normals", "coarse", "fine"):
        weights = train_pifuhd(replace(heads, stage=stage)).weights
    assert weights is not None
    others = load_weights(weights).state_dict()
    people = shutil.copytree(ellipsoids, tmp_path / "people")
    meta = people / "meta.json"
    meta.write_text(meta.read_text().replace('"heads"', '"bodies"'))
    out = tmp_path / "bodies"
    # A rate so small that the weights stay where they begin.
    still = replace(heads, data=people, out=out, init=weights, steps=1, learning_rate=1e-9)
    for stage in ("normals", "coarse"):
        train_pifuhd(replace(still, stage=stage))

    begun: tuple[tuple[Part, str], ...] = (
        ("normals-back", "netG.netB."), ("coarse", "netG.image_filter."),
    )  # fmt: skip
    learnt = {part: PartCheckpoint.load(part_path(out, part)) for part, _ in begun}

    def moved(name: str, part: Part) -> float:
        return float((learnt[part].weights[name] - others[name]).abs().max())

    for part, prefix in begun:
        names = [name for name in others if name.startswith(prefix)]
        assert names
        assert max(moved(name, part) for name in names) < 1e-6
    # Bodies are not told where the head is: that network begins anew.
    assert moved("netG.mlp.filters.1.bias", "coarse") > 1e-6
    assert learnt["coarse"].begun_with.startswith("out/weights.safetensors sha256 ")
    # What an encoder that does not fit would have told, no network of points takes up.
    plain = replace(still, out=tmp_path / "plain", stage="coarse", use_normals=False)
    with pytest.raises(InputError, match="its coarse has other sizes or inputs"):
        train_pifuhd(plain)
    wider = replace(config.network, normal=replace(config.network.normal, filters=16))
    with pytest.raises(InputError, match="its normals-front has other sizes or inputs"):
        train_pifuhd(replace(still, out=tmp_path / "wider", stage="normals", network=wider))
    with pytest.raises(InputError, match="no such file"):
        train_pifuhd(replace(still, out=tmp_path / "none", init=tmp_path / "no.safetensors"))


def test_a_part_not_begun_yet_begins_with_the_same_weights_on_resuming(
    config: PifuhdTrainConfig, tmp_path: Path
):
    for stage in ("normals", "coarse", "fine"):
        weights = train_pifuhd(replace(config, stage=stage, steps=2)).weights
    asked = replace(config, out=tmp_path / "again", steps=4, learning_rate=1e-9, init=weights)

    def interrupt(line: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_pifuhd(asked, interrupt)
    assert not part_path(asked.out, "normals-back").exists()
    train_pifuhd(replace(asked, resume=True))
    assert weights is not None
    given = load_weights(weights).state_dict()
    back = PartCheckpoint.load(part_path(asked.out, "normals-back"))
    assert back.begun_with
    for name, value in back.weights.items():
        torch.testing.assert_close(value, given[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("stage", ["normals", "coarse", "fine"])
def test_resumed_is_as_if_never_interrupted(config: PifuhdTrainConfig, stage: Any, tmp_path: Path):
    # Without normals a level needs no normal networks; the fine one is alone with --fine-only.
    asked = replace(
        config,
        stage=stage,
        side="back",
        use_normals=stage == "normals",
        fine_only=stage == "fine",
    )
    part = asked.parts[0]
    train_pifuhd(asked)
    whole = PartCheckpoint.load(part_path(asked.out, part))

    def interrupt(line: dict[str, Any]) -> None:
        if line["images"] >= 2 * STEPS - 4:
            raise KeyboardInterrupt

    again = replace(asked, out=tmp_path / "again", resume=True)
    with pytest.raises(KeyboardInterrupt):
        train_pifuhd(again, interrupt)
    halfway = PartCheckpoint.load(part_path(again.out, part))
    assert 0 < halfway.progress.step < STEPS
    train_pifuhd(again)
    resumed = PartCheckpoint.load(part_path(again.out, part))
    assert resumed.progress.step == whole.progress.step == STEPS
    for name, value in whole.weights.items():
        assert torch.equal(resumed.weights[name], value), name
    assert resumed.figures == whole.figures


def test_ablations_use_the_normals_of_another_training(config: PifuhdTrainConfig, tmp_path: Path):
    train_pifuhd(config)
    other = replace(config, out=tmp_path / "other", earlier=config.out, steps=2)
    train_pifuhd(replace(other, stage="coarse", true_normals=True))
    with pytest.raises(InputError, match="with --true-normals"):
        train_pifuhd(replace(other, stage="coarse", resume=True))
    result = train_pifuhd(replace(other, stage="fine", true_normals=True))
    assert result.weights is not None
    assert read_facts(result.weights)["true_normals"] is True
    # Weights of other sizes do not belong together.
    with pytest.raises(InputError, match="of other sizes"):
        train_pifuhd(replace(other, stage="fine", use_normals=False, resume=True))
    # A part that is there is not replaced; none is begun before all were looked at.
    back = replace(config, out=tmp_path / "back", side="back")
    train_pifuhd(back)
    with pytest.raises(OutputError, match=r"normals-back: holds .*--resume goes on with it"):
        train_pifuhd(replace(back, side="both"))
    assert not part_path(back.out, "normals-front").exists()
    alone = replace(other, out=tmp_path / "alone", stage="fine", fine_only=True)
    weights = train_pifuhd(alone).weights
    assert weights is not None
    assert load_weights(weights).config.fine_only
    assert export(tmp_path / "nothing") is None


def test_a_budget_in_minutes_ends(config: PifuhdTrainConfig):
    seconds = iter(range(0, 100_000, 7))
    asked = replace(config, steps=None, minutes=1.0, side="front")
    result = train_pifuhd(asked, clock=lambda: float(next(seconds)))
    assert 60 <= result.parts[0].seconds < 120
    log = (asked.out / "normals-front/log.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    rates = [line["lr"] for line in lines if "lr" in line]
    assert rates[-1] < max(rates)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": None}, "--steps, --minutes"),
        ({"batch": 0}, "--batch"),
        ({"learning_rate": 0.0}, "--learning-rate"),
        ({"true_normals": True, "use_normals": False}, "exclude each other"),
        ({"fine_only": True, "stage": "coarse"}, "no coarse stage"),
    ],
)
def test_what_makes_no_sense_is_said(config: PifuhdTrainConfig, changed: Any, message: str):
    with pytest.raises(InputError, match=message):
        replace(config, **changed)


def test_no_such_device(config: PifuhdTrainConfig):
    with pytest.raises(InputError, match="no device 'tpu'"):
        train_pifuhd(replace(config, device="tpu"))


@pytest.mark.parametrize("surfaces", [False, True])
def test_four_ellipsoids_are_learnt_by_heart(
    config: PifuhdTrainConfig, make_people: Callable[..., Path], tmp_path: Path, surfaces: bool
):
    people = make_people(tmp_path / "people", 5, 64, 2)
    # The one that is measured is one of the four, under another name.
    with np.load(people / "subject-00000.npz") as arrays:
        again = {**arrays, "identity": np.int32(4)}
    np.savez(people / "subject-00004.npz", **again)
    asked = replace(
        config, data=people, stage="coarse", true_normals=True, steps=200, batch=4, points=300,
        learning_rate=1e-2, bfloat16=False, log_steps=25,
        augmentation=Augmentation(*[0.0] * len(fields(Augmentation))),
    )  # fmt: skip
    if surfaces:
        assert config.network is not None
        coarse = replace(config.network.coarse, surfaces=True)
        implicit = replace(config.network.coarse_implicit, most_added=3.0)
        sizes = replace(config.network, coarse=coarse, coarse_implicit=implicit)
        asked = replace(asked, network=sizes)
    train_pifuhd(replace(config, data=people, steps=1))
    lines: list[dict[str, Any]] = []
    figures = train_pifuhd(asked, lines.append).parts[0].figures
    wrong = [line["wrong_share"] for line in lines if "wrong_share" in line]
    assert wrong[0] > 0.35
    assert wrong[-1] < 0.6 * wrong[0]
    assert figures["held_out_1_iou"] < 0.2
