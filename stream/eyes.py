"""The eyes' network on onnxruntime: lids and gaze from the picture itself, not from the crop.

In the regressor's crop an eye is 17 pixels wide; here it is seen as sharp as the picture shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from jaxtyping import Float32, UInt8

from ..models.documents import one_line
from ..models.errors import BundleError
from ..models.face.crop import CROP_SIZE, Crop
from ..models.face.eye_views import (
    EYE_COLUMNS,
    EYE_UNITS,
    VIEW_HEIGHT,
    VIEW_WIDTH,
    EyePlaces,
    EyeViews,
)
from ..models.face.morphable import FaceModel
from .onnx_session import open_session
from .regression import Regression

_INPUTS: Final = {
    "eyes": ([2, VIEW_HEIGHT, VIEW_WIDTH, 3], "tensor(uint8)"),
    "facing": ([2, 2], "tensor(float)"),
}
_OUTPUT: Final = "units"
_OUTPUTS: Final = [_OUTPUT]
_COLUMNS: Final = np.array(EYE_COLUMNS)
_LEAST_PRESENCE: Final = 0.1
"""Of a face whose eyes are looked at; the tracker takes none that is so unlikely."""
_GAZE: Final = np.array([float("Look" in unit) for unit in EYE_UNITS], np.float32)
_LID_SHARE: Final = 2.0 / 3.0
"""What the eyes' word counts for lids, beside the regressor's. On rendered people (area under the
ROC curve of closed eyes, faces of 85 px): 0.909 by the regressor, 0.933 by the eyes, 0.942 by the
mean of both with half or two thirds for the eyes. Gaze is the eyes' alone: the regressor has none.
"""


class EyeReader:
    """``eyes.onnx`` of a bundle.

    Args:
        path: the ONNX file.
        model: the face model of the regressor that says where the eyes are.
        threads: that one inference may use.

    Raises:
        BundleError: the file is no such network.
    """

    def __init__(self, path: Path, model: FaceModel, threads: int = 1) -> None:
        self._session = open_session(path, threads)
        inputs = {
            node.name: (list(node.shape)[1:], node.type) for node in self._session.get_inputs()
        }
        outputs = {node.name: list(node.shape)[1:] for node in self._session.get_outputs()}
        wanted = {_OUTPUT: list(_COLUMNS.shape)}
        if inputs != _INPUTS or outputs != wanted:
            raise BundleError(
                f"{path}: takes {inputs} and gives {outputs}; expected {_INPUTS} and {wanted}"
            )
        self._places = EyePlaces.of(model)
        self._try(path)

    def _try(self, path: Path) -> None:
        """Run once, on two faces at once: the first picture finds all compiled, and no surprise.

        Raises:
            BundleError: the network does not do what its signature says.
        """
        from onnxruntime.capi.onnxruntime_pybind11_state import (
            Fail,
            InvalidArgument,
            RuntimeException,
        )

        blank = np.zeros((8, 8, 3), np.uint8)
        crop, pose = Crop(4.0, 4.0, 8.0), np.eye(3, 4, dtype=np.float32)
        shape = np.zeros(self._places.basis.shape[0], np.float32)
        looks = [self._places.views(blank, crop, pose, shape)] * 2
        try:
            units = self._units(looks)
        except (Fail, InvalidArgument, RuntimeException, RuntimeError, ValueError) as error:
            raise BundleError(f"{path}: cannot be run: {one_line(error)}") from error
        sound = bool(np.all((units >= 0.0) & (units <= 1.0)))
        if units.shape != (2, *_COLUMNS.shape) or not sound:
            raise BundleError(f"{path}: says {units.shape} of two faces, or what is not in [0, 1]")

    def _units(self, looks: Sequence[EyeViews]) -> Float32[np.ndarray, "B 2 7"]:
        """What the network says of views."""
        if len(looks) == 1:  # the usual case, without a copy
            inputs = {"eyes": looks[0].pixels[None], "facing": looks[0].facing[None]}
        else:
            inputs = {
                "eyes": np.stack([views.pixels for views in looks]),
                "facing": np.stack([views.facing for views in looks]),
            }
        return np.asarray(self._session.run(_OUTPUTS, inputs)[0], np.float32)

    def read(
        self, image_bgr: UInt8[np.ndarray, "H W 3"], crops: Sequence[Crop], said: Regression
    ) -> Regression:
        """The regression with the gaze of the eyes themselves, and lids that both have seen.

        What the regressor says stays where the middle of an eye lies outside of the picture, where
        it sees no face at all, and of networks that say no blendshapes.

        Args:
            image_bgr: the picture.
            crops: (B) pieces of it that the regressor saw.
            said: of these crops.
        """
        if said.blendshapes is None:
            return said
        looks: dict[int, EyeViews] = {}
        for at, crop in enumerate(crops):
            if said.presence is not None and said.presence[at] < _LEAST_PRESENCE:
                continue
            views = self._places.views(image_bgr, crop, said.pose[at], said.shape[at])
            if views.inside[0] or views.inside[1]:
                looks[at] = views
        if not looks:
            return said
        units = self._units(list(looks.values()))
        if not np.isfinite(units).all():
            return said
        blendshapes = said.blendshapes.copy()
        for (at, views), of_face in zip(looks.items(), units, strict=True):
            # A picture with fewer pixels than the crop shows the eyes no better than the crop does.
            lids = _LID_SHARE * min(1.0, (crops[at].side / CROP_SIZE) ** 2)
            share = (lids + (1.0 - lids) * _GAZE) * views.inside[:, None]
            values = blendshapes[at, _COLUMNS]
            blendshapes[at, _COLUMNS] = values + share * (of_face - values)
        return msgspec.structs.replace(said, blendshapes=blendshapes)
