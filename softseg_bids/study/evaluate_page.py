"""The page of an evaluation, filled from its tables."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softseg_bids.app.identity import version
from softseg_bids.bids.dataset import Dataset
from softseg_bids.pages.study import EvaluatePage, Glance, evaluate_page
from softseg_bids.study.evaluate_plots import VIOLINS, evaluation_plots
from softseg_bids.study.evaluate_statistics import ALL, ERROR, SPREAD
from softseg_bids.study.judge import TRUTH, Judged
from softseg_bids.study.place import CORD, leading_region
from softseg_bids.study.tables import COLUMNS

NOTHING: dict[str, Any] = {"estimate": None, "ci_low": None, "ci_high": None, "p": None}
FEW = 3
# Of repeated measures over contrasts.
SHOWN = ("bias", "sd_bias", "contrast_effect")


def write_page(
    chosen: Namespace,
    dataset: Dataset,
    found: Judged,
    scores: pd.DataFrame,
    best: pd.DataFrame,
    varied: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    tested: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    contrasts: Sequence[str],
) -> Path:
    """Write ``evaluate.html``."""
    region = _region(best, contrasts)
    spread = pd.DataFrame(varied)
    page = EvaluatePage(
        dataset=dataset.name,
        methods=list(names),
        contrasts=list(contrasts),
        region=region,
        n_people=int(scores["participant_id"].nunique()),
        n_images=int(scores["source_image"].nunique()),
        glance=[glance(name, region, rows, scores) for name in (TRUTH, *names)],
        figures=evaluation_plots(scores, best, spread, found, region, names, contrasts),
        tests=_filled("tests", [row for row in tested if row.get("region") in (None, region)]),
        contrast_rows=_filled("summary", [row for row in rows if _is_shown(row, region)]),
        failures=[row for row in found.scores if row["status"] != "used"],
        left_out=found.left_out,
        notes=_notes(scores, best, contrasts, names),
    )
    return evaluate_page(page, version(), chosen.output / "evaluate.html")


def glance(name: str, region: str, rows: Sequence[Mapping[str, Any]], scores: pd.DataFrame) -> Glance:
    """The line of a method in the first table.

    Parameters
    ----------
    name : str
    region : str
        Of areas.
    rows : sequence of mapping
        From `evaluate_statistics.summary`.
    scores : DataFrame
    """
    own = [row for row in rows if row["method"] == name]

    def of(
        measure: str, statistic: str, contrast: str | None = ALL, where: str | None = None
    ) -> Mapping[str, Any]:
        return next(
            (
                NOTHING | dict(row)
                for row in own
                if row["measure"] == measure
                and row["statistic"] == statistic
                and (contrast is None or row.get("contrast") == contrast)
                and row.get("region") == where
            ),
            NOTHING,
        )

    mine = scores[scores["method"] == name]
    deviation = mine["reliability_deviation"].dropna()
    return Glance(
        name=name,
        scores=[of(measure, "mean") for measure in VIOLINS],
        area_bias=of("area_mm2", "bias", where=region),
        area_error=of(ERROR, "mean", where=region),
        spread=of(SPREAD, "mean", contrast=None, where=region),
        slope=of("area_mm2", "response_slope", where=region),
        reliability=float(deviation.mean()) if len(deviation) else None,
        n_failed=int((mine["status"] != "used").sum()) if name != TRUTH else None,
    )


def _is_shown(row: Mapping[str, Any], region: str) -> bool:
    about = row["measure"] == "area_over_contrasts" and row["statistic"] in SHOWN
    return about and row["region"] == region


def _filled(table: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with all columns of their table."""
    return [dict.fromkeys(COLUMNS[f"evaluate_{table}"]) | dict(row) for row in rows]


def _region(best: pd.DataFrame, contrasts: Sequence[str]) -> str:
    """The region that speaks for the study: of those most people have over several contrasts."""
    if best.empty:
        return CORD
    own = best[(best["method"] == TRUTH) & best["contrast"].isin(contrasts)]
    own = own if len(own) else best
    counts = own[own["region"] != CORD].groupby("region")["participant_id"].nunique()
    if counts.empty:
        return CORD
    return leading_region(str(name) for name in counts[counts == counts.max()].index)


def _notes(
    scores: pd.DataFrame, best: pd.DataFrame, contrasts: Sequence[str], names: Sequence[str]
) -> list[str]:
    notes = []
    people = scores["participant_id"].nunique()
    if people < FEW:
        counted = f"Only {people} participant{'s' if people > 1 else ''}"
        notes.append(f"{counted}: nothing can be said about others; there are no tests or slopes.")
    if len(contrasts) < 2:
        there = contrasts[0] if contrasts else "none"
        notes.append(f"Only one contrast with a label ({there}): there is no spread over contrasts.")
    if len(names) == 1:
        notes.append("Only one method: there is nothing to test it against.")
    if best.empty:
        notes.append("No method measured 80 % of any region that the labels measured: no areas are compared.")
    return notes
