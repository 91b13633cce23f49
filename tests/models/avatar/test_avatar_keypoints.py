"""Pictures to poses of parts: laws of the key points, and a joint training that finds a jaw."""

import pytest

pytest.importorskip("torch")

import torch
from torch.nn.functional import interpolate

from mien.models.avatar.autodecoder import Volume
from mien.models.avatar.keypoints import KeypointConfig, Keypoints
from mien.models.avatar.pnp import Poses, project, rotation_from_vector
from mien.models.avatar.skinning import posed_volume
from mien.models.avatar.volume_rendering import pixel_rays, render
from mien.models.errors import InputError
from mien.models.scans.box import FaceBox

from ..forward_skinning import deform

N = 16
CENTRES = torch.from_numpy(FaceBox(N).centres())
TINY = KeypointConfig(parts=2, points=8, channels=(8, 16, 24, 32), coarse=1, steps=3)
LENS = torch.tensor([[180.0, 0.0, 31.5], [0.0, 180.0, 31.5], [0.0, 0.0, 1.0]])
CAMERA = LENS @ torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, -30], [0, 0, 1, 565]])


def keypoints(config: KeypointConfig = TINY, seed: int = 0) -> Keypoints:
    torch.manual_seed(seed)
    return Keypoints(config)


def cameras(count: int) -> torch.Tensor:
    return CAMERA.expand(count, 3, 4)


def repeated(grids: torch.Tensor, count: int) -> torch.Tensor:
    return grids.expand(count, *grids.shape[1:])


@pytest.mark.parametrize("coarse", [0, 1, 2])
def test_an_untrained_network_finds_the_face_at_rest(coarse: int) -> None:
    config = KeypointConfig(parts=10, points=20, channels=(8, 16, 24), coarse=coarse)
    model = keypoints(config)
    motion = model(torch.rand(2, 3, 64, 64), cameras(2))
    rest = project(repeated(model.canonical[None], 2), cameras(2))
    inner = ((rest > 12) & (rest < 51)).all(-1)
    assert float(inner.float().mean()) > 0.5
    # The prior of a place is cut off at the picture's edge, which moves points near it inwards.
    torch.testing.assert_close(motion.seen[inner], rest[inner], atol=0.05, rtol=0)
    assert float((motion.poses.rotation - torch.eye(3)).detach().abs().max()) < 0.2
    volume = Volume(
        torch.randn(2, 1, N, N, N), torch.rand(2, 3, N, N, N), torch.zeros(2, 10, N, N, N)
    )
    posed, _ = model.posed(volume, torch.rand(2, 3, 64, 64), cameras(2))
    assert posed.shape.shape == volume.shape.shape
    assert posed.colour.shape == volume.colour.shape
    with pytest.raises(InputError, match="without weights of parts"):
        model.posed(posed, torch.rand(2, 3, 64, 64), cameras(2))


def test_each_picture_is_looked_at_by_itself() -> None:
    model = keypoints()
    torch.nn.init.normal_(model.maps.head.weight, std=0.5)
    pictures = torch.rand(3, 3, 64, 64)
    whole = model(pictures, cameras(3))
    alone = model(pictures[1:2], cameras(1))
    torch.testing.assert_close(whole.seen[1:2], alone.seen, atol=1e-3, rtol=0)
    torch.testing.assert_close(whole.poses.rotation[1:2], alone.poses.rotation, atol=1e-3, rtol=0)
    # A brighter spot elsewhere is another motion.
    assert float((whole.seen[0] - whole.seen[1]).detach().abs().max()) > 0.05


def test_weights_begin_near_the_points_of_their_part() -> None:
    model = keypoints(KeypointConfig(parts=6, points=30, channels=(8, 16)))
    weights = torch.softmax(model.part_logits(N), 0)
    places = CENTRES.flatten(0, 2)
    for part, middle in enumerate(model.canonical.mean(1)):
        nearest = (places - middle).norm(dim=-1).argmin()
        assert int(weights.flatten(1)[:, nearest].argmax()) == part


@pytest.mark.parametrize(
    "options", [{"parts": 0}, {"points": 3}, {"channels": (8, 12)}, {"channels": (8,), "coarse": 1}]
)
def test_impossible_sizes_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="avatar"):
        KeypointConfig(**options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="multiples of 8"):
        keypoints()(torch.rand(1, 3, 60, 64), cameras(1))


# A head with a jaw.


def ellipsoid(middle: tuple[float, ...], radii: tuple[float, ...]) -> torch.Tensor:
    return ((CENTRES - torch.tensor(middle)) / torch.tensor(radii)).norm(dim=-1) < 1


def jawed_head() -> tuple[Volume, torch.Tensor, torch.Tensor]:
    """A striped skull with a blue jaw below it; logits of the weights; places before on the jaw."""
    x, y, z = CENTRES.unbind(-1)
    jaw = ellipsoid((0, 70, 25), (45, 32, 35))
    solid = ellipsoid((0, 5, 45), (60, 55, 50)) | jaw
    colour = torch.stack([0.5 + x / 180, 0.5 + (y / 16).sin() / 2, jaw.float()])
    logits = torch.stack([(55 - y) / 6, (y - 55) / 6])
    front = CENTRES[jaw & (y > 62) & (z < 20)]
    return Volume(0.25 * solid.float()[None, None], colour[None]), logits[None], front


def jaw_motion(generator: torch.Generator, count: int) -> Poses:
    """The skull stays; the jaw drops and swings to a side, about a hinge."""
    down, side = torch.rand((2, count), generator=generator)
    vector, shift = torch.zeros(2, count, 2, 3)
    vector[:, 1, 0], vector[:, 1, 1] = 0.35 * down, 0.5 * (side - 0.5)
    shift[:, 1, 0], shift[:, 1, 1] = 30 * (side - 0.5), 15 * down
    rotation, hinge = rotation_from_vector(vector), torch.tensor([0.0, 15.0, 45.0])
    return Poses(rotation, hinge - rotation @ hinge + shift)


def drawn(volume: Volume, size: int) -> torch.Tensor:
    """(b, 3, size, size) pictures of grids of density."""
    rays = pixel_rays(cameras(len(volume.shape)), size, 64)
    return render(volume.shape, volume.colour, rays, samples=20).colour.unflatten(-1, (size, size))


def test_joint_training_finds_how_a_jaw_moves() -> None:
    volume, true_logits, front = jawed_head()
    generator = torch.Generator().manual_seed(1)

    def grids(count: int, parts: torch.Tensor | None = None) -> Volume:
        parts = None if parts is None else repeated(parts, count)
        return Volume(repeated(volume.shape, count), repeated(volume.colour, count), parts)

    def film(poses: Poses) -> torch.Tensor:
        count = len(poses.rotation)
        return drawn(posed_volume(grids(count), repeated(true_logits, count), poses), 64)

    def places(poses: Poses, logits: torch.Tensor) -> torch.Tensor:
        count = len(poses.rotation)
        moved = deform(repeated(logits, count), front.expand(count, -1, -1), poses)
        return project(moved[:, None], cameras(count))[:, 0]

    held = jaw_motion(generator, 12)
    with torch.no_grad():
        shown, held_shown = film(jaw_motion(generator, 48)), film(held)
        truth = places(held, true_logits)
    model = keypoints()
    logits = torch.zeros(1, 2, N, N, N, requires_grad=True)

    @torch.no_grad()
    def miss_px() -> float:
        """Where the front of the jaw is found in pictures that are not trained on."""
        found = places(model(held_shown, cameras(12)).poses, logits + model.part_logits(N))
        return float((found - truth).norm(dim=-1).mean())

    before = miss_px()
    assert before > 3
    optimiser = torch.optim.Adam([*model.parameters(), logits], 1e-2)
    for _ in range(120):
        seen = shown[torch.randint(len(shown), (4,), generator=generator)]
        posed, motion = model.posed(grids(4, logits), seen, cameras(4))
        small = interpolate(seen, (20, 20), mode="bilinear", antialias=True)
        loss = (drawn(posed, 20) - small).abs().mean() + 1e-3 * motion.miss_px
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert miss_px() < 0.4 * before
