"""What the level network saw along one image's cord, as a file between steps."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.core.evidence import Evidence


class Sight(NamedTuple):
    """Evidence for levels, and where it lies.

    Attributes
    ----------
    points_mm : ndarray, shape (n, 3)
        Scanner coordinates of the rows, from the upper end down, beyond the cord's ends too.
    evidence : Evidence
        Of the same rows.
    """

    points_mm: NDArray[np.float64]
    evidence: Evidence


def save_sight(path: Path, sight: Sight | None) -> Path:
    """Write a sight; None (nothing was looked for) is a file, too."""
    content = {} if sight is None else {"points_mm": sight.points_mm, **sight.evidence._asdict()}
    np.savez_compressed(path, **content)
    return path


def load_sight(path: Path) -> Sight | None:
    """Read what :func:`save_sight` wrote."""
    with np.load(path) as content:
        if not content.files:
            return None
        return Sight(content["points_mm"], Evidence(*(content[name] for name in Evidence._fields)))
