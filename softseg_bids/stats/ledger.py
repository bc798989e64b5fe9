"""The ledger: who is missing from which figure, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

WHO = ["participant_id", "session_id"]
# Which tables each cause takes somebody out of.
ALL = "all"
BY_REGION = ("wide", "variability", "contrasts", "agreement", "groups", "centres", "norms", "change")
LIMITED = ("groups", "norms", "power")
ADJUSTED = ("groups", "centres", "harmonisation", "norms", "power")


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


def of_images(long: pd.DataFrame, least_coverage: float) -> list[dict[str, Any]]:
    """Measured images that do not enter: excluded, too coarse, limited, or with too little of a region.

    Parameters
    ----------
    long : DataFrame
        All rows, with ``excluded`` and ``excluded_reason`` where something was excluded.
    least_coverage : float
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
    rows += _regions(limited, "limited", _same(limited, "pixels or plane limit the area"), LIMITED)
    short = fine[(fine["coverage"] < least_coverage) & ~fine["region"].isin(["cord"])]
    percent = short["coverage"].mul(100).round().astype(int).astype(str)
    rows += _regions(
        short, "not covered", "under " + f"{least_coverage:.0%} of it was measured", BY_REGION, percent
    )
    return rows


def of_people(sessions: pd.DataFrame, covariates: Sequence[str], group: str | None) -> list[dict[str, Any]]:
    """People without a covariate that the models adjust for, or without a group.

    Parameters
    ----------
    sessions : DataFrame
        One row a session, covariates tidied.
    covariates : sequence of str
        Those that are used.
    group : str or None
    """
    rows: list[dict[str, Any]] = []
    for name in [*covariates, *([group] if group else [])]:
        lacking = sessions[sessions[name].isna()]
        figures = ("groups", "norms") if name == group else ADJUSTED
        rows += [
            {**dict(zip(WHO, key, strict=True)), "status": "no covariate", "reason": f"{name} is not known",
             "figures": figures}
            for key in zip(*(lacking[column].tolist() for column in WHO), strict=True)
        ]  # fmt: skip
    return rows


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
