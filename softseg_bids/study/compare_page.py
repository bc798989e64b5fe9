"""The page of a comparison, filled from its tables."""

from __future__ import annotations

import hashlib
from argparse import Namespace
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softseg_bids.app.identity import version
from softseg_bids.bids.sidecars import read_json
from softseg_bids.pages.curves import colour
from softseg_bids.pages.plots import Differences, bland_altman
from softseg_bids.pages.study import ComparePage, PairView, Plot, compare_page
from softseg_bids.study.ours import Ours
from softseg_bids.study.pairs import Pairs
from softseg_bids.study.place import leading_region

STATISTICS = ("bias", "limit_low", "limit_high", "slope", "scaling")
NOTHING: dict[str, Any] = {"estimate": None, "ci_low": None, "ci_high": None}
KINDS = {"mask": "its masks, measured here", "csv": "its own tables"}


def write_page(
    chosen: Namespace,
    images: Sequence[Ours],
    areas: pd.DataFrame,
    rows: Sequence[Mapping[str, Any]],
    failures: Sequence[Mapping[str, Any]],
    pairs: Pairs,
    root: Path | None,
) -> Path:
    """Write ``compare.html``.

    Parameters
    ----------
    chosen : Namespace
        ``out other output name seed``.
    images, areas, rows, failures, pairs
        What was compared, and what came out.
    root : Path or None
        The dataset, if it is there.
    """
    description = read_json(chosen.out / "dataset_description.json")
    dataset = str(description.get("Name", "")).removeprefix("Soft segmentation of the spinal cord: ")
    used = areas[areas["other_area_mm2"].notna()]
    kinds = set(used["kind"])
    page = ComparePage(
        dataset=dataset or chosen.out.name,
        name=chosen.name,
        out=str(chosen.out),
        other=str(chosen.other),
        identity=_identity(chosen, pairs),
        n_people=int(used["participant_id"].nunique()),
        n_images=int(used["source_image"].nunique()),
        by_mask="mask" in kinds,
        by_csv="csv" in kinds,
        agreement=agreement_table(rows),
        failures=failures,
        failure_counts=_counts(failures),
        failed={
            tool: len({row["source_image"] for row in failures if row["tool"] == tool})
            for tool in ("softseg", "other")
        },
        figures=[
            plot
            for kind in KINDS
            if kind in kinds and (plot := _plot(used[used["kind"] == kind], rows, kind, chosen.name))
        ],
        pairs=[PairView(pair.number, pair.contrast, pair.figure) for pair in pairs.shown],
        seed=chosen.seed,
        notes=[*_remarks(images, used), *pairs.notes],
    )
    return compare_page(page, version(), chosen.output / "compare.html")


def agreement_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Estimates of one region, contrast and kind beside each other; missing ones are empty."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row.get(name) for name in ("kind", "region", "contrast"))
        line = found.setdefault(
            key,
            dict.fromkeys(STATISTICS, NOTHING)
            | {"kind": key[0], "region": key[1], "contrast": key[2], "n_people": row["n_people"]}
            | {"notes": row.get("notes", "")},
        )
        line[str(row["statistic"])] = NOTHING | dict(row)
    return list(found.values())


def panels(
    frame: pd.DataFrame, rows: Sequence[Mapping[str, Any]], region: str, names: tuple[str, str]
) -> list[Differences]:
    """A panel of Bland and Altman for each contrast of a region.

    Parameters
    ----------
    frame : DataFrame
        One row an image, with the two columns of areas named, ``contrast`` and ``region``.
    rows : sequence of mapping
        Estimates by ``region contrast statistic``.
    region : str
    names : tuple of str
        Columns; the difference is the first minus the second.
    """
    estimates = {(row["contrast"], row["statistic"]): row for row in rows if row["region"] == region}
    found = []
    for contrast, part in frame[frame["region"] == region].groupby("contrast", sort=False):
        first, second = (part[name].to_numpy(float) for name in names)
        bias, low, high = (
            float(estimates.get((contrast, name), {}).get("estimate", float("nan")))
            for name in STATISTICS[:3]
        )
        title = f"{contrast} ({len(part)})"
        found.append(
            Differences(title, colour(str(contrast)), 0.5 * (first + second), first - second, bias, low, high)
        )
    return found


def _plot(frame: pd.DataFrame, rows: Sequence[Mapping[str, Any]], kind: str, name: str) -> Plot | None:
    usable = frame[frame["in_statistics"]]
    if usable.empty:
        return None
    region = leading_region(usable["region"])
    own = [row for row in rows if row["kind"] == kind]
    content = bland_altman(panels(usable, own, region, ("area_mm2", "other_area_mm2")), f"softseg - {name}")
    caption = (
        f"{region}, {KINDS[kind]}: difference over mean of both, every image; solid line: bias, dashed: "
        "limits of agreement (of one image a person). In brackets the number of images."
    )
    return Plot(content, f"Differences of area of softseg and {name} over {region}, by contrast", caption)


def _counts(failures: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: {"softseg": set(), "other": set()})
    for row in failures:
        for name in str(row["failure"]).split(";"):
            found[name][row["tool"]].add(row["source_image"])
    return [(name, len(by["softseg"]), len(by["other"])) for name, by in sorted(found.items())]


def _remarks(images: Sequence[Ours], used: pd.DataFrame) -> list[str]:
    notes = []
    if used["contrast"].nunique() == 1:
        notes.append(f"Only one contrast was compared: {used['contrast'].iloc[0]}.")
    if (people := used["participant_id"].nunique()) < 3:
        counted = f"Only {people} participant{'s' if people > 1 else ''}"
        notes.append(f"{counted}: no bias or limits of agreement can be given.")
    by_hand = {image.source for image in images if image.card.get("mask_source") == "corrected"}
    if corrected := by_hand & set(used["source_image"]):
        notes.append(
            f"{len(corrected)} images of softseg carry corrected masks: there the correction is compared."
        )
    absent = {image.source for image in images} - set(used["source_image"])
    if absent:
        notes.append(f"{len(absent)} of {len(images)} images could not be compared; see the failures.")
    return notes


def _identity(chosen: Namespace, pairs: Pairs) -> str:
    """Under which ratings are kept: other pairs or another seed are another judging."""
    said = [
        str(chosen.out),
        str(chosen.other),
        chosen.seed,
        *(sorted(pair.key.items()) for pair in pairs.shown),
    ]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
