"""Paired areas of many regions and contrasts: every estimate of agreement, one place for all commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from softseg_bids.stats.agreement import LEAST_PAIRS, pair_rows, scaling


def agreements(frame: pd.DataFrame, by: Sequence[str], columns: tuple[str, str]) -> list[dict[str, Any]]:
    """Bias, limits of agreement, SD of differences, slope and scaling factor of every group.

    Parameters
    ----------
    frame : DataFrame
        One row an independent pair within each group.
    by : sequence of str
        Columns that make the groups.
    columns : tuple of str
        The two areas: differences are the first minus the second, the factor is the first over the second.
    """
    rows: list[dict[str, Any]] = []
    for key, part in frame.groupby(list(by), sort=False):
        pair = part[list(columns)].to_numpy(float)
        basis = dict(zip(by, key, strict=True))
        rows += [basis | row for row in pair_rows(pair)]
        if len(pair) >= LEAST_PAIRS:
            factor = scaling(pair[:, 0], pair[:, 1])
            rows.append(
                {**basis, "statistic": "scaling", **factor.columns(), "n_people": len(pair), "units": ""}
                | {"method": "geometric mean of the ratios"}
            )
    return rows
