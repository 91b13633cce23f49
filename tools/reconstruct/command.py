"""``mien reconstruct``: a head or a body in 3D from one picture, by PIFuHD."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import tyro
from tyro.conf import Positional

from ...models.digest import file_sha256
from ...models.errors import InputError, SourceError
from ...models.learning.device import Device
from ..json_file import write_json
from ..options import BundleOption, choices, need_heavy, read_camera
from .files import (
    FACTS,
    MESH_FORMATS,
    SHEET,
    TURNTABLE,
    Outputs,
    finished,
    write_meshes,
)
from .inputs import FaceChoice, Job, collect_jobs, mask_file, read_mask

if TYPE_CHECKING:
    from ...models.mesh.triangle_mesh import TriangleMesh
    from ...models.pifuhd.inference import TorchNetwork
    from ...models.pifuhd.reconstruct import Reconstruction

TURN_FRAMES: Final = 90
TURN_RATE: Final = 30
TURN_PX: Final = 384


@dataclass(frozen=True)
class Reconstruct:
    """Make a 3D mesh of the person in key frames or pictures by PIFuHD (needs mien[heavy]).

    Reads folders of "mien keyframes", and pictures, whose faces it fits itself. The person is cut
    out without anything learned, two networks draw normals of front and back, an implicit function
    says what is inside, and its surface is put where the face is, in mm. What the camera did not
    see is guessed.

    Of each picture it writes NAME.ply, NAME.obj and NAME.glb with colours, NAME.turntable.mp4,
    NAME.sheet.png (the picture, its mask, the normals, the mesh from all sides) and NAME.json
    (figures, and what is to be known about the result). What is finished is skipped on a second
    run.

    Attributes:
        inputs: folders of key frames, or pictures.
        out: folder for what is written; made where it is absent.
        preset: head (head and shoulders) or body (the whole person).
        weights: of the network: weights.safetensors of "mien train pifuhd", or the published
            pifuhd.pt; default: those that mien ships for the preset.
        resolution: cells along an edge of the cube: 64 or less times a power of two.
        formats: of the mesh, separated by commas: ply, obj (mm), glb (metres, y up).
        frame: of PLY and OBJ: camera (the mesh falls on the picture) or head (origin at the bridge
            of the nose, axes of a face that looks into the camera).
        mask: picture that is white (or opaque) where the person is, of the size of the input; or a
            folder with one for each input, by its name or the frame's number.
        box: x,y,w,h of the person in pictures, px, for the preset body.
        face: which face of a picture, 1 for the one of which most is seen.
        camera: of pictures: camera file (TOML, JSON, or OpenCV's YAML or XML), or field of view
            across the longer side, degrees; default: assumed.
        only: numbers of the key frames to take, separated by commas.
        memory_mb: that may be taken at once, besides the network's weights and the picture.
        turntable: a film is written of the head as it turns; --no-turntable: none.
        threads: processor threads.
        device: where the network runs; auto: CUDA where there is one.
        bundle: folder of the model bundle that fits the faces of pictures; default: the one that
            mien ships.
        overwrite: replace what was made before.
    """

    inputs: Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="KEYFRAMES|PICTURE")]]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    preset: Literal["head", "body"] = "head"
    weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    resolution: Annotated[int, tyro.conf.arg(metavar="CELLS")] = 256
    formats: Annotated[str, tyro.conf.arg(metavar="LIST")] = "ply,obj,glb"
    frame: Literal["camera", "head"] = "camera"
    mask: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    box: Annotated[str | None, tyro.conf.arg(metavar="X,Y,W,H")] = None
    face: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    camera: Annotated[str | None, tyro.conf.arg(metavar="FILE|FOV")] = None
    only: Annotated[str | None, tyro.conf.arg(metavar="FRAMES")] = None
    memory_mb: Annotated[float, tyro.conf.arg(metavar="MB")] = 4096.0
    turntable: bool = True
    threads: int = 1
    device: Device = "auto"
    bundle: BundleOption = None
    overwrite: bool = False

    def run(self) -> int:
        """Reconstruct all, and return the exit status."""
        need_heavy("mien reconstruct")
        formats = choices(self.formats, MESH_FORMATS, "--formats")
        self._check()
        needed = self.preset == "head" or (self.box is None and self.mask is None)
        choice = FaceChoice(self.face, self.camera, self.bundle, needed)
        jobs = collect_jobs(self.inputs, _frames(self.only), choice)
        weights, network = self._network()

        from ...models.pifuhd.reconstruct import Settings, points_at_once
        from ..annotate.command import check_folder

        points_at_once(Settings(resolution=self.resolution, memory_mb=self.memory_mb), network)
        check_folder(self.out)
        tasks = self._tasks(jobs, self._request(weights))
        outcomes: Counter[str] = Counter()
        try:
            self._all(tasks, network, formats, outcomes)
        except KeyboardInterrupt as error:
            again = "makes all of them anew" if self.overwrite else "goes on from there"
            so_far = f"{_counted(outcomes)} of {len(jobs)}: {self.out}"
            raise KeyboardInterrupt(f"{so_far}; the same command {again}") from error
        print(f"{_counted(outcomes)}: {self.out}")
        return 1 if outcomes["failed"] else 0

    def _tasks(
        self, jobs: Sequence[Job], request: dict[str, Any]
    ) -> list[tuple[Job, dict[str, Any], bool]]:
        """Each job with what its result depends on, and whether that is there already.

        Raises:
            OutputError: a result was made with other options: told before any work.
        """
        tasks: list[tuple[Job, dict[str, Any], bool]] = []
        for job in jobs:
            mask = None if self.mask is None else mask_file(self.mask, (job.name, job.stem))
            own = request | job.given(mask)
            done = not self.overwrite and finished(self.out, job.name, own)
            tasks.append((job, own, done))
        return tasks

    def _all(
        self,
        tasks: Sequence[tuple[Job, dict[str, Any], bool]],
        network: TorchNetwork,
        formats: tuple[str, ...],
        outcomes: Counter[str],
    ) -> None:
        """Reconstruct picture after picture; counts how each ended."""
        from tqdm import tqdm

        with tqdm(total=len(tasks), unit="picture", disable=None, leave=False) as bar:
            for number, (job, own, done) in enumerate(tasks):
                bar.set_postfix_str(job.name)
                if done:
                    outcomes["skipped"] += 1
                else:
                    try:
                        lines = self._one(job, network, formats, own, _progress(bar, number))
                    except (InputError, SourceError) as error:
                        outcomes["failed"] += 1
                        words = str(error)
                        words = words if job.source in words else f"{job.source}: {words}"
                        bar.write(f"mien: {words}", file=sys.stderr)
                    else:
                        outcomes["done"] += 1
                        bar.write("\n".join(lines), file=sys.stdout)
                _progress(bar, number)(1.0)

    def _check(self) -> None:
        from ...models.pifuhd.octree import first_grid

        if not self.inputs:
            raise InputError("reconstruct: no input; give folders of key frames, or pictures")
        if self.threads < 1:
            raise InputError(f"--threads is {self.threads}, expected 1 or more")
        if self.face is not None and self.face < 1:
            raise InputError(
                f"--face is {self.face}, expected 1 (the face of which most is seen) or more"
            )
        if not 8 <= self.resolution <= 1024:
            raise InputError(f"--resolution is {self.resolution}, expected 8 to 1024 cells")
        first_grid(self.resolution, 64)
        if self.box is not None and self.preset != "body":
            raise InputError("--box is for --preset body; a head is placed by its face")
        self._box()
        self._lens()
        if self.mask is not None and not self.mask.exists():
            raise InputError(f"--mask {self.mask}: no such file or folder")

    def _box(self) -> tuple[float, float, float, float] | None:
        if self.box is None:
            return None
        try:
            x, y, w, h = (float(word) for word in self.box.split(","))
        except ValueError as error:
            raise InputError(f"--box is {self.box}, expected x,y,w,h in pixels") from error
        if not (w > 0 and h > 0):
            raise InputError(f"--box is {self.box}: expected a width and a height above 0")
        return x, y, w, h

    def _lens(self) -> float | dict[str, Any] | None:
        """What ``--camera`` says, as plain values: of a file its content, not its name."""
        from ...models.face.camera import Camera

        said = None if self.camera is None else read_camera(self.camera)
        return asdict(said) if isinstance(said, Camera) else said

    def _network(self) -> tuple[str, TorchNetwork]:
        """The hash of the weights, and the network.

        Raises:
            InputError: there are none, or they are damaged.
        """
        import torch

        from ...models.pifuhd.inference import TorchNetwork
        from ...models.pifuhd.weights import load_weights, shipped

        place = self.weights or shipped(self.preset)
        if not place.is_file():
            raise InputError(f"--weights {place}: no such file")
        torch.set_num_threads(self.threads)
        return file_sha256(place), TorchNetwork(load_weights(place), self.device)

    def _request(self, weights: str) -> dict[str, Any]:
        return {
            "preset": self.preset,
            "weights_sha256": weights,
            "resolution": self.resolution,
            "formats": self.formats,
            "frame": self.frame,
            "mask": None if self.mask is None else self.mask.name,
            "box": self.box,
            "face": self.face,
            "camera": self._lens(),
            "turntable": self.turntable,
        }

    def _one(
        self,
        job: Job,
        network: TorchNetwork,
        formats: tuple[str, ...],
        request: dict[str, Any],
        progress: Callable[[float], None],
    ) -> list[str]:
        """Reconstruct one picture; lines about it.

        Raises:
            InputError: it cannot be.
            SourceError: the picture cannot be read.
        """
        started = time.perf_counter()
        result, remarks = self._reconstructed(job, network, progress)
        mesh = placed_in(result, self.frame)
        with Outputs(self.out, job.name) as outputs:
            write_meshes(outputs, mesh, formats)
            self._pictures(outputs, result, job, progress)
            facts = {
                "source": job.source,
                "request": request,
                "remarks": remarks,
                "figures": result.figures
                | {
                    "watertight": mesh.is_watertight(),
                    "components": len(mesh.components()),
                    "seconds": round(time.perf_counter() - started, 2),
                },
                "device": network.device,
                "frame": self.frame,
                "camera_matrix": result.view.camera_matrix.tolist(),
                "camera_from_head": _listed(result.camera_from_head),
                "camera_from_cube": result.view.camera_from_cube.tolist(),
                "cube_distance_mm": result.view.distance_mm,
                "cube_side_mm": result.view.side_mm,
            }
            write_json(outputs.place(FACTS), facts)
            outputs.commit()
        figures = facts["figures"]
        line = (
            f"{job.name}: {figures['vertices']} vertices, "
            f"{'watertight' if figures['watertight'] else 'not watertight'}, "
            f"{figures['seconds']:.1f} s"
        )
        return [line, *(f"  {remark}" for remark in remarks)]

    def _reconstructed(
        self, job: Job, network: TorchNetwork, progress: Callable[[float], None]
    ) -> tuple[Reconstruction, list[str]]:
        """What is made of a picture, and remarks about it.

        Raises:
            InputError: it cannot be reconstructed.
            SourceError: the picture cannot be read.
        """
        from ...models.pifuhd.reconstruct import Settings, reconstruct

        picture = job.read()
        mask = None if self.mask is None else read_mask(self.mask, (job.name, job.stem))
        remarks = list(picture.remarks)
        if self.mask is not None and mask is None:
            remarks.append(f"no mask {job.stem}.png in {self.mask.name}: cut out instead")
        settings = Settings(
            subject=self.preset,
            resolution=self.resolution,
            memory_mb=self.memory_mb,
            box=self._box(),
            mask=mask,
            assumed_camera=picture.assumed_camera,
        )
        result = reconstruct(
            picture.image_bgr,
            picture.camera_matrix,
            picture.face,
            network,
            settings,
            lambda share: progress(0.7 * share),
        )
        return result, [*remarks, *result.remarks]

    def _pictures(
        self, outputs: Outputs, result: Reconstruction, job: Job, progress: Callable[[float], None]
    ) -> None:
        from ...models.mesh.turntable import turntable
        from ..files import write_film, write_png
        from .sheet import reconstruction_sheet

        shown = upright(result)
        write_png(outputs.place(SHEET), reconstruction_sheet(result, shown, job.source))
        progress(0.75)
        if not self.turntable:
            return

        def turning() -> Any:
            for number, image in enumerate(turntable(shown, TURN_PX, TURN_FRAMES)):
                progress(0.75 + 0.24 * number / TURN_FRAMES)
                yield image

        write_film(outputs.place(TURNTABLE), turning(), TURN_RATE)


def _counted(outcomes: Counter[str]) -> str:
    """How many pictures ended in which way."""
    words = [f"{outcomes[word]} {word}" for word in ("done", "skipped", "failed") if outcomes[word]]
    return ", ".join(words) or "none done"


def placed_in(result: Reconstruction, frame: str) -> TriangleMesh:
    """The mesh in the camera's or the head's frame, mm.

    Raises:
        InputError: there is no face whose frame it could be.
    """
    import numpy as np

    if frame == "camera":
        return result.mesh
    if result.camera_from_head is None:
        raise InputError("--frame head: there is no face in the picture")
    return result.mesh.transformed(np.linalg.inv(result.camera_from_head))


def upright(result: Reconstruction) -> TriangleMesh:
    """The mesh as the camera sees it, its line of sight along z, for pictures of it."""
    return result.mesh.transformed(result.view.camera_from_cube.T.copy())


def _frames(text: str | None) -> frozenset[int] | None:
    if text is None:
        return None
    try:
        return frozenset(int(word) for word in text.split(","))
    except ValueError as error:
        raise InputError(
            f"--only is {text}, expected numbers of frames, separated by commas"
        ) from error


def _progress(bar: Any, number: int) -> Callable[[float], None]:
    """Tells the bar the share of one picture that is done."""

    def tell(share: float) -> None:
        bar.update(number + share - bar.n)

    return tell


def _listed(matrix: Any) -> Any:
    return None if matrix is None else matrix.tolist()
