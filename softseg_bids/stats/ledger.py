"""The ledger: who is missing from which figure, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from softseg_bids.stats.centres import LEAST_EACH as LEAST_OF_SITE
from softseg_bids.stats.design import OWN_STRETCHES, names_in
from softseg_bids.stats.groups import LEAST_EACH as LEAST_OF_GROUP
from softseg_bids.stats.harmonise import EVERY_BATCH, batch_names
from softseg_bids.stats.reference import NOT_IN_TABLE, eligible
from softseg_bids.stats.rescan import SAME

FAR = "far_from_isocentre"
WHO = ["participant_id", "session_id"]
# Which tables each cause takes somebody out of.
ALL = "all"
BETWEEN_PEOPLE = ("groups", "centres", "vendors", "power", "profile")
BY_REGION = (
    "wide", "variability", "contrasts", "agreement", "rescan", *BETWEEN_PEOPLE, "norms", "change",
    "harmonisation",
)  # fmt: skip
LIMITED = (*BETWEEN_PEOPLE, "norms")
# What is asked of limited images all the same, with --include-limited.
ALWAYS_GOOD = ("norms",)
ADJUSTED = ("groups", "centres", "harmonisation", "norms", "power")
# Who has no group is not known to be a control, and in no group's mean.
GROUPED = (*BETWEEN_PEOPLE, "change_model")
OF_SITES = ("centres", "vendors")


def of_sessions(sessions: Iterable[dict[str, Any]], contrast_set: Sequence[str]) -> list[dict[str, Any]]:
    """Inputs without a measurement, and contrasts of the set that a session lacks.

    Parameters
    ----------
    sessions : iterable of dict
        Each with ``who`` (the two columns that name it), ``missing`` (inputs with ``contrast input
        status reason``) and ``images`` (``contrast source status``).
    contrast_set : sequence of str
    """
    rows: list[dict[str, Any]] = []
    for said in sessions:
        named = said["who"]
        rows += [{**named, **entry, "figures": ALL} for entry in said["missing"]]
        rows += [
            {
                **named, "contrast": card["contrast"], "input": card["source"], "status": "no_cord",
                "reason": "no cord was found in it", "figures": ALL,
            }
            for card in said["images"]
            if card["status"] == "no_cord"
        ]  # fmt: skip
        known = {card["contrast"] for card in [*said["images"], *said["missing"]]}
        rows += [
            {
                **named, "contrast": name, "status": "absent",
                "reason": "the session has no image of this contrast", "figures": ALL,
            }
            for name in contrast_set
            if name not in known
        ]  # fmt: skip
    return rows


def of_images(
    long: pd.DataFrame, least_coverage: float, include_limited: bool = False
) -> list[dict[str, Any]]:
    """Measured images that do not enter: excluded, too coarse, limited, or with too little of a region.

    Parameters
    ----------
    long : DataFrame
        All rows, with ``excluded`` and ``excluded_reason`` where something was excluded.
    least_coverage : float
    include_limited : bool
        Whether limited images enter comparisons between people.
    """
    rows: list[dict[str, Any]] = []
    measured = long[long["area_mm2"].notna() | (long["coverage"] == 0)]
    if "excluded" in long:
        gone = long[long["excluded"] == "image"]
        rows += _regions(gone, "excluded", gone["excluded_reason"].fillna("excluded"), (ALL,))
        part = long[long["excluded"] == "slices"]
        rows += _regions(
            part,
            "slices excluded",
            part["excluded_reason"].fillna("") + " (measured without them)",
            ("none",),
        )
        measured = measured[measured["excluded"] != "image"]
    coarse = measured[measured["csa_fit"] == "no"]
    rows += _regions(coarse, "coarse", _same(coarse, "its pixels are too coarse to measure an area"), (ALL,))
    fine = measured[measured["csa_fit"] != "no"]
    limited = fine[fine["csa_fit"] == "limited"]
    without = ALWAYS_GOOD if include_limited else LIMITED
    rows += _regions(limited, "limited", "pixels or plane limit the area", without)
    far = fine[(fine["csa_fit"] == "good") & fine["flags"].fillna("").astype(str).str.contains(FAR)]
    rows += _regions(far, "far off", "far from the isocentre, gradients not corrected", ALWAYS_GOOD)
    short = fine[(fine["coverage"] < least_coverage) & ~fine["region"].isin(["cord"])]
    percent = short["coverage"].mul(100).round().astype(int).astype(str)
    rows += _regions(
        short, "not covered", "under " + f"{least_coverage:.0%} of it was measured", BY_REGION, percent
    )
    return rows


def of_people(
    sessions: pd.DataFrame, covariates: Sequence[str], group: str | None, formula: str | None = None
) -> list[dict[str, Any]]:
    """People without a covariate that the models adjust for, without a group, or in a group of too few.

    Parameters
    ----------
    sessions : DataFrame
        One row a session, covariates tidied.
    covariates : sequence of str
        Those that are used.
    group : str or None
    formula : str, optional
        What stands in place of the covariates where groups are compared.
    """
    rows: list[dict[str, Any]] = []
    own = [name for name in sessions if formula is not None and name in names_in(formula)]
    for name in dict.fromkeys([*covariates, *own, *([group] if group else [])]):
        lacking = sessions[sessions[name].isna()]
        if name == group:
            figures: Sequence[str] = GROUPED
        elif formula is None or name in own:
            figures = ADJUSTED if name in covariates else ("groups",)
        else:
            figures = [figure for figure in ADJUSTED if figure != "groups"]
        rows += [
            {**dict(zip(WHO, key, strict=True)), "status": "no covariate", "reason": f"{name} is not known",
             "figures": figures}
            for key in zip(*(lacking[column].tolist() for column in WHO), strict=True)
        ]  # fmt: skip
    return rows


def of_groups(sessions: pd.DataFrame, group: str) -> list[dict[str, Any]]:
    """People in groups of too few to be compared.

    Parameters
    ----------
    sessions : DataFrame
        One row a session, with ``person_id`` and the group column.
    group : str
    """
    people = sessions.drop_duplicates("participant_id").dropna(subset=[group])
    counts = people[group].map(people.groupby(group)["person_id"].nunique())
    few = counts < LEAST_OF_GROUP
    said = counts.astype(str) + " of group " + people[group].astype(str) + f", {LEAST_OF_GROUP} are needed"
    return _persons(people[few], "small group", said[few], ("groups",))


def of_centres(sessions: pd.DataFrame) -> list[dict[str, Any]]:
    """People whose site is not known or who are alone there; and those whose scanner has no known maker.

    Parameters
    ----------
    sessions : DataFrame
        One row a session: `WHO`, ``person_id site manufacturer``. Without any site there are no rows: nobody
        is missing from a comparison that is not there.
    """
    people = sessions.drop_duplicates("participant_id")
    site, maker = (people[name].astype(object).fillna("").astype(str) for name in ("site", "manufacturer"))
    if not (site != "").any():
        return []
    alone = (site != "") & (site.map(people.groupby(site)["person_id"].nunique()) < LEAST_OF_SITE)
    causes = (
        (site == "", "no site", "its site is not known", OF_SITES),
        (alone, "lone site", "there is nobody else of its site", OF_SITES),
        (
            (site != "") & ~alone & (maker == ""),
            "no vendor",
            "its scanner's maker is not known",
            ("vendors",),
        ),
    )
    return [
        row
        for where, status, reason, figures in causes
        for row in _persons(people[where], status, _same(people[where], reason), figures)
    ]


def of_batches(best: pd.DataFrame, harmonisation: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Images of batches that were not harmonised.

    Parameters
    ----------
    best : DataFrame
        One row a session, contrast and region, with ``source_image site scanner software``.
    harmonisation : iterable of dict
        Rows of its table.
    """
    batch = batch_names(best)
    rows: list[dict[str, Any]] = []
    for refusal in harmonisation:
        if refusal["statistic"] != "refused" or refusal["batch"] == EVERY_BATCH:
            continue
        there = (batch == refusal["batch"]) & ~best["region"].isin(OWN_STRETCHES)
        if "region" in refusal:
            there &= (best["region"] == refusal["region"]) & (best["contrast"] == refusal["contrast"])
        rows += _regions(best[there], "refused batch", refusal["notes"], ("harmonisation",))
    return rows


def of_norms(best: pd.DataFrame, offsets: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Images whose regions or contrast a table of norms has nothing of.

    Parameters
    ----------
    best : DataFrame
        One row a session, contrast and region, with ``source_image csa_fit flags``.
    offsets : iterable of dict
        Rows of the table of offsets.
    """
    without = {(row["region"], row["contrast"]) for row in offsets if row["statistic"] == NOT_IN_TABLE}
    if not without:
        return []
    there, _ = eligible(best)
    outside = pd.MultiIndex.from_frame(there[["region", "contrast"]]).isin(list(without))
    return _regions(
        there[outside], "no norm", "the table of norms has no such region and contrast", ("norms",)
    )


def of_repeats(long: pd.DataFrame, usable: pd.DataFrame) -> list[dict[str, Any]]:
    """Repeats that are compared with nothing, because their partners do not enter.

    Parameters
    ----------
    long : DataFrame
        All rows.
    usable : DataFrame
        Those that may enter statistics.
    """
    distinct, left = (_runs(frame) for frame in (long[long["area_mm2"].notna()], usable))
    repeated = distinct[distinct.duplicated(SAME, keep=False)]
    lone = left[~left.duplicated(SAME, keep=False)].merge(repeated[SAME].drop_duplicates(), on=SAME)
    lone = lone[lone["region"] != "cord"]
    return _regions(lone, "lone repeat", "no other repeat of it enters statistics", ("rescan",))


def _runs(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a run, session, contrast and region; what is not known is empty text."""
    names = [*SAME, "run", "source_image"]
    named = frame[names].astype(object)
    return named.where(named.notna(), "").drop_duplicates([*SAME, "run"])


def _persons(
    people: pd.DataFrame, status: str, reason: pd.Series, figures: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        {"participant_id": name, "status": status, "reason": said, "figures": figures}
        for name, said in zip(people["participant_id"], reason, strict=True)
    ]


def _same(frame: pd.DataFrame, text: str) -> pd.Series:
    return pd.Series(text, index=frame.index, dtype=object)


def _regions(
    frame: pd.DataFrame, status: str, reason: pd.Series | str, figures: Sequence[str],
    detail: pd.Series | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """One row an image and reason, its regions joined."""
    if frame.empty:
        return []
    said = reason if isinstance(reason, pd.Series) else _same(frame, reason)
    region = frame["region"] + (" (" + detail + " %)" if detail is not None else "")
    grouped = pd.DataFrame(
        {
            "participant_id": frame["participant_id"], "session_id": frame["session_id"].fillna(""),
            "contrast": frame["contrast"], "input": frame["source_image"], "reason": said, "region": region,
        }
    ).groupby([*WHO, "contrast", "input", "reason"], sort=False, observed=True)  # fmt: skip
    joined = grouped["region"].agg(";".join)
    return [
        {**dict(zip([*WHO, "contrast", "input", "reason"], key, strict=True)), "region": regions,
         "status": status, "figures": figures}
        for key, regions in zip(joined.index.to_flat_index(), joined, strict=True)
    ]  # fmt: skip
