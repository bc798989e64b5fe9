"""The group level: every table of OUT in one, and the statistics of the study, from OUT alone.

A missing contrast never stops it; it is a row of the ledger. Repeats and reconstructions of
one contrast all stay in the long table, and the one that covers most of a region enters
statistics.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from softseg_bids.app.columns import LONG
from softseg_bids.app.exclusions import read_exclusions
from softseg_bids.app.group_choice import check_options, chosen_tables, with_sites
from softseg_bids.app.group_columns import DESCRIBED, TABLES
from softseg_bids.app.group_compression import check_sites, compression, read_sites
from softseg_bids.app.group_ledger import OPTIONAL, ledger, of_exclusions
from softseg_bids.app.group_page import write_group_page
from softseg_bids.app.group_profiles import by_image, exclude, slice_table
from softseg_bids.app.group_read import WHO, RowsOf, people, read_long
from softseg_bids.app.group_statistics import Study, harmonised, statistics, study_of
from softseg_bids.app.group_tables import QC, best_images, quality, wide
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.results import session_facts, session_tables
from softseg_bids.app.settings import Settings
from softseg_bids.bids import derivatives
from softseg_bids.stats.ledger import of_repeats
from softseg_bids.stats.outliers import outliers
from softseg_bids.stats.variability import spread as variability

__all__ = ["best_images", "run", "variability"]

VARIABILITY = (
    *WHO, "region", "contrast_set", "members", "n_contrasts", "mean_mm2", "sd_mm2", "cv_percent",
    "range_mm2", "dwi_mm2",
)  # fmt: skip
EXCLUDED = ("excluded", "excluded_reason")
HARMONISED = "area_harmonised_mm2"


def run(settings: Settings) -> Exit:
    """Write the group's tables and page; with ``--reports-only`` the page alone, from tables that are there.

    Raises
    ------
    Stop
        66 if OUT holds no results (or, for the page alone, no tables of a group), 18 for an unknown
        participant or session, 64 if results of different models or versions would be pooled, or an option
        names what is not there or belongs to the participant level.
    """
    check_options(settings)
    if settings.reports_only:
        if not (settings.out / "group_csa.tsv").is_file():
            what = "no tables of a group; run the group level without --reports-only first"
            raise Stop(Exit.NO_INPUT, f"{settings.out}: there are {what}")
        write_group_page(settings.out)
        return Exit.DONE
    found = chosen_tables(settings)
    sites = None
    if settings.compression is not None and settings.compression != Path():
        sites = read_sites(settings.compression)
        check_sites(sites, session_tables(settings.out), settings.compression)
    facts = [session_facts(table) for table in found]
    long = with_sites(read_long(found), facts, settings.site_column)
    if not settings.allow_mixed:
        check_uniform(long, settings.out)
    slices = {
        card["source"]: slice_table(settings.out, card)
        for said in facts
        for card in said["images"]
        if "folder" in card
    }
    exclusions = read_exclusions(settings.exclude) if settings.exclude is not None else []
    excluded = by_image(exclusions, map(str, long["source_image"].dropna().unique()))
    lost: list[dict[str, Any]] = []
    if settings.exclude is not None:
        long, idle = exclude(long, excluded, slices)
        lost += of_exclusions(long, exclusions, excluded, idle)
    best = best_images(long)
    everybody = people(facts, settings.group_column)
    study = study_of(settings, long, best, everybody, slices, excluded)
    tables = statistics(study)
    if settings.combat:
        areas, tables["harmonisation"] = harmonised(study)
        long, best = (_beside(frame, areas) for frame in (long, best))
    if settings.compression is not None:
        tables["compression"], tables["compression_sites"], missing = compression(
            study.best, slices, sites, excluded
        )
        lost += missing
    lost += of_repeats(long, study.usable)
    tables["missing"] = ledger(study, long, facts, tables, [*lost, *study.lost])
    write(settings.out, long, best, facts, study, tables)
    write_group_page(settings.out)
    sys.stderr.write(
        f"softseg: {long['source_image'].nunique()} images of {long['participant_id'].nunique()} "
        f"participants pooled in {settings.out}\n"
    )
    return Exit.DONE


def write(
    out: Path,
    long: pd.DataFrame,
    best: pd.DataFrame,
    facts: Sequence[dict[str, Any]],
    study: Study,
    tables: Mapping[str, Sequence[dict[str, Any]]],
) -> None:
    """Write all tables with their dictionaries; those of an earlier run that are not made now are removed."""
    more = [name for name in (HARMONISED, *EXCLUDED) if name in long]
    notes = {"Notes": study.notes, "Options": _options(study)}
    # The page draws profiles from the per-slice tables, perhaps long after the list of exclusions is gone.
    excluded = {source: list(map(asdict, found)) for source, found in study.excluded.items()}
    derivatives.write_table(
        out / "group_csa.tsv", RowsOf(long[[*LONG, *more]]), DESCRIBED, columns=[*LONG, *more],
        extra=notes | {"Exclusions": excluded},
    )  # fmt: skip
    rows, described = wide(best, facts)
    derivatives.write_table(out / "group_csa_wide.tsv", rows, described, columns=[*WHO, *described])
    members = study.settings.contrast_set
    derivatives.write_table(
        out / "group_variability.tsv", variability(best, members), DESCRIBED, columns=VARIABILITY
    )
    apart = outliers(best) if len(best) else None
    derivatives.write_table(out / "group_qc.tsv", quality(long, facts, apart), DESCRIBED, columns=QC)
    for name, columns in TABLES.items():
        path = out / f"group_{name}.tsv"
        if name not in tables or (name in OPTIONAL and not tables[name]):
            derivatives.remove(path)
            continue
        derivatives.write_table(path, tables[name], _described(name), columns=columns, extra=notes)


def _described(name: str) -> dict[str, dict[str, Any]]:
    """The dictionary of one table: some columns mean another thing than in the tables of images."""
    special = {
        "power": {"sd_mm2": "SD that the numbers are planned by: between controls, or of a change"},
        "profile": {
            "sd_mm2": "SD between people", "mean_mm2": "Mean area of the group",
            "level": "Vertebral level: C1 is 1, T1 is 8",
        },
    }.get(name, {})  # fmt: skip
    units = {"sd_mm2": "mm^2", "mean_mm2": "mm^2"}
    return DESCRIBED | {
        column: {"Description": text, **({"Units": units[column]} if column in units else {})}
        for column, text in special.items()
    }


def _options(study: Study) -> dict[str, Any]:
    """What was asked for: a page or a methods section names it."""
    settings = study.settings
    return {
        "contrast_set": list(settings.contrast_set), "group_column": study.group,
        "controls": study.control, "covariates": list(settings.covariates),
        "covariates_used": study.covariates, "formula": settings.formula,
        "norms": settings.norms, "combat": settings.combat, "combat_fit_on": settings.combat_fit_on,
        "exclude": settings.exclude.name if settings.exclude else None,
        "include_limited": settings.include_limited,
    }  # fmt: skip


def _beside(frame: pd.DataFrame, areas: pd.DataFrame) -> pd.DataFrame:
    """Harmonised areas as a column beside the raw ones, on the rows of the images they are of."""
    keys = [*WHO, "region", "contrast"]
    keyed = frame.assign(session_id=frame["session_id"].astype(object).fillna(""))
    joined = keyed.merge(areas, on=[*keys, "source_image"], how="left", validate="m:1")
    joined.index = frame.index
    return joined


def check_uniform(long: pd.DataFrame, out: Path) -> None:
    """Refuse to pool what different models or versions computed.

    Raises
    ------
    Stop
        64, naming them.
    """
    for name, what in (("model_hash", "models"), ("version", "versions")):
        found = sorted(long[name].dropna().unique())
        if len(found) > 1:
            raise Stop(
                Exit.USAGE,
                f"{out}: holds results of different {what} ({', '.join(found)}); "
                "run the participant level again for all, or pool them with --allow-mixed",
            )
