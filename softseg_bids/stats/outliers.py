"""Images that stand apart: from the person's other contrasts, and from their site.

A robust z (distance from a median over 1.4826 times the median absolute deviation) beyond 3.5
(Iglewicz & Hoaglin 1993) is a flag. It never excludes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from softseg_bids.stats.design import OWN_STRETCHES

FLAGGED_Z = 3.5
LEAST_IMAGES = 10
MAD_TO_SD = 1.4826
# Fewer than half a percent of the area is no distance, however alike the others are.
LEAST_SD_SHARE = 0.005
OTHER_CONTRASTS, SITE = "outlier_contrasts", "outlier_site"


def robust_z(values: pd.Series, by: list[pd.Series]) -> pd.Series:
    """Robust z of logarithms of areas within groups; NaN where a group has fewer than ten.

    Parameters
    ----------
    values : Series
        Logarithms; their SD is never taken to be less than 0.005.
    by : list of Series
        Group keys.
    """
    groups = values.groupby(by, observed=True)
    middle = groups.transform("median")
    spread = MAD_TO_SD * (values - middle).abs().groupby(by, observed=True).transform("median")
    enough = groups.transform("count") >= LEAST_IMAGES
    return ((values - middle) / spread.clip(lower=LEAST_SD_SHARE)).where(enough)


def outliers(best: pd.DataFrame) -> pd.DataFrame:
    """How far each image stands from its person's other contrasts and from its site.

    Against the other contrasts: log area minus the median of the person's other contrasts in the same
    session and region, compared with the same distance in other people. The farthest of a session is
    taken out before the others are judged, or it would draw them along. Against the site: log area
    among images of the contrast at the site. Of an image's regions the farthest counts.

    Parameters
    ----------
    best : DataFrame
        One row a session, contrast and region with ``source_image site``.

    Returns
    -------
    DataFrame
        Index ``source_image``; columns ``z_contrasts z_site flags`` (list of str).
    """
    shared = best[~best["region"].isin(["cord"])].dropna(subset=["area_mm2"])
    shared = shared[shared["area_mm2"] > 0]
    log = shared["area_mm2"].astype(float).map(np.log)
    own = [shared["participant_id"], shared["session_id"].fillna(""), shared["region"]]
    kind = [shared["contrast"], shared["region"]]
    contrasts = _apart_from_others(log, own, kind)
    site = robust_z(log, [*kind, shared["site"].fillna("")])
    site = site.where((shared["site"].fillna("") != "") & ~shared["region"].isin(OWN_STRETCHES))
    z = pd.DataFrame({"source_image": shared["source_image"], "z_contrasts": contrasts, "z_site": site})
    far = pd.DataFrame({name: _farthest(z, name) for name in ("z_contrasts", "z_site")})
    far = far.reindex(z["source_image"].unique())
    flags = [
        [name for name, value in ((OTHER_CONTRASTS, a), (SITE, b)) if abs(value) > FLAGGED_Z]
        for a, b in zip(far["z_contrasts"], far["z_site"], strict=True)
    ]
    return far.assign(flags=pd.Series(flags, index=far.index, dtype=object))


def _apart_from_others(log: pd.Series, own: list[pd.Series], kind: list[pd.Series]) -> pd.Series:
    away = log - _median_of_others(log, own)
    first = robust_z(away, kind)
    size = first.abs()
    farthest = (size > FLAGGED_Z) & (size == size.groupby(own, observed=True).transform("max"))
    again = log - _median_of_others(log.mask(farthest), own)
    # The second look changes distances only: typical ones and their spread are those of all.
    groups = away.groupby(kind, observed=True)
    middle = groups.transform("median")
    spread = MAD_TO_SD * (away - middle).abs().groupby(kind, observed=True).transform("median")
    second = (again - middle) / spread.clip(lower=LEAST_SD_SHARE)
    return first.where(farthest | second.isna() | first.isna(), second)


def _median_of_others(values: pd.Series, by: list[pd.Series]) -> pd.Series:
    """For each value the median of the others of its group, of those that are known; NaN for a lone one."""
    found = np.full(len(values), np.nan)
    codes = values.groupby(by, observed=True).ngroup().to_numpy()
    numbers = values.to_numpy(dtype=float)
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    ends = np.cumsum(sizes)
    for size in np.unique(sizes[sizes > 1]):
        groups = np.flatnonzero(sizes == size)
        rows = order[(ends[groups] - size)[:, None] + np.arange(size)]
        table = numbers[rows]
        for n in range(size):
            others = np.delete(table, n, axis=1)
            known = np.isfinite(others).any(axis=1)
            found[rows[known, n]] = np.nanmedian(others[known], axis=1)
    return pd.Series(found, index=values.index)


def _farthest(z: pd.DataFrame, name: str) -> pd.Series:
    """Of each image's values the one farthest from 0."""
    known = z.dropna(subset=[name])
    order = known[name].abs().sort_values(ascending=False, kind="stable").index
    first = known.loc[order].drop_duplicates("source_image")
    return first.set_index("source_image")[name].astype(float)
