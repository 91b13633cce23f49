"""The networks of ``mien portrait``: those that mien ships, of a folder, or of the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ...models.digest import file_sha256
from ...models.errors import InputError

if TYPE_CHECKING:
    import torch

    from ...models.portrait.attributes import AttributeClassifier
    from ...models.portrait.generator import Generator
    from ...models.portrait.losses import Judges
    from ...models.portrait.sds import ScorePrior
    from ...models.portrait.word_directions import WordDirections


@dataclass(frozen=True)
class Files:
    """Where the networks lie.

    Attributes:
        folder: with ``generator.safetensors``, ``prior.safetensors``, ...; None: mien's own.
        stable_diffusion: folder of diffusers, in the prior's place.
        arcface: ONNX file, in the identity's place.
        dpr: DPR's file, in the light's place.
        lpips: VGG-16's file, in the features' place.
    """

    folder: Path | None = None
    stable_diffusion: Path | None = None
    arcface: Path | None = None
    dpr: Path | None = None
    lpips: Path | None = None

    def place(self, part: str) -> Path:
        """The file of a part of our own.

        Raises:
            InputError: it is not there.
        """
        if self.folder is not None:
            path = self.folder / f"{part}.safetensors"
            if not path.is_file():
                raise InputError(
                    f"{self.folder}: no {part}.safetensors in it; it is the weights.safetensors "
                    f"of mien train portrait --stage {part}, under this name"
                )
            return path
        from ...models.portrait.weights import shipped

        path = shipped("generator").with_name(f"{part}.safetensors")
        if not path.is_file():
            raise InputError(
                f"no {part} of the portrait comes with this installation; --weights-dir names a "
                "folder with one"
            )
        return path

    def optional(self, part: str) -> Path | None:
        """The file of a part that a folder need not have; None where it is not there."""
        try:
            return self.place(part)
        except InputError:
            return None

    def check(self) -> None:
        """See that what the user names is there, before anything slow.

        Raises:
            InputError: a file or folder is missing.
        """
        for option, path in (
            ("--arcface", self.arcface), ("--dpr", self.dpr), ("--lpips", self.lpips),
        ):  # fmt: skip
            if path is not None and not path.is_file():
                raise InputError(f"{option} {path}: no such file")
        for option, path in (
            ("--weights-dir", self.folder), ("--stable-diffusion", self.stable_diffusion),
        ):  # fmt: skip
            if path is not None and not path.is_dir():
                raise InputError(f"{option} {path}: no such folder")

    def digests(self, said: bool, lit: bool) -> dict[str, str]:
        """What results depend on: the start of each file's hash, by part."""
        places = {"generator": self.place("generator")}
        places["identity"] = self.arcface or self.place("identity")
        if lit or self.dpr is None:
            places["light"] = self.dpr or self.place("light")
        if said and self.stable_diffusion is None:
            places["prior"] = self.place("prior")
            if (words := self.optional("words")) is not None:
                places["words"] = words
        if self.lpips is not None:
            places["features"] = self.lpips
        return {part: file_sha256(path)[:16] for part, path in places.items()}

    def judge_digest(self) -> dict[str, str]:
        """The same of the classifiers, on which figures depend and edits do not."""
        path = self.optional("attributes")
        return {} if path is None else {"attributes": file_sha256(path)[:16]}


def load_generator(files: Files, device: torch.device) -> Generator:
    """The generator, frozen: mien's own format, or EG3D's where its settings lie beside it.

    Raises:
        InputError: the file cannot be used.
    """
    from ...models.portrait.eg3d_weights import load_eg3d
    from ...models.portrait.weights import load_weights

    path = files.place("generator")
    published = path.with_suffix(".json").is_file()
    return (load_eg3d(path) if published else load_weights(path)).to(device)


def load_prior(files: Files, device: torch.device) -> ScorePrior:
    """The text-to-image prior.

    Raises:
        InputError: the file or folder cannot be used.
    """
    from ...models.portrait.prior import CaptionedDiffusion
    from ...models.portrait.sds import SmallPrior, StableDiffusion

    if files.stable_diffusion is not None:
        return StableDiffusion(files.stable_diffusion, device)
    return SmallPrior(CaptionedDiffusion.load(files.place("prior")).to(device))


def load_judges(
    files: Files, device: torch.device, five: Float[np.ndarray, "5 2"] | None = None
) -> Judges:
    """Features, identity and light.

    Args:
        files: where they lie.
        device: where to.
        five: where eyes, nose and mouth corners are in the crop, for ArcFace: the picture's left
            eye first, 0 to 1.

    Raises:
        InputError: a file cannot be used.
    """
    from ...models.portrait.features import RegressorFeatures
    from ...models.portrait.identity import IdentityEmbedder, OnnxArcFace
    from ...models.portrait.light import DprIllumination, LightEstimator
    from ...models.portrait.losses import Judges
    from ...models.portrait.lpips import Lpips

    features: Any
    if files.lpips is not None:
        features = Lpips.load(files.lpips).to(device).distance
    else:
        features = RegressorFeatures().to(device).distance
    identity: Any
    if files.arcface is not None:
        if five is None:
            raise InputError("ArcFace needs the face's five points")
        identity = OnnxArcFace(files.arcface, five)
        identity.network.to(device)
    else:
        identity = IdentityEmbedder.load(files.place("identity")).to(device)
    light: Any
    if files.dpr is not None:
        light = DprIllumination(files.dpr)
        light.network.to(device)
    else:
        light = LightEstimator.load(files.place("light")).to(device)
    return Judges(features, identity, light)


def load_classifier(files: Files, device: torch.device) -> AttributeClassifier | None:
    """The attribute classifiers; None where the folder has none: they only measure."""
    from ...models.portrait.attributes import AttributeClassifier

    path = files.optional("attributes")
    return None if path is None else AttributeClassifier.load(path).to(device)


def load_directions(
    files: Files, generator: Generator, device: torch.device
) -> WordDirections | None:
    """What words add to codes; None where the folder has no such file, or words are free.

    Raises:
        InputError: it is of another generator's codes, or damaged.
    """
    from ...models.portrait.word_directions import WordDirections

    path = files.optional("words")
    if path is None or files.stable_diffusion is not None:
        return None
    found = WordDirections.load(path)
    width = generator.config.w_dim
    if len(found.mean) != width:
        raise InputError(
            f"{path}: of codes of {len(found.mean)} numbers, the generator's have {width}"
        )
    return found.to(device)
