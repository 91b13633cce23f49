"""The losses: zero at the truth, and each term sees what it should and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from mien.models.face.morphable import FaceModel

pytest.importorskip("torch")

import torch

from mien.models.regressor.losses import (
    LossConfig,
    PointDecoder,
    RegressorLoss,
    Targets,
    box_sides,
    split_params,
    whitened,
)
from mien.models.regressor.network import (
    FaceNetwork,
    NetworkConfig,
    RegressorOutput,
)

TERMS = {"landmarks", "points", "openings", "params", "blendshapes", "presence", "uncertainty"}


class Case:
    """Random true parameters whose expression components make no difference of their own."""

    def __init__(self, model: FaceModel, vertices: tuple[int, ...], faces: int = 4) -> None:
        self.points = model.subset(np.array(vertices, dtype=np.int32))
        self.decoder = PointDecoder(self.points)
        self.network = FaceNetwork(NetworkConfig(0.25))
        rng = np.random.default_rng(3)
        self.network.set_whitening(
            np.zeros(62, np.float32), rng.uniform(0.5, 2, 62).astype(np.float32)
        )

        def draw(*shape: int) -> torch.Tensor:
            return torch.from_numpy(rng.normal(0, 1, shape).astype(np.float32))

        pose = 0.05 * draw(faces, 3, 4)
        pose[:, [0, 1, 2], [0, 1, 2]] += 0.6
        pose[:, :2, 3] += 59.5
        units = draw(faces, 52).sigmoid()
        shape, expression = draw(faces, 40), draw(faces, 10)
        decoded = self.decoder(pose, shape, expression, units)
        points = decoded.by_blendshapes[..., :2]
        self.decoded = decoded
        self.targets = Targets(pose, shape, expression, units, points, torch.ones(faces))
        self.params = whitened(self.network, self.targets)

    def output(self, **changes: torch.Tensor) -> RegressorOutput:
        faces = len(self.params)
        exact = RegressorOutput(
            self.params.clone(),
            torch.zeros(faces, 62),
            self.targets.blendshapes.clone(),
            torch.full((faces,), 20.0),
        )
        return exact._replace(**changes)

    def terms(self, output: RegressorOutput, config: LossConfig) -> dict[str, float]:
        loss = RegressorLoss(self.decoder, config)
        return {k: float(v) for k, v in loss(self.network, output, self.targets)[1].items()}


@pytest.fixture(scope="module")
def case(face_model: FaceModel, point_vertices: tuple[int, ...]) -> Case:
    return Case(face_model, point_vertices)


BY_BLENDSHAPES = LossConfig(blendshape_share=1.0, vdc=1.0)


def test_decoder_agrees_with_the_face_model(case: Case) -> None:
    t = case.targets
    for face in range(2):
        head = case.points.decode(t.shape[face].numpy(), blendshapes=t.blendshapes[face].numpy())
        pose = t.pose[face].numpy()
        expected = head @ pose[:, :3].T + pose[:, 3]
        np.testing.assert_allclose(case.decoded.by_blendshapes[face], expected, atol=1e-3)
        head = case.points.decode(t.shape[face].numpy(), t.expression[face].numpy())
        expected = head @ pose[:, :3].T + pose[:, 3]
        np.testing.assert_allclose(case.decoded.by_expression[face], expected, atol=1e-3)


def test_truth_costs_nothing(case: Case) -> None:
    terms = case.terms(case.output(), BY_BLENDSHAPES)
    assert terms.keys() == TERMS | {"vdc"}
    for name, value in terms.items():
        assert value == pytest.approx(0.0, abs=1e-6), name


def test_shifted_face_costs_its_shift(case: Case) -> None:
    """One pixel to the right is half a pixel a coordinate; the box gives the unit."""
    params = case.params.clone()
    params[:, 3] += 1.0 / case.network.param_std[3]
    terms = case.terms(case.output(params=params), BY_BLENDSHAPES)
    unit = float((1 / box_sides(case.targets.points)).mean())
    assert terms["landmarks"] == pytest.approx(0.5 * unit, rel=1e-3)
    assert terms["points"] == pytest.approx(0.5 * unit, rel=1e-3)
    assert terms["openings"] == pytest.approx(0.0, abs=1e-6)
    assert terms["vdc"] == pytest.approx(
        float((1 / box_sides(case.targets.points) ** 2).mean()), rel=1e-3
    )


def test_a_turned_face_counts_more(case: Case) -> None:
    """The same shift costs more on the face in profile, and a batch of one kind costs the same."""
    profile = torch.tensor([[0.0, 0.0, -0.6], [0.0, 0.6, 0.0], [0.6, 0.0, 0.0]])
    pose = case.targets.pose.clone()
    pose[:, :, :3] = torch.eye(3) * 0.6
    pose[0, :, :3] = profile
    units, shape = case.targets.blendshapes, case.targets.shape
    points = case.decoder(pose, shape, case.targets.expression, units).by_blendshapes[..., :2]
    targets = case.targets._replace(pose=pose, points=points)

    def cost(moved: int, turned: float) -> float:
        off = pose.clone()
        off[moved, 1, 3] += 0.05 * box_sides(points)[moved]
        params = whitened(case.network, targets._replace(pose=off))
        config = replace(BY_BLENDSHAPES, turned=turned)
        output = case.output(params=params)
        return float(
            RegressorLoss(case.decoder, config)(case.network, output, targets)[1]["points"]
        )

    assert cost(0, 1.5) == pytest.approx(2.5 * cost(1, 1.5), rel=1e-3)
    assert cost(0, 0.0) == pytest.approx(cost(1, 0.0), rel=1e-3)


def test_depth_offset_is_free(case: Case) -> None:
    params = case.params.clone()
    params[:, 11] += 5.0
    terms = case.terms(case.output(params=params), BY_BLENDSHAPES)
    for name in ("landmarks", "points", "openings", "params", "vdc"):
        assert terms[name] == pytest.approx(0.0, abs=1e-5), name


def test_blink_is_seen_by_openings_and_weighs_more(case: Case) -> None:
    def cost(unit: int) -> dict[str, float]:
        units = case.targets.blendshapes.clone()
        units[:, unit] = 1 - units[:, unit]
        return case.terms(case.output(blendshapes=units), BY_BLENDSHAPES)

    blink, cheek = cost(8), cost(6)
    assert blink["openings"] > 3 * cheek["openings"]
    assert blink["blendshapes"] > 2 * cheek["blendshapes"]


def test_empty_crops_count_for_presence_only(case: Case) -> None:
    output = case.output(presence=torch.tensor([20.0, 20.0, -20.0, 20.0]))
    noise = torch.randn(4, 62)
    noise[[0, 1, 3]] = 0
    output = output._replace(params=output.params + noise)
    presence = torch.tensor([1.0, 1.0, 0.0, 1.0])
    points = case.targets.points.clone()
    points[2] = float("nan")
    targets = case.targets._replace(presence=presence, points=points)
    loss = RegressorLoss(case.decoder, BY_BLENDSHAPES)
    assert float(loss(case.network, output, targets)[0]) == pytest.approx(0.0, abs=1e-5)
    nobody = targets._replace(presence=torch.zeros(4))
    terms = loss(case.network, output, nobody)[1]
    assert terms.keys() == {"presence"}


def test_unknown_points_cost_nothing(case: Case) -> None:
    points = case.targets.points.clone()
    points[:, 70:80] += 50
    hidden = points.clone()
    hidden[:, 70:80] = float("nan")
    loss = RegressorLoss(case.decoder, BY_BLENDSHAPES)
    seen = loss(case.network, case.output(), case.targets._replace(points=points))[1]
    unseen = loss(case.network, case.output(), case.targets._replace(points=hidden))[1]
    assert float(seen["points"]) > 0.01
    assert float(unseen["points"]) == pytest.approx(0.0, abs=1e-6)


def test_uncertainty_is_least_at_the_true_variance(case: Case) -> None:
    params = case.params + 0.5
    costs = [
        case.terms(
            case.output(params=params, log_variance=torch.full((4, 62), float(np.log(v)))),
            LossConfig(),
        )["uncertainty"]
        for v in (0.1, 0.25, 0.6)
    ]
    assert costs[1] == min(costs)


def test_uncertainty_does_not_move_the_mean(case: Case) -> None:
    params = case.params.clone().requires_grad_()
    variance = torch.zeros(4, 62, requires_grad=True)
    only = LossConfig(
        landmarks=0, points=0, openings=0, vdc=0, params=0, blendshapes=0, presence=0, uncertainty=1
    )
    output = case.output(params=params, log_variance=variance)
    RegressorLoss(case.decoder, only)(case.network, output, case.targets)[0].backward()
    assert variance.grad is not None
    assert float(variance.grad.abs().sum()) > 0
    assert params.grad is None or float(params.grad.abs().sum()) == 0


def test_split_is_the_inverse_of_whitening(case: Case) -> None:
    pose, shape, expression = split_params(case.network.denormalised(case.params))
    torch.testing.assert_close(pose, case.targets.pose, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(shape, case.targets.shape)
    torch.testing.assert_close(expression, case.targets.expression)
