"""``mien export``: a trained network as a model bundle."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import tyro
from tyro.conf import Positional

from ..models.errors import InputError, OutputError

if TYPE_CHECKING:
    import onnx

    from ..models.face.bundle import Bundle, BundleInfo

_ADDITIONS: Final = ("detector", "blendshapes", "int8", "calibrate")
"""Options of what a bundle may lack."""
_SAID: Final = ("name", "version", "licence", "provenance", "trained_by", "command")
"""Options of what a bundle says of itself."""


@dataclass(frozen=True)
class Export:
    """Make a model bundle, or one network's ONNX file, of a trained checkpoint (needs mien[train]).

    Attributes:
        checkpoint: checkpoint.pt of "mien train regressor"; for a file alone, that of the detector
            or the blendshapes also. A bundle's folder stands for what is in it, to add these, or to
            calibrate it.
        out: folder of the bundle, or a file that ends .onnx for the network alone.
        face_model: the file that the network was trained with; default: the shipped bundle's.
        detector: checkpoint.pt of "mien train detector", for the bundle's own detector.
        blendshapes: checkpoint.pt of "mien train blendshapes", which reads them from near.
        name: of the bundle; default: mien-own, or that of the bundle given.
        version: of the weights: major.minor.patch; default: 0.1.0, or the given bundle's.
        licence: SPDX expression for everything in the bundle, the weights too; default: Apache-2.0,
            or the given bundle's.
        provenance: where data and weights come from, in a sentence or two.
        trained_by: who trained it.
        command: the command that trained it; default: this one, or the given bundle's.
        int8: folder of rendered pictures on which the regressor is quantised to 8-bit integers; it
            stays in single precision where their landmark error would grow by 0.05 % or more. What
            it was is kept beside it, for trainings to go on from.
        calibrate: folder of held-out rendered people (of "mien synthesize evaluation-set") on
            which the stated variances are made true; its films set the rotation's.
    """

    checkpoint: Positional[Annotated[Path, tyro.conf.arg(metavar="FILE|BUNDLE")]]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR|FILE.onnx")]
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    detector: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    blendshapes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    name: str | None = None
    version: str | None = None
    licence: str | None = None
    provenance: str | None = None
    trained_by: str | None = None
    command: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    int8: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    calibrate: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None

    def run(self) -> int:
        """Export, and say what was written."""
        from .options import need_torch

        need_torch("export")
        self._check()
        if self.out.suffix == ".onnx":
            print(f"wrote {self._network()}")
            return 0
        bundle = self._copied() if self.checkpoint.is_dir() else self._made()
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

    def _check(self) -> None:
        """See that what the options name is there; of networks, whoever reads them sees more.

        Raises:
            InputError: something is missing, or options do not go together.
            OutputError: the place of the bundle is taken.
        """
        from .evaluate.calibrate import check_set

        if not self.checkpoint.exists():
            raise InputError(f"{self.checkpoint}: no such file")
        files = {
            "--detector": self.detector,
            "--blendshapes": self.blendshapes,
            "--face-model": self.face_model,
        }
        for option, path in files.items():
            if path is not None and not path.is_file():
                raise InputError(f"{option} {path}: no such file")
        for option, folder in (("--int8", self.int8), ("--calibrate", self.calibrate)):
            if folder is not None:
                check_set(folder, option)
        if self.out.suffix != ".onnx":
            if self.out.exists() and not self.out.is_dir():
                raise OutputError(f"--out {self.out}: is a file, expected a folder or FILE.onnx")
        elif self.checkpoint.is_dir():
            raise InputError(f"{self.checkpoint}: a folder; its networks are files already")
        elif of_bundles := self._given(*_ADDITIONS, *_SAID, "face_model"):
            raise InputError(
                f"export: --{of_bundles[0].replace('_', '-')} is of bundles (--out DIR); a file "
                "alone is of the first argument"
            )

    def _given(self, *names: str) -> list[str]:
        """Those of some options that are given."""
        return [name for name in names if getattr(self, name) is not None]

    def _network(self) -> Path:
        """One network's file, of the regressor's, the detector's or the blendshapes' checkpoint."""
        from ..models.blendshapes.checkpoint import is_blendshape_checkpoint
        from ..models.blendshapes.export import export_blendshapes
        from ..models.detector.checkpoint import is_detector_checkpoint
        from ..models.detector.export import export_detector
        from ..models.regressor.export import export_regressor

        if is_detector_checkpoint(self.checkpoint):
            return export_detector(self.checkpoint, self.out)
        if is_blendshape_checkpoint(self.checkpoint):
            return export_blendshapes(self.checkpoint, self.out)
        return export_regressor(self.checkpoint, self.out)

    def _networks(self) -> dict[str, onnx.ModelProto]:
        """The networks that are to be added, by the names of their files."""
        from ..models.face.bundle import BLENDSHAPES, DETECTOR

        networks = {}
        if self.detector is not None:
            from ..models.detector.export import read_detector

            networks[DETECTOR] = read_detector(self.detector)
        if self.blendshapes is not None:
            from ..models.blendshapes.export import read_blendshapes

            networks[BLENDSHAPES] = read_blendshapes(self.blendshapes)
        return networks

    def _made(self) -> Bundle:
        """The bundle of a regressor's checkpoint, written when all of it is read."""
        from ..models.face.bundle import BundleInfo
        from ..models.regressor.export import make_bundle
        from .options import shipped_face_model

        info = BundleInfo(
            name="mien-own",
            version="0.1.0",
            licence="Apache-2.0",
            provenance="trained on synthetic faces rendered by mien from CC0 MakeHuman data",
            trained_by="unknown",
            command=shlex.join(["mien", *sys.argv[1:]]),
        )
        face_model = self.face_model or shipped_face_model()
        said, networks = self._said(info), self._networks()
        return make_bundle(self.out, self.checkpoint, face_model, said, networks=networks)

    def _copied(self) -> Bundle:
        """What the bundle given has, with the networks to be added; checked beforehand."""
        from ..models.face.bundle import OPTIONAL_FILES, REQUIRED_FILES, Bundle, write_bundle
        from ..models.learning.onnx_graph import write_model
        from .evaluate.held_out import check_outputs

        given = Bundle.load(self.checkpoint)
        if self.face_model is not None:
            raise InputError("export: --face-model goes with a checkpoint; a bundle has its own")
        if not self._given(*_ADDITIONS):
            raise InputError(
                f"{self.checkpoint}: a bundle already; expected --detector, --blendshapes, "
                "--int8 or --calibrate"
            )
        for folder in (self.int8, self.calibrate):
            if folder is not None:
                check_outputs(given, folder)
        networks = self._networks()
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            for name in (*REQUIRED_FILES, *(n for n in OPTIONAL_FILES if n in given.files)):
                source, target = given.folder / name, self.out / name
                if source.resolve() != target.resolve():
                    shutil.copyfile(source, target)
            for name in set(OPTIONAL_FILES) - set(given.files):
                (self.out / name).unlink(missing_ok=True)  # of another bundle that lay there
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written: {error.strerror}") from error
        for name, model in networks.items():
            write_model(model, self.out / name)
        return write_bundle(self.out, self._said(given.info))

    def _said(self, info: BundleInfo) -> BundleInfo:
        """With what the options say of it."""
        return replace(info, **{key: getattr(self, key) for key in self._given(*_SAID)})

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
    """Say so where the folder keeps a smoother that was tuned to the errors of other networks.

    Raises:
        InputError: its ``smoother.toml`` cannot be read.
    """
    from ..models.face.bundle import BLENDSHAPES, REGRESSOR
    from ..stream.smoother.tuning import Tuning

    path = bundle.smoother_path
    if path is None:
        return
    tuned = Tuning.load(path).provenance
    same = tuned.get("regressor_sha256") == bundle.files[REGRESSOR]
    same = same and "eyes_sha256" not in tuned  # of a network that no bundle has any more
    if not same or tuned.get("blendshapes_sha256", "") != bundle.files.get(BLENDSHAPES, ""):
        print(
            f"mien: {path}: tuned to another network; mien tune-smoother --bundle {bundle.folder} "
            "tunes it to this one",
            file=sys.stderr,
        )
