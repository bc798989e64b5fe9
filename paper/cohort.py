"""Who is in the study, where they were scanned, and by which protocol: as values, from fixed seeds."""

from __future__ import annotations

from typing import NamedTuple

from softseg_bids.synthesis.protocol import NECK
from softseg_bids.synthesis.scan import Sequence, Stack
from softseg_bids.training.split import Person, split

SEED = 2310_15402
SPLIT_SEED = 0
# The six contrasts of the paper; the spread is over the first five, as everywhere in this project.
CONTRASTS = ("T1w", "T2w", "T2starw", "MTon", "GRET1w", "DWI")
# C1-C2 to C4-C5 is in view: the field is as short as the region C2-C3 allows.
CENTRE_S_MM = 38.0
FIELD_MM = (52.0, 52.0, 60.0)


class Site(NamedTuple):
    """How a scanner departs from the protocol.

    Attributes
    ----------
    people : int
        How many are scanned there.
    pixel : float
        Pixel size over that of the protocol (of the whole voxel where that is isotropic).
    noise : float
        Noise over that of the protocol.
    shading : float
        Amplitude of the smooth logarithm of the coils' sensitivity.
    manufacturer : str
    """

    people: int
    pixel: float
    noise: float
    shading: float
    manufacturer: str


SITES = {
    "north": Site(10, 1.0, 1.0, 0.10, "Siemens"),
    "east": Site(4, 0.95, 0.9, 0.15, "GE"),
    "south": Site(10, 1.1, 1.2, 0.12, "Philips"),
}


class Participant(NamedTuple):
    """One person: ``number`` counts from 0 and gives all seeds."""

    label: str
    number: int
    site: str


def participants() -> list[Participant]:
    """All of them, site by site."""
    sites = [name for name, site in SITES.items() for _ in range(site.people)]
    return [Participant(f"{n + 1:02d}", n, site) for n, site in enumerate(sites)]


def sides() -> dict[str, str]:
    """The side of each participant, by label: one site to train on, one to validate, one for the end."""
    people = [Person("paper", one.label, one.label, one.site) for one in participants()]
    return {person.participant: side for person, side in split(people, SPLIT_SEED).items()}


def protocol(site: Site) -> list[Stack]:
    """The demo's protocol in a short field, as a site runs it.

    Without the flip-1 mt-off series, which the paper has not, and without distortion, so that what is
    true of the body is true of every image.
    """
    return [
        stack._replace(
            sequences=tuple(_at(site, each) for each in stack.sequences if each.contrast in CONTRASTS),
            field_mm=FIELD_MM,
            distortion_mm=0.0,
            shading=site.shading,
        )
        for stack in NECK
    ]


def _at(site: Site, sequence: Sequence) -> Sequence:
    x, y, z = sequence.spacing_mm
    along = z if sequence.slice_axis == 2 else z * site.pixel
    return sequence._replace(
        spacing_mm=(x * site.pixel, y * site.pixel, along), noise=sequence.noise * site.noise
    )
