"""Meta-joint optimisation: it picks the better branch, and branches share nothing."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mien.models.face.morphable import FaceModel
from mien.models.regressor.learner import Learner, OptimiserConfig, OptimiserKind
from mien.models.regressor.losses import PointDecoder, Targets
from mien.models.regressor.network import FaceNetwork, NetworkConfig
from mien.models.regressor.objective import Objective, PaperLossConfig, ParameterLoss, TensorBatch
from mien.models.regressor.parameter_losses import MeshDistance
from mien.models.regressor.strategy import EveryBatch, MetaJoint

RATE = 0.01


@pytest.fixture(scope="module")
def objectives(face_model: FaceModel) -> dict[str, Objective]:
    decoder, distance = PointDecoder(face_model.landmarks()), MeshDistance(face_model)
    config = PaperLossConfig()
    return {
        "fwpdc": Objective(ParameterLoss(distance, "fwpdc", config), decoder),
        "vdc": Objective(ParameterLoss(distance, "vdc", config), decoder),
    }


def batches(seed: int = 0) -> Iterator[TensorBatch]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        pose = torch.zeros(4, 3, 4)
        pose[:, [0, 1, 2], [0, 1, 2]] = 0.6
        pose[:, :2, 3] = 59.5 + torch.randn(4, 2, generator=generator)
        yield TensorBatch(
            torch.randint(0, 256, (4, 120, 120, 3), dtype=torch.uint8, generator=generator),
            Targets(
                pose,
                torch.randn(4, 40, generator=generator),
                torch.randn(4, 10, generator=generator),
                torch.rand(4, 52, generator=generator),
                torch.zeros(4, 68, 2),
                torch.ones(4),
            ),
        )


def learner(kind: OptimiserKind = "sgd") -> Learner:
    torch.manual_seed(2)
    network = FaceNetwork(NetworkConfig(0.1, landmark_head=True))
    network.set_whitening(np.zeros(62, np.float32), np.ones(62, np.float32))
    return Learner(network, OptimiserConfig(kind), average_decay=0.9, bfloat16=False)


def state_of(learner: Learner) -> list[torch.Tensor]:
    """Every tensor that a learner carries: weights, buffers, average, the optimiser's."""
    tensors = [*learner.network.state_dict().values(), *learner.average.state_dict().values()]
    for entry in learner.optimiser.state_dict()["state"].values():
        tensors += [value for value in entry.values() if isinstance(value, torch.Tensor)]
    return tensors


def snapshot(learner: Learner) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in state_of(learner)]


def assert_same(mine: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    assert len(mine) == len(theirs)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_copies_share_nothing(kind: OptimiserKind, objectives: dict[str, Objective]) -> None:
    first = learner(kind)
    stream = batches()
    first.learn(next(stream), objectives["vdc"], RATE, 0)
    twin = first.copy()
    assert_same(state_of(first), state_of(twin))
    own = {tensor.data_ptr() for tensor in state_of(first) if tensor.numel()}
    assert own.isdisjoint(tensor.data_ptr() for tensor in state_of(twin) if tensor.numel())
    before = snapshot(first)
    batch = next(stream)
    twin.learn(batch, objectives["vdc"], RATE, 1)
    assert_same(state_of(first), before)
    # The copy has the optimiser's memory too: its next step is the one that the first would take.
    first.learn(batch, objectives["vdc"], RATE, 1)
    assert_same(state_of(first), state_of(twin))


@pytest.mark.parametrize("better", ["fwpdc", "vdc"])
def test_a_block_equals_plain_training_of_the_better_branch(
    better: str, objectives: dict[str, Objective]
) -> None:
    """The worse branch may even have broken: NaN is worse than any error."""
    errors = iter([1.0, math.nan] if better == "fwpdc" else [math.nan, 1e6])
    meta = MetaJoint(learner(), objectives, lambda net, batch: next(errors), look_ahead=3)
    plain = EveryBatch(learner(), objectives[better])
    stream, again = batches(), batches()
    for number in range(3):
        assert meta.settled == (number == 0)
        terms = meta.take(next(stream), RATE, number, last=False)
        mine = plain.take(next(again), RATE, number, last=False)
        torch.testing.assert_close(terms[f"{better}_branch_loss"], mine["loss"], atol=0, rtol=0)
    assert not meta.settled
    terms = meta.take(next(stream), RATE, 3, last=False)
    assert meta.settled
    assert float(terms[f"{better}_branch_chosen"]) == 1.0
    assert sum(float(v) for name, v in terms.items() if name.endswith("chosen")) == 1.0
    assert_same(state_of(meta.learner), state_of(plain.learner))


def test_the_smaller_error_goes_on(objectives: dict[str, Objective]) -> None:
    seen: dict[str, float] = {}

    def error(network: FaceNetwork, batch: TensorBatch) -> float:
        value = float(network.params_head.bias.detach().abs().sum())
        seen["fwpdc" if not seen else "vdc"] = value
        return value

    meta = MetaJoint(learner(), objectives, error, look_ahead=2)
    stream = batches(5)
    for number in range(3):
        meta.take(next(stream), RATE, number, last=False)
    assert seen["fwpdc"] != seen["vdc"]
    chosen = float(meta.learner.network.params_head.bias.detach().abs().sum())
    assert chosen == min(seen.values())


def test_until_a_block_ends_the_state_is_the_one_before_it(
    objectives: dict[str, Objective],
) -> None:
    meta = MetaJoint(learner(), objectives, lambda net, batch: 1.0, look_ahead=5)
    before = snapshot(meta.learner)
    stream = batches()
    meta.take(next(stream), RATE, 0, last=False)
    assert_same(state_of(meta.learner), before)
    # The end of the budget ends the block early.
    meta.take(next(stream), RATE, 1, last=True)
    assert meta.settled
    assert len(state_of(meta.learner)) > len(before)  # there is momentum now


def test_a_block_that_broke_altogether_is_thrown_away(objectives: dict[str, Objective]) -> None:
    meta = MetaJoint(learner(), objectives, lambda net, batch: math.inf, look_ahead=1)
    before = snapshot(meta.learner)
    stream = batches()
    meta.take(next(stream), RATE, 0, last=False)
    terms = meta.take(next(stream), RATE, 1, last=False)
    assert_same(state_of(meta.learner), before)
    assert all(float(v) == 0.0 for name, v in terms.items() if name.endswith("chosen"))


def test_weight_decay_of_the_paper_is_on_convolutions_alone() -> None:
    decayed, plain = learner("sgd").optimiser.param_groups
    assert all(p.ndim == 4 for p in decayed["params"])
    assert all(p.ndim < 4 for p in plain["params"])
    config = OptimiserConfig.of_the_paper()
    assert (config.momentum, config.weight_decay, config.clip) == (0.9, 5e-4, 1.0)
