"""Levels of real scans, found by the app itself: from one image alone, and from all contrasts together.

Made for the person `sub-errsm30` of `shared/real`, whose discs a person has placed. Images are taken over
without any label, so that the app has to find what it names.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import report
from bench.level_cases import WITHIN_MM
from bench.real import PERSON, run_app
from softseg_bids.app.landmarks import disc_name
from softseg_bids.bids.dataset import Scan
from softseg_bids.bids.derivatives import output, session_table
from softseg_bids.bids.discover import discover
from softseg_bids.core.levels import LEVEL_NAMES, project
from softseg_bids.image.grid import Floats
from softseg_bids.image.volume import DataError

# Posterior tips of the discs, scanner mm.
TRUE_MM = {3: (-7.0, 9.5, 34.0), 4: (-7.0, 9.0, 14.5), 5: (-7.0, 8.5, -3.0), 6: (-7.0, 7.5, -18.5)}
# What the app is given; None is everything.
GIVEN: dict[str, tuple[str, ...] | None] = {
    "full T2w alone": ("acq-full_T2w",),
    "T1w crop alone": ("acq-crop_T1w",),
    "all contrasts": None,
}
VERTEBRAE = {f"vert-{name}": number for number, name in LEVEL_NAMES.items()}
Row = Mapping[str, str]


class Placed(NamedTuple):
    """The discs of one image as its tables have them.

    Attributes
    ----------
    image : str
    source : str
        Of its levels.
    errors_mm : dict of int to float
        Of each true disc beside the image's cord: along the cord, downwards; NaN where it has no name.
    others : list of int
        Discs with a name within 3 mm of another true disc: the numbering is shifted.
    """

    image: str
    source: str
    errors_mm: dict[int, float]
    others: list[int]


def real_levels(root: Path, weights: Path, processes: int) -> str:
    """Run the app on what it is given, and the table of where it puts the discs.

    Raises
    ------
    DataError
        If the person is not in the dataset, or the app fails.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, stems) in enumerate(GIVEN.items()):
            bids, out = (Path(folder, str(number), what) for what in ("bids", "softseg"))
            unlabelled(root, bids, stems)
            run_app(bids, out, weights, processes)
            rows += [(name, placed) for placed in results(bids, out)]
    return table(rows)


def unlabelled(root: Path, to: Path, stems: Sequence[str] | None) -> Path:
    """The person's raw images (only some of them, if named) in a dataset of their own, as links.

    Raises
    ------
    DataError
        If there is none.
    """
    person = root / f"sub-{PERSON}"
    wanted = [f"sub-{PERSON}_{stem}." for stem in stems] if stems is not None else [f"sub-{PERSON}_"]
    files = [path for path in sorted(person.rglob("*")) if path.name.startswith(tuple(wanted))]
    if not files:
        raise DataError(f"{person}: has no image of {', '.join(stems or ['any contrast'])}; check REAL")
    for path in files:
        link = to / path.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.absolute())
    description = to / "dataset_description.json"
    description.write_text('{"Name": "levels", "BIDSVersion": "1.11.1"}')
    return to


def results(bids: Path, out: Path) -> list[Placed]:
    """Where every image of a run has its discs."""
    found = []
    for scan in discover(bids).scans:
        slices = _read(output(out, scan, "perslice"))
        regions = _of(_read(session_table(out, scan.participant, scan.session)), scan)
        name = scan.key.removeprefix(f"sub-{scan.participant}_")
        found.append(placed(name, slices, regions))
    return found


def placed(name: str, slices: Sequence[Row], regions: Sequence[Row]) -> Placed:
    """Compare the limits of an image's regions with the true discs, along its own cord.

    Parameters
    ----------
    name : str
    slices, regions : sequence of dict
        Rows of its per-slice table (none without a cord) and of its regions.
    """
    source = next((row["levels_source"] for row in regions if row["region"] == "cord"), "none")
    if len(slices) < 2:
        return Placed(name, source, {}, [])
    line = np.array([[float(row[f"{axis}_mm"]) for axis in "xyz"] for row in slices])
    at = np.array([float(row["position_mm"]) for row in slices])
    order = np.argsort(at)
    line, at = line[order], at[order]
    true = {value: _position(np.array(point), line, at) for value, point in TRUE_MM.items()}
    inside = {value: place for value, place in true.items() if at[0] <= place <= at[-1]}
    shown = discs_of(regions)
    errors = {value: shown.get(value, np.nan) - place for value, place in inside.items()}
    others = [
        value
        for value, place in shown.items()
        if any(abs(place - there) < WITHIN_MM for disc, there in inside.items() if disc != value)
    ]
    return Placed(name, source, errors, others)


def discs_of(regions: Sequence[Row]) -> dict[int, float]:
    """Positions of the discs that limit the levels of an image."""
    found: dict[int, float] = {}
    for row in regions:
        if row["start_mm"] == "n/a":
            continue
        start, end = float(row["start_mm"]), float(row["end_mm"])
        if row["region"] in VERTEBRAE:
            found[VERTEBRAE[row["region"]]] = start
            found[VERTEBRAE[row["region"]] + 1] = end
        elif row["region"] == "disc-C2C3":
            found[3] = 0.5 * (start + end)
    return found


def table(rows: Sequence[tuple[str, Placed]]) -> str:
    """Markdown: a row an image, a column a disc; and how many are where they should be."""
    body = [
        (given, one.image, one.source, *(_cell(one, value) for value in TRUE_MM), _verdict(one))
        for given, one in rows
    ]
    head = (
        "given to the app",
        "image",
        "levels",
        *(disc_name(value) for value in TRUE_MM),
        "all within 3 mm",
    )
    return (
        f"\nReal: sub-{PERSON} without labels; distance of each disc from where a person placed it, along "
        "the cord, downwards (mm). *n/a*: it has no name there; empty: it lies beyond the image.\n\n"
        + report.table(head, body)
        + "\n"
    )


def _cell(one: Placed, value: int) -> str:
    if value not in one.errors_mm:
        return ""
    return f"{one.errors_mm[value]:+.1f}" if np.isfinite(one.errors_mm[value]) else "n/a"


def _verdict(one: Placed) -> str:
    known = [abs(error) for error in one.errors_mm.values() if np.isfinite(error)]
    if one.others or any(error > WITHIN_MM for error in known):
        return report.VERDICT[False]
    return report.VERDICT[True] if known and len(known) == len(one.errors_mm) else "n/a"


def _position(point: Floats, line: Floats, at: Floats) -> float:
    """Position of a point along an image's slices; beyond them where it lies past their last one."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    found = float(project(point[None], line)[0][0])
    place = float(np.interp(found, along, at))
    for end, beside, sign in ((0, 1, -1.0), (-1, -2, 1.0)):
        step = line[end] - line[beside]
        past = float((point - line[end]) @ step) / float(np.linalg.norm(step))
        if past > 0:
            place = float(at[end]) + sign * past
    return place


def _of(rows: Sequence[Row], scan: Scan) -> list[Row]:
    return [row for row in rows if row["source_image"] == scan.relative]


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
