"""Stages of training that fit grids: the autodecoder, and the encoder with the second generator.

The encoder and G2 are trained together as an autoencoder: complete clean grids of all expressions
come out as they went in, and scans of the neutral (noisy, with holes, or of half a face) come out
as the complete clean neutral. G2 begins as the autodecoder left it where its weights are given;
the small preset begins afresh, since an hour of the joint training alone comes further than half an
hour of each. Noise on the latent and a small penalty on its size keep the decoder smooth in it,
which diffusion in that latent needs.

The non-rigid autodecoder (Ntavelis et al. 2023, 3.1) has an embedding for each person. Its grids
are of a canonical space, with weights of parts; a picture of an expression says how the parts moved
(:mod:`.keypoints`), and the grid in that pose is compared.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from ..errors import InputError
from .autodecoder import Volume
from .avatar import Avatar, Grids, joined
from .dataset import GridBatch, ScanFolder, fixed_batch, grid_batch
from .encoder import encoder_input
from .figures import grid_figures
from .keypoints import Motion, keypoint_preset
from .losses import Views, grid_loss, truth_of, view_loss
from .perceptual import Features, regressor_features, vgg19_features
from .pictures import draw_grids, stack_rows
from .train_config import AvatarTrainConfig
from .weights import load_weights

_SHOWN = 6
_AT_ONCE = 8
_MISS_WEIGHT = 0.02
"""Of the key points' distance, px, from where the poses found have them."""


class GridStage:
    """Fits embeddings or an encoder, and the decoder.

    Args:
        config: of the training.
        folder: of the data.
        device: where to train.
    """

    def __init__(self, config: AvatarTrainConfig, folder: ScanFolder, device: torch.device) -> None:
        self.config, self._folder, self._device = config, folder, device
        self.autodecoder = config.stage == "autodecoder"
        sizes = config.avatar(folder.cells)
        start = load_weights(config.init, diffusion=False) if config.init else None
        if start is not None:
            if start.config.cells != folder.cells:
                raise InputError(
                    f"{config.init}: weights for {start.config.cells}^3 cells, the data have "
                    f"{folder.cells}^3"
                )
            sizes = start.config
        self.sizes = sizes
        # The expressions of a person are one object where its parts move.
        self._share = folder.expressions if config.non_rigid else 1
        objects = len(folder.training) * folder.expressions // self._share
        torch.manual_seed(config.seed)
        self.model = Avatar(
            sizes,
            objects=objects if self.autodecoder else 0,
            keypoints=keypoint_preset(config.preset) if config.non_rigid else None,
            encoder=not self.autodecoder,
        )
        if start is not None:
            self.model.g2.load_state_dict(start.g2.state_dict())
            if start.encoder is not None and self.model.encoder is not None:
                self.model.encoder.load_state_dict(start.encoder.state_dict())
        self.model.to(device)
        self.average = deepcopy(self.model).requires_grad_(False).eval()
        self.learning_rate, self.betas = sizes.learning_rate, sizes.betas
        self.clip, self.average_decay = sizes.clip, 0.998
        self.examples = sizes.batch
        self._features = _features(config, sizes.perceptual_weight).to(device)
        numbers = folder.training if self.autodecoder else folder.validation
        self._held_out = {"grids": fixed_batch(folder, numbers, config.held_out, scans=False)}
        if not self.autodecoder and folder.scans:
            self._held_out["scans"] = fixed_batch(folder, numbers, config.held_out, scans=True)

    def batch(self, rng: np.random.Generator) -> GridBatch:
        """Examples of training persons."""
        share = 0.0 if self.autodecoder else self.config.scan_share
        return grid_batch(self._folder, self._folder.training, self.sizes.batch, rng, share)

    def loss(
        self, batch: GridBatch, generator: torch.Generator, step: int, done: float
    ) -> tuple[Float[torch.Tensor, ""], dict[str, Float[torch.Tensor, ""]]]:
        """Of a batch, and its parts."""
        sizes = self.sizes
        latent = self._latent(self.model, batch)
        terms = {"latent": latent.detach().square().mean()}
        total = sizes.latent_penalty * latent.square().mean()
        if sizes.latent_noise:
            drawn = torch.randn(latent.shape, generator=generator).to(latent.device)
            latent = latent + sizes.latent_noise * drawn
        volume = self.model.decode(latent)
        if self.model.keypoints is not None:
            view = int(torch.randint(batch.views.shape[1], (1,), generator=generator))
            volume, motion = self._posed(self.model, volume, batch, view)
            total = total + _MISS_WEIGHT * motion.miss_px
            terms["miss_px"] = motion.miss_px.detach()
        if sizes.distance_weight or sizes.colour_weight:
            truth = truth_of(self._to(batch.true_sdf), self._to(batch.true_colour))
            cost, parts = grid_loss(sizes, volume, truth)
            total, terms = total + cost, terms | parts
        if step % sizes.render_every == 0:
            with torch.autocast(self._device.type, enabled=False):
                cost, parts = view_loss(
                    sizes, volume, self._views(batch, generator), self._features,
                    noise=sizes.density_noise * (1 - done), generator=generator,
                )  # fmt: skip
            total, terms = total + cost, terms | parts
        return total, terms

    def result(self) -> Avatar:
        """The networks with averaged weights."""
        return self.average

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """Of held-out persons; of training objects where only they have embeddings.

        Of moving parts also ``rest_``: of the canonical grid as it is, whatever the expression.
        """
        found: dict[str, float] = {}
        for name, batch in self._held_out.items():
            grids = self._decoded(batch)
            one = grid_figures(grids, batch.true_sdf, batch.true_colour, batch.vertices)
            prefix = "" if name == "grids" else f"{name}_"
            found |= {prefix + key: value for key, value in one.items()}
            if self.average.keypoints is not None:
                still = self.average.grids(self._latent(self.average, batch))
                one = grid_figures(still, batch.true_sdf, batch.true_colour, batch.vertices)
                found |= {f"rest_{key}": value for key, value in one.items()}
        return found

    def picture(self) -> UInt8[np.ndarray, "H W 3"]:
        """Truth and what was decoded, for a few held-out examples."""
        rows = []
        for name, batch in self._held_out.items():
            part = _part(batch, slice(_SHOWN))
            rows.append((f"{name}: truth", draw_grids(Grids(part.true_sdf, part.true_colour))))
            rows.append((f"{name}: decoded", draw_grids(self._decoded(part))))
        return stack_rows(rows)

    @torch.no_grad()
    def _decoded(self, batch: GridBatch) -> Grids:
        latent = self._latent(self.average, batch)
        if self.average.keypoints is None:
            return self.average.grids(latent)
        found = []
        for rows in torch.arange(len(latent)).split(_AT_ONCE):
            part = _part(batch, slice(int(rows[0]), int(rows[-1]) + 1))
            volume = self.average.decode(latent[rows])
            posed, _ = self._posed(self.average, volume, part, 0)
            found.append(self.average.grids_of_volume(posed))
        return joined(found)

    def _posed(
        self, model: Avatar, volume: Volume, batch: GridBatch, view: int
    ) -> tuple[Volume, Motion]:
        """Canonical grids as one of the views of each example shows them."""
        assert model.keypoints is not None
        views = self._to(batch.views[:, view]).permute(0, 3, 1, 2).float() / 255
        pictures = views[:, :3].flip(1) * views[:, 3:]
        return model.keypoints.posed(volume, pictures, self._to(batch.cameras[:, view]))

    def _latent(self, model: Avatar, batch: GridBatch) -> torch.Tensor:
        if self.autodecoder:
            return model.embedded(self._to(batch.objects) // self._share)
        assert model.encoder is not None
        scan = encoder_input(
            self._to(batch.sdf), self._to(batch.seen), self._to(batch.colour),
            model.box.truncation,
        )  # fmt: skip
        return model.encoder(scan)

    def _views(self, batch: GridBatch, generator: torch.Generator) -> Views:
        """Some views of some objects."""
        count, cameras = len(batch.sdf), batch.views.shape[1]
        objects = torch.randperm(count, generator=generator)[: self.sizes.render_objects].tolist()
        pairs = [
            (o, c)
            for o in objects
            for c in torch.randperm(cameras, generator=generator)[: self.sizes.views].tolist()
        ]
        which, seen_by = [o for o, _ in pairs], [c for _, c in pairs]
        return Views(
            which, self._to(batch.views[which, seen_by]), self._to(batch.cameras[which, seen_by])
        )

    def _to(self, array: np.ndarray) -> Any:
        return torch.from_numpy(array).to(self._device)


def _part(batch: GridBatch, rows: slice) -> GridBatch:
    return GridBatch(**{name: value[rows] for name, value in vars(batch).items()})


def _features(config: AvatarTrainConfig, weight: float) -> Features:
    """What the perceptual loss compares."""
    if config.perceptual is not None:
        return vgg19_features(config.perceptual)
    from ..face.bundle import Bundle

    return regressor_features(Bundle.default().whole_regressor_path)
