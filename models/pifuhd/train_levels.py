"""Training of the coarse and of the fine level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from .dataset import SHARES, Batch, BatchOptions, BatchSource, Drawn, PeopleFolder
from .depths import DepthMaps
from .feature_map import Features
from .learner import judged_items, shown_picture, tensor
from .losses import balanced_cross_entropy
from .network import Level, Pifuhd
from .pose import FitError
from .surfaces import surface_loss
from .train_config import PifuhdTrainConfig

_HELD_OUT: Final = 24
_HELD_OUT_POINTS: Final = 6000
_NEAR: Final = (0.0, 0.5, 0.5, 0.0)
"""Shares of the points near the surface, of which accuracy is told."""
_UNIFORM: Final = (0.0, 0.0, 0.0, 1.0)
_SHOWN: Final = 4
_SURFACE_WEIGHT: Final = 10.0
_INNER_SHARE: Final = 0.25
"""Share of the points that all hourglasses but the last are asked for."""
_GRID: Final = 64
"""Points along each side of the cube in a sheet's drawings."""


class LevelLearner:
    """Trains one level; the coarse one is frozen while the fine one learns.

    Args:
        config: of the training.
        model: whose level; the parts before are trained.
        people: to learn from.
        level: which.
        drawn: normals drawn of the people trained on and held out; None for true ones, or where
            the model sees none.
        device: of the model.
    """

    def __init__(
        self,
        config: PifuhdTrainConfig,
        model: Pifuhd,
        people: PeopleFolder,
        level: Level,
        drawn: tuple[Drawn, Drawn] | None,
        device: torch.device,
    ) -> None:
        self.model = model
        self._level: Level = level
        self._device = device
        self._bfloat16 = config.bfloat16
        sizes = model.config
        use = sizes.use_normals
        fit = FitError() if sizes.use_pose else None
        size, normal_size = sizes.image_size, sizes.normal.size
        windows = level == "fine" and sizes.window < size
        options = BatchOptions(
            size,
            config.batch,
            config.points,
            SHARES["whole" if level == "fine" and not windows else level],
            window=sizes.window if windows else None,
            front=use,
            back=use,
            normal_size=normal_size,
            augmentation=config.augmentation,
            fit=fit,
        )
        # The coarse level alone draws surfaces.
        self._surfaces = level == "coarse" and sizes.coarse.surfaces
        depths = None
        if self._surfaces:
            options = replace(options, surfaces=sizes.coarse.map_size)
            depths = DepthMaps(people).placed
        seed = 2 * config.seed + int(level == "fine")
        self._source = BatchSource(
            people.training, options, seed, drawn[0] if drawn else None, depths
        )
        self._held_out: dict[str, list[Batch]] = {}
        for kind, shares in (("near", _NEAR), ("uniform", _UNIFORM)):
            wanted = BatchOptions(
                size, 1, _HELD_OUT_POINTS, shares, False, None, use, use, normal_size, fit=fit
            )
            source = BatchSource(people.held_out, wanted, 0, drawn[1] if drawn else None)
            self._held_out[kind] = judged_items(source, people.held_out, _HELD_OUT)
        # The same of people who are learnt from: what is fitted to them alone shows as a gap.
        near = BatchOptions(
            size, 1, _HELD_OUT_POINTS, _NEAR, False, None, use, use, normal_size, fit=fit
        )
        source = BatchSource(people.training, near, 0, drawn[0] if drawn else None)
        self._known = judged_items(source, people.training, _HELD_OUT)

    def batches(self, step: int) -> Iterator[Batch]:
        """Batches without end, from that step on."""
        return self._source.batches(step)

    def loss(self, batch: Batch) -> tuple[Float[torch.Tensor, ""], dict[str, torch.Tensor]]:
        """Balanced cross-entropy, the mean over the hourglass's stacks; and of surfaces, theirs."""
        features = self._features(batch)
        points, inside, weight = (
            tensor(array, self._device) for array in (batch.points, batch.inside, batch.weight)
        )
        with self._lower_precision():
            stacks = self.model.occupancies(features, points, self._level, _INNER_SHARE)
        losses = [
            balanced_cross_entropy(f, inside[:, : f.shape[1]], weight[:, : f.shape[1]])
            for f in stacks
        ]
        right = ((stacks[-1].detach() > 0.5) == (inside > 0.5)).float() * weight
        accuracy = right.sum() / weight.sum().clamp(min=1)
        total, terms = torch.stack(losses).mean(), {"wrong_share": 1 - accuracy}
        if self._surfaces and features.coarse is not None:
            seen = features.coarse
            true = tensor(batch.depths, self._device), tensor(batch.cover, self._device)
            maps = [surface_loss(seen.drawn(k), *true) for k in range(len(seen.stacks))]
            error = torch.stack(maps).mean()
            total = total + _SURFACE_WEIGHT * error
            terms["surfaces"] = error.detach()
        return total, terms

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Of held-out people: intersection over union, share of wrong points near the surface.

        The latter of people learnt from too, judged in the same way; the training's own
        ``wrong_share`` is of other points, and compares with neither.
        """
        inside, found = self._judged(self._held_out["uniform"])
        union = (inside | found).sum(1).clip(min=1)
        iou = ((inside & found).sum(1) / union).mean()
        wrong = {
            name: float(np.not_equal(*self._judged(batches)).mean())
            for name, batches in (("held_out", self._held_out["near"]), ("known", self._known))
        }
        return {
            "held_out_1_iou": 1 - float(iou),
            **{f"{name}_wrong_near": share for name, share in wrong.items()},
        }

    def _judged(self, batches: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray]:
        """Whether points are inside, and whether the model says so."""
        true, found = [], []
        for batch in batches:
            features = self._features(batch)
            occupancy = self.model.occupancy(
                features, tensor(batch.points, self._device), self._level
            )
            kept = batch.weight[0] > 0
            true.append(np.where(kept, batch.inside[0] > 0.5, False))
            found.append(np.where(kept, occupancy[0].cpu().numpy() > 0.5, False))
        return np.stack(true), np.stack(found)

    @torch.no_grad()
    def sheet(self) -> UInt8[np.ndarray, "H W 3"]:
        """Columns of held-out people: picture, front normals, and the shape from front and side."""
        columns = []
        for batch in self._held_out["uniform"][:_SHOWN]:
            grid = self._grid(batch)
            side = len(batch.image[0, 0])
            views = [grid, grid.transpose(2, 1, 0)[::-1]]
            shapes = [cv2.resize(_relief(view), (side, side)) for view in views]
            image = shown_picture(torch.from_numpy(batch.image[0]))
            normals = image if batch.front is None else torch.from_numpy(batch.front[0])
            if isinstance(normals, torch.Tensor):
                normals = cv2.resize(shown_picture(normals), (side, side))
            columns.append(np.concatenate([image, normals, *shapes]))
        return np.asarray(np.concatenate(columns, 1), np.uint8)

    def _grid(self, batch: Batch) -> np.ndarray:
        """Occupancy over the cube, (x, y, z)."""
        features = self._features(batch)
        axis = torch.linspace(-1, 1, _GRID, device=self._device)
        plane = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
        layers = []
        for x in axis:
            points = torch.cat([x.expand(len(plane), 1), plane], 1)[None]
            layers.append(self.model.occupancy(features, points, self._level)[0])
        return torch.stack(layers).reshape(_GRID, _GRID, _GRID).cpu().numpy()

    def _lower_precision(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16)

    def _features(self, batch: Batch) -> Features:
        image = tensor(batch.image, self._device)
        front = back = None
        if self.model.config.use_normals:
            front, back = tensor(batch.front, self._device), tensor(batch.back, self._device)
        told = None
        if self.model.config.use_pose:
            told = tensor(batch.head_from_cube, self._device)
        with self._lower_precision():
            coarse = None
            if not self.model.config.fine_only:
                coarse = self.model.encode_coarse(image, front, back, told)
            fine = None
            if self._level == "fine":
                corner = None if batch.corner is None else tensor(batch.corner, self._device)
                fine = self.model.encode_fine(image, front, back, corner)
        return Features(coarse, fine, head_from_cube=told)


def _relief(occupancy: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """Shading of what is seen along the last axis of (x, y, z)."""
    inside = occupancy > 0.5
    seen = inside.any(2)
    first = inside.argmax(2)
    here = np.take_along_axis(occupancy, first[..., None], 2)[..., 0]
    before = np.take_along_axis(occupancy, np.maximum(first - 1, 0)[..., None], 2)[..., 0]
    depth = first - (here - 0.5) / np.maximum(here - before, 1e-6)
    depth = np.where(seen, depth, float(occupancy.shape[2]))
    right, down = np.gradient(depth)
    normal = np.stack([-right, -down, np.ones_like(depth)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light = normal @ (np.array([-0.35, -0.45, 0.82]))
    grey = np.where(seen, 40 + 200 * np.clip(light, 0, 1), 255).astype(np.uint8)
    return np.repeat(grey.T[..., None], 3, 2)
