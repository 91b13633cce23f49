"""What ``mien reconstruct`` writes of a picture; the names appear when all of it is complete."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...models.documents import json_of
from ...models.errors import InputError, OutputError
from ...models.writing import rename

if TYPE_CHECKING:
    from ...models.mesh.triangle_mesh import TriangleMesh

MESH_FORMATS: Final = ("ply", "obj", "glb")
TURNTABLE: Final = ".turntable.mp4"
SHEET: Final = ".sheet.png"
FACTS: Final = ".json"
_TOLD: Final = {
    "input_sha256": "picture",
    "mask_sha256": "mask",
    "weights_sha256": "weights",
    "fit_sha256": "fit",
    "bundle_hash": "bundle",
}
"""What a request's digests are called in messages."""


class Outputs:
    """The files of one picture, written aside; :meth:`commit` gives them their names.

    A context manager: what was not committed is removed. The facts get their name last: where they
    are, everything is.
    """

    def __init__(self, out: Path, name: str) -> None:
        """Begin.

        Raises:
            OutputError: the folder cannot be written to.
        """
        from ...stream.sinks.partial import PartialFolder

        self._out, self._name = out, name
        self._folder = PartialFolder(out / f"{name}.parts")
        self._written: list[str] = []

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *exc: object) -> None:
        self._folder.discard()

    def place(self, ending: str) -> Path:
        """Where a file with this ending is to be written."""
        self._written.append(ending)
        return self._folder.path / f"{self._name}{ending}"

    def commit(self) -> list[Path]:
        """Give all files their names, in the order in which they were asked for.

        Raises:
            OutputError: one cannot be renamed.
        """
        finished = []
        for ending in self._written:
            final = self._out / f"{self._name}{ending}"
            try:
                rename(self._folder.path / f"{self._name}{ending}", final)
            except OSError as error:
                raise OutputError(f"{final}: cannot be written: {error.strerror}") from error
            finished.append(final)
        return finished


def finished(out: Path, name: str, request: dict[str, Any]) -> bool:
    """Whether a picture's files are there already.

    Raises:
        OutputError: they were made with other options, or of another picture, mask or fit.
    """
    place = out / f"{name}{FACTS}"
    try:
        facts = json_of(place.read_text(encoding="utf-8"))
        before = facts["request"]
        if not isinstance(before, dict):
            raise TypeError("request is no table")
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{place}: is in the way, and not of a reconstruction; --overwrite replaces it"
        ) from error
    unsaid = [told for key, told in _TOLD.items() if key in request and key not in before]
    if unsaid:
        words = (
            f"does not say of which {' and '.join(unsaid)} it was made, as an earlier mien's "
            "results do not"
        )
    else:
        keys = before.keys() | request.keys()
        changed = {_TOLD.get(k, k) for k in keys if before.get(k) != request.get(k)}
        if not changed:
            return True
        words = f"was made with other {', '.join(sorted(changed))}"
    raise OutputError(f"{place}: {words}; --overwrite replaces it, another --out keeps it")


def write_meshes(outputs: Outputs, mesh: TriangleMesh, formats: Iterable[str]) -> None:
    """Write a mesh in each format.

    Raises:
        OutputError: a file cannot be written.
    """
    from ...models.mesh.files import write_mesh

    for kind in formats:
        place = outputs.place(f".{kind}")
        try:
            write_mesh(place, mesh)
        except InputError:
            raise
        except OSError as error:
            raise OutputError(f"{place}: cannot be written: {error.strerror}") from error
