"""Kinds of noise in a video, by name, each at a stated strength: to measure under, and to tune for.

They hold for pictures with a face crop of 100 to 150 pixels; :meth:`VideoNoise.scaled` grades them
and :meth:`VideoNoise.for_crop` takes them to other sizes. Nothing in them moves the picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from .video import VideoNoise

_NONE: Final = replace(
    VideoNoise().scaled(motion=0.0, degradation=0.0), frames=1, noise_before_blur=False
)

NOISE_KINDS: Final[dict[str, VideoNoise]] = {
    "clean": _NONE,
    "gaussian": replace(_NONE, gaussian_sigma=10.0),
    "blur": replace(_NONE, motion_blur_px=7.0),
    "defocus": replace(_NONE, defocus_px=2.0),
    "compression": replace(_NONE, compression=65.0),
    "small": replace(_NONE, shrink=2.5),
    "webcam": replace(
        _NONE, gaussian_sigma=5.0, motion_blur_px=1.5, defocus_px=0.5, compression=25.0
    ),
}
"""``webcam`` is a mixture like that of a web camera in a dim room: slightly out of focus and moved,
the sensor's noise of 5 (of 255) added after all blur, then JPEG of quality 75. Each kind can be
graded up to 1.5 times."""
