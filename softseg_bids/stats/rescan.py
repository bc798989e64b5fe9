"""Scan-rescan: what changes when nothing has. From repeats only, never from other contrasts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.stats.estimate import Interval

SAME = ["participant_id", "session_id", "contrast", "acq", "ce", "rec", "region"]
# The difference of two measurements has sqrt(2) times the SD of one.
DETECTABLE = 1.96 * np.sqrt(2.0)
NO_REPEATS = "no repeats (runs of one contrast in one session)"


def rescan(usable: pd.DataFrame) -> list[dict[str, Any]]:
    """Within-person SD, coefficient of variation and minimum detectable change.

    Repeats are images of one session that differ in ``run`` only. The SD is pooled over people,
    each weighted by its repeats less one; intervals are chi-squared.

    Parameters
    ----------
    usable : DataFrame
        All rows that may enter statistics, repeats included.

    Returns
    -------
    list of dict
        Rows ``region contrast statistic ...`` with ``sd_within``, ``cov_within`` (%) and
        ``minimum_detectable_change``; without repeats one row with a note.
    """
    rows: list[dict[str, Any]] = []
    for (region, contrast), part in usable.groupby(["region", "contrast"], sort=False, observed=True):
        found = within_person(part)
        basis = {"region": region, "contrast": contrast, "method": "repeats"}
        if found is None:
            rows.append({**basis, "statistic": "sd_within", "units": "mm^2", "notes": NO_REPEATS})
            continue
        sd, mean, people, images = found
        basis |= {"n_people": people, "n_images": images}
        for name, interval, units in (
            ("sd_within", sd, "mm^2"),
            ("cov_within", sd.scaled(100.0 / mean), "%"),
            ("minimum_detectable_change", sd.scaled(float(DETECTABLE)), "mm^2"),
        ):
            rows.append({**basis, "statistic": name, **interval.columns(), "units": units})
    return rows


def within_person(part: pd.DataFrame) -> tuple[Interval, float, int, int] | None:
    """Pooled SD of repeats, their mean, number of people and of images; None without repeats.

    Parameters
    ----------
    part : DataFrame
        Rows of one region and contrast.
    """
    named = part.assign(**{name: part[name].astype(object).fillna("") for name in SAME})
    distinct = named.drop_duplicates([*SAME, "run"])
    distinct = distinct[distinct.duplicated(SAME, keep=False)]
    if distinct.empty:
        return None
    groups = distinct.groupby(SAME, sort=False)["area_mm2"]
    df = int((groups.size() - 1).sum())
    squares = float(((distinct["area_mm2"] - groups.transform("mean")) ** 2).sum())
    sd = Interval.sd(float(np.sqrt(squares / df)), df)
    return sd, float(distinct["area_mm2"].mean()), distinct["participant_id"].nunique(), len(distinct)
