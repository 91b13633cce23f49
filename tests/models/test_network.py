"""The network: sizes, whitening, and which head may disturb the trunk."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mien.models.errors import InputError
from mien.models.regressor.network import (
    FaceNetwork,
    NetworkConfig,
    Pooling,
    count_parameters,
)


def crops(count: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (count, 120, 120, 3), dtype=np.uint8))


@pytest.mark.parametrize("pooling", ["average", "weighted"])
@pytest.mark.parametrize(("width", "millions"), [(0.5, 0.9), (1.0, 3.4)])
def test_shapes_and_size(width: float, millions: float, pooling: Pooling) -> None:
    network = FaceNetwork(NetworkConfig(width, pooling)).eval()
    with torch.inference_mode():
        output = network(crops(2))
    assert output.params.shape == (2, 62)
    assert output.log_variance.shape == (2, 62)
    assert output.blendshapes.shape == (2, 52)
    assert output.presence.shape == (2,)
    assert count_parameters(network) / 1e6 == pytest.approx(millions, abs=0.15)


def test_batch_equals_loop() -> None:
    network = FaceNetwork(NetworkConfig(0.25)).eval()
    batch = crops(3)
    with torch.inference_mode():
        together = network(batch)
        alone = [network(batch[i : i + 1]) for i in range(3)]
    for field, value in enumerate(together):
        single = torch.cat([output[field] for output in alone])
        torch.testing.assert_close(value, single, atol=1e-5, rtol=1e-4)


def test_input_is_centred_on_grey() -> None:
    """The trunk sees (pixel - 127.5) / 128, colours as they come."""
    network = FaceNetwork(NetworkConfig(0.25)).eval()
    seen = []
    network.trunk[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    picture = torch.zeros((1, 120, 120, 3), dtype=torch.uint8)
    picture[..., 2] = 255
    with torch.inference_mode():
        network(picture)
    assert seen[0][0, :, 5, 7].tolist() == pytest.approx([-127.5 / 128, -127.5 / 128, 127.5 / 128])


def test_whitening() -> None:
    network = FaceNetwork(NetworkConfig(0.25))
    mean, std = np.arange(62, dtype=np.float32), np.full(62, 2.0, np.float32)
    network.set_whitening(mean, std)
    np.testing.assert_allclose(network.denormalised(torch.ones(1, 62))[0], mean + 2)
    assert {"param_mean", "param_std"} <= network.state_dict().keys()


def test_variance_head_leaves_the_trunk_alone() -> None:
    network = FaceNetwork(NetworkConfig(0.25))
    network(crops(2)).log_variance.sum().backward()
    touched = {name for name, p in network.named_parameters() if p.grad is not None}
    assert touched == {"log_variance_head.weight", "log_variance_head.bias"}


def test_bfloat16_agrees_roughly() -> None:
    torch.manual_seed(0)
    network = FaceNetwork(NetworkConfig(0.25)).eval()
    with torch.inference_mode():
        exact = network(crops(4))
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(crops(4))
    assert rough.params.dtype == torch.float32
    assert float((exact.params - rough.params).abs().max()) < 0.1


def test_width_is_checked() -> None:
    with pytest.raises(InputError, match="network width"):
        NetworkConfig(9.0)
