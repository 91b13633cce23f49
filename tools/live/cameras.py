"""What ``mien track --list`` prints: cameras, and what each of them offers."""

from __future__ import annotations

from ...models.errors import SourceError
from ...stream.sources.cameras import list_cameras, list_modes


def list_cameras_text() -> str:
    """The cameras of this machine, a paragraph each: by what to open it, what people call it, and
    a line for each format and size with its rates in frames per second.
    """
    paragraphs = []
    for camera in list_cameras():
        lines = [f"{camera.name}  {camera.description}"]
        try:
            modes = list_modes(camera)
        except SourceError as error:
            lines.append(f"  {error}")
        else:
            lines += [f"  {mode}" for mode in modes] or ["  offers no modes that can be listed"]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs) or "no camera is connected"
