"""What does the regressor cost, against 3DDFA_V2's network of the same width, and what its heads?

    python bench/network.py [--bundle DIR ...] [--runs 400] [--json FILE]

The peer is the plain MobileNet-V1 of 3DDFA_V2 (global average pooling, one layer of 62 outputs,
normalised float crops in), made here in the same run with weights of chance: a convolution's time
does not depend on them. Batch 1, one thread, onnxruntime as mien opens it; runs of all networks
alternate, so that a busy machine slows all alike, and ratios are of medians.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from figures import add_json_option, system, write_figures
from onnx.utils import Extractor

from mien.models.face.bundle import Bundle
from mien.models.regressor.export import INPUT_NAME, to_onnx
from mien.models.regressor.network import FaceNetwork, NetworkConfig
from mien.stream.onnx_session import open_session

WARM_UP = 30


@dataclass
class Timed:
    """A network and how long each of its runs took."""

    name: str
    session: onnxruntime.InferenceSession
    seconds: list[float] = field(default_factory=list)

    def run(self, crop: np.ndarray) -> None:
        (node,) = self.session.get_inputs()
        given = crop
        if node.type != "tensor(uint8)":
            given = (crop.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 128
        start = time.perf_counter()
        self.session.run(None, {node.name: given})
        self.seconds.append(time.perf_counter() - start)


def part(model: onnx.ModelProto, inputs: str, output: str) -> bytes:
    """What of a network leads from one of its values to another."""
    inferred = onnx.shape_inference.infer_shapes(model)
    return Extractor(inferred).extract_model([inputs], [output]).SerializeToString()


def peer(width: float) -> bytes:
    """3DDFA_V2's network at a width: average pooling and 62 outputs, nothing else."""
    torch.manual_seed(0)
    plain = FaceNetwork(NetworkConfig(width, "average")).eval()
    return part(to_onnx(plain), "normalised", "params")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, action="append", help="default: the shipped one")
    parser.add_argument("--runs", type=int, default=400)
    add_json_option(parser)
    options = parser.parse_args()
    bundles = [Bundle.load(folder) for folder in options.bundle or []] or [Bundle.default()]
    crop = np.random.default_rng(0).integers(0, 256, (1, 120, 120, 3), dtype=np.uint8)
    print(f"{system()}, onnxruntime {version('onnxruntime')}, batch 1, 1 thread")
    figures: list[dict[str, Any]] = []
    for bundle in bundles:
        width = float(bundle.info.training.get("width", 0.5))
        precision = bundle.info.training.get("precision", "single precision")
        whole = onnx.load(bundle.regressor_path)
        networks = [
            Timed(f"{bundle.name} (x{width:g})", open_session(whole.SerializeToString())),
            Timed("  its parameters alone", open_session(part(whole, INPUT_NAME, "params"))),
            Timed(f"3DDFA_V2's network (x{width:g})", open_session(peer(width))),
        ]
        for _ in range(WARM_UP + options.runs):
            for network in networks:
                network.run(crop)
        times = [1e3 * np.array(network.seconds[WARM_UP:]) for network in networks]
        print(f"{'':<28}{'median ms':>12}{'99th ms':>12}{'of the peer':>14}")
        for network, taken in zip(networks, times, strict=True):
            middle, high = np.percentile(taken, [50, 99])
            share = middle / np.median(times[2])
            print(f"{network.name:<28}{middle:>12.3f}{high:>12.3f}{share:>14.2f}")
        heads = float(np.median(times[0]) / np.median(times[1]) - 1.0)
        print(f"all other heads add {100 * heads:.1f} %")
        whole_ms, _, peer_ms = (float(np.median(taken)) for taken in times)
        figures.append(
            {"name": bundle.name, "precision": precision}
            | {"median_ms": whole_ms, "peer_median_ms": peer_ms}
            | {"of_the_peer": whole_ms / peer_ms, "heads_add": heads}
        )
    write_figures(options.json, {"bundles": figures})


if __name__ == "__main__":
    main()
