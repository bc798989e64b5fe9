"""Which labels an image uses: given ones always win, found ones must be sure and fit the given ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from softseg_bids.app.given import said
from softseg_bids.app.landmarks import Axis, disc_name
from softseg_bids.app.sights import Sight
from softseg_bids.core.evidence import MARKS, pool
from softseg_bids.core.joining import added, contradictions
from softseg_bids.core.labelling import LEAST_DISC, WITHIN_MM, Found, label_axis, sure
from softseg_bids.core.levels import CONUS, PONTOMEDULLARY_JUNCTION

DISAGREE, UNSURE, FROM_SACRUM = "levels_disagree", "levels_unsure", "counted_from_sacrum"
GIVEN, FOUND, SHARED, NONE = "given", "found", "shared", "none"
# Labels found that are discs, C2-C3 to L5-S1.
DISCS = range(3, 26)
# A label that is more likely in view than not is missed if nobody says that it is not shown.
LIKELY = 0.5
# Where one of these is in view, down to the lower end of T1, levels are counted from above. Discs of the
# loins, T12-L1 and below.
FROM_ABOVE = frozenset([*range(2, 10), PONTOMEDULLARY_JUNCTION])
LUMBAR = range(20, 26)
# The mark of each label; that of all others is a disc.
MARK_OF = {2: "joint", PONTOMEDULLARY_JUNCTION: "pmj", CONUS: "conus"}


class Looked(NamedTuple):
    """What was found for an image.

    Attributes
    ----------
    found : dict of int to Found
        In the images it shares positions with, its own among them.
    here : frozenset of int
        The labels among them that this image itself shows.
    shows_discs : bool
        Whether discs can be told in any of these images.
    """

    found: dict[int, Found]
    here: frozenset[int]
    shows_discs: bool


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


def looked(axis: Axis, found: dict[int, Found], own: Sight | None, others: Iterable[Sight | None]) -> Looked:
    """Tell what was found in an image itself from what others show.

    Parameters
    ----------
    axis : Axis
    found : dict of int to Found
        From :func:`look`, at all these images.
    own : Sight or None
        Of the image.
    others : iterable of Sight or None
        Of the others. Where none of them shows anything, all was found in the image itself.
    """
    elsewhere = [sight for sight in others if sight is not None and sight.evidence.seen.any()]
    here = frozenset(found) if not elsewhere else _shown_in(axis, found, own)
    everything = [own, *elsewhere] if own is not None else elsewhere
    return Looked(found, here, any(sight.evidence.shows_discs for sight in everything))


def _shown_in(axis: Axis, found: Mapping[int, Found], sight: Sight | None) -> frozenset[int]:
    """The labels whose mark an image shows at their place."""
    if sight is None:
        return frozenset()
    at = axis.positions(sight.points_mm)[0]
    marks = dict(zip(MARKS, sight.evidence.marks * sight.evidence.seen, strict=True))
    return frozenset(
        value
        for value, label in found.items()
        if (marks[MARK_OF.get(value, "disc")][abs(at - label.position_mm) <= WITHIN_MM] >= LEAST_DISC).any()
    )


def decide(
    own: Mapping[int, float],
    shared: Mapping[int, float],
    seen: Looked,
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
    seen : Looked
    extent_mm : tuple of float
        Where its cord begins and ends.
    disputes : sequence of str
        What the session's given labels contradict each other in.
    """
    found = seen.found
    certain = {value: label.position_mm for value, label in sure(found).items()}
    of_session = added(own, shared)
    positions = dict(own) | of_session
    sources = dict.fromkeys(own, GIVEN) | dict.fromkeys(of_session, SHARED)
    off = contradictions(positions, certain)
    flags = [DISAGREE] if disputes or off else []
    notes = [*disputes, *(said(each, "found") for each in off)]
    doubtful: dict[int, float] = {}
    if not off:
        new = added(positions, certain)
        positions = positions | new
        sources |= {value: FOUND if value in seen.here else SHARED for value in new}
        likely = {v: f.position_mm for v, f in found.items() if v not in certain and f.in_view >= LIKELY}
        doubtful = added(positions, likely)
        missed = _missed(positions, doubtful, seen, extent_mm)
        if missed:
            flags.append(UNSURE)
            notes.append(_why_unsure(missed, positions))
        if _counted_from_sacrum([*own, *of_session], new, found):
            flags.append(FROM_SACRUM)
            notes.append(
                "levels are counted up from the sacrum, as if there were five lumbar vertebrae: "
                "one disc label, or an image of the neck, would settle them"
            )
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
    seen: Looked,
    extent_mm: tuple[float, float],
) -> list[int]:
    """Discs without a name beside the cord in view; or any at all if discs are seen and none has a name."""
    shown = [value for value in positions if value in range(1, 26)]
    if not shown:
        return [value for value in seen.found if value in DISCS] if seen.shows_discs else []
    return [value for value, at in doubtful.items() if value in DISCS and extent_mm[0] <= at <= extent_mm[1]]


def _counted_from_sacrum(given: Iterable[int], shown: Iterable[int], found: Mapping[int, Found]) -> bool:
    """Whether lumbar discs are shown as found while nothing else than the sacrum says which they are.

    Parameters
    ----------
    given : iterable of int
        Labels that somebody gave; the conus says nothing of numbers.
    shown : iterable of int
        Labels found that are shown.
    found : mapping of int to Found
        In all images of the axis, shown or not.
    """
    anchored = any(value != CONUS for value in given)
    from_above = any(label.in_view >= LIKELY for value, label in found.items() if value in FROM_ABOVE)
    return any(value in LUMBAR for value in shown) and not anchored and not from_above


def _why_unsure(missed: list[int], positions: Mapping[int, float]) -> str:
    if not any(value in range(1, 26) for value in positions):
        return "discs are seen, but not which ones they are: no levels"
    names = ", ".join(disc_name(value) for value in sorted(missed))
    return f"seen, but not surely enough to be shown: {names}"
