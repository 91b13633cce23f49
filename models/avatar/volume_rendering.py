"""Pictures of a grid without a network: trilinear samples along rays, alpha compositing.

    alpha_i = 1 - exp(-density_i step_i)      T_i = prod_{j < i} (1 - alpha_j)
    colour = sum_i T_i alpha_i c_i            occupancy = sum_i T_i alpha_i

(Ntavelis et al. 2023, 3.1; the sums are those of Max 1995.) Signed distances become densities as in
VolSDF (Yariv et al. 2021): the cumulative Laplace distribution of the distance, divided by its
width.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch.nn import functional

from ..scans.box import HIGH_MM, LOW_MM

Beyond = Literal["zeros", "border"]
"""What lies beyond a grid: nothing, or what its outermost cells hold."""


class Rays(NamedTuple):
    """Rays in the head frame.

    Attributes:
        origin: (b, 3) where those of a camera begin, mm.
        direction: (b, r, 3) unit.
    """

    origin: Float[torch.Tensor, "b 3"]
    direction: Float[torch.Tensor, "b r 3"]


class Rendering(NamedTuple):
    """What rays saw.

    Attributes:
        colour: (b, 3, r), before black.
        occupancy: (b, r) accumulated alpha, 0 to 1.
    """

    colour: Float[torch.Tensor, "b 3 r"]
    occupancy: Float[torch.Tensor, "b r"]


def pixel_rays(camera: Float[torch.Tensor, "b 3 4"], size: int, image_size: int) -> Rays:
    """Rays through a raster of ``size`` x ``size`` places of a picture, row by row.

    Args:
        camera: pixels from head millimetres; (0, 0) is the centre of the top-left pixel.
        size: places along a side, spread evenly over the picture.
        image_size: pixels along a side of the picture that the camera speaks of.
    """
    matrix = camera[:, :, :3]
    inverse = torch.linalg.inv(matrix)
    origin = -(inverse @ camera[:, :, 3:]).squeeze(-1)
    place = (torch.arange(size, device=camera.device) + 0.5) * (image_size / size) - 0.5
    v, u = torch.meshgrid(place, place, indexing="ij")
    pixels = torch.stack([u.flatten(), v.flatten(), torch.ones_like(u).flatten()], -1)
    direction = pixels @ inverse.transpose(1, 2)
    # The third row's sign says on which side of the camera a point lies.
    ahead = torch.sign((matrix[:, 2:3] * direction).sum(-1, keepdim=True))
    return Rays(origin, functional.normalize(direction, dim=-1) * ahead)


def density_from_distance(
    distance_mm: Float[torch.Tensor, "*any"], width_mm: float
) -> Float[torch.Tensor, "*any"]:
    """Density per mm of a signed distance, negative inside (Yariv et al. 2021, eq. 2).

    Args:
        distance_mm: signed distance.
        width_mm: beta: the surface is about so thick.
    """
    outside = 0.5 * torch.exp(-distance_mm.abs() / width_mm)
    return torch.where(distance_mm > 0, outside, 1 - outside) / width_mm


def sample_grid(
    grid: Float[torch.Tensor, "b c g g g"],
    points: Float[torch.Tensor, "b p 3"],
    beyond: Beyond = "zeros",
) -> Float[torch.Tensor, "b c p"]:
    """Values of a grid of cell centres at places in the head frame.

    Args:
        grid: indexed [x, y, z] over the box of the face.
        points: mm.
        beyond: outside of the box.
    """
    low, high = points.new_tensor(LOW_MM), points.new_tensor(HIGH_MM)
    relative = 2 * (points - low) / (high - low) - 1
    # grid_sample names the last axis first; -1 and 1 are the outer faces of the outer cells.
    place = relative.flip(-1)[:, :, None, None]
    found = functional.grid_sample(grid, place, padding_mode=beyond, align_corners=False)
    return found[..., 0, 0]


def render(
    density: Float[torch.Tensor, "b 1 g g g"],
    colour: Float[torch.Tensor, "b 3 g g g"],
    rays: Rays,
    samples: int = 128,
    *,
    width_mm: float | None = None,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> Rendering:
    """March rays through grids.

    Args:
        density: per mm; or signed distance in mm, with ``width_mm``.
        colour: 0 to 1.
        rays: of one camera a grid.
        samples: points a ray, between where it enters the box and where it leaves.
        width_mm: makes ``density`` a signed distance: see :func:`density_from_distance`, applied
            after interpolation, so that the surface stays sharper than a cell.
        noise: deviation of noise added to densities before they are cut off at zero.
        generator: places the points anew in each step along the ray, and makes the noise; None:
            the middles of even steps.
    """
    near, far = box_span(rays)
    b, r = near.shape
    fraction = torch.arange(samples, device=near.device, dtype=near.dtype)
    if generator is None:
        fraction = (fraction + 0.5).expand(b, r, samples)
    else:
        jitter = torch.rand((b, r, samples), generator=generator, device=generator.device)
        fraction = fraction + jitter.to(near.device)
    step = (far - near) / samples
    depth = near[..., None] + fraction * step[..., None]
    points = rays.origin[:, None, None] + depth[..., None] * rays.direction[:, :, None]
    volume = torch.cat([density, colour], 1)
    found = sample_grid(volume, points.view(b, r * samples, 3)).view(b, 4, r, samples)
    thick, shade = found[:, 0], found[:, 1:]
    if width_mm is not None:
        thick = density_from_distance(thick, width_mm)
    if noise > 0:
        drawn = torch.randn(thick.shape, generator=generator, device=(generator or thick).device)
        thick = thick + noise * drawn.to(thick.device)
    attenuation = functional.relu(thick) * step[..., None]
    # exp(-sum of what lies before): the product of all transparencies up to here.
    before = torch.cumsum(attenuation, -1) - attenuation
    weight = torch.exp(-before) * -torch.expm1(-attenuation)
    return Rendering((weight[:, None] * shade).sum(-1), weight.sum(-1))


def box_span(
    rays: Rays,
) -> tuple[Float[torch.Tensor, "b r"], Float[torch.Tensor, "b r"]]:
    """Where rays enter and leave the box; both the same where they miss it."""
    low, high = rays.origin.new_tensor(LOW_MM), rays.origin.new_tensor(HIGH_MM)
    # A ray along an axis crosses that axis' faces nowhere: any large slope says so.
    along = rays.direction
    along = torch.where(along.abs() < 1e-9, torch.full_like(along, 1e-9), along)
    first = (low - rays.origin)[:, None] / along
    second = (high - rays.origin)[:, None] / along
    near = torch.minimum(first, second).amax(-1).clamp(min=0.0)
    far = torch.maximum(first, second).amin(-1)
    return near, torch.maximum(near, far)
