"""The steps of one session, over whatever scans of it finished: files in, files out.

label -> measure -> summarise -> draw, and a participant's page from OUT alone. Every number is
derived from the per-slice table of `measure`. What draws is imported by the steps that draw: where
each step is a process of its own (a job of a cluster), the others need not wait for matplotlib.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from softseg_bids.app import kept, level_images, rows
from softseg_bids.app.alignment import Alignment, Labels, Traced, align
from softseg_bids.app.columns import LONG, SLICES
from softseg_bids.app.jobs import SessionJob
from softseg_bids.app.landmarks import with_landmarks
from softseg_bids.app.records import Record, load_soft, read_record, to_canonical
from softseg_bids.app.sights import load_sight
from softseg_bids.app.tables import SliceTable, slice_table
from softseg_bids.bids import derivatives
from softseg_bids.core.levels import common_extent
from softseg_bids.image.grid import Grid, canonical
from softseg_bids.image.volume import DataError, Volume, read_volume


class Labelled(NamedTuple):
    """How the images lie to each other, with discs and tangents."""

    labels: Path


class Measured(NamedTuple):
    """The per-slice tables of all images."""

    slices: Path


class Summarised(NamedTuple):
    """The regions, and the tables written to OUT."""

    regions: Path
    outputs: list[str]


class Drawn(NamedTuple):
    """The list of figures, and the figures in OUT."""

    figures: Path
    outputs: list[str]


class Paged(NamedTuple):
    """The participant's page."""

    page: str


def label(records: list[Path], stamps: list[str], folder: Path) -> Labelled:
    """Bring the images of a session together in scanner space; share labels and tangents.

    Parameters
    ----------
    records : list of Path
        Of the scans that finished.
    stamps : list of str
        Size and time of the label files, so that an edited one is noticed.
    folder : Path
        Where the result is written.
    """
    measured = _measured(records)
    notes: dict[str, list[str]] = {}
    images = {}
    for key, record in measured.items():
        stored = record.grid
        discs, notes[key] = _discs(record)
        sight = load_sight(Path(record.sight)) if record.sight else None
        images[key] = Traced(canonical_grid(stored), stored, record.centreline, discs, sight)
    axis, alignments = align(images, _loose_labels(records)) if images else ("", {})
    content: dict[str, Any] = {"axis": axis, "images": {}}
    for key, alignment in alignments.items():
        content["images"][key] = dataclasses.asdict(alignment)
        content["images"][key]["notes"] += notes[key]
    return Labelled(_write(folder / "labels.json", content))


def measure(records: list[Path], labels: Path, folder: Path) -> Measured:
    """The per-slice table of every image.

    Parameters
    ----------
    records, labels
        Of the session's scans, and from :func:`label`.
    """
    alignments = read_alignments(labels)
    tables = {}
    for key, record in _measured(records).items():
        stored = record.grid
        soft, grid = to_canonical(load_soft(Path(record.soft)), stored)
        tables[key] = slice_table(soft, stored, grid, record, alignments[key])
    return Measured(_write(folder / "slices.json", {key: table.as_json() for key, table in tables.items()}))


def summarise(records: list[Path], labels: Path, slices: Path, job: str, folder: Path) -> Summarised:
    """Regions and their means; write the tables and level volumes of all images, and the session's table.

    Parameters
    ----------
    records, labels, slices
        Of the session's scans, from :func:`label` and :func:`measure`.
    job : str
        The :class:`~softseg_bids.app.jobs.SessionJob` as JSON.
    """
    session = SessionJob.from_json(job)
    path = Path(session.outputs["table"])
    with kept.alone(path.parent):
        others = kept.read_kept(path, session.elsewhere)
        session = dataclasses.replace(session, missing=kept.with_kept(session.missing, others))
        own, outputs, facts = _summarised(records, labels, slices, session, others)
        joined = [*own, *(kept.without_common(others.rows) if records else others.rows)]
        joined.sort(key=lambda row: row["source_image"])
        derivatives.write_table(path, joined, columns=LONG, extra={"Session": facts})
    regions_file = _write(folder / "regions.json", {"rows": own})
    return Summarised(regions_file, [*outputs, str(path)])


def _summarised(
    records: list[Path], labels: Path, slices: Path, session: SessionJob, others: kept.Kept
) -> tuple[list[dict[str, Any]], list[str], dict[str, Any]]:
    """The rows of this run's images, the files written for them, and what is said about the session."""
    everything = [read_record(path) for path in records]
    alignments, tables = read_alignments(labels), read_tables(slices)
    shared = {
        key: table.extent_mm for key, table in tables.items() if alignments[key].shares and table.usable.any()
    }
    common = rows.Common(None, {}) if others.rows else rows.Common(*common_extent(shared))
    joined: list[dict[str, Any]] = []
    cards: list[dict[str, Any]] = []
    outputs: list[str] = []
    for record in everything:
        key = record.job.scan.key
        if record.status == "no_cord":
            joined.append(rows.empty_row(record, session))
            cards.append(rows.card(record, canonical_grid(record.grid), None, None))
            outputs += _forget(record)
            continue
        alignment, table = alignments[key], tables[key]
        regions = rows.region_rows(record, session, alignment, table, common)
        outputs += _write_image(record, alignment, table, regions)
        joined += regions
        cards.append(rows.card(record, canonical_grid(record.grid), alignment, table))
    cards = sorted([*cards, *others.cards], key=lambda card: card["source"])
    if others.rows:
        apart = {card["key"]: kept.APART for card in cards}
        common = rows.Common(None, apart) if records else others.common
    return joined, outputs, rows.session_facts(session, cards, common, others.sources)


def draw(records: list[Path], labels: Path, slices: Path, regions: Path, job: str, folder: Path) -> Drawn:
    """Write the figures of every image, and the curves of the session.

    Parameters
    ----------
    records, labels, slices, regions
        Of the session's scans, from :func:`label`, :func:`measure` and :func:`summarise`.
    job : str
        The :class:`~softseg_bids.app.jobs.SessionJob` as JSON.

    Raises
    ------
    DataError
        If an image can no longer be read; the figures of all others are there.
    """
    from softseg_bids.app.figures import draw_curves, draw_image

    session = SessionJob.from_json(job)
    alignments, tables = read_alignments(labels), read_tables(slices)
    outputs: list[str] = []
    lost: list[DataError] = []
    for record in [read_record(path) for path in records]:
        key = record.job.scan.key
        try:
            volume = read_volume(Path(record.image))
        except DataError as error:
            lost.append(error)
            continue
        outputs += draw_image(record, volume, alignments.get(key), tables.get(key))
    if tables:
        content = json.loads(regions.read_text(encoding="utf-8"))
        scans = {record.job.scan.key: record.job.scan for record in _measured(records).values()}
        shown = {key: table for key, table in tables.items() if alignments[key].shares}
        path = Path(session.outputs["curves"])
        draw_curves(path, {key: (scans[key], table) for key, table in shown.items()}, content["rows"])
        outputs.append(str(path))
    if lost:
        raise DataError("; ".join(map(str, lost)))
    return Drawn(_write(folder / "figures.json", outputs), outputs)


def page(participant: str, out: str, root: str, folder: Path) -> Paged:
    """A participant's page, from what lies in OUT.

    Parameters
    ----------
    participant : str
        Label without ``sub-``.
    out, root : str
        OUT, and the dataset, whose images the page's commands open.
    folder : Path
        The node's folder.
    """
    from softseg_bids.app.page import build_page

    return Paged(str(build_page(participant, Path(out), Path(root))))


def canonical_grid(grid: Grid) -> Grid:
    """The canonical grid of a stored one."""
    return canonical(np.broadcast_to(np.uint8(0), grid.shape), grid)[1]


def read_alignments(path: Path) -> dict[str, Alignment]:
    """What :func:`label` found, by image."""
    found = {}
    for key, fields in json.loads(path.read_text(encoding="utf-8"))["images"].items():
        for name in ("discs", "disc_points_mm", "confidences", "label_sources", "doubtful"):
            fields[name] = {int(value): content for value, content in fields[name].items()}
        found[key] = Alignment(**fields)
    return found


def read_tables(path: Path) -> dict[str, SliceTable]:
    """The per-slice tables of :func:`measure`, by image."""
    return {
        key: SliceTable.from_json(fields)
        for key, fields in json.loads(path.read_text(encoding="utf-8")).items()
    }


def _measured(records: list[Path]) -> dict[str, Record]:
    everything = [read_record(path) for path in records]
    return {record.job.scan.key: record for record in everything if record.status == "measured"}


def _loose_labels(records: list[Path]) -> list[Labels]:
    """Labels of the images in which no cord was found."""
    without = [record for record in map(read_record, records) if record.status == "no_cord"]
    found = [(_discs(record)[0], record) for record in without]
    return [Labels(discs, record.grid, record.job.scan.key) for discs, record in found if discs is not None]


def _discs(record: Record) -> tuple[Volume | None, list[str]]:
    """All labels of an image as one volume, and what is wrong with them."""
    scan, notes = record.job.scan, []
    volumes: dict[Path, Volume] = {}
    for path in scan.label_files:
        try:
            volumes[path] = read_volume(path)
        except DataError as error:
            notes.append(f"labels not used: {error}")
    discs = volumes.get(scan.discs) if scan.discs else None
    if scan.landmarks in volumes:
        discs, problems = with_landmarks(discs, volumes[scan.landmarks])
        notes += [f"labels: {scan.landmarks.name}: {problem}" for problem in problems]
    return discs, notes


def _write_image(
    record: Record, alignment: Alignment, table: SliceTable, regions: list[dict[str, Any]]
) -> list[str]:
    """Tables and level volume of one image; the files written."""
    outputs = record.job.outputs
    derivatives.write_table(Path(outputs["perslice"]), table.rows(), columns=SLICES)
    derivatives.write_table(Path(outputs["perlevel"]), regions, columns=LONG)
    written = [outputs["perslice"], outputs["perlevel"]]
    return [*written, *level_images.write_levels(record, alignment, table)]


def _forget(record: Record) -> list[str]:
    """Remove tables of an earlier run that did find a cord; nothing is written."""
    for product in ("perslice", "perlevel", *level_images.PRODUCTS):
        derivatives.remove(Path(record.job.outputs[product]))
    return []


def _write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content, sort_keys=True), encoding="utf-8")
    return path
