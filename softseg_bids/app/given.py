"""Given labels of several files on one axis: where files contradict each other, and what they agree on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from softseg_bids.app.landmarks import Floats, disc_name
from softseg_bids.core.joining import Contradiction, contradictions


class LabelFile(NamedTuple):
    """The usable labels that were given with one image.

    Attributes
    ----------
    image : str
        Key of the image, for notes.
    positions_mm : dict of int to float
        Along the session's axis.
    points_mm : dict of int to ndarray
        The same labels in scanner space.
    """

    image: str
    positions_mm: dict[int, float]
    points_mm: dict[int, Floats]


class Dispute(NamedTuple):
    """Two files whose labels cannot belong to one spine, or one such file.

    Attributes
    ----------
    one, other : str
        The images they were given with; equal where a file contradicts itself.
    pairs : list of Contradiction
        ``given`` and ``other`` are labels of the one and the other file.
    """

    one: str
    other: str
    pairs: list[Contradiction]


class Shared(NamedTuple):
    """Given labels that serve the whole session: mean positions, and mean scanner points."""

    positions_mm: dict[int, float]
    points_mm: dict[int, Floats]


def disputes(files: Sequence[LabelFile]) -> list[Dispute]:
    """Each two files that contradict each other, and each file that contradicts itself.

    Files are compared one by one: a mean of several would hide from each what is wrong with it.
    """
    compared = [
        Dispute(one.image, other.image, _against(one, other))
        for one, other in combinations_with_replacement(files, 2)
    ]
    return [dispute for dispute in compared if dispute.pairs]


def shared_labels(files: Sequence[LabelFile], disputed: Sequence[Dispute]) -> Shared:
    """What may serve images without labels of their own: what no file contradicts.

    Of two numberings nobody knows which is right. A label of a file in dispute counts only if another file
    has it in the same place.

    Parameters
    ----------
    files : sequence of LabelFile
    disputed : sequence of Dispute
        From :func:`disputes`.
    """
    doubted = {value for dispute in disputed for pair in dispute.pairs for value in (pair.given, pair.other)}
    in_dispute = {image for dispute in disputed for image in (dispute.one, dispute.other)}
    positions, points = {}, {}
    for value in sorted({value for file in files for value in file.positions_mm} - doubted):
        have = [file for file in files if value in file.positions_mm]
        if len(have) > 1 or have[0].image not in in_dispute:
            positions[value] = float(np.mean([file.positions_mm[value] for file in have]))
            points[value] = np.mean([file.points_mm[value] for file in have], axis=0)
    return Shared(positions, points)


def told(disputed: Sequence[Dispute], image: str) -> list[str]:
    """What a reader of an image's page should know of the session's disputes: first of its own."""
    mine = [_turned(dispute, image) for dispute in disputed if image in (dispute.one, dispute.other)]
    others = [dispute for dispute in disputed if image not in (dispute.one, dispute.other)]
    return [
        *(said(pair, f"of {dispute.other}") for dispute in mine for pair in dispute.pairs),
        *(_between(dispute) for dispute in others),
    ]


def said(each: Contradiction, origin: str) -> str:
    """A contradiction between a given label and one of another origin, in words."""
    mine, theirs, far = disc_name(each.given), disc_name(each.other), f"{abs(each.away_mm):.0f} mm"
    if each.given == each.other:
        return f"the given {mine} lies {far} {'above' if each.away_mm > 0 else 'below'} the one {origin}"
    return (
        f"the {theirs} {origin} lies {far} {'below' if each.away_mm > 0 else 'above'} the given {mine}: "
        "both cannot be right"
    )


def _against(one: LabelFile, other: LabelFile) -> list[Contradiction]:
    pairs = contradictions(one.positions_mm, other.positions_mm)
    return pairs if one is not other else [pair for pair in pairs if pair.given < pair.other]


def _turned(dispute: Dispute, image: str) -> Dispute:
    """The same dispute, as the file of an image sees it."""
    if dispute.one == image:
        return dispute
    pairs = [Contradiction(pair.other, pair.given, -pair.away_mm) for pair in dispute.pairs]
    return Dispute(dispute.other, dispute.one, pairs)


def _between(dispute: Dispute) -> str:
    names = ", ".join(disc_name(value) for value in sorted({pair.given for pair in dispute.pairs}))
    whose = " and ".join(dict.fromkeys((dispute.one, dispute.other)))
    return f"the labels of {whose} contradict each other ({names}): not shared until they are mended"
