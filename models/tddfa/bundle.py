"""A model bundle out of 3DDFA_V2's files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..digest import file_sha256
from ..face.bundle import (
    FACE_MODEL,
    REGRESSOR,
    WHOLE_REGRESSOR,
    Bundle,
    BundleInfo,
    write_bundle,
)
from ..writing import make_folder, whole_file
from .basel import read_basel_face, read_statistics
from .convert import parameter_map, sellion_um, to_face_model
from .network import check_runs, read_network, wrap


def import_bundle(
    folder: Path,
    network: Path,
    statistics: Path,
    model: Path,
    triangles: Path | None,
    info: BundleInfo,
) -> Bundle:
    """Convert 3DDFA_V2's files; nothing is written before all of them were read and tried.

    Args:
        folder: of the bundle; made where absent.
        network: ``mb1_120x120.pth``, ``mb05_120x120.pth``, or either as ``.onnx``.
        statistics: ``param_mean_std_62d_120x120.pkl``.
        model: ``bfm_noneck_v3.pkl``.
        triangles: ``tri.pkl``; None where the model's own triangles fit.
        info: what the manifest says; the files' hashes are added to its ``training``.

    Raises:
        InputError: a file is missing, damaged, or of another form.
        OutputError: the folder cannot be written.
    """
    means = read_statistics(statistics)
    face = read_basel_face(model, triangles)
    origin = sellion_um(face, means)
    regressor = wrap(read_network(network), *parameter_map(means, origin))
    check_runs(regressor, str(network))
    converted = to_face_model(face, means, origin)
    sources = {
        "network": network,
        "statistics": statistics,
        "face_model": model,
        "triangles": triangles,
    }
    facts = {
        f"{what}_sha256": file_sha256(path) for what, path in sources.items() if path is not None
    }
    make_folder(folder)
    (folder / WHOLE_REGRESSOR).unlink(missing_ok=True)  # of another network that lay there
    with whole_file(folder / REGRESSOR) as part:
        part.write_bytes(regressor.SerializeToString())
    converted.save(folder / FACE_MODEL, half=False)
    return write_bundle(
        folder, replace(info, outputs=("params",), training={**info.training, **facts})
    )
