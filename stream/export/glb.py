"""The binary container of glTF 2.0: a JSON part, and a part of numbers that is streamed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from typing import IO, Any, Final, Literal

import numpy as np

FLOAT: Final = 5126
UNSIGNED_SHORT: Final = 5123
UNSIGNED_INT: Final = 5125
ARRAY_BUFFER: Final = 34962
ELEMENT_ARRAY_BUFFER: Final = 34963

Kind = Literal["SCALAR", "VEC2", "VEC3", "VEC4"]

_WIDTH: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_DTYPES: Final = {FLOAT: "<f4", UNSIGNED_SHORT: "<u2", UNSIGNED_INT: "<u4"}
_JSON, _BIN = 0x4E4F534A, 0x004E4942


class GlbBuilder:
    """Collects accessors, whose numbers come when the file is written.

    Attributes:
        document: the JSON part; accessors and buffer views are filled in.
    """

    def __init__(self, asset: dict[str, Any]) -> None:
        self.document: dict[str, Any] = {"asset": {"version": "2.0", **asset}}
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._parts: list[tuple[int, np.dtype, Callable[[], Iterable[np.ndarray]]]] = []
        self._length = 0

    def add(
        self,
        kind: Kind,
        count: int,
        numbers: Callable[[], Iterable[np.ndarray]],
        *,
        component: int = FLOAT,
        target: int | None = None,
        bounds: tuple[list[float], list[float]] | None = None,
    ) -> int:
        """An accessor of ``count`` elements in a buffer view of its own.

        Args:
            kind: of an element.
            count: of elements.
            numbers: gives blocks of them in order, when the file is written.
            component: type of a number.
            target: what the GPU uses it for; None for animations.
            bounds: least and greatest value of each component, exact in float32.

        Returns:
            Its index.
        """
        dtype = np.dtype(_DTYPES[component])
        size = count * _WIDTH[kind] * dtype.itemsize
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": size}
        if target is not None:
            view["target"] = target
        accessor: dict[str, Any] = {
            "bufferView": len(self._views),
            "componentType": component,
            "count": count,
            "type": kind,
        }
        if bounds is not None:
            accessor["min"], accessor["max"] = bounds
        self._views.append(view)
        self._accessors.append(accessor)
        self._parts.append((size, dtype, numbers))
        self._length += size + -size % 4
        return len(self._accessors) - 1

    def add_array(
        self,
        kind: Kind,
        array: np.ndarray,
        *,
        component: int = FLOAT,
        target: int | None = None,
        bounded: bool = False,
    ) -> int:
        """As :meth:`add`, of numbers that are known."""
        numbers = np.ascontiguousarray(array, _DTYPES[component]).reshape(-1, _WIDTH[kind])
        bounds = (numbers.min(axis=0).tolist(), numbers.max(axis=0).tolist()) if bounded else None
        return self.add(
            kind,
            len(numbers),
            lambda: [numbers],
            component=component,
            target=target,
            bounds=bounds,
        )

    def write(self, stream: IO[bytes]) -> None:
        """Write the file.

        Raises:
            ValueError: an accessor's numbers are not as many as it was said to have.
            OSError: it cannot be written.
        """
        document = dict(self.document)
        if self._accessors:
            document["accessors"] = self._accessors
            document["bufferViews"] = self._views
            document["buffers"] = [{"byteLength": self._length}]
        text = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        binary = 8 + self._length if self._length else 0
        stream.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + binary))
        stream.write(struct.pack("<II", len(text), _JSON) + text)
        if not self._length:
            return
        stream.write(struct.pack("<II", self._length, _BIN))
        for size, dtype, numbers in self._parts:
            written = sum(
                stream.write(np.ascontiguousarray(block, dtype).tobytes()) for block in numbers()
            )
            if written != size:
                raise ValueError(f"an accessor of {size} bytes got {written}")
            stream.write(b"\0" * (-size % 4))
