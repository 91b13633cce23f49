"""``mien portrait``: a key frame as a head in 3D, changed by a sentence and by light."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import tyro

from ...models.errors import InputError
from ...models.learning.device import Device, find_device
from ..json_file import write_json
from ..options import BundleOption, choices, need_heavy
from ..reconstruct.files import Outputs, finished, write_meshes
from .checks import check_numbers
from .models import Files

if TYPE_CHECKING:
    from ...models.portrait.edit_options import Edit, EditOptions, Wish
    from ...models.portrait.losses import Judges
    from ...models.portrait.vocabulary import Description
    from .inputs import PortraitInput

FORMATS: Final = ("mp4", "png", "ply", "obj", "glb")
STATE: Final = ".state.pt"
_FIGURES: Final = ".json"


@dataclass(frozen=True)
class Portrait:
    """Make a head in 3D of a face, and change it by words and light (needs mien[heavy]).

    A tri-plane generator's code is optimised until it shows the input (reconstruction), then until
    it also fits a sentence (a text-to-image model says how pictures from the side would have to
    change) and a light, while it stays the same person (identity). In the end the generator itself
    is tuned a little around what was found. After FaceDNeRF (Zhang et al. 2023).

    Writes NAME.turntable.mp4 (before and after), NAME.view-N.png, NAME.sheet.png, the mesh as
    NAME.ply and NAME.glb, and NAME.json with figures. The networks that come with mien have seen
    synthetic people only: real faces come out softer than they are.

    Attributes:
        keyframe: folder of "mien keyframes", or a picture.
        text: what is wanted, such as "an old man, smiling"; see --words.
        light: where light shall come from: left, right, above, below, front, back (as seen in the
            picture), even; or a file with nine spherical-harmonic coefficients of luminance, in
            DPR's order, axes x right, y up, z to the viewer.
        out: folder for what is written; made where it is absent.
        words: print the vocabulary of --text and do nothing else.
        steps: of the edit.
        invert_steps: to find the input's own code before it.
        tuning_steps: of the generator's weights after it; 0 leaves them.
        seed: of everything random.
        frame: number of the key frame; default: the folder's first.
        face: which face of a picture, 1 for the one of which most is seen.
        camera: of a picture: camera file (TOML, JSON, or OpenCV's YAML or XML), or field of view
            across the longer side, degrees; default: assumed.
        mask: picture of the input's size that is white where the person is; default: cut out.
        formats: what to write besides sheet and figures, separated by commas: mp4, png (views),
            ply, obj (mm), glb (metres).
        strength: how far the text's words are followed, 0 to 5; at 1 as far as shows them best
            on rendered people.
        guidance: how strictly distillation follows the text; default: 20, with Stable Diffusion
            100.
        sds: share that the text's gradient has of those of reconstruction and identity.
        relight: share that the light's has.
        reconstruction: weight of the reconstruction.
        identity: weight of the identity.
        cells: of the mesh's grid, along an edge.
        level: density of the mesh's surface.
        weights_dir: folder with generator, prior, identity and light .safetensors; default: those
            that mien ships.
        stable_diffusion: folder of Stable Diffusion 2.1 in diffusers' layout, in place of mien's
            prior; the text is then free.
        arcface: ONNX file of an ArcFace network, in place of mien's.
        dpr: DPR's trained_model_03.t7, in place of mien's light estimator.
        lpips: weights of VGG-16 (and LPIPS), in place of the features of mien's regressor.
        threads: processor threads.
        device: where to; auto takes the graphics card where there is one.
        bundle: folder of the bundle that fits pictures, or fitted key frames; default: mien's.
        resume: go on from the state that an interrupted run left in --out.
        overwrite: replace what was made before.
    """

    keyframe: Annotated[Path | None, tyro.conf.arg(metavar="KEYFRAMES|PICTURE")] = None
    text: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    light: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    words: bool = False
    steps: int = 300
    invert_steps: int = 300
    tuning_steps: int = 80
    seed: int = 0
    frame: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    face: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    camera: Annotated[str | None, tyro.conf.arg(metavar="FILE|FOV")] = None
    mask: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    formats: Annotated[str, tyro.conf.arg(metavar="LIST")] = "mp4,png,ply,glb"
    strength: float = 1.0
    guidance: Annotated[float | None, tyro.conf.arg(metavar="G")] = None
    sds: float = 2.0
    relight: float = 0.7
    reconstruction: float = 0.6
    identity: float = 0.6
    cells: int = 128
    level: float = 10.0
    weights_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    stable_diffusion: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    arcface: Annotated[Path | None, tyro.conf.arg(metavar="FILE.onnx")] = None
    dpr: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    lpips: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    threads: int = 1
    device: Device = "auto"
    bundle: BundleOption = None
    resume: bool = False
    overwrite: bool = False

    def run(self) -> int:
        """Make the portrait, and return the exit status."""
        from ...models.portrait import vocabulary

        if self.words:
            print(vocabulary.printed())
            return 0
        keyframe, out, formats, light = self._checked()
        from ..annotate.command import check_folder
        from .inputs import Choice, read_input
        from .models import load_generator

        files = self._files()
        need_heavy("mien portrait")
        check_folder(out)
        digests = files.digests(self.text is not None, light is not None)
        device = find_device(self.device)
        from ...models.learning.pace import processor_threads

        with processor_threads(self.threads):
            generator = load_generator(files, device)
            choice = Choice(self.frame, self.face, self.camera, self.bundle, self.mask)
            given = read_input(keyframe, choice, generator.config.image_size)
            request = self._request(digests, light) | {"input_sha256": given.digest()}
            if not self.overwrite and finished(out, given.name, request):
                print(f"{given.name}: is there already: {out}")
                return 0
            for remark in given.remarks:
                print(f"mien: {given.source}: {remark}", file=sys.stderr)
            job = _Job(self, given, out, files, device, light)
            job.make(generator, formats, request)
        return 0

    def _checked(self) -> tuple[Path, Path, tuple[str, ...], Any]:
        """What must be right before anything slow is loaded: input, place, formats, light."""
        from ...models.portrait import sh

        if self.keyframe is None or self.out is None:
            raise InputError("portrait: --keyframe and --out must be given (or --words)")
        if self.text is None and self.light is None:
            raise InputError("nothing to change: give --text, --light, or both")
        if self.text is not None and not self.text.strip():
            raise InputError("the text is empty")
        said = self.said()
        check_numbers(self)
        # Light in the sentence is a wish for light like any other, and better met as one.
        named = None if said is None else said.properties.get("light")
        if self.light is not None and named not in (None, self.light):
            raise InputError(f"the text says light {named!r}, --light says {self.light!r}")
        chosen = self.light or named
        light = None if chosen is None else sh.light_by_name_or_file(chosen)
        formats = choices(self.formats, FORMATS, "--formats")
        if not self.keyframe.exists():
            raise InputError(f"{self.keyframe}: no such folder of key frames, and no such picture")
        self._files().check()
        return self.keyframe, self.out, formats, light

    def said(self) -> Description | None:
        """The text's properties; None where it is free, or there is none.

        Raises:
            InputError: a word of it is not in the vocabulary.
        """
        from ...models.portrait import vocabulary

        if self.text is None or self.stable_diffusion is not None:
            return None
        return vocabulary.parse(self.text)

    def _files(self) -> Files:
        return Files(self.weights_dir, self.stable_diffusion, self.arcface, self.dpr, self.lpips)

    def options(self) -> EditOptions:
        """Of the edit."""
        from ...models.portrait.edit_options import EditOptions
        from ...models.portrait.losses import Weights
        from ...models.portrait.sds import PAPER_GUIDANCE, SMALL_GUIDANCE

        usual = SMALL_GUIDANCE if self.stable_diffusion is None else PAPER_GUIDANCE
        return EditOptions(
            invert_steps=self.invert_steps,
            steps=self.steps,
            tuning_steps=self.tuning_steps,
            weights=Weights(
                reconstruction=self.reconstruction,
                identity=self.identity,
                sds=self.sds,
                light=self.relight,
            ),
            strength=self.strength,
            guidance=usual if self.guidance is None else self.guidance,
            seed=self.seed,
        )

    def _request(self, digests: dict[str, str], light: Any) -> dict[str, Any]:
        """What a result depends on."""
        return {
            "text": self.text,
            "light": None if light is None else [round(float(v), 6) for v in light],
            "networks": digests,
            "stable_diffusion": None if self.stable_diffusion is None
            else self.stable_diffusion.name,
            "edit": asdict(self.options()) | {"t_range": list(self.options().t_range)},
            "formats": self.formats,
            "mesh": [self.cells, self.level],
            "face": self.face,
            "camera": self.camera,
            "mask": None if self.mask is None else self.mask.name,
        }  # fmt: skip


@dataclass(frozen=True)
class _Job:
    """One portrait in the making."""

    tool: Portrait
    given: PortraitInput
    out: Path
    files: Files
    device: Any
    light: Any

    def make(self, generator: Any, formats: tuple[str, ...], request: dict[str, Any]) -> None:
        """Edit, and write everything."""
        import numpy as np

        from ...models.face.eg3d_camera import five_points
        from ...models.portrait.edit import edit
        from .models import load_classifier, load_directions, load_judges, load_prior

        tool, started = self.tool, time.perf_counter()
        # The right eye is the picture's left one.
        five = five_points(self.given.landmarks)
        judges = load_judges(self.files, self.device, five)
        prior = None if tool.text is None else load_prior(self.files, self.device)
        condition = None
        if prior is not None and tool.text is not None:
            condition = prior.condition(tool.text)
        wish = self._wish(condition)
        state = self.out / f"{self.given.name}{STATE}"
        before = state.stat().st_mtime_ns if state.is_file() else None
        directions = load_directions(self.files, generator, self.device)
        try:
            with _edit_bar(tool.options()) as report:
                made = edit(
                    generator, prior, judges, wish, tool.options(), report, state, tool.resume,
                    directions,
                )  # fmt: skip
        except KeyboardInterrupt as error:
            kept = f"{state}: kept; --resume goes on from there"
            nothing = f"{self.given.name}: nothing is kept before the inversion is done"
            # What another edit left is of no use to this one.
            own = state.is_file() and (tool.resume or state.stat().st_mtime_ns != before)
            raise KeyboardInterrupt(kept if own else nothing) from error
        classifier = load_classifier(self.files, self.device)
        figures = self._figures(made, wish, judges, classifier)
        figures["seconds"] = round(time.perf_counter() - started, 1)
        facts = {
            "source": self.given.source,
            "request": request,
            "remarks": list(self.given.remarks),
            "figures": figures,
            "label": [round(float(v), 6) for v in self.given.aligned.label],
            "crop": asdict(self.given.aligned.crop),
            "label_residual_px": self.given.aligned.residual_px,
            "light": None if self.light is None else np.asarray(self.light).tolist(),
        }
        self._write(made, formats, facts)
        state.unlink(missing_ok=True)
        print(
            f"{self.given.name}: inversion {figures['inversion_psnr_db']:.1f} dB, identity cosine "
            f"{figures['identity_cosine_before']:.2f} before, "
            f"{figures['identity_cosine_after']:.2f} after, {figures['seconds']:.0f} s"
        )

    def _wish(self, condition: Any) -> Wish:
        import numpy as np
        import torch

        from ...models.portrait.edit_options import Wish

        cut = self.given.cut
        rgb = np.ascontiguousarray(cut.image[..., ::-1].transpose(2, 0, 1))
        image = torch.from_numpy(rgb).float()[None] / 127.5 - 1
        mask = torch.from_numpy(cut.mask.astype(np.float32) / 255)[None, None]
        # Background is wanted as black as it is: a head shall not spread into it.
        mask = mask.clamp(min=0.3)
        return Wish(
            image.to(self.device), mask.to(self.device), self.given.aligned.label, condition,
            self.light, self.tool.said(),
        )  # fmt: skip

    def _figures(self, made: Edit, wish: Wish, judges: Judges, classifier: Any) -> dict[str, Any]:
        from ...models.portrait.edit_figures import edit_figures

        figures = edit_figures(made, wish, judges, classifier)
        figures["terms"] = made.history[-1] if made.history else {}
        figures["mask_quality"] = self.given.cut.quality
        return figures

    def _write(self, made: Edit, formats: tuple[str, ...], facts: dict[str, Any]) -> None:
        from ..files import write_film, write_png
        from .pictures import RATE, before_and_after, film, seen, side_views

        tool, label = self.tool, self.given.aligned.label
        wanted = [f"text: {tool.text}"] if tool.text is not None else []
        wanted += [f"light: {tool.light}"] if tool.light is not None else []
        figures = facts["figures"]
        lines = [
            self.given.source,
            ", ".join(wanted),
            f"inversion {figures['inversion_psnr_db']:.1f} dB; identity cosine "
            f"{figures['identity_cosine_before']:.2f}, then "
            f"{figures['identity_cosine_after']:.2f}",
        ]
        with Outputs(self.out, self.given.name) as outputs:
            sheet = before_and_after(made, self.given.cut.image, label, lines)
            write_png(outputs.place(".sheet.png"), sheet)
            if "png" in formats:
                for number, view in enumerate(seen(made.after, side_views())):
                    write_png(outputs.place(f".view-{number}.png"), view)
            if "mp4" in formats:
                write_film(outputs.place(".turntable.mp4"), film(made), RATE)
            if meshes := [kind for kind in formats if kind in ("ply", "obj", "glb")]:
                self._write_mesh(outputs, made, meshes, facts)
            write_json(outputs.place(_FIGURES), facts)
            outputs.commit()

    def _write_mesh(
        self, outputs: Outputs, made: Edit, kinds: list[str], facts: dict[str, Any]
    ) -> None:
        """The surface; a head too foggy to have one is said, and everything else is written."""
        import numpy as np

        from ...models.portrait.mesh import head_mesh

        tool = self.tool
        try:
            mesh = head_mesh(made.after.generator, made.after.planes, tool.cells, tool.level)
        except InputError as error:
            facts["remarks"].append(f"no mesh: {error}")
            print(f"mien: {self.given.source}: no mesh: {error}", file=sys.stderr)
            return
        # Files have the camera's axes: y down, z away from the viewer.
        write_meshes(outputs, mesh.transformed(np.diag([1.0, -1.0, -1.0])), kinds)
        facts["figures"]["mesh_vertices"] = len(mesh.vertices)


class _edit_bar:  # noqa: N801 - used like the function training_bar
    """A progress bar over all stages, with the terms of the loss."""

    def __init__(self, options: EditOptions) -> None:
        from tqdm import tqdm

        self._sizes = {
            "invert": options.invert_steps,
            "edit": options.steps,
            "tune": options.tuning_steps,
        }
        self._bar = tqdm(total=sum(self._sizes.values()), unit="step", disable=None, leave=False)

    def __enter__(self) -> Any:
        return self._tell

    def __exit__(self, *exc: object) -> None:
        self._bar.close()

    def _tell(self, stage: str, done: int, total: int, terms: dict[str, float]) -> None:
        before = 0
        for name, size in self._sizes.items():
            if name == stage:
                break
            before += size
        self._bar.set_description(stage, refresh=False)
        self._bar.set_postfix(
            {name: f"{value:.3g}" for name, value in terms.items()}, refresh=False
        )
        self._bar.update(before + done - self._bar.n)
