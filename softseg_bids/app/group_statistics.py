"""From the group's frames to its tables of statistics, each one a list of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.app.group_profiles import NOTHING, Excluded
from softseg_bids.app.group_read import RowsOf
from softseg_bids.app.group_tables import usable_rows
from softseg_bids.app.group_visits import WHOLE, comparable, visits
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.settings import Settings
from softseg_bids.core.levels import LEVEL_NAMES
from softseg_bids.stats import reference
from softseg_bids.stats.agreement import agreement
from softseg_bids.stats.centres import centres, vendor_variation
from softseg_bids.stats.change import changes, slopes, without_rate
from softseg_bids.stats.design import OWN_STRETCHES, once, usable_covariates
from softseg_bids.stats.estimate import Interval
from softseg_bids.stats.groups import control_label, differences, group_column
from softseg_bids.stats.harmonise import harmonise
from softseg_bids.stats.norms import CITATION, PUBLISHED
from softseg_bids.stats.power import sample_sizes
from softseg_bids.stats.rescan import rescan
from softseg_bids.stats.variability import contrast_effects

Rows = Sequence[dict[str, Any]]
LEVELS = {f"vert-{name}": number for number, name in LEVEL_NAMES.items()}
# Of the long table's columns those that statistics look at: a large study is in memory several times.
NEEDED = (
    "participant_id", "session_id", "run", "contrast", "acq", "ce", "rec", "site", "manufacturer", "scanner",
    "software", "region", "source_image", "area_mm2", "area_binary_mm2", "start_mm", "end_mm", "coverage",
    "csa_fit", "flags",
)  # fmt: skip


@dataclass
class Study:
    """What the statistics are made from.

    Attributes
    ----------
    settings : Settings
    usable : DataFrame
        Rows that may enter, repeats included, with covariates.
    best : DataFrame
        One row a session, contrast and region, with covariates.
    people : DataFrame
        One row a session, with covariates.
    tables : mapping of str to Path
        Source image -> its per-slice table.
    excluded : mapping of str to sequence of Exclusion
        Source image -> what people excluded of it.
    group, control : str or None
        Group column, and what controls are called in it.
    covariates : list of str
        Those that are there.
    notes : list of str
        What could not be done, for readers of all tables.
    visits : DataFrame
        From `group_visits.comparable`: what changes are measured on.
    lost : list of dict
        Rows of the ledger that only a step itself can tell.
    """

    settings: Settings
    usable: pd.DataFrame
    best: pd.DataFrame
    people: pd.DataFrame
    tables: Mapping[str, Path]
    excluded: Excluded = field(default_factory=dict)
    group: str | None = None
    control: str | None = None
    covariates: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    visits: pd.DataFrame = field(default_factory=pd.DataFrame)
    lost: list[dict[str, Any]] = field(default_factory=list)

    @property
    def first(self) -> pd.DataFrame:
        """The rows of each participant's first session that has the contrast and region."""
        order = self.best.sort_values(["years", "session_id"], kind="stable")
        kept = order.drop_duplicates(["participant_id", "contrast", "region"]).sort_index()
        return kept if self.settings.include_limited else kept[kept["csa_fit"] == "good"]

    def controls(self, frame: pd.DataFrame) -> pd.Series:
        """Which rows are of controls: of all people, if there is no group column."""
        if self.group is None:
            return pd.Series(True, index=frame.index)
        return frame[self.group].astype(object) == self.control


def study_of(
    settings: Settings,
    long: pd.DataFrame,
    best: pd.DataFrame,
    people: pd.DataFrame,
    tables: Mapping[str, Path],
    excluded: Excluded = NOTHING,
) -> Study:
    """Join areas with covariates, and find groups and controls.

    Raises
    ------
    Stop
        64 if the group column, the controls or a covariate that was asked for is not there.
    """
    asked = settings.group_column
    if asked is not None and asked not in people:
        raise Stop(
            Exit.USAGE, f"--group-column {asked}: no such column; there are {', '.join(people.columns)}"
        )
    notes: list[str] = []
    group = group_column(people, asked)
    control = None
    if group is None:
        notes.append("no group column (pathology, group, diagnosis): everyone counts as a control")
    else:
        people[group] = people[group].map(
            lambda value: value if value is None or value != value else _label(value)
        )
        control = control_label(people[group], settings.controls)
        if control is None and settings.controls is not None:
            there = ", ".join(sorted(map(str, people[group].dropna().unique())))
            raise Stop(
                Exit.USAGE, f"--controls {settings.controls}: not in column {group}; there are {there}"
            )
        if control is None:
            notes.append(f"column {group} names no controls: name them with --controls")
    covariates, said = usable_covariates(people, settings.covariates)
    personal = people[["participant_id", "session_id", *[name for name in people if name not in best]]]

    def joined(frame: pd.DataFrame) -> pd.DataFrame:
        keyed = frame[list(NEEDED)].assign(session_id=frame["session_id"].astype(object).fillna(""))
        return keyed.merge(personal, on=["participant_id", "session_id"], how="left", validate="m:1")

    return Study(
        settings, joined(usable_rows(long)), joined(best), people, tables, excluded, group, control,
        covariates, [*notes, *said], comparable(long, best, people),
    )  # fmt: skip


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def statistics(study: Study) -> dict[str, Rows]:
    """All tables of statistics, by name (``contrasts`` is written as ``group_contrasts.tsv``)."""
    settings = study.settings
    first = study.first
    fixed = first[~first["region"].isin(OWN_STRETCHES)]
    wanted = tuple(settings.covariates)
    controls = fixed[study.controls(fixed)]
    # Images of one session share their common stretch: it may be repeated there, and nowhere else.
    again = study.usable[study.usable["region"] != "cord"]
    repeats = again[~again["region"].isin(OWN_STRETCHES)]
    found: dict[str, Rows] = {
        "contrasts": contrast_effects(study.best, settings.contrast_set),
        "agreement": agreement(study.best, settings.contrast_set),
        "rescan": rescan(again),
        "groups": _groups(study, fixed),
        "centres": centres(
            _with_repeats(fixed, repeats),
            [*wanted, *([study.group] if study.group else [])],
            contrast_set=settings.contrast_set,
        ),
        "vendors": vendor_variation(controls),
        "power": sample_sizes(controls, repeats, wanted),
        "profile": _profile(study, fixed),
    }
    found["norms"], found["norms_offset"] = _norms(study)
    seen, lost = visits(study.visits, study.tables, study.excluded)
    study.lost += [*lost, *without_rate(seen)]
    found["change"], found["change_model"] = _change(study, seen, found["rescan"])
    return found


def _with_repeats(first: pd.DataFrame, repeats: pd.DataFrame) -> pd.DataFrame:
    """First sessions with all their repeats: images that differ from the best in ``run`` only."""
    same = ["participant_id", "session_id", "contrast", "region", "acq", "ce", "rec"]
    if not repeats.duplicated(same).any():
        return first
    keys = first[same].fillna("").astype(str).agg("\x1f".join, axis=1)
    others = repeats[same].fillna("").astype(str).agg("\x1f".join, axis=1)
    return repeats[others.isin(set(keys))]


def _groups(study: Study, first: pd.DataFrame) -> Rows:
    if study.group is None or study.control is None:
        return []
    settings = study.settings
    return differences(first, study.group, study.control, settings.covariates, settings.formula)


def harmonised(study: Study) -> tuple[pd.DataFrame, Rows]:
    """Harmonised areas of all best images, and what was taken out or refused.

    Raises
    ------
    Stop
        64 if the study has groups and names no controls.
    """
    settings = study.settings
    if study.group is not None and study.control is None:
        raise Stop(Exit.USAGE, f"--combat: column {study.group} names no controls; name them with --controls")
    everyone = pd.Series(True, index=study.best.index)
    controls, kept = study.controls(study.best), list(settings.covariates)
    fit_on, group = controls, None
    if settings.combat_fit_on == "all":
        fit_on, group = everyone, study.group
        # What the disease does is no effect of the scanner, nor is what it does with the years.
        kept += [group] if group is not None and group not in kept else []
    found = harmonise(study.best, fit_on, kept, controls=controls, group=group)
    return found.areas, found.rows


def _norms(study: Study) -> tuple[Rows, Rows]:
    if study.group is not None and study.control is None:
        return [], []
    eligible, _ = reference.eligible(study.best)
    controls = study.controls(eligible)
    asked = study.settings.norms
    if asked == "controls":
        return RowsOf(reference.own_controls(eligible, controls, study.settings.covariates)), []
    try:
        table = reference.read_norms(PUBLISHED if asked == "published" else Path(asked))
    except (OSError, ValueError) as error:
        raise Stop(Exit.USAGE, f"--norms {asked}: {error}") from error
    if asked == "published":
        table = reference.published_scope(table)
    rows, offsets = reference.from_table(eligible, controls, table, asked)
    return rows, [{**row, "formula": CITATION} if asked == "published" else row for row in offsets]


def _profile(study: Study, first: pd.DataFrame) -> Rows:
    """Mean area per vertebral level of each group, and the range of 95 % of new people like them."""
    part = once(first[first["region"].isin(LEVELS)])
    label = part[study.group] if study.group else pd.Series("all", index=part.index)
    rows = []
    table = part.groupby(["contrast", label, "region"], sort=False, observed=True)["area_mm2"]
    for (contrast, group, region), values in table:
        n, mean, sd = len(values), float(values.mean()), float(values.std(ddof=1))
        half = Interval.t(mean, sd * np.sqrt(1 + 1 / n), n - 1)
        rows.append(
            {
                "contrast": contrast, "group": group, "region": region, "level": LEVELS[str(region)],
                "n_people": n, "mean_mm2": mean, "sd_mm2": sd, "reference_low": half.low,
                "reference_high": half.high,
            }
        )  # fmt: skip
    return rows


def _change(study: Study, seen: pd.DataFrame, repeats: Rows) -> tuple[Rows, Rows]:
    if seen.empty:
        return [], []
    noise = {
        (row["region"], row["contrast"]): Interval(row["estimate"], df=row["df"])
        for row in repeats
        if row["statistic"] == "sd_within" and "estimate" in row
    }
    # Repeats are of one session, and what all its images saw is the identical stretch of them.
    noise |= {(WHOLE, contrast): sd for (region, contrast), sd in noise.items() if region == "common"}
    alignment = {
        (row.participant_id, row.session_id, row.contrast, row.region): row.alignment
        for row in seen.itertuples()
    }
    rows = [
        {
            **row,
            "alignment": alignment[row["participant_id"], row["session_id"], row["contrast"], row["region"]],
        }
        for row in changes(seen, noise)
    ]
    for row in rows:
        if row["region"] == WHOLE and np.isfinite(row["ci_low"]):
            row["notes"] = "; ".join(
                filter(None, [row["notes"], "noise from repeats over their common stretch"])
            )
    if study.group is None:
        return rows, slopes(seen)
    groups = study.people.drop_duplicates("person_id").set_index("person_id")[study.group]
    labelled = seen.assign(**{study.group: seen["person_id"].map(groups)})
    return rows, slopes(labelled, study.group, study.control)
