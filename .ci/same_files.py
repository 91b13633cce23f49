"""Compare a wheel with the mien that is installed: the same files with the same content."""

from __future__ import annotations

import importlib.metadata
import sys
import zipfile


def main(wheel: str) -> int:
    """Return 1 and say which files differ, or 0."""
    distribution = importlib.metadata.distribution("mien")
    differ = []
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("mien/")]
        for name in names:
            path = distribution.locate_file(name)
            if not path.is_file() or path.read_bytes() != archive.read(name):
                differ.append(name)
    installed = {str(file) for file in distribution.files or [] if str(file).startswith("mien/")}
    differ += sorted(name for name in installed - set(names) if "__pycache__" not in name)
    if differ:
        sys.stderr.write(f"installed and built differ: {', '.join(differ)}\n")
        return 1
    sys.stdout.write(f"{len(names)} files are the same\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
