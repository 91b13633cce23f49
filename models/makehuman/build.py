"""Builds ``face_model.npz``: identities sampled from CC0 targets, aligned, reduced by PCA."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32
from tqdm import tqdm

from ..archives import fitted, read_npz
from ..errors import BundleError
from ..face.morphable import FaceModel
from ..face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES, N_EXPRESSION, N_SHAPE
from ..render.raster import rasterise
from .expression import sample_expression
from .head import HeadTopology, Similarity, align, cylinder_uv, triangulate
from .identity import IdentitySampler
from .source import MakeHumanData

STANCE_DEG = 7.7
"""Lean of the eyes-to-mouth line of a frontal face, seen from the side (the Basel mean face's)."""
MEAN_ADULT_IPD_MM = 63.0
"""Mean distance of adults' pupils; it makes the model metric."""
_OWN = {
    "base_vertices": (np.int32, "_"), "head_from_base": (np.float64, "3 4"),
    "blink_scale": (np.float64, ""),
}  # fmt: skip
"""Arrays of the file that synthesis needs beside the linear model."""
_EYE_CORNERS = (36, 39, 42, 45)
_MOUTH_CORNERS = (48, 54)
_LID_PAIRS = ((37, 41), (38, 40), (43, 47), (44, 46))


@dataclass(frozen=True)
class FaceModelReport:
    """What the bases explain.

    Attributes:
        identities, expressions: how many samples the bases were fitted to.
        shape_explained, expression_explained: share of the variance, 0 to 1.
        shape_residual_mm, expression_residual_mm: rms distance left on held-out samples.
        shape_rms_mm, expression_rms_mm: rms distance of held-out samples from the mean.
        blink_scale: share of the source's blink unit at which the lids just touch.
    """

    identities: int
    expressions: int
    shape_explained: float
    expression_explained: float
    shape_residual_mm: float
    expression_residual_mm: float
    shape_rms_mm: float
    expression_rms_mm: float
    blink_scale: float


@dataclass(frozen=True)
class HeadModel:
    """The face model and what carries full heads into its frame.

    Attributes:
        model: the linear face model.
        topology: the whole head.
        face_vertices: (N,) kept vertex (of the head topology) of each model vertex.
        head_from_base: similarity from base-mesh decimetres to the head frame of the mean face.
        blink_scale: share of the source's blink unit at which the lids just touch.
    """

    model: FaceModel
    topology: HeadTopology
    face_vertices: Int32[np.ndarray, " N"]
    head_from_base: Similarity
    blink_scale: float

    @cached_property
    def units(self) -> Float32[np.ndarray, "52 V 3"]:
        """ARKit displacements of the whole head, mm in the head frame, blinks mended to ARKit's."""
        units = self.head_from_base.apply_vector(self.topology.face_units)
        for side in ("Left", "Right"):
            units[BLENDSHAPE_INDEX["eyeBlink" + side]] *= self.blink_scale
        return units

    def save(self, path: Path) -> None:
        """Write ``face_model.npz`` with what synthesis needs beside the linear model."""
        s = self.head_from_base
        self.model.save(
            path,
            {
                "base_vertices": self.topology.vertex_ids[self.face_vertices],
                "head_from_base": np.c_[s.scale * s.rotation, s.translation],
                "blink_scale": np.array(self.blink_scale),
            },
        )

    @classmethod
    def load(cls, path: Path, data: MakeHumanData) -> HeadModel:
        """Read what :meth:`save` wrote.

        Raises:
            BundleError: not such a file, or one without the arrays that synthesis needs.
        """
        model = FaceModel.load(path)
        topology = HeadTopology.from_data(data)
        try:
            said = fitted(read_npz(path, (), tuple(_OWN)), _OWN)
        except (OSError, ValueError) as error:
            raise BundleError(f"{path}: not a face model: {error}") from error
        if len(said) < len(_OWN):
            raise BundleError(f"{path}: made by another tool; mien build-face-model makes one")
        matrix, blink = said["head_from_base"], float(said["blink_scale"])
        face = topology.place(said["base_vertices"])
        scale = float(np.cbrt(np.linalg.det(matrix[:, :3])))
        if not scale > 0:
            raise BundleError(f"{path}: head_from_base is no similarity")
        head_from_base = Similarity(scale, matrix[:, :3] / scale, matrix[:, 3])
        return cls(model, topology, face, head_from_base, blink)


def face_region(topology: HeadTopology) -> Bool[np.ndarray, " F"]:
    """Which skin quads are the face: seen from in front, between chin and hair, before the ears.

    Sockets and mouth cavity are left out by looking: a quad is kept if a picture from one of a fan
    of directions shows it.
    """
    vertices = topology.data.base.vertices[topology.vertex_ids]
    skin = topology.parts["skin"]
    helpers = [quads for name, quads in topology.parts.items() if name.endswith("eye")]
    quads = np.concatenate([skin, *helpers])
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    seen = np.zeros(len(skin), bool)
    size, scale = 768, 240.0
    centre = vertices[topology.landmarks].mean(0)
    for yaw in np.radians((-75, -50, -25, 0, 25, 50, 75)):
        for pitch in np.radians((-35, 0, 35)):
            turn = np.array(
                [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
            )
            nod = np.array(
                [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
            )
            p = (vertices - centre) @ (nod @ turn).T
            points = np.stack(
                [size / 2 + scale * p[:, 0], size / 2 - scale * p[:, 1], 1e4 - 100 * p[:, 2]], 1
            )
            hit = rasterise(points.astype(np.float32), triangles, size, size).triangle
            shown = hit[hit >= 0] % len(quads)
            seen[shown[shown < len(skin)]] = True
    middle = vertices[skin].mean(1)
    jaw = vertices[topology.landmarks[:17]]
    brow = vertices[topology.landmarks[17:27]]
    before_ears = middle[:, 2] > jaw[[0, 16], 2].mean() - 0.08
    # The jaw line rises towards the ears; below it only the underside of the chin belongs.
    line = np.interp(np.abs(middle[:, 0]), np.abs(jaw[8:, 0]), jaw[8:, 1])
    above_jaw = (middle[:, 1] > line - 0.02) | (vertices[skin][..., 2].min(1) > 1.1)
    below_hair = middle[:, 1] < brow[:, 1].mean() + 0.62
    return seen & before_ears & above_jaw & below_hair


def _stance(points: Float32[np.ndarray, "68 3"]) -> float:
    """Lean of the eyes-to-mouth line in degrees; camera axes."""
    line = points[list(_MOUTH_CORNERS)].mean(0) - points[list(_EYE_CORNERS)].mean(0)
    return float(np.degrees(np.arctan2(-line[2], line[1])))


def _head_from_base(
    mean_head: Float32[np.ndarray, "V 3"], topology: HeadTopology, ipd_dm: float
) -> Similarity:
    """Put the mean head upright by the stance, at the sellion, in millimetres."""
    scale = MEAN_ADULT_IPD_MM / ipd_dm
    flip = np.diag([1.0, -1.0, -1.0])
    # Base mesh: x to the subject's left = the image's right, y up, z to the camera.
    lean = _stance((mean_head[topology.landmarks] @ flip).astype(np.float32))
    a = np.radians(STANCE_DEG - lean)
    tilt = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    rotation = tilt @ flip
    turned = scale * mean_head @ rotation.T
    return Similarity(scale, rotation, -_sellion(turned, topology))


def _sellion(points: Float[np.ndarray, "V 3"], topology: HeadTopology) -> Float[np.ndarray, " 3"]:
    """Deepest point of the nose bridge: on the midline, between brow and nose tip."""
    marks = points[topology.landmarks]
    skin = np.unique(topology.parts["skin"])
    p = points[skin]
    middle = marks[27:31, 0].mean()
    top, tip = marks[17:27, 1].mean(), marks[30, 1]
    line = p[
        (np.abs(p[:, 0] - middle) < 0.5)
        & (p[:, 1] > top - 5)
        & (p[:, 1] < tip)
        & (p[:, 2] < marks[39:43:3, 2].mean() + 2)
    ]
    line = line[np.argsort(line[:, 1])]
    # A parabola through the deepest vertex and its neighbours; the mesh is 5 mm coarse there.
    k = int(np.clip(np.argmax(line[:, 2]), 1, len(line) - 2))
    near = line[k - 1 : k + 2]
    c = np.polyfit(near[:, 1], near[:, 2], 2)
    y = float(np.clip(-c[1] / (2 * c[0]), near[0, 1], near[-1, 1]))
    return np.array([middle, y, np.polyval(c, y)])


def _blink_scale(head: Float32[np.ndarray, "V 3"], units: np.ndarray, marks: np.ndarray) -> float:
    """Share of the blink unit at which the lids of the mean face just touch."""
    both = units[BLENDSHAPE_INDEX["eyeBlinkLeft"]] + units[BLENDSHAPE_INDEX["eyeBlinkRight"]]
    upper, lower = (marks[[pair[i] for pair in _LID_PAIRS]] for i in (0, 1))
    gap = (head[upper] - head[lower])[:, 1].mean()
    closing = (both[lower] - both[upper])[:, 1].mean()
    return float(gap / closing)


def _procrustes(
    heads: Float32[np.ndarray, "S V 3"],
    face: Int32[np.ndarray, " N"],
    mean: Float32[np.ndarray, "V 3"],
    rounds: int = 3,
) -> tuple[Float32[np.ndarray, "V 3"], list[Similarity]]:
    """Generalised Procrustes: align each face to the mean, average, repeat."""
    aligned: list[Similarity] = []
    for _ in range(rounds):
        aligned = [align(h[face].astype(float), mean[face].astype(float)) for h in heads]
        mean = np.mean([s.apply(h) for s, h in zip(aligned, heads, strict=True)], 0)
    return mean.astype(np.float32), aligned


def _pca(
    samples: Float32[np.ndarray, "S D"], components: int
) -> tuple[Float32[np.ndarray, "C D"], float]:
    """Components times their deviation, and the share of variance they explain."""
    gram = samples @ samples.T
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    order = np.argsort(values)[::-1][:components]
    basis = vectors[:, order].T @ samples / np.sqrt(len(samples))
    return basis.astype(np.float32), float(values[order].sum() / values.sum())


def _residual_mm(samples: Float32[np.ndarray, "S D"], basis: Float32[np.ndarray, "C D"]) -> float:
    q, _ = np.linalg.qr(basis.T)
    left = samples - (samples @ q) @ q.T
    return float(np.sqrt((left.reshape(len(samples), -1, 3) ** 2).sum(-1).mean()))


def build_head_model(
    data: MakeHumanData, *, identities: int = 3000, expressions: int = 6000, seed: int = 0
) -> tuple[HeadModel, FaceModelReport]:
    """Sample, align, reduce.

    Args:
        data: the MakeHuman data.
        identities, expressions: number of samples; a tenth more of each is held out for the report.
        seed: of the sampling; the result is a function of it and of the data.
    """
    topology = HeadTopology.from_data(data)
    sampler = IdentitySampler(data, topology.vertex_ids)
    rng = np.random.default_rng(seed)
    quads = topology.parts["skin"][face_region(topology)]
    face = np.unique(np.concatenate([quads.ravel(), topology.landmarks])).astype(np.int32)

    people = [sampler.sample(rng) for _ in range(identities + identities // 10)]
    heads = np.stack([sampler.vertices(p) for p in tqdm(people, "identities", disable=None)])
    adult = np.array([p.age_years >= 18 for p in people])
    eyes = [np.unique(topology.parts[f"helper-{side}-eye"]) for side in "lr"]
    ipd = np.linalg.norm(heads[:, eyes[0]].mean(1) - heads[:, eyes[1]].mean(1), axis=1)

    mean_head, aligned = _procrustes(heads, face, heads[adult].mean(0))
    to_head = _head_from_base(mean_head.astype(np.float32), topology, float(ipd[adult].mean()))
    shapes = np.stack(
        [to_head.apply(s.apply(h[face])) for s, h in zip(aligned, heads, strict=True)]
    )
    mean = shapes[:identities].mean(0)
    offsets = (shapes - mean).reshape(len(shapes), -1)
    shape_basis, shape_explained = _pca(offsets[:identities], N_SHAPE)

    units = to_head.apply_vector(topology.face_units)
    blink = _blink_scale(to_head.apply(mean_head), units, topology.landmarks)
    for side in ("Left", "Right"):
        units[BLENDSHAPE_INDEX["eyeBlink" + side]] *= blink
    faces_units = units[:, face].reshape(len(BLENDSHAPE_NAMES), -1)
    drawn = np.stack([sample_expression(rng) for _ in range(expressions + expressions // 10)])
    moved = drawn @ faces_units
    # Expressions start from the neutral face, so the basis passes through zero: no mean is taken.
    expression_basis, expression_explained = _pca(moved[:expressions], N_EXPRESSION)

    place = np.full(len(topology.vertex_ids), -1, np.int32)
    place[face] = np.arange(len(face), dtype=np.int32)
    model = FaceModel(
        mean=mean.astype(np.float32),
        shape_basis=shape_basis.reshape(N_SHAPE, -1, 3),
        expression_basis=expression_basis.reshape(N_EXPRESSION, -1, 3),
        blendshape_basis=faces_units.reshape(len(BLENDSHAPE_NAMES), -1, 3).astype(np.float32),
        triangles=place[triangulate(quads)],
        landmark_vertices=place[topology.landmarks],
        uv=cylinder_uv(topology)[face],
    )
    report = FaceModelReport(
        identities, expressions, shape_explained, expression_explained,
        _residual_mm(offsets[identities:], shape_basis),
        _residual_mm(moved[expressions:], expression_basis),
        float(np.sqrt((offsets[identities:].reshape(-1, 3) ** 2).sum(-1).mean())),
        float(np.sqrt((moved[expressions:].reshape(-1, 3) ** 2).sum(-1).mean())),
        blink,
    )  # fmt: skip
    return HeadModel(model, topology, face, to_head, blink), report
