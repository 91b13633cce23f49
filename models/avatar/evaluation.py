"""The avatar on held-out persons: what is generated, beside what limits it and what costs nothing.

Every surface that is compared passed through the autoencoder, that of the copied neutral too:

- ``ceiling``: the true face through encoder and decoder; no generated latent can be nearer.
- ``copy``: the scan of the neutral through encoder and decoder, whatever is asked for.
- ``guide``: what the denoiser begins from, where a statistical head guides it.
- ``made``: what the denoiser (or the deterministic regression) generated from that scan.

Figures are of one person at a time; :mod:`.evaluation_summary` puts persons together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, UInt8

from .avatar import Avatar, Grids, joined
from .cases import Case, clean_scan
from .contender import Contender, Sampler, Settings, same_autoencoder
from .face_surface import (
    FaceSurface,
    drift,
    faces_of,
    mean_distance,
    mean_distances,
    reconstruction_figures,
)
from .following import Calibration, correlation, explained
from .looks import Look, Watcher, changes, features_of, found_share
from .repeated import repeated_figures
from .sample import reconstruct

Numbers = dict[str, float]


@dataclass(frozen=True)
class Seen:
    """Faces and looks at them."""

    faces: list[FaceSurface]
    looks: list[Look]


@dataclass(frozen=True)
class Truth:
    """The true faces of a case: of what is asked for, and the neutral one."""

    asked: Seen
    neutral: Look


@dataclass(frozen=True)
class Autoencoded:
    """What an autoencoder makes of a case.

    Attributes:
        ceiling: of the true expressions.
        neutral: of the true neutral.
        copied: of the scan.
        figures: of them.
    """

    ceiling: Seen
    neutral: Seen
    copied: Seen
    figures: Numbers


@dataclass(frozen=True)
class Generated:
    """What a network generated of a case: faces and their figures."""

    seen: Seen
    figures: Numbers


@dataclass(frozen=True)
class Evaluated:
    """One person by all contenders.

    Attributes:
        number: of the person.
        entries: expressions that were asked for.
        figures: by contender.
        features: of pictures, by what is shown: ``truth``, and by contender ``made``, ``ceiling``,
            ``copy``.
        sweep: figures of the first contender by its steps.
        sweep_features: likewise.
        pictures: small ones of the first expression, by the names of the sheet's rows.
    """

    number: int
    entries: tuple[int, ...]
    figures: dict[str, Numbers]
    features: dict[str, dict[str, Float32[np.ndarray, "F d"]]] = field(repr=False)
    sweep: dict[int, Numbers]
    sweep_features: dict[int, Float32[np.ndarray, "F d"]] = field(repr=False)
    pictures: dict[str, UInt8[np.ndarray, "t t 3"]] = field(repr=False)


class Evaluator:
    """Asks contenders for the expressions of cases and measures what they make.

    Args:
        contenders: the first one is the one that matters.
        watcher: looks at faces.
        calibration: of what the tracker reads.
        settings: how they are asked.
    """

    def __init__(
        self,
        contenders: Sequence[Contender],
        watcher: Watcher,
        calibration: Calibration,
        settings: Settings | None = None,
    ) -> None:
        self._contenders, self._watcher = contenders, watcher
        self._calibration, self._sampler = calibration, Sampler(settings or Settings())
        avatars = [contender.avatar for contender in contenders]
        self._first_alike = [
            next(k for k, other in enumerate(avatars) if same_autoencoder(avatar, other))
            for avatar in avatars
        ]

    def case(self, case: Case) -> Evaluated:
        """Everything about one person."""
        truth = self._truth(case)
        figures: dict[str, Numbers] = {}
        features = {"truth": {"made": features_of(truth.asked.looks)}}
        known: dict[int, Autoencoded] = {}
        first = self._contenders[0]
        pictures: dict[str, UInt8[np.ndarray, "t t 3"]] = {
            "neutral": truth.neutral.picture,
            "truth": truth.asked.looks[0].picture,
        }
        for contender, alike in zip(self._contenders, self._first_alike, strict=True):
            own = figures[contender.name] = {}
            shown = features[contender.name] = {}
            if contender.avatar.encoder is not None:
                if alike not in known:
                    known[alike] = self._autoencoded(case, truth, contender.avatar)
                auto = known[alike]
                own |= auto.figures
                shown["ceiling"] = features_of(auto.ceiling.looks)
                shown["copy"] = np.repeat(features_of(auto.copied.looks), len(case.asked), 0)
                if contender is first:
                    pictures["autoencoded"] = auto.ceiling.looks[0].picture
            made = self._made(case, truth, contender, known.get(alike))
            if made is not None:
                own |= made.figures
                shown["made"] = features_of(made.seen.looks)
                pictures[contender.name] = made.seen.looks[0].picture
            if contender.expressive:
                ceiling = known[alike].ceiling.faces[0]
                own |= repeated_figures(case, contender, self._sampler, ceiling)
        sweep = self._sweep(case, truth, known.get(0))
        return Evaluated(
            case.number,
            tuple(case.entries),
            figures,
            features,
            {steps: made.figures for steps, made in sweep.items()},
            {steps: features_of(made.seen.looks) for steps, made in sweep.items()},
            pictures,
        )

    def _truth(self, case: Case) -> Truth:
        asked = faces_of(Grids(case.true_sdf.astype(np.float32), case.true_colour))
        neutral = FaceSurface(case.person.sdf[0], case.person.colour[0])
        return Truth(self._seen(asked), self._watcher.look(neutral))

    def _seen(self, faces: list[FaceSurface]) -> Seen:
        return Seen(faces, self._watcher.looks(faces))

    def _autoencoded(self, case: Case, truth: Truth, avatar: Avatar) -> Autoencoded:
        person = case.person
        ceiling_grids = joined([reconstruct(avatar, clean_scan(person, e)) for e in case.entries])
        neutral_grids = reconstruct(avatar, clean_scan(person))
        copied_grids = reconstruct(avatar, case.scan)
        ceiling, neutral, copied = (
            self._seen(faces_of(grids)) for grids in (ceiling_grids, neutral_grids, copied_grids)
        )
        scanned = reconstruction_figures(copied_grids, person.sdf[:1], person.colour[:1])
        read = changes(truth.asked.looks, truth.neutral)
        count = len(case.asked)
        return Autoencoded(
            ceiling,
            neutral,
            copied,
            {
                "grid_mm": mean_distances(truth.asked.faces, case.moved),
                "ceiling_mm": mean_distances(ceiling.faces, case.moved),
                "copy_mm": mean_distances(copied.faces * count, case.moved),
                "copy_clean_mm": mean_distances(neutral.faces * count, case.moved),
                "still_ceiling_mm": mean_distances(ceiling.faces, case.still),
                "still_copy_mm": mean_distances(copied.faces * count, case.still),
                "neutral_copy_mm": mean_distance(copied.faces[0], case.neutral),
                **reconstruction_figures(ceiling_grids, case.true_sdf, case.true_colour),
                **_named("scan", scanned),
                **_named("truth", self._following(read, read, case)),
                **_named(
                    "ceiling",
                    self._following(changes(ceiling.looks, neutral.looks[0]), read, case),
                ),
            },
        )

    def _following(
        self, found: Float32[np.ndarray, "F 52"], true: Float32[np.ndarray, "F 52"], case: Case
    ) -> Numbers:
        """Of changes that were read, those of true renders, and what was asked for."""
        mapped = self._calibration(found)
        return {
            "following": correlation(mapped, case.requested),
            "explained": explained(mapped, case.requested),
            "agreement": correlation(found, true),
        }

    def _made(
        self, case: Case, truth: Truth, contender: Contender, auto: Autoencoded | None
    ) -> Generated | None:
        """What a contender generates, if it does."""
        avatar = contender.avatar
        if contender.expressive and auto is not None:
            return self._generated(case, truth, contender, auto)
        if avatar.diffusion is None or avatar.diffusion.config.neutral:
            return None
        begin = time.perf_counter()
        grids = self._sampler.free(contender, case)
        seconds = (time.perf_counter() - begin) / len(case.asked)
        return Generated(self._seen(faces_of(grids)), {"seconds": seconds})

    def _generated(
        self,
        case: Case,
        truth: Truth,
        contender: Contender,
        auto: Autoencoded,
        steps: int | None = None,
    ) -> Generated:
        begin = time.perf_counter()
        grids = self._sampler.faces(contender, case, [*case.entries, 0], steps)
        seconds = (time.perf_counter() - begin) / len(grids.sdf)
        *asked, neutral = faces_of(grids)
        seen = self._seen(asked)
        copied = auto.copied.faces[0]
        whole = Grids(grids.sdf[:-1], grids.colour[:-1])
        made = reconstruction_figures(whole, case.true_sdf, case.true_colour)
        before = [copied.footpoints(still) for still in case.still]
        read = changes(seen.looks, auto.copied.looks[0])
        vectors = contender.vectors(case, case.entries)
        guides = self._sampler.guides(contender, case.scan, vectors)
        guided: Numbers = {}
        if guides is not None:
            starts = faces_of(guides)
            guided["guide_mm"] = mean_distances(starts, case.moved)
            guided["guide_drift_mm"] = mean_distances(starts, before)
        true = changes(truth.asked.looks, truth.neutral)
        return Generated(
            seen,
            {
                "moved_mm": mean_distances(seen.faces, case.moved),
                "still_mm": mean_distances(seen.faces, case.still),
                **guided,
                **_named("made", made),
                "drift_mm": mean_distances(seen.faces, before),
                "neutral_drift_mm": drift(neutral, copied, case.neutral),
                "neutral_mm": mean_distance(neutral, case.neutral),
                **self._following(read, true, case),
                "found": found_share(seen.looks),
                "seconds": seconds,
            },
        )

    def _sweep(self, case: Case, truth: Truth, auto: Autoencoded | None) -> dict[int, Generated]:
        """The first contender with other numbers of steps."""
        first = self._contenders[0]
        if auto is None or not first.expressive or first.regression:
            return {}
        return {
            steps: self._generated(case, truth, first, auto, steps)
            for steps in self._sampler.settings.sweep
        }


def _named(prefix: str, figures: Numbers) -> Numbers:
    return {f"{prefix}_{name}": value for name, value in figures.items()}
