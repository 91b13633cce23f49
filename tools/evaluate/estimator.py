"""What mien says of the faces in a still: found by itself, or in a crop made by the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, UInt8

from ...models.face.bundle import Bundle
from ...models.face.crop import CROP_SCALE, Crop, tight_box
from ...models.face.metrics import match
from ...models.face.perspective import nearest_scaled_orthography, split_orthography
from ...models.face.rotation import yaw_pitch_roll_from_matrix
from ...stream.candidate import Candidate
from ...stream.detector_names import DEFAULT_DETECTOR, DetectorName
from ...stream.fit import FaceFitter
from ...stream.observation import FaceObservation
from ...stream.tracker import FaceTracker
from ..options import read_camera
from .labels import TrueFace
from .scores import Estimate

MOST_FACES = 64
"""In one still."""
# From a box drawn by hand to a crop like the nominal one: chosen on the even lines of pointing04.
_DRAWN_BOX_SCALE, _DRAWN_BOX_DOWN = 1.6, 0.05


class Estimator:
    """A bundle looking at stills."""

    def __init__(
        self,
        bundle: Bundle,
        camera: str,
        threads: int,
        detector: DetectorName = DEFAULT_DETECTOR,
    ) -> None:
        """Load the networks.

        Args:
            bundle: the model bundle.
            camera: camera file, or field of view across the longer side in degrees.
            threads: of the networks.
            detector: what finds faces, where they are not given.

        Raises:
            InputError: no such camera.
            BundleError: a network cannot be used.
        """
        self._bundle = bundle
        self._camera = read_camera(camera)
        self._threads = threads
        self._detector: DetectorName = detector
        self._fitter = FaceFitter.of_bundle(bundle, threads)
        self._tracker: FaceTracker | None = None

    def look(self, image_bgr: UInt8[np.ndarray, "H W 3"], crop: Crop) -> Candidate | None:
        """What the network says of one crop, one pass; None where that is no face at all."""
        return self._fitter.look(image_bgr, [crop])[0]

    @staticmethod
    def of_candidate(candidate: Candidate) -> Estimate:
        """What was seen in a crop, its rotation as the picture shows it."""
        return _estimate(
            candidate.landmarks_px,
            candidate.orthography,
            candidate.presence,
            candidate.blendshapes,
        )

    def at_truth(
        self, image_bgr: UInt8[np.ndarray, "H W 3"], faces: Sequence[TrueFace]
    ) -> list[Estimate | None]:
        """The crop of each true face, looked at twice, as a given box is in a still.

        None for a face whose label says no place.
        """
        placed = {face.index: crop_at(face) for face in faces}
        crops = {index: crop for index, crop in placed.items() if crop is not None}
        looks = self._fitter.look_twice(image_bgr, list(crops.values()))
        seen = dict(zip(crops, looks, strict=True))
        return [
            None if (candidate := seen.get(face.index)) is None else self.of_candidate(candidate)
            for face in faces
        ]

    def detected(
        self, image_bgr: UInt8[np.ndarray, "H W 3"], faces: Sequence[TrueFace]
    ) -> tuple[list[Estimate | None], list[Float64[np.ndarray, " 4"]]]:
        """What was found of each true face, and the boxes that are no face's.

        A true face without landmarks and without a box takes the largest detection that is left.
        """
        tracker = self._follower()
        found = [self._of_row(tracker, row) for row in tracker.fit(image_bgr)]
        boxes = np.array([face.box_px for face in found], dtype=np.float64).reshape(-1, 4)
        placed = [(face, face.box_px) for face in faces]
        known = [(face, box) for face, box in placed if box is not None]
        truth = np.array([box for _, box in known], dtype=np.float64).reshape(-1, 4)
        matching = match(boxes, truth, [face.ignore for face, _ in known])
        by_face = {known[t][0].index: found[d] for t, d in matching.pairs.items()}
        left = sorted(matching.false, key=lambda d: -float(boxes[d, 2] * boxes[d, 3]))
        for face, box in placed:
            if box is None and left:
                by_face[face.index] = found[left.pop(0)]
        return [by_face.get(face.index) for face in faces], [boxes[d] for d in sorted(left)]

    def _follower(self) -> FaceTracker:
        """One tracker for all pictures."""
        if self._tracker is None:
            self._tracker = FaceTracker(
                self._bundle,
                self._camera,
                max_faces=MOST_FACES,
                detector=self._detector,
                threads=self._threads,
            )
        return self._tracker

    def _of_row(self, tracker: FaceTracker, row: FaceObservation) -> Estimate:
        """A published face, its rotation as the picture shows it."""
        mesh = self._bundle.face_model.decode_seen(row.shape, row.expression, row.blendshapes)
        orthography = nearest_scaled_orthography(mesh, tracker.mesh_px(row))
        return _estimate(
            row.landmarks_px.astype(np.float64), orthography, row.confidence, row.blendshapes
        )


def crop_at(face: TrueFace) -> Crop | None:
    """The crop that the label proposes, None where it gives no box or one without area.

    The nominal crop where there are landmarks. Boxes drawn by hand end at chin and brows' upper
    side less generously: their crop is wider, and lies lower.
    """
    box = face.box_px
    if box is None or not max(float(box[2]), float(box[3])) > 0:
        return None
    x, y, w, h = (float(value) for value in box)
    if face.landmarks_px is not None:
        return Crop(x + w / 2.0, y + h / 2.0, CROP_SCALE * max(w, h))
    return Crop(x + w / 2.0, y + (0.5 + _DRAWN_BOX_DOWN) * h, _DRAWN_BOX_SCALE * max(w, h))


def _estimate(
    landmarks_px: Float64[np.ndarray, "68 2"],
    orthography: Float64[np.ndarray, "3 4"],
    confidence: float | None,
    blendshapes: Float[np.ndarray, " 52"] | None,
) -> Estimate:
    """Apparent angles are those of the scaled orthography: relative to the ray through the face.

    Not relative to the ray through the head's origin: in a picture of unknown field of view that
    ray, through the nose's root, may be several degrees off.
    """
    yaw, pitch, roll = yaw_pitch_roll_from_matrix(split_orthography(orthography)[0]).tolist()
    return Estimate(
        box_px=np.array(tight_box(landmarks_px)),
        landmarks_px=landmarks_px,
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
        confidence=confidence,
        blendshapes=blendshapes,
    )
