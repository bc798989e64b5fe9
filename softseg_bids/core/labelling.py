"""Which disc is which: all labellings of a spine weighed against each other.

A labelling cuts the axis into consecutive levels. Its probability is that of the heights of its
levels (normal, for a person of unknown size), of the marks at its cuts, and of what each row looks
like. Summed over *all* labellings (forward and backward, as in a hidden semi-Markov model), this gives
for every label the probability of each place: where two numberings fit alike, no place is
probable, and the label stays unknown. People with a vertebra more or less are among the labellings;
what lies below theirs is not named.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.core.evidence import (
    ABOVE,
    FIRST_LEVEL,
    LEVEL_CLASSES,
    MEDULLA,
    STEP_MM,
    Pooled,
    information,
)
from softseg_bids.core.levels import CONUS, PONTOMEDULLARY_JUNCTION

Floats = NDArray[np.float64]

# Height of each level with the disc below it (mm), C1 (from its top to the C1-C2 joint) to S1:
# adult means rounded from textbook morphometry, the same as those of the synthetic bodies.
HEIGHTS_MM = (16, 20, 17, 16.5, 16, 16, 17.5, 19.5, 20.5, 21, 21.5, 22, 22.5, 23, 23.5, 24.5,
              26, 27.5, 29.5, 33, 34.5, 35.5, 36, 35, 30)  # fmt: skip
# People differ in size (mean and SD of the factor), and levels within a person.
SIZES = np.arange(0.78, 1.24, 0.05)
SIZE_MEAN, SIZE_SD, LEVEL_SD = 0.98, 0.10, 0.065
MEDULLA_MM, MEDULLA_SD_MM = 26.0, 5.0
# Share of levels of any height at all: fused, wedged, or where a mark misled.
ODD = 0.02
LONGEST_MM = 64
# Chance of a mark at a cut's own row, before anything is seen.
MARK_PRIOR = 0.12
# Logarithm of the share of people with a vertebra more or less at the end of the chest or loins.
VARIANT = float(np.log(0.02))

# A label is within so much of its place with the probability that is its confidence.
WITHIN_MM = 3.0
CONFIDENT = 0.7
# A disc of which nothing at all is seen near its place is not labelled, however surely it must be there.
# The joint of C1 and C2 is often just out of view, where its place says no more than C2's usual height;
# and the remnant of a joint within C2 looks like it, but for what is seen above the real one.
LEAST_DISC, LEAST_JOINT, ABOVE_JOINT_MM = 0.15, 0.5, 5.0
# The conus is a taper, not a point: its label is a place within 10 mm. Its mark (6 mm standard deviation)
# is half as high where places are unsure by 10 mm, so that two in three lie that near.
CONUS_CONFIDENT = 0.5


class Found(NamedTuple):
    """A label found in images.

    Attributes
    ----------
    position_mm : float
        Along the axis.
    before_mm : float
        How far in front of the cord the disc's tip lies; 0 for what is no disc.
    confidence : float
        Probability that the place is right within 3 mm (the conus: 10 mm).
    in_view : float
        Probability that the label lies in view at all.
    """

    position_mm: float
    before_mm: float
    confidence: float
    in_view: float = 1.0


class _Segment(NamedTuple):
    """A level among the segments of a labelling: what it looks like, and what may precede it."""

    kind: int
    before: tuple[tuple[int, float], ...]
    is_common: bool


def label_axis(pooled: Pooled) -> dict[int, Found]:
    """The most probable place of each label in view, with its confidence, however low.

    Parameters
    ----------
    pooled : Pooled

    Returns
    -------
    dict of int to Found
        Discs 2 to 25, 50 (pontomedullary junction) and 60 (conus); from the most probable place of
        each. Callers show only labels that are :func:`sure`.
    """
    cuts = cut_probabilities(pooled)
    found = {}
    for kind in (MEDULLA, *range(FIRST_LEVEL + 1, LEVEL_CLASSES - 1)):
        value = PONTOMEDULLARY_JUNCTION if kind == MEDULLA else kind - FIRST_LEVEL + 1
        place = _place(pooled, cuts[kind])
        if place is None:
            continue
        row, position, confidence, in_view = place
        if _is_unseen(pooled, value, row):
            confidence = 0.0
        before = float(pooled.tip_mm[row]) if 2 <= value <= 25 else 0.0
        found[value] = Found(position, before, confidence, in_view)
    conus = pooled.marks[3] * pooled.seen
    if conus.max() > 0.05:
        row = int(conus.argmax())
        found[CONUS] = Found(float(pooled.positions_mm[row]), 0.0, float(conus[row]), float(conus[row]))
    return found


def sure(found: dict[int, Found]) -> dict[int, Found]:
    """The labels that may be shown: confident ones, in the order of the spine."""
    least = {CONUS: CONUS_CONFIDENT}
    return {value: f for value, f in found.items() if f.confidence >= least.get(value, CONFIDENT)}


def cut_probabilities(pooled: Pooled) -> Floats:
    """Probability that each kind of level begins in each row, shape (LEVEL_CLASSES, rows + 1)."""
    rows = len(pooled.positions_mm)
    summed = _summed_rows(pooled)
    enter = _cut_scores(pooled)
    total, begins = [], []
    for size in SIZES:
        score, probability = _weigh(summed, enter, float(size), rows)
        total.append(score - 0.5 * ((size - SIZE_MEAN) / SIZE_SD) ** 2)
        begins.append(probability)
    weight = np.exp(np.array(total) - max(total))
    return np.asarray(np.tensordot(weight / weight.sum(), np.array(begins), axes=1))


def _segments() -> list[_Segment]:
    """The usual order of levels, and its variants: 11 or 13 thoracic, 4 or 6 lumbar vertebrae."""
    usual = [_Segment(k, ((k - 1, 0.0),) if k else (), True) for k in range(LEVEL_CLASSES)]
    t11, t12, l1, l4, l5, s1 = (FIRST_LEVEL + n for n in (17, 18, 19, 22, 23, 24))
    n = LEVEL_CLASSES
    extra_t, extra_l = n, n + 6
    varied = [_Segment(t12, ((t12, VARIANT),), False)]
    varied.append(_Segment(l1, ((extra_t, 0.0), (t11, VARIANT)), False))
    varied += [_Segment(l1 + k, ((n + k, 0.0),), False) for k in range(1, 5)]
    varied.append(_Segment(l5, ((l5, VARIANT),), False))
    varied.append(_Segment(s1, ((n + 5, 0.0), (extra_l, 0.0), (l4, VARIANT)), False))
    varied.append(_Segment(s1 + 1, ((n + 7, 0.0),), False))
    return usual + varied


SEGMENTS = _segments()


def _summed_rows(pooled: Pooled) -> Floats:
    """Running sums of what rows look like, for each kind; unseen rows add nothing.

    A network that is one level off is so in all rows (seen on a real neck): they count as one observation
    together, the rows that say most of themselves the most.
    """
    weight = pooled.seen * information(pooled.classes) ** 2
    scores = pooled.classes * weight / max(float(weight.sum()), 1e-6)
    return np.concatenate([np.zeros((LEVEL_CLASSES, 1)), np.cumsum(scores, axis=1)], axis=1)


def _cut_scores(pooled: Pooled) -> Floats:
    """How much a cut in each row gains by the mark that should lie there; 0 where none is to be seen."""
    odds = np.log(pooled.marks / (1 - pooled.marks)) - np.log(MARK_PRIOR / (1 - MARK_PRIOR))
    odds = np.where(pooled.seen, odds, 0.0)
    scores = np.zeros((LEVEL_CLASSES, pooled.marks.shape[1] + 1))
    scores[FIRST_LEVEL + 2 : LEVEL_CLASSES - 1, :-1] = odds[0]
    scores[FIRST_LEVEL + 1, :-1] = 0.5 * odds[1]
    scores[MEDULLA, :-1] = odds[2]
    return scores


def _heights(kind: int, size: float) -> tuple[Floats, Floats]:
    """Logarithms: probability of each height 1 ... LONGEST_MM, and of reaching 0 ... LONGEST_MM at least."""
    height = np.arange(1, LONGEST_MM + 1) * STEP_MM
    if kind in (ABOVE, LEVEL_CLASSES - 1):  # open ended: never left, or never entered
        return np.full(LONGEST_MM, np.log(1 / LONGEST_MM)), np.zeros(LONGEST_MM + 1)
    mean = MEDULLA_MM if kind == MEDULLA else size * HEIGHTS_MM[kind - FIRST_LEVEL]
    spread = MEDULLA_SD_MM if kind == MEDULLA else max(LEVEL_SD * mean, 1.0)
    usual = np.exp(-0.5 * ((height - mean) / spread) ** 2)
    odd = ((height > 0.5 * mean) & (height < 1.8 * mean)).astype(float)
    share = (1 - ODD) * usual / usual.sum() + ODD * odd / odd.sum()
    reach = np.append(np.cumsum(share[::-1])[::-1], 0.0)
    return np.log(share + 1e-30), np.log(reach + 1e-30)


def _weigh(summed: Floats, enter: Floats, size: float, rows: int) -> tuple[float, Floats]:
    """Sum over all labellings for one size: its logarithm, and where each kind begins."""
    count = len(SEGMENTS)
    tables = [_heights(kind, size) for kind in range(LEVEL_CLASSES)]
    begin = np.full((count, rows + 1), -np.inf)
    leave = np.full((count, rows + 1), -np.inf)
    ended = []
    for n, (kind, before, is_common) in enumerate(SEGMENTS):
        lengths, reach = tables[kind]
        gone = summed[kind]
        if before:
            ways = np.stack([leave[m] + weight for m, weight in before])
            begin[n] = enter[kind] + _log_sum(ways, 0)
        inner = gone + _log_sum(_delayed(begin[n] - gone, LONGEST_MM) + lengths[:, None], 0)
        # The view may begin anywhere within a level of the usual order.
        first = _reached(reach, rows) + gone if is_common else np.full(rows + 1, -np.inf)
        if kind == ABOVE:
            first = gone.copy()
        first[0] = -np.inf
        leave[n] = np.logaddexp(inner, first)
        last = begin[n] + _reached(reach, rows)[::-1] + gone[-1] - gone
        ended.append(np.append(last, first[-1]))
    total = float(_log_sum(np.concatenate(ended)[:, None], 0)[0])
    rest = np.full((count, rows + 1), -np.inf)
    after: list[list[tuple[int, float]]] = [[] for _ in SEGMENTS]
    for n, (_, before, _) in enumerate(SEGMENTS):
        for m, weight in before:
            after[m].append((n, weight))
    probability = np.zeros((LEVEL_CLASSES, rows + 1))
    for n in reversed(range(count)):
        kind, before, is_common = SEGMENTS[n]
        lengths, reach = tables[kind]
        gone = summed[kind]
        final = _reached(reach, rows)[::-1] + gone[-1] - gone
        if after[n]:
            ahead = _log_sum(np.stack([enter[SEGMENTS[m].kind] + rest[m] + w for m, w in after[n]]), 0)
            later = (ahead + gone)[::-1]
            onward = _log_sum(_delayed(later, LONGEST_MM) + lengths[:, None], 0)[::-1] - gone
            final = np.logaddexp(final, onward)
        rest[n] = final
        if is_common:
            probability[kind] += np.exp(begin[n] + rest[n] - total)
    return total, probability


def _reached(reach: Floats, rows: int) -> Floats:
    """Logarithm of the probability that a level reaches 0 ... rows at least."""
    full = np.full(rows + 1, reach[-1])
    n = min(rows + 1, len(reach))
    full[:n] = reach[:n]
    return full


def _delayed(line: Floats, longest: int) -> Floats:
    """``out[d - 1, k] = line[k - d]`` for d = 1 ... longest, shape (longest, n)."""
    padded = np.concatenate([np.full(longest, -np.inf), line])
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(line))
    return np.asarray(windows[longest - 1 :: -1][:longest])


def _log_sum(values: Floats, axis: int) -> Floats:
    top = values.max(axis=axis, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(values - safe).sum(axis=axis)) + safe.squeeze(axis))


def _is_unseen(pooled: Pooled, value: int, row: int) -> bool:
    """Whether a disc's place follows from others' alone, since no mark is seen there."""
    if value == 2:
        above = row - round(ABOVE_JOINT_MM / STEP_MM)
        return above < 0 or not pooled.seen[above] or bool(_near(pooled.marks[1], row).max() < LEAST_JOINT)
    return 3 <= value <= 25 and bool(_near(pooled.marks[0], row).max() < LEAST_DISC)


def _near(line: Floats, row: int) -> Floats:
    reach = round(WITHIN_MM / STEP_MM)
    return line[max(row - reach, 0) : row + reach + 1]


def _place(pooled: Pooled, cut: Floats) -> tuple[int, float, float, float] | None:
    """Row, position and confidence of the most probable place in view, and of being in view; or None."""
    line = np.where(pooled.seen, cut[:-1], 0.0)
    if line.sum() < 0.05:
        return None
    reach = round(WITHIN_MM / STEP_MM)
    window = np.convolve(line, np.ones(2 * reach + 1), "same")
    row = int(window.argmax())
    low = max(row - reach, 0)
    near = line[low : row + reach + 1]
    position = float(np.average(pooled.positions_mm[low : low + len(near)], weights=near + 1e-12))
    at = round((position - pooled.positions_mm[0]) / STEP_MM)
    return at, position, float(min(window[row], 1.0)), float(min(line.sum(), 1.0))
