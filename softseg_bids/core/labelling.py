"""Which disc is which: the labelling of a session that fits what its images show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# What is looked for row by row: posterior tips of discs (C2-C3 and below), the joint of C1 and C2,
# the pontomedullary junction, the end of the cord.
MARKS = ("disc", "joint", "pmj", "conus")
# Classes of a row: above the junction, medulla, then C1 (2) to S1 (26) and what lies below.
ABOVE, MEDULLA, FIRST_LEVEL, LEVEL_CLASSES = 0, 1, 2, 28


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
