"""Our results against those of another tool on the same images: `softseg-compare OUT OTHER`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from softseg_bids.app.group_tables import LEAST_COVERAGE
from softseg_bids.app.landmarks import DISC_VALUES, disc_name
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.bids.masks import masks_of, owner_of
from softseg_bids.core.cord import trace
from softseg_bids.core.levels import regions
from softseg_bids.core.scores import dice
from softseg_bids.image.grid import Array, Grid
from softseg_bids.image.volume import DataError, read_grid, read_mask, read_volume
from softseg_bids.study import masks, sct
from softseg_bids.study.agreements import agreements
from softseg_bids.study.compare_page import write_page
from softseg_bids.study.ours import MEASURED, NO_CORD, Ours, enough, raw_root, read_ours
from softseg_bids.study.pairs import OTHER, OURS, Candidate, draw_pairs
from softseg_bids.study.place import (
    Mask,
    Measured,
    Place,
    canonical_array,
    covered,
    joint,
    measured,
    over,
    place_of_table,
    region_rank,
    seen_by_either,
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
        Images with a mask of either, for the blinded figures: also those in which one found nothing.
    refused : int
        Masks of the other tool that could not be used.
    """

    areas: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    candidates: list[Candidate]
    refused: int


class _Both(NamedTuple):
    """Two masks of one image, measured over the slices of either.

    Attributes
    ----------
    place : Place
        Led by our line where we have one.
    tools : dict of str to Measured
        By tool, along that line: areas to be compared.
    alone : dict of str to Measured
        By tool, each along its own line: on ours, a mask that lies beside it would show nothing.
    shown : dict of str to ndarray of bool
        Slices that each shows by itself.
    used : ndarray of bool
        Slices in which both were measured on the same line.
    """

    place: Place
    tools: Mapping[str, Measured]
    alone: Mapping[str, Measured]
    shown: Mapping[str, Mask]
    used: Mask


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
    root = raw_root(chosen.out, chosen.bids)
    found = compare(images, chosen.other, root)
    areas = pd.DataFrame(found.areas)
    rows = agreement_rows(areas)
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


def compare(images: Sequence[Ours], other: Path, root: Path | None) -> Compared:
    """Measure both masks of each image where either shows cord, and read the other's tables.

    Parameters
    ----------
    images : sequence of Ours
    other : Path
        A folder of masks and CSV tables, or one CSV table.
    root : Path or None
        The dataset, for the images in which we found no cord.

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
        of_image = candidates.get(image.key, [])
        compared = (
            _compare_masks(image, of_image)
            if image.status == MEASURED
            else _compare_nothing(image, of_image, root)
        )
        found = _added(found, compared)
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


def _compare_nothing(image: Ours, candidates: Sequence[Path], root: Path | None) -> Compared:
    """An image without a mask of ours: if we found no cord in it and the other did, people judge the two."""
    failures = [_failure(image, MASK, OURS, image.status, image.reason)]
    if not candidates:
        failures.append(_failure(image, MASK, OTHER, masks.MISSING, "there is no mask either"))
    if not candidates or image.status != NO_CORD or root is None:
        return Compared([], failures, [], 0)
    try:
        grid = read_grid(root / image.source)
    except DataError as error:
        reason = f"{image.reason}; not shown as a pair: {error}"
        return Compared([], [_failure(image, MASK, OURS, image.status, reason)], [], 0)
    found = masks.find_mask(candidates, grid)
    failures += _not_used(image, found)
    shown = []
    if found.path is not None and found.array is not None:
        shown.append(Candidate(image, found.path, dice(found.array, np.zeros_like(found.array)), np.nan))
    return Compared([], failures, shown, _refused(found))


def _compare_masks(image: Ours, candidates: Sequence[Path]) -> Compared:
    stored = read_grid(image.soft)
    found = masks.find_mask(candidates, stored)
    failures = _not_used(image, found)
    if found.path is None or found.array is None:
        return Compared([], failures, [], _refused(found))
    own = canonical_array(read_mask(image.soft))
    # Of everything: where either mask ends, the slices of the other one count against the overlap.
    overlap = dice(found.array, own)
    if found.status == masks.EMPTY:
        return Compared([], failures, [Candidate(image, found.path, overlap, np.nan)], 0)
    both = _measured_both(image, own, found.array, stored)
    areas = list(_area_rows(image, both, found, overlap))
    for tool, result in both.alone.items():
        if bad := [flag for flag in result.flags if flag in FAILING_FLAGS]:
            failures.append(_failure(image, MASK, tool, ";".join(bad), "flags of the mask"))
    failures += _incomplete(image, both)
    return Compared(areas, failures, [Candidate(image, found.path, overlap, _mean_difference(both))], 0)


def _measured_both(image: Ours, own: Array, other: Array, stored: Grid) -> _Both:
    place = place_of_table(image.slices, stored, image.rows)
    by_ours, by_other = joint(place, trace(other, place.grid.spacing_mm))
    tools = {OURS: measured(own, by_ours), OTHER: measured(other, by_ours)}
    alone = {OURS: tools[OURS], OTHER: measured(other, by_other)}
    shown = {OURS: alone[OURS].usable & by_ours.usable, OTHER: alone[OTHER].usable}
    # Where its cord lies off our line, what is left of it there is the soft edge of something else.
    beside = np.isfinite(alone[OTHER].area_binary_mm2) & ~np.isfinite(tools[OTHER].area_binary_mm2)
    used = shown[OURS] & tools[OTHER].usable & ~beside
    discs = read_volume(image.discs) if image.discs.is_file() else None
    place = seen_by_either(by_ours, shown[OURS] | shown[OTHER], discs)
    return _Both(place, tools, alone, shown, used)


def _mean_difference(both: _Both) -> float:
    """Mean difference of area over the slices in which both were measured, NaN without any."""
    difference = both.tools[OURS].area_mm2 - both.tools[OTHER].area_mm2
    return float(difference[both.used].mean()) if both.used.any() else float("nan")


def _not_used(image: Ours, found: masks.Found) -> list[dict[str, Any]]:
    """Why a mask of the other is not used, if it is not."""
    return [] if found.status == masks.USED else [_failure(image, MASK, OTHER, found.status, found.reason)]


def _refused(found: masks.Found) -> int:
    return int(found.status in (masks.OTHER_GRID, masks.UNREADABLE))


def _area_rows(image: Ours, both: _Both, found: masks.Found, overlap: float) -> Iterator[dict[str, Any]]:
    """A row a region: both masks over the very same slices, and how much of it each shows."""
    place, shown = both.place, both.shown
    for region in place.regions:
        ours, other = (over(place, tool, region, both.used) for tool in both.tools.values())
        there = ours["n_slices"] > 0
        yield {
            **image.named, "kind": MASK, "region": region.name,
            "area_mm2": ours["area_mm2"] if there else None,
            "area_binary_mm2": ours["area_binary_mm2"] if there else None,
            "other_area_mm2": other["area_mm2"] if there else None,
            "difference_mm2": ours["area_mm2"] - other["area_mm2"] if there else None,
            "coverage": ours["coverage"], "our_coverage": covered(place, region, shown[OURS]),
            "other_coverage": covered(place, region, shown[OTHER]),
            "n_slices": int(ours["n_slices"]), "dice": overlap,
            "in_statistics": bool(there and enough(region.name, ours["coverage"])),
            "other_file": str(found.path),
        }  # fmt: skip


def _incomplete(image: Ours, both: _Both) -> list[dict[str, Any]]:
    """Regions that the two masks show together, and one of them does not."""
    place, shown = both.place, both.shown
    together = shown[OURS] | shown[OTHER]
    there = [region for region in place.regions if covered(place, region, together) >= LEAST_COVERAGE]
    failures = []
    for tool, own in shown.items():
        missed = [region.name for region in there if covered(place, region, own) < LEAST_COVERAGE]
        if missed:
            reason = f"under 80 % of {', '.join(missed)}, of which both masks together show more"
            failures.append(_failure(image, MASK, tool, INCOMPLETE, reason))
    return failures


def _compare_csv(image: Ours, areas: Sequence[sct.CsvArea]) -> Compared:
    if not areas:
        return Compared([], [_failure(image, CSV, OTHER, masks.MISSING, "no row of its tables")], [], 0)
    failures = [_failure(image, CSV, OURS, image.status, image.reason)] if image.status != MEASURED else []
    failures += _without_area(image, areas)
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


def _without_area(image: Ours, areas: Sequence[sct.CsvArea]) -> list[dict[str, Any]]:
    """Regions that our labels define and the other's tables have areas of, and our mask does not reach."""
    labels = [value for value in DISC_VALUES if disc_name(value) in image.card.get("LabelSource", {})]
    # Which regions there are does not depend on where the discs lie.
    known = {region.name for region in regions({value: float(value) for value in labels}, None, ())}
    known -= {str(row["region"]) for row in image.rows if row["area_mm2"] is not None}
    missed = dict.fromkeys(
        area.region for area in areas if area.region in known and np.isfinite(area.area_mm2)
    )
    if image.status != MEASURED or not missed:
        return []
    reason = f"no area of {', '.join(missed)}, of which the other one has one"
    return [_failure(image, CSV, OURS, INCOMPLETE, reason)]


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
