"""``mien export``: a trained network as a model bundle."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional

from ..models.errors import InputError

if TYPE_CHECKING:
    from ..models.face.bundle import Bundle


@dataclass(frozen=True)
class Export:
    """Make a model bundle, or one network's ONNX file, of a trained checkpoint (needs mien[train]).

    Attributes:
        checkpoint: checkpoint.pt of "mien train regressor"; for a file alone, the detector's also.
        out: folder of the bundle, or a file that ends .onnx for the network alone.
        face_model: the file that the network was trained with; default: the shipped bundle's.
        detector: checkpoint.pt of "mien train detector", for the bundle's own detector.
        name: of the bundle.
        version: of the weights: major.minor.patch.
        licence: SPDX expression for everything in the bundle, the weights too.
        provenance: where data and weights come from, in a sentence or two.
        trained_by: who trained it.
        command: the command that trained it; default: this one.
        int8: folder of rendered pictures on which the network is quantised to 8-bit integers; it
            stays in single precision where their landmark error would grow by 0.05 % or more.
        calibrate: folder of held-out rendered people (of "mien synthesize evaluation-set") on
            which the stated variances are made true; its films set the rotation's.
    """

    checkpoint: Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR|FILE.onnx")]
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    detector: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    name: str = "mien-own"
    version: str = "0.1.0"
    licence: str = "Apache-2.0"
    provenance: str = "trained on synthetic faces rendered by mien from CC0 MakeHuman data"
    trained_by: str = "unknown"
    command: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    int8: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    calibrate: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None

    def run(self) -> int:
        """Export, and say what was written."""
        from .options import need_torch, shipped_face_model

        need_torch("export")
        from ..models.detector.checkpoint import is_detector_checkpoint
        from ..models.detector.export import export_detector
        from ..models.face.bundle import DETECTOR, BundleInfo
        from ..models.regressor.export import export_regressor, make_bundle

        if not self.checkpoint.is_file():
            raise InputError(f"{self.checkpoint}: no such file")
        if self.out.suffix == ".onnx":
            if self.int8 is not None or self.calibrate is not None:
                raise InputError("export: --int8 and --calibrate need a bundle: --out DIR")
            is_detector = is_detector_checkpoint(self.checkpoint)
            export = export_detector if is_detector else export_regressor
            print(f"wrote {export(self.checkpoint, self.out)}")
            return 0
        info = BundleInfo(
            name=self.name,
            version=self.version,
            licence=self.licence,
            provenance=self.provenance,
            trained_by=self.trained_by,
            command=self.command or shlex.join(["mien", *sys.argv[1:]]),
        )
        if self.detector is not None:
            export_detector(self.detector, self.out / DETECTOR)
        bundle = make_bundle(
            self.out, self.checkpoint, self.face_model or shipped_face_model(), info
        )
        status = 0
        if self.int8 is not None:
            bundle, status = self._quantised(bundle, self.int8)
        if self.calibrate is not None:
            from .evaluate.calibrate import calibrate

            bundle = calibrate(bundle, self.calibrate)
            print(f"variances calibrated on {bundle.info.training['calibrated_on']}")
        print(f"wrote {bundle.folder}: {bundle.name} {bundle.version}, {bundle.hash[:12]}")
        _remark_on_tuning(bundle)
        return status

    @staticmethod
    def _quantised(bundle: Bundle, folder: Path) -> tuple[Bundle, int]:
        """The bundle in int8 where that costs nothing, and the exit status."""
        from .evaluate.calibrate import quantise_bundle

        result = quantise_bundle(bundle, folder)
        said = f"NME {result.nme:.3f} % in single precision, {result.nme_int8:.3f} % in int8"
        if result.kept:
            print(said)
            return result.bundle, 0
        print(f"mien: int8 not kept: {said}", file=sys.stderr)
        return result.bundle, 1


def _remark_on_tuning(bundle: Bundle) -> None:
    """Say so where the folder keeps a smoother that was tuned to the errors of another network.

    Raises:
        InputError: its ``smoother.toml`` cannot be read.
    """
    from ..models.face.bundle import REGRESSOR
    from ..stream.smoother.tuning import Tuning

    path = bundle.smoother_path
    if path is None:
        return
    if Tuning.load(path).provenance.get("regressor_sha256") != bundle.files[REGRESSOR]:
        print(
            f"mien: {path}: tuned to another network; mien tune-smoother --bundle {bundle.folder} "
            "tunes it to this one",
            file=sys.stderr,
        )
