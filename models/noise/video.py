"""Short videos of one still picture: correlated frames whose labels follow the pixels.

The short-video synthesis of 3DDFA_V2 (Guo et al. 2020, 3.3): from a picture x_0 come frames
``x_j = T(F(x_{j-1}))``, F a small turn of the head out of the picture's plane (face profiling), T a
small similarity of the picture, each then degraded on its own, ``x'_j = M(P(x_j))``, P noise and M
motion blur. Turns act on the head and similarities on the picture, so the two commute: frame j is
one turn and one similarity, and its pixels are sampled once, from the original.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

from ..errors import InputError
from ..face.rotation import matrix_from_yaw_pitch_roll
from .degradation import compression, defocus_blur, gaussian_noise, low_resolution, motion_blur
from .displacement import source_map
from .placed_face import PlacedFace


@dataclass(frozen=True)
class VideoNoise:
    """How strongly a still picture is moved and degraded; zero everywhere (shrink 1) is identity.

    The defaults are the paper's, for a face crop of 120 pixels. Movements are drawn uniformly
    between minus and plus their value, from one frame to the next.

    Attributes:
        frames: of a video, the first one not moved.
        turn_deg: out of the plane, yaw and pitch each, about the head's own axes.
        turn_limit_deg: of the whole turn since the first frame, yaw and pitch each: beyond it a
            step goes back instead.
        scale: relative.
        rotation_deg: in the picture's plane, about the middle of the face.
        shift_px: along x and y each.
        gaussian_sigma: of the noise in each pixel and channel, 0 to 255 scale (exact, not drawn).
        motion_blur_px: length of the line, px with its ends (exact; its direction is drawn).
        defocus_px: radius of the disc.
        shrink: factor by which the picture is averaged down before it is enlarged again.
        compression: 100 less the JPEG quality; 0 for none.
        noise_before_blur: noise is blurred by the motion, as in the paper; False: as a sensor
            makes it, after all blur and shrinking.

    Raises:
        InputError: a value is out of its range.
    """

    frames: int = 8
    turn_deg: float = 5.0
    turn_limit_deg: float = 20.0
    scale: float = 0.05
    rotation_deg: float = 3.0
    shift_px: float = 5.0
    gaussian_sigma: float = 3.0
    motion_blur_px: float = 5.0
    defocus_px: float = 0.0
    shrink: float = 1.0
    compression: float = 0.0
    noise_before_blur: bool = True

    def __post_init__(self) -> None:
        limits = {
            "turn_deg": 45.0,
            "turn_limit_deg": 90.0,
            "scale": 0.5,
            "rotation_deg": 180.0,
            "shift_px": math.inf,
            "gaussian_sigma": 255.0,
            "motion_blur_px": 1000.0,
            "defocus_px": 1000.0,
            "compression": 99.0,
        }
        for name, most in limits.items():
            if not 0.0 <= getattr(self, name) <= most:
                raise InputError(
                    f"video noise: {name} is {getattr(self, name)}, expected 0 to {most:g}"
                )
        if self.frames < 1 or not self.shrink >= 1.0:
            raise InputError(
                f"video noise: {self.frames} frames and shrink {self.shrink}, expected 1 or more"
            )

    def scaled(self, motion: float = 1.0, degradation: float = 1.0) -> VideoNoise:
        """With all strengths of the movements, or of the degradations, times a factor."""
        return replace(
            self,
            turn_deg=motion * self.turn_deg,
            scale=motion * self.scale,
            rotation_deg=motion * self.rotation_deg,
            shift_px=motion * self.shift_px,
            gaussian_sigma=degradation * self.gaussian_sigma,
            motion_blur_px=degradation * self.motion_blur_px,
            defocus_px=degradation * self.defocus_px,
            shrink=1.0 + degradation * (self.shrink - 1.0),
            compression=degradation * self.compression,
        )

    def for_crop(self, side_px: float) -> VideoNoise:
        """The same for a picture whose face crop has this side instead of 120 pixels."""
        factor = side_px / 120.0
        return replace(
            self,
            shift_px=factor * self.shift_px,
            motion_blur_px=factor * self.motion_blur_px,
            defocus_px=factor * self.defocus_px,
            shrink=max(1.0, factor * self.shrink) if self.shrink > 1.0 else 1.0,
        )


@dataclass(frozen=True)
class NoisyFrame:
    """A frame and its labels.

    Attributes:
        image_bgr: (H, W, 3) uint8.
        face: the mesh as this frame shows it: ``face.pose`` and ``face.pixels`` are labels; None
            where the picture shows no face.
        affine: (2, 3) from the picture's pixels to the frame's, of what does not turn.
        turn: (3, 3) of the head since the picture, ``R_frame = R_picture turn``.
    """

    image_bgr: UInt8[np.ndarray, "H W 3"]
    face: PlacedFace | None
    affine: Float64[np.ndarray, "2 3"]
    turn: Float64[np.ndarray, "3 3"]


def short_video(
    image_bgr: UInt8[np.ndarray, "H W 3"],
    face: PlacedFace | None,
    config: VideoNoise,
    rng: np.random.Generator,
    *,
    first: Float[np.ndarray, "2 3"] | None = None,
    size: tuple[int, int] | None = None,
    border: int = cv2.BORDER_REFLECT_101,
) -> list[NoisyFrame]:
    """Frames that move on from a picture in small random steps, each degraded anew.

    Args:
        image_bgr: the picture.
        face: in it; None moves and degrades the picture alone.
        config: strengths.
        rng: source of chance; the same state gives the same video.
        first: similarity from the picture's pixels to the first frame's (a crop, for instance);
            the picture as it is when None.
        size: (width, height) of the frames; the picture's when None.
        border: what lies beyond the picture, one of cv2's.

    Returns:
        ``config.frames`` of them, the first one in the picture's pose.
    """
    width, height = size or (image_bgr.shape[1], image_bgr.shape[0])
    affine = np.eye(2, 3) if first is None else first.astype(np.float64)
    angles = np.zeros(2)
    turn = np.eye(3)
    frames = []
    for j in range(config.frames):
        if j:
            angles, turn = _turned(angles, turn, config, rng)
            seen = face.turned(turn).moved(affine) if face is not None else None
            centre = np.array([width - 1, height - 1]) / 2 if seen is None else seen.pixels.mean(0)
            affine = compose(_random_similarity(config, centre, rng), affine)
        moved, seen = moved_picture(
            image_bgr, face, turn, affine, size=(width, height), border=border
        )
        frames.append(NoisyFrame(degraded(moved, config, rng), seen, affine, turn))
    return frames


def moved_picture(
    image_bgr: UInt8[np.ndarray, "H W 3"],
    face: PlacedFace | None,
    turn: Float64[np.ndarray, "3 3"],
    affine: Float64[np.ndarray, "2 3"],
    *,
    size: tuple[int, int] | None = None,
    border: int = cv2.BORDER_REFLECT_101,
) -> tuple[UInt8[np.ndarray, "H2 W2 3"], PlacedFace | None]:
    """The picture after the head turned (face profiling) and the whole moved, sampled once.

    Args:
        image_bgr: the picture.
        face: in it.
        turn: of the head, in the head frame; it is ignored where there is no face.
        affine: similarity from the picture's pixels to the new one's.
        size: (width, height) of the new picture; the old one's when None.
        border: what lies beyond the picture, one of cv2's.

    Returns:
        The new picture and the face in it.
    """
    width, height = size or (image_bgr.shape[1], image_bgr.shape[0])
    after = face.moved(affine) if face is not None else None
    if face is not None and not np.array_equal(turn, np.eye(3)):
        after = face.turned(turn).moved(affine)
        back = inverse(affine)
        source = source_map(
            face.samples_for(after),
            after.pixels,
            after.depth_mm,
            face.triangles,
            back,
            height,
            width,
        )
        x, y = cv2.split(source)
        new = cv2.remap(image_bgr, x, y, cv2.INTER_LINEAR, borderMode=border)
    elif np.array_equal(affine, np.eye(2, 3)) and (width, height) == image_bgr.shape[1::-1]:
        new = image_bgr.copy()
    else:
        new = cv2.warpAffine(
            image_bgr, affine, (width, height), flags=cv2.INTER_LINEAR, borderMode=border
        )
    return np.asarray(new, np.uint8), after


def degraded(
    image_bgr: UInt8[np.ndarray, "H W 3"], config: VideoNoise, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture with the degradations of one frame, in the order of a camera."""
    direction = float(rng.uniform(0.0, np.pi))
    image = defocus_blur(image_bgr, config.defocus_px)
    if config.noise_before_blur:
        image = gaussian_noise(image, config.gaussian_sigma, rng)
    image = motion_blur(image, config.motion_blur_px, direction)
    image = low_resolution(image, config.shrink)
    if not config.noise_before_blur:
        image = gaussian_noise(image, config.gaussian_sigma, rng)
    return compression(image, config.compression)


def similarity(
    scale: float,
    rotation_deg: float,
    shift_px: Float[np.ndarray, " 2"],
    about_px: Float[np.ndarray, " 2"],
) -> Float64[np.ndarray, "2 3"]:
    """Scale and rotation (clockwise in the picture) about a pixel, then a shift."""
    angle = np.radians(rotation_deg)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, about_px - linear @ about_px + shift_px])


def compose(
    second: Float64[np.ndarray, "2 3"], first: Float64[np.ndarray, "2 3"]
) -> Float64[np.ndarray, "2 3"]:
    """One affine map of the picture after another."""
    both = second[:, :2] @ first
    both[:, 2] += second[:, 2]
    return both


def inverse(affine: Float64[np.ndarray, "2 3"]) -> Float64[np.ndarray, "2 3"]:
    """The affine map back.

    Raises:
        InputError: the map is singular.
    """
    try:
        linear = np.linalg.inv(affine[:, :2])
    except np.linalg.LinAlgError as error:
        raise InputError("affine map of a picture: it cannot be inverted") from error
    return np.column_stack([linear, -linear @ affine[:, 2]])


def _random_similarity(
    config: VideoNoise, about_px: Float64[np.ndarray, " 2"], rng: np.random.Generator
) -> Float64[np.ndarray, "2 3"]:
    scale, rotation, *shift = rng.uniform(-1.0, 1.0, 4)
    return similarity(
        1.0 + config.scale * float(scale),
        config.rotation_deg * float(rotation),
        config.shift_px * np.array(shift),
        about_px,
    )


def _turned(
    angles: Float64[np.ndarray, " 2"],
    turn: Float64[np.ndarray, "3 3"],
    config: VideoNoise,
    rng: np.random.Generator,
) -> tuple[Float64[np.ndarray, " 2"], Float64[np.ndarray, "3 3"]]:
    """Yaw and pitch of all steps so far, and the turn that they made, after one more step."""
    step = config.turn_deg * rng.uniform(-1.0, 1.0, 2)
    step = np.where(np.abs(angles + step) > config.turn_limit_deg, -step, step)
    if not step.any():
        return angles, turn
    return angles + step, turn @ matrix_from_yaw_pitch_roll(np.array([*step, 0.0]))
