"""Which labels an image uses: given ones always win, found ones must be sure and fit the given ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from softseg_bids.app.given import said
from softseg_bids.app.landmarks import Axis, disc_name
from softseg_bids.app.sights import Sight
from softseg_bids.core.evidence import pool
from softseg_bids.core.joining import added, contradictions
from softseg_bids.core.labelling import Found, label_axis, sure

DISAGREE, UNSURE = "levels_disagree", "levels_unsure"
GIVEN, FOUND, SHARED, NONE = "given", "found", "shared", "none"
# Labels found that are discs, C2-C3 to L5-S1.
DISCS = range(3, 26)
# A label that is more likely in view than not is missed if nobody says that it is not shown.
LIKELY = 0.5


class Decision(NamedTuple):
    """The labels of one image.

    Attributes
    ----------
    positions_mm : dict of int to float
        Along the axis.
    before_mm : dict of int to float
        How far in front of the cord found discs lie.
    sources : dict of int to str
        Of each label: ``given``, ``found`` or ``shared``.
    confidences : dict of int to float
        Of all labels looked for, shown or not.
    doubtful_mm : dict of int to float
        Positions of labels that are probably in view, but not sure enough to be shown.
    flags, notes : list of str
    """

    positions_mm: dict[int, float]
    before_mm: dict[int, float]
    sources: dict[int, str]
    confidences: dict[int, float]
    doubtful_mm: dict[int, float]
    flags: list[str]
    notes: list[str]


def look(axis: Axis, sights: Iterable[Sight | None]) -> dict[int, Found]:
    """The labels that images show together, sure or not."""
    views = [
        (axis.positions(sight.points_mm)[0], sight.evidence)
        for sight in sights
        if sight is not None and sight.evidence.seen.any()
    ]
    pooled = pool(views)
    return {} if pooled is None else label_axis(pooled)


def decide(
    own: Mapping[int, float],
    shared: Mapping[int, float],
    found: Mapping[int, Found],
    sight: Sight | None,
    extent_mm: tuple[float, float],
    disputes: Sequence[str] = (),
) -> Decision:
    """Choose the labels of an image: its own, then its session's, then those found.

    Found labels are added to given ones unless the two contradict each other (`core.joining`): then none of
    them is, and the image is flagged.

    Parameters
    ----------
    own, shared : mapping of int to float
        Given labels of the image, and those of its session, which fit them.
    found : mapping of int to Found
        Found in the images it shares positions with, its own among them.
    sight : Sight or None
        Its own.
    extent_mm : tuple of float
        Where its cord begins and ends.
    disputes : sequence of str
        What the session's given labels contradict each other in.
    """
    certain = {value: label.position_mm for value, label in sure(dict(found)).items()}
    new = added(own, shared)
    positions = dict(own) | new
    sources = dict.fromkeys(own, GIVEN) | dict.fromkeys(new, SHARED)
    off = contradictions(positions, certain)
    flags = [DISAGREE] if disputes or off else []
    notes = [*disputes, *(said(each, "found") for each in off)]
    doubtful: dict[int, float] = {}
    if not off:
        shows = sight is not None and sight.evidence.shows_discs
        new = added(positions, certain)
        positions, sources = positions | new, sources | dict.fromkeys(new, FOUND if shows else SHARED)
        likely = {v: f.position_mm for v, f in found.items() if v not in certain and f.in_view >= LIKELY}
        doubtful = added(positions, likely)
        missed = _missed(positions, doubtful, found, extent_mm)
        if missed:
            flags.append(UNSURE)
            notes.append(_why_unsure(missed, positions))
    return Decision(
        dict(sorted(positions.items())),
        {value: found[value].before_mm for value in certain if value in positions},
        sources,
        {value: label.confidence for value, label in found.items()},
        doubtful,
        flags,
        notes,
    )


def main_source(sources: Mapping[int, str]) -> str:
    """Where most discs come from; where there are none, the landmarks."""
    discs = [source for value, source in sources.items() if value in range(1, 26)]
    counted = Counter(discs or sources.values())
    return max(counted, key=lambda source: (counted[source], source == GIVEN), default=NONE)


def source_of(labels: Iterable[int], sources: Mapping[int, str]) -> str:
    """Where the limits of a region come from: found if one of its labels is, given if all are."""
    used = {sources[value] for value in labels if value in sources}
    return next((source for source in (FOUND, SHARED, GIVEN) if source in used), NONE)


def _missed(
    positions: Mapping[int, float],
    doubtful: Mapping[int, float],
    found: Mapping[int, Found],
    extent_mm: tuple[float, float],
) -> list[int]:
    """Discs without a name beside the cord in view; or any at all if none has a name."""
    shown = [value for value in positions if value in range(1, 26)]
    if not shown:
        return [value for value in found if value in DISCS and value not in positions]
    return [value for value, at in doubtful.items() if value in DISCS and extent_mm[0] <= at <= extent_mm[1]]


def _why_unsure(missed: list[int], positions: Mapping[int, float]) -> str:
    if not any(value in range(1, 26) for value in positions):
        return "discs are seen, but not which ones they are: no levels"
    names = ", ".join(disc_name(value) for value in sorted(missed))
    return f"seen, but not surely enough to be shown: {names}"
