"""Which labels an image uses: given ones always win, found ones must be sure, and both are compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from softseg_bids.app.landmarks import Axis, disc_name
from softseg_bids.app.sights import Sight
from softseg_bids.core.evidence import pool
from softseg_bids.core.labelling import Found, label_axis, sure

# Given and found labels this far apart are worth a look.
DISAGREE_MM = 5.0
DISAGREE, UNSURE = "levels_disagree", "levels_unsure"


class Decision(NamedTuple):
    """The labels of one image.

    Attributes
    ----------
    positions_mm : dict of int to float
        Along the axis.
    before_mm : dict of int to float
        How far in front of the cord found discs lie.
    confidences : dict of int to float
        Of found labels.
    source : str
        ``given``, ``found``, ``shared`` or ``none``.
    flags, notes : list of str
    """

    positions_mm: dict[int, float]
    before_mm: dict[int, float]
    confidences: dict[int, float]
    source: str
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
    own: dict[int, float], shared: dict[int, float], found: dict[int, Found], sight: Sight | None
) -> Decision:
    """Choose the labels of an image.

    Parameters
    ----------
    own, shared : dict of int to float
        Given labels of the image, and those of its session.
    found : dict of int to Found
        Found in the images it shares positions with, its own among them.
    sight : Sight or None
        Its own.
    """
    certain = sure(found)
    given = own or shared
    if given:
        off = {v: certain[v].position_mm - at for v, at in given.items() if v in certain}
        far = {value: away for value, away in off.items() if abs(away) > DISAGREE_MM}
        notes = [
            f"the given {disc_name(value)} lies {abs(away):.0f} mm {where} the one found"
            for value, away in far.items()
            for where in ["above" if away > 0 else "below"]
        ]
        return Decision(given, {}, {}, "given" if own else "shared", [DISAGREE] if far else [], notes)
    unsure = sorted(value for value in found if value not in certain and 2 < value < 26)
    flags, notes = [], []
    if unsure and not any(2 < value < 26 for value in certain):
        flags, notes = [UNSURE], ["discs are seen, but not which ones they are: no levels"]
    shows = sight is not None and sight.evidence.shows_discs
    return Decision(
        {value: label.position_mm for value, label in certain.items()},
        {value: label.before_mm for value, label in certain.items()},
        {value: label.confidence for value, label in certain.items()},
        ("found" if shows else "shared") if certain else "none",
        flags,
        notes,
    )
