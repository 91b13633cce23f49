"""``mien import-3ddfa``: a model bundle out of a user's own 3DDFA_V2 files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from ..models.errors import InputError, how_to_install


@dataclass(frozen=True)
class Import3ddfa:
    """Make a model bundle of 3DDFA_V2's files, for those who hold their licences (mien[train]).

    Poses, landmarks, mesh, shape and expression are that network's; blendshapes, confidence and
    pose_variance, on which it has no word, are null. The Basel face model and weights trained with
    it are for academic use only unless you hold another licence: the bundle is yours, not mien's.

    Attributes:
        network: mb1_120x120.pth or mb05_120x120.pth, or either as .onnx.
        statistics: mean and deviation of the 62 parameters, param_mean_std_62d_120x120.pkl.
        model: the Basel face model without neck, bfm_noneck_v3.pkl.
        triangles: tri.pkl; may be left out with bfm_noneck_v3_slim.pkl, whose own triangles fit.
        out: folder of the bundle.
        name: of the bundle; default: 3ddfa-v2 and the network's name.
        licence: SPDX expression for everything in the bundle.
    """

    network: Positional[Annotated[Path, tyro.conf.arg(metavar="FILE.pth|FILE.onnx")]]
    statistics: Annotated[Path, tyro.conf.arg(metavar="FILE.pkl")]
    model: Annotated[Path, tyro.conf.arg(metavar="FILE.pkl")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    triangles: Annotated[Path | None, tyro.conf.arg(metavar="FILE.pkl")] = None
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    licence: str = "LicenseRef-Basel-Face-Model-2009"

    def run(self) -> int:
        """Convert, and say what was written and what it lacks."""
        from importlib.util import find_spec

        from .options import need_torch

        if find_spec("onnx") is None:
            raise InputError(f"import-3ddfa: needs onnx; {how_to_install('train')} brings it")
        if self.network.suffix.lower() != ".onnx":
            need_torch("import-3ddfa")
        from ..models.face.bundle import OUTPUTS, BundleInfo
        from ..models.tddfa.bundle import import_bundle

        info = BundleInfo(
            name=self.name or f"3ddfa-v2-{self.network.stem}",
            version="1.0.0",
            licence=self.licence,
            provenance="3DDFA_V2's network and Basel face model, converted from a user's own files",
            trained_by="the authors of 3DDFA_V2",
            command="mien import-3ddfa",
        )
        bundle = import_bundle(
            self.out, self.network, self.statistics, self.model, self.triangles, info
        )
        absent = [name for name in OUTPUTS if name not in bundle.info.outputs]
        print(f"wrote {bundle.folder}: {bundle.name}, {bundle.hash[:12]}")
        print(f"it has no {', '.join(absent)}: their columns will be null; use it with --bundle")
        return 0
