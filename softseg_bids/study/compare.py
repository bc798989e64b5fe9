"""Our results against those of another tool on the same images: `softseg-compare OUT OTHER`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.bids.masks import masks_of, owner_of
from softseg_bids.core.scores import dice
from softseg_bids.image.grid import Array
from softseg_bids.image.volume import read_grid, read_mask
from softseg_bids.study import masks, sct
from softseg_bids.study.agreements import agreements
from softseg_bids.study.compare_page import write_page
from softseg_bids.study.ours import MEASURED, Ours, enough, raw_root, read_ours
from softseg_bids.study.pairs import OTHER, OURS, Candidate, draw_pairs
from softseg_bids.study.place import (
    Measured,
    Place,
    canonical_array,
    measured,
    over,
    place_of_table,
    region_rank,
)
from softseg_bids.study.tables import write

MASK, CSV = "mask", "csv"
INCOMPLETE = "incomplete"
# Flags of a whole mask that say it failed; the others only ask for a look.
FAILING_FLAGS = ("implausible_area", "void", "gap", "fragment", "jump")


class Compared(NamedTuple):
    """What became of the comparison.

    Attributes
    ----------
    areas, failures : list of dict
        Rows of the tables ``compare_areas`` and ``compare_failures``.
    candidates : list of Candidate
        Images with a mask of each, for the blinded figures.
    refused : int
        Masks of the other tool that could not be used.
    """

    areas: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    candidates: list[Candidate]
    refused: int


def run(chosen: Namespace) -> Exit:
    """Compare, write the tables, the figures, the key and the page.

    Parameters
    ----------
    chosen : Namespace
        ``out other output name bids pairs seed``.

    Returns
    -------
    Exit
        1 if a mask of the other tool could not be used, else 0.

    Raises
    ------
    Stop
        66 if OUT has no results or nothing of OTHER belongs to them, 65 if none of it can be used.
    """
    images = read_ours(chosen.out)
    found = compare(images, chosen.other)
    areas = pd.DataFrame(found.areas)
    rows = agreement_rows(areas)
    root = raw_root(chosen.out, chosen.bids)
    pairs = draw_pairs(found.candidates, root, chosen.pairs, chosen.seed)
    write(chosen.output / "compare_areas.tsv", found.areas)
    write(chosen.output / "compare_agreement.tsv", rows)
    write(chosen.output / "compare_failures.tsv", found.failures)
    write(chosen.output / "compare_key.tsv", [pair.key for pair in pairs.shown])
    page = write_page(chosen, images, areas, rows, found.failures, pairs, root)
    used = areas[["kind", "source_image"]].drop_duplicates()["kind"].value_counts().to_dict()
    said = ", ".join(f"{count} images by {kind}" for kind, count in sorted(used.items()))
    sys.stderr.write(f"softseg-compare: {said}; {len(found.failures)} failures; see {page}\n")
    return Exit.SOME_FAILED if found.refused else Exit.DONE


def compare(images: Sequence[Ours], other: Path) -> Compared:
    """Measure the other's masks where ours were measured, and read its tables.

    Parameters
    ----------
    images : sequence of Ours
    other : Path
        A folder of masks and CSV tables, or one CSV table.

    Raises
    ------
    Stop
        66 if nothing of OTHER belongs to an image, 65 if nothing of it can be used.
    """
    candidates = masks_of(other, [image.known for image in images]) if other.is_dir() else {}
    tables = [area for path in sct.tables_below(other) for area in sct.read_areas(path)]
    by_csv = _of_images(tables, images)
    if not candidates and not by_csv:
        raise Stop(Exit.NO_INPUT, _nothing_in_common(images, other, tables))
    found = Compared([], [], [], 0)
    # Of a contrast that the other tool never segments it does not fail.
    for image in _of_contrasts(images, candidates):
        found = _added(found, _compare_masks(image, candidates.get(image.key, [])))
    for image in _of_contrasts(images, by_csv):
        found = _added(found, _compare_csv(image, by_csv.get(image.key, [])))
    if not any(row["other_area_mm2"] is not None for row in found.areas):
        why = next((row["reason"] for row in found.failures if row["tool"] == OTHER), "ours all failed")
        raise Stop(Exit.ALL_UNREADABLE, f"{other}: nothing of it can be compared; the first: {why}")
    return found


def agreement_rows(areas: pd.DataFrame) -> list[dict[str, Any]]:
    """Bias, limits of agreement, slope and scaling factor, by kind, region and contrast.

    Of several sessions of a person the first enters, of several images of a contrast the one that covers
    most; differences are ours minus the other's, the factor is ours over the other's.
    """
    usable = areas[areas["in_statistics"]].sort_values(
        ["session_id", "coverage"], ascending=[True, False], kind="stable", na_position="first"
    )
    usable = usable.drop_duplicates(["kind", "participant_id", "contrast", "region"]).sort_index()
    usable = usable.sort_values("region", key=lambda names: names.map(region_rank), kind="stable")
    return agreements(usable, ("kind", "region", "contrast"), ("area_mm2", "other_area_mm2"))


def _added(sum_: Compared, part: Compared) -> Compared:
    return Compared(
        sum_.areas + part.areas, sum_.failures + part.failures, sum_.candidates + part.candidates,
        sum_.refused + part.refused,
    )  # fmt: skip


def _compare_masks(image: Ours, candidates: Sequence[Path]) -> Compared:
    failures: list[dict[str, Any]] = []
    if image.status != MEASURED:
        # Without a mask of ours nobody knows the grid here: all that is told is that there is a mask.
        failures.append(_failure(image, MASK, OURS, image.status, image.reason))
        if not candidates:
            failures.append(_failure(image, MASK, OTHER, masks.MISSING, "there is no mask either"))
        return Compared([], failures, [], 0)
    stored = read_grid(image.soft)
    found = masks.find_mask(candidates, stored)
    if found.status != masks.USED:
        failures.append(_failure(image, MASK, OTHER, found.status, found.reason))
    refused = int(found.status in (masks.OTHER_GRID, masks.UNREADABLE))
    if found.array is None or found.status == masks.EMPTY:
        return Compared([], failures, [], refused)
    place = place_of_table(image.slices, stored, image.rows)
    own = canonical_array(read_mask(image.soft))
    tools = {OURS: measured(own, place), OTHER: measured(found.array, place)}
    areas = list(_area_rows(image, place, tools, own, found))
    for tool, result in tools.items():
        if bad := [flag for flag in result.flags if flag in FAILING_FLAGS]:
            failures.append(_failure(image, MASK, tool, ";".join(bad), "flags of the mask"))
    failures += _incomplete(image, areas)
    assert found.path is not None
    difference = float(np.nanmean(tools[OURS].area_mm2) - np.nanmean(tools[OTHER].area_mm2))
    overlap = float(areas[0]["dice"]) if areas else float("nan")
    return Compared(areas, failures, [Candidate(image, found.path, overlap, difference)], refused)


def _area_rows(
    image: Ours, place: Place, tools: Mapping[str, Measured], own: Array, found: masks.Found
) -> Iterator[dict[str, Any]]:
    """A row a region: both masks over the very same slices."""
    assert found.array is not None
    shown = np.zeros(own.shape[2], dtype=bool)
    shown[place.line.slices] = True
    overlap = dice(found.array, own, shown)
    used = place.usable & tools[OURS].usable & tools[OTHER].usable
    for region in place.regions:
        ours, other = (over(place, tool, region, used) for tool in tools.values())
        alone = [over(place, tool, region, place.usable & tool.usable)["coverage"] for tool in tools.values()]
        there = ours["n_slices"] > 0
        yield {
            **image.named, "kind": MASK, "region": region.name,
            "area_mm2": ours["area_mm2"] if there else None,
            "area_binary_mm2": ours["area_binary_mm2"] if there else None,
            "other_area_mm2": other["area_mm2"] if there else None,
            "difference_mm2": ours["area_mm2"] - other["area_mm2"] if there else None,
            "coverage": ours["coverage"], "our_coverage": alone[0], "other_coverage": alone[1],
            "n_slices": int(ours["n_slices"]), "dice": overlap,
            "in_statistics": bool(there and enough(region.name, ours["coverage"])),
            "other_file": str(found.path),
        }  # fmt: skip


def _incomplete(image: Ours, areas: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Regions that one of the two measured and the other did not."""
    failures = []
    for tool, own, theirs in (
        (OURS, "our_coverage", "other_coverage"),
        (OTHER, "other_coverage", "our_coverage"),
    ):
        missed = [
            str(row["region"])
            for row in areas
            if enough(row["region"], row[theirs]) and not enough(row["region"], row[own])
        ]
        if missed:
            reason = f"under 80 % of {', '.join(missed)}, which the other one measured"
            failures.append(_failure(image, MASK, tool, INCOMPLETE, reason))
    return failures


def _compare_csv(image: Ours, areas: Sequence[sct.CsvArea]) -> Compared:
    if not areas:
        return Compared([], [_failure(image, CSV, OTHER, masks.MISSING, "no row of its tables")], [], 0)
    failures = [_failure(image, CSV, OURS, image.status, image.reason)] if image.status != MEASURED else []
    ours = {row["region"]: row for row in image.rows if row["area_mm2"] is not None}
    rows: list[dict[str, Any]] = []
    for area in areas:
        if np.isnan(area.area_mm2):
            reason = f"{area.table.name} has no area for {area.region or 'a region'}"
            failures.append(_failure(image, CSV, OTHER, masks.EMPTY, reason))
        elif (row := ours.get(area.region)) is not None:
            own, coverage = float(row["area_mm2"] or "nan"), float(row["coverage"] or "nan")
            rows.append(
                {
                    **image.named, "kind": CSV, "region": area.region, "area_mm2": own,
                    "area_binary_mm2": float(row["area_binary_mm2"] or "nan"),
                    "other_area_mm2": area.area_mm2, "difference_mm2": own - area.area_mm2,
                    "coverage": coverage, "our_coverage": coverage, "n_slices": int(row["n_slices"] or 0),
                    "in_statistics": enough(area.region, coverage), "other_file": str(area.table),
                }
            )  # fmt: skip
    if not rows and not failures:
        theirs = ", ".join(sorted({area.region or "?" for area in areas}))
        there = ", ".join(str(name) for name in ours) or "none"
        reason = f"no region in common: its tables have {theirs}, ours {there} (give disc labels to the app)"
        failures.append(_failure(image, CSV, OTHER, "no_common_region", reason))
    return Compared(rows, failures, [], 0)


def _of_images(tables: Sequence[sct.CsvArea], images: Sequence[Ours]) -> dict[str, list[sct.CsvArea]]:
    known = [image.known for image in images]
    found: dict[str, list[sct.CsvArea]] = {}
    for area in tables:
        owner = owner_of(area.name, known)
        if owner is not None:
            found.setdefault(owner.key, []).append(area)
    return found


def _of_contrasts(images: Sequence[Ours], there: Mapping[str, Any]) -> list[Ours]:
    contrasts = {image.contrast for image in images if image.key in there}
    return [image for image in images if image.contrast in contrasts]


def _nothing_in_common(images: Sequence[Ours], other: Path, tables: Sequence[sct.CsvArea]) -> str:
    names = images[0].known.names
    seen = f"; its tables name {tables[0].name}" if tables else ""
    return (
        f"{other}: holds no mask and no row of any image of OUT{seen}; masks are found by the image's name, "
        f"for example {names[0]}_seg.nii.gz or {images[0].soft.name or names[0] + '.nii.gz'}"
    )


def _failure(image: Ours, kind: str, tool: str, failure: str, reason: str) -> dict[str, Any]:
    return {**image.named, "kind": kind, "tool": tool, "failure": failure, "reason": reason}
