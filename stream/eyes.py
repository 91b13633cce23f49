"""The eyes' network on onnxruntime: lids and gaze from the picture itself, not from the crop.

In the regressor's crop an eye is 17 pixels wide; here it is seen as sharp as the picture shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from jaxtyping import UInt8

from ..models.errors import BundleError
from ..models.face.crop import Crop
from ..models.face.eye_views import EYE_COLUMNS, VIEW_HEIGHT, VIEW_WIDTH, EyePlaces
from ..models.face.morphable import FaceModel
from .onnx_session import open_session
from .regression import Regression

_INPUTS: Final = {
    "eyes": ([2, VIEW_HEIGHT, VIEW_WIDTH, 3], "tensor(uint8)"),
    "facing": ([2, 2], "tensor(float)"),
}
_OUTPUT: Final = "units"
_COLUMNS: Final = np.array(EYE_COLUMNS)


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

    def read(
        self, image_bgr: UInt8[np.ndarray, "H W 3"], crops: Sequence[Crop], said: Regression
    ) -> Regression:
        """The regression with what the eyes themselves say in place of its lids and gaze.

        Faces of which an eye's middle lies outside of the picture, and networks that say no
        blendshapes, are left as they are.

        Args:
            image_bgr: the picture.
            crops: (B) pieces of it that the regressor saw.
            said: of these crops.
        """
        if said.blendshapes is None:
            return said
        looks = [
            self._places.views(image_bgr, crop, pose, shape)
            for crop, pose, shape in zip(crops, said.pose, said.shape, strict=True)
        ]
        shown = [at for at, views in enumerate(looks) if views.inside]
        if not shown:
            return said
        eyes = np.stack([looks[at].pixels for at in shown])
        facing = np.stack([looks[at].facing for at in shown])
        (units,) = self._session.run([_OUTPUT], {"eyes": eyes, "facing": facing})
        blendshapes = said.blendshapes.copy()
        for at, of_face in zip(shown, np.asarray(units), strict=True):
            blendshapes[at, _COLUMNS] = of_face
        return msgspec.structs.replace(said, blendshapes=blendshapes)
