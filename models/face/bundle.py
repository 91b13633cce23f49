"""The model bundle: one folder with everything that turns a crop into a face, and its hashes.

``bundle.toml`` names every file with its SHA-256; loading checks all of them, so that a bundle's
:attr:`Bundle.hash` stands for its whole content.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Final

from ..digest import file_sha256
from ..documents import one_line, shown, toml_of
from ..errors import BundleError
from ..weights import default as default_weights
from ..writing import whole_file
from .crop import CROP_SIZE
from .morphable import FaceModel
from .names import N_BLENDSHAPES, N_EXPRESSION, N_POSE, N_SHAPE

BUNDLE_FORMAT: Final = 1
"""Version of the layout of ``bundle.toml``."""

MANIFEST: Final = "bundle.toml"
FACE_MODEL: Final = "face_model.npz"
REGRESSOR: Final = "regressor.onnx"
WHOLE_REGRESSOR: Final = "regressor_whole.onnx"
"""In single precision, where the other is in 8-bit integers."""
DETECTOR: Final = "detector.onnx"
BLENDSHAPES: Final = "blendshapes.onnx"
SMOOTHER: Final = "smoother.toml"
REQUIRED_FILES: Final = (FACE_MODEL, REGRESSOR)
OPTIONAL_FILES: Final = (WHOLE_REGRESSOR, DETECTOR, BLENDSHAPES, SMOOTHER)

OUTPUTS: Final = ("params", "log_variance", "blendshapes", "presence")
"""What a regressor may say; a bundle made of another's network has ``params`` and lacks others."""

Scalar = str | int | float | bool
"""What a value of ``bundle.toml`` may be."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class BundleInfo:
    """What is written about a bundle.

    Attributes:
        name: short name, such as ``mien-default``.
        version: version of the weights, as ``major.minor.patch``.
        licence: SPDX expression for everything in the folder, the weights too.
        provenance: where the data and the weights come from, in a sentence or two.
        trained_by: who trained it.
        command: the command that trained it.
        training: further facts (images seen, validation figures) as plain values.
        outputs: what the network says, of :data:`OUTPUTS`; ``params`` is always among them.
    """

    name: str
    version: str
    licence: str
    provenance: str
    trained_by: str
    command: str
    training: Mapping[str, Scalar] = field(default_factory=dict)
    outputs: tuple[str, ...] = OUTPUTS


@dataclass(frozen=True)
class Bundle:
    """A checked bundle on disk; make one with :meth:`load` or :meth:`default`.

    Attributes:
        folder: where it lies.
        info: what ``bundle.toml`` says about it.
        hash: SHA-256 of ``bundle.toml``, hexadecimal; it covers every file through their hashes.
        files: SHA-256 by file name.
    """

    folder: Path
    info: BundleInfo
    hash: str
    files: Mapping[str, str]

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Read ``bundle.toml`` and check the hash of every file it names.

        Raises:
            BundleError: the folder, the manifest or a file is missing, damaged, outside the folder
                or of another format version.
        """
        manifest = folder / MANIFEST
        try:
            content = manifest.read_bytes()
        except OSError as error:
            raise BundleError(f"{folder}: no bundle: {_why_unread(folder, error)}") from error
        try:
            table = toml_of(content.decode())
        except ValueError as error:
            raise BundleError(f"{manifest}: not TOML: {one_line(error)}") from error
        info, files = _parse(table, manifest)
        for name, expected in files.items():
            _check_file(folder, name, expected)
        return cls(folder, info, hashlib.sha256(content).hexdigest(), files)

    @classmethod
    def default(cls) -> Bundle:
        """The bundle that ships inside the package.

        Raises:
            BundleError: the installation is damaged.
        """
        return cls.load(Path(str(resources.files(default_weights))))

    @property
    def name(self) -> str:
        """Short name of the bundle."""
        return self.info.name

    @property
    def version(self) -> str:
        """Version of the weights."""
        return self.info.version

    @cached_property
    def face_model(self) -> FaceModel:
        """The morphable model, read on first use."""
        return FaceModel.load(self.folder / FACE_MODEL)

    @property
    def regressor_path(self) -> Path:
        """The network that turns crops into parameters."""
        return self.folder / REGRESSOR

    @property
    def whole_regressor_path(self) -> Path:
        """The same in single precision: to train on, and for its features."""
        return self._optional(WHOLE_REGRESSOR) or self.regressor_path

    @property
    def detector_path(self) -> Path | None:
        """The bundle's own detector, where it has one."""
        return self._optional(DETECTOR)

    @property
    def blendshapes_path(self) -> Path | None:
        """The network that reads blendshapes from near, where the bundle has one."""
        return self._optional(BLENDSHAPES)

    @property
    def smoother_path(self) -> Path | None:
        """Tuned smoother settings, where the bundle has them."""
        return self._optional(SMOOTHER)

    def _optional(self, name: str) -> Path | None:
        return self.folder / name if name in self.files else None


def write_bundle(folder: Path, info: BundleInfo) -> Bundle:
    """Hash the model files that lie in ``folder`` and write its ``bundle.toml``, atomically.

    Raises:
        BundleError: ``face_model.npz`` or ``regressor.onnx`` is missing.
        OutputError: the manifest cannot be written.
    """
    missing = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
    if missing:
        raise BundleError(f"{folder}: cannot make a bundle without {', '.join(missing)}")
    names = (*REQUIRED_FILES, *OPTIONAL_FILES)
    files = {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}
    header: dict[str, Scalar] = {"format": BUNDLE_FORMAT}
    header |= {key: getattr(info, key) for key in _INFO_KEYS} | _CROP
    counts = {
        "pose": N_POSE,
        "shape": N_SHAPE,
        "expression": N_EXPRESSION,
        "blendshapes": N_BLENDSHAPES if "blendshapes" in info.outputs else 0,
    }
    tables: dict[str, Mapping[str, Scalar]] = {
        "": header,
        "parameters": counts,
        "outputs": {name: name in info.outputs for name in OUTPUTS},
        "training": info.training,
        "files": files,
    }
    with whole_file(folder / MANIFEST) as part:
        part.write_text(_to_toml(tables), encoding="utf-8")
    return Bundle.load(folder)


_INFO_KEYS: Final = ("name", "version", "licence", "provenance", "trained_by", "command")
_CROP: Final[dict[str, Scalar]] = {"input_size": CROP_SIZE, "colour_order": "bgr"}
"""What a network sees: the side of the square crop, px, and its colours."""


def _parse(table: Mapping[str, object], manifest: Path) -> tuple[BundleInfo, dict[str, str]]:
    found = table.get("format")
    if found != BUNDLE_FORMAT:
        raise BundleError(f"{manifest}: format {found!r:.60}, this version reads {BUNDLE_FORMAT}")
    values = {}
    for key in _INFO_KEYS:
        value = table.get(key)
        if not isinstance(value, str):
            raise BundleError(f"{manifest}: {key} is {value!r:.60}, expected a str")
        values[key] = value
    for key, accepted in _CROP.items():
        value = table.get(key)
        if type(value) is not type(accepted) or value != accepted:
            raise BundleError(
                f"{manifest}: {key} is {value!r:.60}, this version reads {accepted!r}"
            )
    training = _part(table, "training", manifest, {})
    said = _part(table, "outputs", manifest, dict.fromkeys(OUTPUTS, True))  # older ones have all
    outputs = tuple(name for name in OUTPUTS if said.get(name) is True)
    if "params" not in outputs:
        raise BundleError(f"{manifest}: [outputs] lacks params")
    files: dict[str, str] = {}
    for name, digest in _part(table, "files", manifest, None).items():
        if not _PLAIN_NAME.fullmatch(name) or not isinstance(digest, str):
            raise BundleError(
                f"{manifest}: {name!r:.60} is not the plain name of a file with its hash"
            )
        files[name] = digest
    missing = [name for name in REQUIRED_FILES if name not in files]
    if missing:
        raise BundleError(f"{manifest}: [files] lacks {', '.join(missing)}")
    return BundleInfo(training=training, outputs=outputs, **values), files


def _part(
    table: Mapping[str, object], name: str, manifest: Path, default: dict[str, Any] | None
) -> dict[str, Any]:
    """A table of the manifest."""
    part = table.get(name, default)
    if not isinstance(part, dict):
        raise BundleError(f"{manifest}: the table [{name}] is not as expected")
    return part


def _why_unread(folder: Path, error: OSError) -> str:
    """Why a manifest cannot be read, in the user's terms."""
    if not folder.exists():
        return "no such folder"
    if not folder.is_dir():
        return f"is a file, expected a folder with {MANIFEST}"
    lacking = isinstance(error, FileNotFoundError)
    return f"there is no {MANIFEST} in it" if lacking else f"{MANIFEST}: {error.strerror}"


def _check_file(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    try:
        actual = file_sha256(path)
    except OSError as error:
        raise BundleError(f"{path}: named in {MANIFEST}, but {error.strerror}") from error
    if actual != expected:
        said = shown(expected, 12)
        raise BundleError(f"{path}: SHA-256 is {actual[:12]}…, {MANIFEST} says {said}…")


def _to_toml(tables: Mapping[str, Mapping[str, Scalar]]) -> str:
    """Flat tables of plain values; the table named "" comes first and has no header."""
    lines: list[str] = []
    for title, table in tables.items():
        if title:
            lines += ["", f"[{title}]"]
        lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_value(key)


def _toml_value(value: Scalar) -> str:
    if isinstance(value, str):
        # JSON's escapes are TOML's; only DEL is let through by one and refused by the other.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
