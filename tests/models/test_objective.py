"""Objectives of the paper: joint loss, landmark regularisation and its head."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.morphable import FaceModel

pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnx
import torch

from mien.models.regressor.checkpoint import Checkpoint, Origin, Progress
from mien.models.regressor.export import export_regressor, to_onnx
from mien.models.regressor.losses import PointDecoder, Targets
from mien.models.regressor.network import FaceNetwork, NetworkConfig, without_landmark_head
from mien.models.regressor.objective import (
    Objective,
    PaperLossConfig,
    ParameterLoss,
    TensorBatch,
    face_params,
    vertex_error,
)
from mien.models.regressor.parameter_losses import MeshDistance

FACES = 4


@pytest.fixture(scope="module")
def distance(face_model: FaceModel) -> MeshDistance:
    return MeshDistance(face_model)


@pytest.fixture(scope="module")
def decoder(face_model: FaceModel) -> PointDecoder:
    return PointDecoder(face_model.landmarks())


@pytest.fixture
def batch(decoder: PointDecoder) -> TensorBatch:
    """Random pictures and labels; the last one shows no face."""
    torch.manual_seed(0)
    pose = torch.zeros(FACES, 3, 4)
    pose[:, [0, 1, 2], [0, 1, 2]] = 0.6
    pose[:, :2, 3] = 59.5 + torch.randn(FACES, 2)
    shape, expression, units = torch.randn(FACES, 40), torch.randn(FACES, 10), torch.rand(FACES, 52)
    points = decoder(pose, shape, expression, units).by_expression[..., :2]
    presence = torch.ones(FACES)
    presence[-1] = 0
    pose[-1], points[-1] = 0, float("nan")
    crops = torch.randint(0, 256, (FACES, 120, 120, 3), dtype=torch.uint8)
    return TensorBatch(crops, Targets(pose, shape, expression, units, points, presence))


def network(landmark_head: bool = False) -> FaceNetwork:
    torch.manual_seed(1)
    made = FaceNetwork(NetworkConfig(0.1, landmark_head=landmark_head))
    mean, std = np.zeros(62, np.float32), np.ones(62, np.float32)
    mean[[0, 5, 10]], mean[[3, 7]] = 0.6, 59.5
    std[:12], std[[3, 7]] = 0.2, 5.0
    made.set_whitening(mean, std)
    return made


def test_crops_without_a_face_count_nowhere(
    batch: TensorBatch, distance: MeshDistance, decoder: PointDecoder
) -> None:
    net = network(landmark_head=True)
    for cost in ("vdc", "fwpdc", "joint"):
        objective = Objective(ParameterLoss(distance, cost, PaperLossConfig()), decoder)
        output = net.training_output(batch.crops)
        total, _ = objective(net, output, batch.targets)
        assert output.landmarks is not None
        slopes = torch.autograd.grad(total, (output.heads.params, output.landmarks))
        for slope in slopes:
            assert float(slope[-1].abs().max()) == 0.0
            assert float(slope[:-1].abs().max()) > 0.0
        nobody = batch.targets._replace(presence=torch.zeros(FACES))
        total, _ = objective(net, net.training_output(batch.crops), nobody)
        assert float(total.detach()) == 0.0
        total.backward()


def test_joint_loss_is_balanced_and_shared(batch: TensorBatch, distance: MeshDistance) -> None:
    net = network()
    output = net(batch.crops)
    parts = {}
    for cost in ("vdc", "fwpdc"):
        loss = ParameterLoss(distance, cost, PaperLossConfig())
        total, terms = loss(net, output, batch.targets)
        assert terms.keys() == {cost}
        parts[cost] = total
    slopes = {
        cost: torch.autograd.grad(part, output.params, retain_graph=True)[0]
        for cost, part in parts.items()
    }
    ratio = float((parts["fwpdc"] / parts["vdc"]).detach())
    for beta in (0.0, 0.3, 1.0):
        joint = ParameterLoss(distance, "joint", PaperLossConfig(beta=beta))
        total, _ = joint(net, output, batch.targets)
        # Each of the two parts is as large as this one.
        torch.testing.assert_close(total.detach(), parts["fwpdc"].detach())
        (slope,) = torch.autograd.grad(total, output.params, retain_graph=True)
        expected = beta * slopes["fwpdc"] + (1 - beta) * ratio * slopes["vdc"]
        torch.testing.assert_close(slope, expected)


def test_regularisation_is_as_large_as_the_main_loss(
    batch: TensorBatch, distance: MeshDistance, decoder: PointDecoder
) -> None:
    net = network(landmark_head=True)
    main = ParameterLoss(distance, "vdc", PaperLossConfig())
    output = net.training_output(batch.crops)
    assert output.landmarks is not None
    alone, _ = main(net, output.heads, batch.targets)
    objective = Objective(main, decoder)
    total, terms = objective(net, output, batch.targets)
    assert float(total.detach()) == pytest.approx(2 * float(alone.detach()), rel=1e-5)
    cost = objective.landmark_cost(output.landmarks, batch.targets)
    assert float(terms["landmark_head"]) == pytest.approx(float(cost.detach()))
    (slope,) = torch.autograd.grad(total, output.landmarks, retain_graph=True)
    (own,) = torch.autograd.grad(cost, output.landmarks, retain_graph=True)
    torch.testing.assert_close(slope, float(alone.detach() / cost.detach()) * own)


def test_landmark_cost_is_in_squared_crop_sides(
    batch: TensorBatch, distance: MeshDistance, decoder: PointDecoder
) -> None:
    objective = Objective(ParameterLoss(distance, "vdc", PaperLossConfig()), decoder)
    exact = torch.nan_to_num(batch.targets.points) / 120
    shifted = exact + torch.tensor([12.0, 0.0]) / 120
    assert float(objective.landmark_cost(exact, batch.targets)) == pytest.approx(0.0, abs=1e-9)
    assert float(objective.landmark_cost(shifted, batch.targets)) == pytest.approx(0.01, rel=1e-4)


def test_judge_is_the_vertex_error_and_leaves_the_mode(
    batch: TensorBatch, distance: MeshDistance
) -> None:
    net = network().train()
    error = vertex_error(distance, net, batch)
    assert net.training
    net.eval()
    with torch.inference_mode():
        params, true = face_params(net, net(batch.crops), batch.targets)
        assert error == pytest.approx(float(distance.vdc(params, true).mean()))
    assert vertex_error(distance, net, batch) == error
    assert not net.training


def test_the_head_changes_nothing_else() -> None:
    plain, headed = network(), network(landmark_head=True)
    state = without_landmark_head(headed.state_dict())
    assert state.keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(state[name], value, atol=0, rtol=0)
    crops = torch.zeros(2, 120, 120, 3, dtype=torch.uint8)
    assert plain.eval().training_output(crops).landmarks is None
    output = headed.eval().training_output(crops)
    assert output.landmarks is not None
    assert output.landmarks.shape == (2, 68, 2)


def test_no_export_has_the_head(tmp_path: Path) -> None:
    net = network(landmark_head=True).eval()
    weights = net.state_dict()
    origin = Origin("mien train regressor --out 'a b'", 3, 0, "cpu")
    path = tmp_path / "checkpoint.pt"
    Checkpoint(net.config, weights, weights, {}, Progress(), "sgd", (origin,)).save(path)
    loaded = Checkpoint.load(path)
    assert loaded.history == (origin,)
    assert loaded.optimiser_kind == "sgd"
    assert loaded.averaged_network().landmark_head is None
    exported = onnx.load(export_regressor(path, tmp_path / "out.onnx"))
    names = [output.name for output in exported.graph.output]
    assert names == ["params", "log_variance", "blendshapes", "presence"]
    plain = FaceNetwork(replace(net.config, landmark_head=False))
    plain.load_state_dict(without_landmark_head(weights))
    assert exported.graph == to_onnx(plain).graph


def test_a_checkpoint_from_before_there_were_histories(tmp_path: Path) -> None:
    net = network().eval()
    path = tmp_path / "checkpoint.pt"
    weights = net.state_dict()
    Checkpoint(net.config, weights, weights, {}, Progress()).save(path)
    content = torch.load(path, weights_only=True)
    del content["history"], content["optimiser_kind"], content["network"]["landmark_head"]
    torch.save(content, path)
    loaded = Checkpoint.load(path)
    assert (loaded.history, loaded.optimiser_kind) == ((), "adamw")
    assert loaded.network == net.config


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="0 to 1"):
        PaperLossConfig(beta=1.5)
    with pytest.raises(InputError, match="1 or more"):
        PaperLossConfig(look_ahead=0)
