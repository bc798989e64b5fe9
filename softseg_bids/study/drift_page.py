"""The page of a drift between two models."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softseg_bids.app.identity import version
from softseg_bids.pages.plots import bland_altman
from softseg_bids.pages.study import DriftPage, Plot, drift_page
from softseg_bids.study.compare_page import agreement_table, panels
from softseg_bids.study.running import Side


def write_page(
    chosen: Namespace,
    sides: Sequence[Side],
    areas: pd.DataFrame,
    rows: Sequence[Mapping[str, Any]],
    verdicts: Sequence[Mapping[str, Any]],
    region: str,
) -> Path:
    """Write ``drift.html``."""
    shown = areas[areas["in_statistics"]]
    plots = []
    if (shown["region"] == region).any():
        content = bland_altman(panels(shown, rows, region, ("new_area_mm2", "old_area_mm2")), "new - old")
        plots.append(
            Plot(
                content,
                f"Differences of area of the new and the old model over {region}, by contrast",
                f"{region}: new minus old over the mean of both, one image a person; solid line: bias, "
                "dashed: limits of agreement. In brackets the number of people.",
            )
        )
    one_sided = areas[["old_area_mm2", "new_area_mm2"]].isna().any(axis=1) & (areas["region"] == region)
    listed = areas[one_sided | areas["lost"]].drop_duplicates("source_image")
    page = DriftPage(
        dataset=str(chosen.data),
        old={"model": sides[0].name, **sides[0].facts},
        new={"model": sides[1].name, **sides[1].facts},
        region=region,
        tolerance_mm2=chosen.tolerance,
        verdicts=verdicts,
        estimates=agreement_table([{"kind": "", **row} for row in rows]),
        one_sided=[
            (str(row["source_image"]), "new" if pd.isna(row["new_area_mm2"]) else "old")
            for row in listed.to_dict("records")
        ],
        figures=plots,
    )
    return drift_page(page, version(), chosen.output / "drift.html")
