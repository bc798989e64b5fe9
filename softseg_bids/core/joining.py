"""Labels of two origins on one spine: where they contradict each other, and what one adds to the other.

People label what they need: the pontomedullary junction alone, or one disc. What else an image shows may be
added to that, as long as both can belong to one spine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from softseg_bids.core.labelling import HEIGHTS_MM, MEDULLA_MM
from softseg_bids.core.levels import CONUS, PONTOMEDULLARY_GROOVE, PONTOMEDULLARY_JUNCTION

# Two places of one label this far apart are two places.
AGREE_MM = 5.0
# Any stretch of a spine lies between these shares of its mean length: the range in which `core.labelling`
# takes a level for possible at all, from a small child's to a tall man's.
LEAST_STRETCH, MOST_STRETCH = 0.5, 1.8
# No cord ends above this disc (T7-T8), whatever ails it.
ABOVE_CONUS = 15

_TOPS_MM = np.concatenate([[MEDULLA_MM], MEDULLA_MM + np.cumsum(HEIGHTS_MM)])
_USUAL_MM = {PONTOMEDULLARY_GROOVE: 0.0, PONTOMEDULLARY_JUNCTION: 0.0} | {
    value: float(top) for value, top in enumerate(_TOPS_MM, 1)
}


class Contradiction(NamedTuple):
    """Two labels that cannot both be right.

    Attributes
    ----------
    given, other : int
        Their values; equal where one label has two places.
    away_mm : float
        Position of the other minus that of the given one.
    """

    given: int
    other: int
    away_mm: float


def contradictions(given: Mapping[int, float], others: Mapping[int, float]) -> list[Contradiction]:
    """Pairs of labels that do not belong to one spine.

    A label both have must lie within 5 mm; other pairs must keep the order of the spine, and a distance
    of between 0.5 and 1.8 times the usual one: a numbering that is shifted has a level of no height.
    The groove and the junction are one place; the conus is only known to lie below the upper chest.

    Parameters
    ----------
    given, others : mapping of int to float
        Positions of labels (mm), growing downwards.

    Returns
    -------
    list of Contradiction
        In the order of the values.
    """
    return [
        Contradiction(one, other, others[other] - given[one])
        for one in sorted(given)
        for other in sorted(others)
        if not _fit(one, given[one], other, others[other])
    ]


def added(given: Mapping[int, float], others: Mapping[int, float]) -> dict[int, float]:
    """The labels that others have and the given ones lack; a given groove stands for the junction, too."""
    has_groove = PONTOMEDULLARY_GROOVE in given
    return {
        value: at
        for value, at in others.items()
        if value not in given and not (has_groove and value == PONTOMEDULLARY_JUNCTION)
    }


def _fit(one: int, at: float, other: int, there: float) -> bool:
    if one == other:
        return abs(there - at) <= AGREE_MM
    if CONUS in (one, other):
        disc, disc_at, conus_at = (other, there, at) if one == CONUS else (one, at, there)
        return conus_at > disc_at or ABOVE_CONUS < disc < PONTOMEDULLARY_GROOVE
    usual = _USUAL_MM[other] - _USUAL_MM[one]
    if usual == 0:  # groove and junction
        return abs(there - at) <= 2 * AGREE_MM
    return LEAST_STRETCH < (there - at) / usual < MOST_STRETCH
