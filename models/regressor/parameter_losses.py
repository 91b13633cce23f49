"""The parameter losses of 3DDFA_V2 (Guo et al. 2020, 3.1): VDC, WPDC and fWPDC.

All are defined over every vertex of the face model, and none of the two that train makes a vertex:
a projected mesh is linear in the products of pose and coefficients, so distances between meshes are
norms under the triangular factor of one fixed design matrix (154 columns), made once.

Parameters are in their own units here: 12 of pose (3x4 scaled orthography, row-major, crop px per
mm; x right, y down, z into the picture), 40 shape and 10 expression in standard deviations. The
depth offset (index 11) is seen in no picture: before any distance the predicted one is overwritten
by the true one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import nn

from ..face.morphable import FaceModel, LinearPoints
from ..face.names import N_PARAMS, N_POSE

DEPTH_OFFSET: Final = 11
"""Index of t_z among the parameters."""

Params = Float[torch.Tensor, "B 62"]


def with_true_depth(params: Params, true: Params) -> Params:
    """Parameters whose depth offset is the true one; no gradient passes through that entry."""
    depth = true[:, DEPTH_OFFSET : DEPTH_OFFSET + 1]
    return torch.cat([params[:, :DEPTH_OFFSET], depth, params[:, DEPTH_OFFSET + 1 :]], 1)


class MeshDistance(nn.Module):
    """Distances between the meshes of two sets of parameters, in crop pixels, exact.

    Args:
        points: the vertices that count, :meth:`all_vertices` of a face model as a rule.
        dtype: in which to compute.
    """

    factor: torch.Tensor
    axis_factors: torch.Tensor
    column_norms: torch.Tensor

    def __init__(
        self, points: FaceModel | LinearPoints, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.count = len(points.mean)
        basis = _basis(points)
        columns = basis.transpose(1, 0, 2).reshape(self.count, -1)
        design = np.concatenate([columns, np.ones((self.count, 1))], 1)
        axes = [np.linalg.qr(basis[..., i].T, mode="r") for i in range(3)]
        for name, array in (
            ("factor", np.linalg.qr(design, mode="r")),
            ("axis_factors", np.stack(axes)),
            ("column_norms", np.linalg.norm(basis[1:], axis=(1, 2))),
        ):
            # Made anew from the face model, so no part of a checkpoint.
            self.register_buffer(name, torch.from_numpy(array).to(dtype), persistent=False)

    def vdc(self, params: Params, true: Params) -> Float[torch.Tensor, " B"]:
        """Vertex distance cost: mean squared distance of the vertices, px^2 (eq. 2)."""
        difference = _products(with_true_depth(params, true)) - _products(true)
        return (difference @ self.factor.T).square().sum((1, 2)) / self.count

    def weights(self, params: Params, true: Params) -> Params:
        """Closed-form weights of fWPDC (Algorithm 1), at most 1, constants.

        The first three columns of the pose pair with the rows of the posed-free true mesh: column i
        multiplies coordinate i of every vertex. Equal to :func:`naive_weights` where the true pose
        is a scaled rotation.
        """
        with torch.no_grad():
            error = (with_true_depth(params, true) - true).abs()
            coefficients = _with_one(true)
            rows = torch.einsum("iqk,bk->biq", self.axis_factors, coefficients).norm(dim=2)
            sides = torch.cat([rows, torch.full_like(rows[:, :1], self.count**0.5)], 1)
            scale = true[:, :N_POSE].view(-1, 3, 4)[:, :, :3].flatten(1).norm(dim=1) / 3**0.5
            moved = torch.cat(
                [
                    (error[:, :N_POSE].view(-1, 3, 4) * sides[:, None]).flatten(1),
                    error[:, N_POSE:] * scale[:, None] * self.column_norms,
                ],
                1,
            )
            return _normalised(moved)

    def fwpdc(
        self, params: Params, true: Params, std: Float[torch.Tensor, " 62"] | None = None
    ) -> Float[torch.Tensor, " B"]:
        """Fast weighted parameter distance cost (eq. 5).

        Args:
            params: predicted.
            true: labels.
            std: units in which parameters' distances are measured (the weights never depend on
                them); their own units where not given.
        """
        error = with_true_depth(params, true) - true
        if std is not None:
            error = error / std
        return (self.weights(params, true) * error).square().sum(1)


def naive_weights(points: FaceModel | LinearPoints, params: Params, true: Params) -> Params:
    """Weights of WPDC by its definition (eq. 3): one mesh a parameter. Slow; the oracle of fWPDC.

    Entry i says how far the vertices move when parameter i alone is the predicted one, divided by
    the largest of them.
    """
    basis = torch.from_numpy(_basis(points)).to(params)
    fixed = with_true_depth(params, true)
    goal = _mesh(basis, true)
    moved = torch.empty_like(true)
    for i in range(N_PARAMS):
        mixed = true.clone()
        mixed[:, i] = fixed[:, i]
        moved[:, i] = (_mesh(basis, mixed) - goal).flatten(1).norm(dim=1)
    return _normalised(moved)


def _basis(points: FaceModel | LinearPoints) -> Float64[np.ndarray, "51 N 3"]:
    """Mean, shape and expression bases in one."""
    parts = [points.mean[None], points.shape_basis, points.expression_basis]
    return np.concatenate(parts).astype(np.float64)


def _with_one(params: Params) -> Float[torch.Tensor, "B 51"]:
    """Coefficients of :func:`_basis`."""
    return torch.cat([torch.ones_like(params[:, :1]), params[:, N_POSE:]], 1)


def _products(params: Params) -> Float[torch.Tensor, "B 3 154"]:
    """What the image coordinates are linear in: pose times coefficients, and translation."""
    pose = params[:, :N_POSE].view(-1, 3, 4)
    products = torch.einsum("bk,brc->brkc", _with_one(params), pose[:, :, :3]).flatten(2)
    return torch.cat([products, pose[:, :, 3:]], 2)


def _mesh(basis: torch.Tensor, params: Params) -> Float[torch.Tensor, "B N 3"]:
    """Vertices in the crop, px."""
    pose = params[:, :N_POSE].view(-1, 3, 4)
    head = torch.einsum("bk,knc->bnc", _with_one(params), basis)
    return head @ pose[:, :, :3].transpose(1, 2) + pose[:, None, :, 3]


def _normalised(moved: Params) -> Params:
    """Divided by the largest entry of each row; zero where nothing moves."""
    return moved / moved.amax(1, keepdim=True).clamp_min(torch.finfo(moved.dtype).tiny)
