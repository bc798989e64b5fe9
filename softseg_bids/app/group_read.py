"""What the group level reads: every session's table at once, and who the people are."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softseg_bids.app.columns import LONG
from softseg_bids.stats.design import MISSING, MISSING_GROUP, ages, tidy
from softseg_bids.stats.groups import GROUP_COLUMNS
from softseg_bids.stats.vendors import vendor

WHO = ["participant_id", "session_id"]
TEXT = (
    "participant_id", "session_id", "run", "contrast", "acq", "ce", "rec", "plane", "site",
    "manufacturer", "scanner", "software", "region", "source_image", "csa_fit", "mask_source",
    "levels_source", "angle_source", "gradient_correction", "model_hash", "version", "status", "flags",
)  # fmt: skip
# Columns of a sessions table that say when it was.
DATES = ("acq_time", "acq_date", "session_date", "date")
YEAR_DAYS = 365.25
AT_ONCE = 1000


class RowsOf(Sequence[dict[str, Any]]):
    """A frame as the rows that tables are written from, one at a time: a study does not fit in dicts."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, index: Any) -> Any:
        return dict(zip(self.frame.columns, self.frame.iloc[index], strict=True))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names = list(self.frame.columns)
        for row in zip(*(self.frame[name].tolist() for name in names), strict=True):
            yield dict(zip(names, row, strict=True))


def read_long(tables: Iterable[Path]) -> pd.DataFrame:
    """The joined tables of all sessions as one; text stays text, missing values are NaN.

    Vendors have one name each, however the sidecars write it.

    Parameters
    ----------
    tables : iterable of Path
        A thousand of one header are read in one go: opening a parser takes longer than a session's rows,
        and all at once would be in memory twice.
    """
    frames: list[pd.DataFrame] = []
    bodies: dict[bytes, list[bytes]] = {}
    for table in tables:
        header, _, body = table.read_bytes().partition(b"\n")
        parts = bodies.setdefault(header, [])
        parts.append(body)
        if len(parts) >= AT_ONCE:
            frames.append(_parsed(header, bodies.pop(header)))
    frames += [_parsed(header, parts) for header, parts in bodies.items()]
    long = pd.concat(frames, ignore_index=True).reindex(columns=LONG)
    names = {name: vendor(name) for name in long["manufacturer"].dropna().unique()}
    return long.assign(manufacturer=long["manufacturer"].map(names))


def _parsed(header: bytes, bodies: list[bytes]) -> pd.DataFrame:
    content = io.BytesIO(header + b"\n" + b"".join(bodies))
    # Numbers are floats even where all are whole: an exclusion may make them something else.
    types = {name: str if name in TEXT else float for name in header.decode().split("\t")}
    return pd.read_csv(content, sep="\t", dtype=types, na_values=["n/a"], keep_default_na=False)


def who(said: dict[str, Any]) -> dict[str, Any]:
    """The two columns that name a session, from its facts."""
    session = said["session"]
    return {
        "participant_id": f"sub-{said['participant']}",
        "session_id": f"ses-{session}" if session else None,
    }


def people(facts: Iterable[dict[str, Any]], group: str | None = None) -> pd.DataFrame:
    """One row a session: its covariates (numbers where they are numbers), person and years since the first.

    Parameters
    ----------
    facts : iterable of dict
        Of each session.
    group : str, optional
        The group column that was asked for: like `GROUP_COLUMNS` it may say ``none``.

    Returns
    -------
    DataFrame
        ``participant_id session_id person_id years`` and the columns of participants.tsv and of the
        sessions tables; ``session_id`` is empty where there is none.
    """
    rows = []
    for said in facts:
        named = who(said)
        own = {**said["participant_row"], **{k: v for k, v in said["session_row"].items() if v is not None}}
        own = {name: value for name, value in own.items() if name not in WHO and name not in LONG}
        rows.append({**named, "session_id": named["session_id"] or "", **own})
    frame = pd.DataFrame(rows)
    for name in frame.columns.difference([*WHO, *DATES]):
        frame[name] = tidy(frame[name], MISSING_GROUP if name in (group, *GROUP_COLUMNS) else MISSING)
    if "age" in frame:
        frame["age"] = ages(frame["age"])
    person = frame["person_id"] if "person_id" in frame else pd.Series(None, index=frame.index, dtype=object)
    frame["person_id"] = person.astype(object).where(person.notna(), frame["participant_id"]).astype(str)
    return frame.assign(years=_years(frame))


def visit_order(people: pd.DataFrame) -> pd.Series:
    """Which of the person's sessions each row is, 0 the first: by years, else by name.

    Parameters
    ----------
    people : DataFrame
        From :func:`people`.
    """
    ordered = people.sort_values(["years", "session_id", "participant_id"], kind="stable")
    return ordered.groupby("person_id").cumcount().reindex(people.index)


def _years(frame: pd.DataFrame) -> pd.Series:
    """Years since the person's first session: by dates, of whom lacks one of them by age; NaN without both.

    A person's sessions are timed by one of the two: an age is rounded, and dates may be shifted.
    """
    by_date, by_age = _since_date(frame), _since_age(frame)
    person = frame["person_id"]
    dated = by_date.notna().groupby(person).transform("all")
    aged = by_age.notna().groupby(person).transform("all")
    return by_date.where(dated | ~aged, by_age)


def _since_date(frame: pd.DataFrame) -> pd.Series:
    when = next((name for name in DATES if name in frame), None)
    if when is None:
        return pd.Series(float("nan"), index=frame.index)
    moment = pd.to_datetime(frame[when], errors="coerce", format="ISO8601", utc=True)
    first = moment.groupby(frame["person_id"]).transform("min")
    return (moment - first).dt.total_seconds() / (86400.0 * YEAR_DAYS)


def _since_age(frame: pd.DataFrame) -> pd.Series:
    if "age" not in frame or not pd.api.types.is_numeric_dtype(frame["age"]):
        return pd.Series(float("nan"), index=frame.index)
    ages = frame["age"].groupby(frame["person_id"])
    years = frame["age"] - ages.transform("min")
    # participants.tsv holds one age for all sessions: no dates, then.
    return years.where((ages.transform("nunique") > 1) | (ages.transform("size") == 1))
