"""From linear light to the bytes of a camera: exposure, white balance, tone, blur, grain, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ..render.texture import to_srgb


def develop(
    light: Float32[np.ndarray, "H W 3"], width: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Photograph a picture in linear RGB light: sRGB bytes, BGR, ``width`` px wide.

    Exposure is a camera's automatic one, halfway: it lifts dark scenes and dims bright ones by the
    square root of what a full correction would, so that dark skin stays dark.
    """
    image = light
    drawn = image.shape[1]
    size = (width, round(image.shape[0] * width / drawn))
    if rng.random() < 0.5:  # the lens, before the sensor
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.3)) * drawn / width)
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    level = float(np.exp(np.log(np.clip(image.mean(2), 0.01, 4)).mean()))
    exposure = np.sqrt(0.2 / max(level, 0.02)) * np.exp(rng.normal(0, 0.25))
    balance = np.exp(rng.normal(0, 0.07, 3)).astype(np.float32)
    image = image * np.float32(exposure) * balance
    if rng.random() < 0.5:  # a shoulder instead of clipping
        image = np.where(image > 0.6, 0.6 + 0.4 * np.tanh((image - 0.6) / 0.5), image)
    if rng.random() < 0.5:  # shot and read noise
        strength = np.exp(rng.uniform(np.log(0.002), np.log(0.015)))
        grain = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + grain * np.sqrt(np.clip(image, 0, 2) * strength**1.5 + strength**2 * 0.1)
    pixels = to_srgb(np.ascontiguousarray(image, np.float32))
    pixels = _tone(pixels, rng)
    if rng.random() < 0.3:
        quality = int(rng.integers(35, 95))
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return pixels


def _tone(pixels: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator) -> np.ndarray:
    """Contrast and saturation of a camera's picture style, through a table."""
    x = np.arange(256) / 255.0
    contrast = rng.normal(0.25, 0.35)  # pictures are seldom flatter than the light was
    curve = x + contrast * x * (1 - x) * (x - 0.45) * 2
    table = np.clip(curve * 255, 0, 255).astype(np.uint8)
    pixels = np.asarray(cv2.LUT(pixels, table), np.uint8)
    if rng.random() < 0.5:
        grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[..., None].astype(np.float32)
        saturation = 0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.35)
        pixels = np.clip(grey + saturation * (pixels - grey), 0, 255).astype(np.uint8)
    return pixels
