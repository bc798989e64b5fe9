"""What the rows along a cord show of vertebral levels, and the views of several images in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# What is looked for row by row: posterior tips of discs (C2-C3 and below), the joint of C1 and C2,
# the pontomedullary junction, the end of the cord.
MARKS = ("disc", "joint", "pmj", "conus")
# Classes of a row: above the junction, medulla, then C1 (2) to S1 (26) and what lies below.
ABOVE, MEDULLA, FIRST_LEVEL, LEVEL_CLASSES = 0, 1, 2, 28


# Rows of the pooled evidence.
STEP_MM = 1.0
# No network is surer than this, of a mark or against it; and so much of each class is anybody's.
SUREST, LEAST_CLASS = 0.99, 0.02 / LEVEL_CLASSES
# Discs count as visible in an image whose clearest twentieth of rows reaches this.
DISCS_VISIBLE = 0.4


class Evidence(NamedTuple):
    """What the rows along one image's cord show, from the upper end down.

    Attributes
    ----------
    marks : ndarray, shape (len(MARKS), n)
        Probability that a mark lies in the row.
    tip_mm : ndarray, shape (n,)
        Where a disc's tip would lie in front of the cord.
    classes : ndarray, shape (LEVEL_CLASSES, n)
        Logarithm of the probability of each class.
    seen : ndarray of bool, shape (n,)
        Rows inside the field of view; the others say nothing.
    """

    marks: Floats
    tip_mm: Floats
    classes: Floats
    seen: NDArray[np.bool_]

    @classmethod
    def nothing(cls, rows: int) -> Evidence:
        """Rows of which nothing is seen."""
        blank = np.zeros((len(MARKS), rows))
        even = np.full((LEVEL_CLASSES, rows), -np.log(LEVEL_CLASSES))
        return cls(blank, np.zeros(rows), even, np.zeros(rows, dtype=bool))

    @classmethod
    def from_logits(
        cls, out: NDArray[np.floating], tip_unit_mm: float, seen: NDArray[np.bool_], first: int
    ) -> Evidence:
        """From a network's output on the rows from ``first`` on.

        Parameters
        ----------
        out : ndarray, shape (len(MARKS) + 1 + LEVEL_CLASSES, k)
            Logits of the marks, tip distance in units, logits of the classes.
        tip_unit_mm : float
        seen : ndarray of bool, shape (n,)
        first : int
        """
        evidence = cls.nothing(len(seen))
        there = slice(first, first + out.shape[1])
        logits = np.asarray(out, dtype=float)
        evidence.marks[:, there] = 1 / (1 + np.exp(-logits[: len(MARKS)]))
        evidence.tip_mm[there] = logits[len(MARKS)] * tip_unit_mm
        scores = logits[len(MARKS) + 1 :]
        top = scores.max(axis=0)
        evidence.classes[:, there] = scores - top - np.log(np.exp(scores - top).sum(axis=0))
        evidence.marks[:, ~seen] = 0
        evidence.classes[:, ~seen] = -np.log(LEVEL_CLASSES)
        return evidence._replace(seen=seen)

    @property
    def shows_discs(self) -> bool:
        """Whether discs can be told in this image."""
        return _disc_clarity(self) >= DISCS_VISIBLE


class Pooled(NamedTuple):
    """The evidence of several images on one axis.

    Attributes
    ----------
    positions_mm : ndarray, shape (k,)
        A millimetre apart, downwards.
    marks, tip_mm, classes, seen
        As of :class:`Evidence`; probabilities are clipped, so that no row decides alone.
    """

    positions_mm: Floats
    marks: Floats
    tip_mm: Floats
    classes: Floats
    seen: NDArray[np.bool_]


def pool(views: Sequence[tuple[Floats, Evidence]]) -> Pooled | None:
    """Bring the evidence of images together, the more so the more each one shows.

    Images of one session share their mistakes in part: k equal ones count as the square root of k
    independent ones. One that shows nothing (diffusion, say) changes nothing.

    Parameters
    ----------
    views : sequence of (positions_mm, Evidence)
        Positions of the rows along the shared axis, not decreasing.

    Returns
    -------
    Pooled or None
        None if no image shows anything.
    """
    views = [(np.asarray(at, dtype=float), evidence) for at, evidence in views if evidence.seen.any()]
    if not views:
        return None
    low = min(at[evidence.seen].min() for at, evidence in views)
    high = max(at[evidence.seen].max() for at, evidence in views)
    grid = np.arange(np.floor(low), np.ceil(high) + STEP_MM, STEP_MM)
    clarity = np.array([_disc_clarity(evidence) for _, evidence in views])
    sharpness = np.array([_sharpness(evidence) for _, evidence in views])
    logits = np.zeros((len(MARKS), len(grid)))
    scores = np.zeros((LEVEL_CLASSES, len(grid)))
    tip, heavy, marked, named = (np.zeros(len(grid)) for _ in range(4))
    for (at, evidence), clear, sharp in zip(
        views, clarity / max(clarity.max(), 1e-6), sharpness / max(sharpness.max(), 1e-6), strict=True
    ):
        there = _interpolated(grid, at, evidence.seen.astype(float)) > 0.5
        there &= (grid >= at.min()) & (grid <= at.max())
        clipped = np.clip(evidence.marks, 1 - SUREST, SUREST)
        logits += clear * there * _interpolated(grid, at, np.log(clipped / (1 - clipped)))
        classes = np.log(np.exp(evidence.classes) * (1 - LEAST_CLASS * LEVEL_CLASSES) + LEAST_CLASS)
        scores += sharp * there * _interpolated(grid, at, classes)
        weight = there * clear * _interpolated(grid, at, evidence.marks[0])
        tip += weight * _interpolated(grid, at, evidence.tip_mm)
        heavy += weight
        marked, named = marked + clear * there, named + sharp * there
    seen = named > 0
    logits /= np.sqrt(np.maximum(marked, 1e-6))
    logits[:, ~seen] = np.log(1 / SUREST - 1)
    scores /= np.sqrt(np.maximum(named, 1e-6))
    scores -= np.log(np.exp(scores).sum(axis=0))
    return Pooled(grid, 1 / (1 + np.exp(-logits)), tip / np.maximum(heavy, 1e-6), scores, seen)


def _disc_clarity(evidence: Evidence) -> float:
    """Disc probability that the clearest twentieth of the rows in view reaches."""
    if not evidence.seen.any():
        return 0.0
    return float(np.quantile(evidence.marks[0, evidence.seen], 0.95))


def _sharpness(evidence: Evidence) -> float:
    """Mean information of the rows in view about their class, 0 (none) to 1."""
    return float(information(evidence.classes[:, evidence.seen]).mean())


def information(classes: Floats) -> Floats:
    """What each row says of its class, 0 (nothing) to 1, from logarithms of shape (LEVEL_CLASSES, n)."""
    return np.asarray(1 + (np.exp(classes) * classes).sum(axis=0) / np.log(LEVEL_CLASSES))


def _interpolated(grid: Floats, at: Floats, values: Floats) -> Floats:
    """Rows of values at other positions; of rows that share a position the first counts."""
    unique, index = np.unique(at, return_index=True)
    if values.ndim == 1:
        return np.asarray(np.interp(grid, unique, values[index]))
    return np.stack([np.interp(grid, unique, row[index]) for row in values])
