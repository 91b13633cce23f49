"""A rasteriser for faces on one core: draws training pictures and meshes."""

from .occlusion import ambient_occlusion
from .raster import GBuffer, rasterise, vertex_normals
from .scene import Picture, Pinhole, render
from .surface import Lamp, Lights, Surface, ambient_basis, ambient_from_surroundings
from .texture import Texture, linear_from_srgb, to_srgb

__all__ = [
    "GBuffer",
    "Lamp",
    "Lights",
    "Picture",
    "Pinhole",
    "Surface",
    "Texture",
    "ambient_basis",
    "ambient_from_surroundings",
    "ambient_occlusion",
    "linear_from_srgb",
    "rasterise",
    "render",
    "to_srgb",
    "vertex_normals",
]
