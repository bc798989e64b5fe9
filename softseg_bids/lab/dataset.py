"""Labelled images of BIDS datasets: which there are, who they are of, and what they look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from softseg_bids.app.facts import site_of
from softseg_bids.app.session_steps import canonical_grid
from softseg_bids.app.steps import conform, same_place
from softseg_bids.bids import derivatives
from softseg_bids.bids.dataset import Dataset, Scan, Selection
from softseg_bids.bids.discover import discover
from softseg_bids.image.grid import canonical
from softseg_bids.image.volume import DataError, read_mask, read_volume
from softseg_bids.training.cases import Case, case_of
from softseg_bids.training.recipes import Recipe
from softseg_bids.training.split import Person


class Labelled(NamedTuple):
    """An image and its label, and whose it is."""

    scan: Scan
    label: Path
    person: Person


def find(folder: Path, labels: Path, contrasts: Sequence[str], site_column: str | None) -> list[Labelled]:
    """The labelled images of a dataset.

    A soft truth (`softseg-truth`) at its place below ``labels`` is preferred to a mask named after the image.

    Raises
    ------
    DataError
        If no image has a label.
    """
    dataset = discover(folder, Selection(contrasts=tuple(contrasts), derivatives={"corrected": labels}))
    found = []
    for scan in dataset.scans:
        truth = derivatives.output(labels, scan, "truth")
        label = truth if truth.exists() else scan.corrected
        if label is not None:
            found.append(Labelled(scan, label, _person(dataset, scan, site_column)))
    if not found:
        raise DataError(f"{labels}: holds no label of any image of {folder}; name labels after their images")
    return found


def load(one: Labelled, recipe: Recipe, hard: bool, folder: Path) -> Case:
    """Read an image and its label, and bring both to the network's grid.

    Parameters
    ----------
    hard : bool
        Cut the label at 0.5.
    folder : Path
        For what echoes or diffusion volumes are combined to.

    Raises
    ------
    DataError
        If either cannot be used, or the label is not on the image's grid.
    """
    scan = one.scan
    folder.mkdir(parents=True, exist_ok=True)
    shown = conform([str(path) for path in scan.paths], [], scan.combine, str(scan.bval or ""), folder).image
    volume, mask = read_volume(Path(shown)), read_mask(one.label)
    image, grid = canonical(volume.array, volume.grid)
    label, where = canonical(mask.array, mask.grid)
    if label.shape != image.shape or not same_place(where, canonical_grid(volume.grid)):
        raise DataError(f"{one.label}: is not on the grid of its image {scan.relative}; draw it there")
    values = np.ascontiguousarray(label, dtype=np.float32)
    if hard:
        values = (values >= 0.5).astype(np.float32)
    return case_of(scan.relative, np.ascontiguousarray(image, dtype=np.float32), values, grid, recipe)


def _person(dataset: Dataset, scan: Scan, site_column: str | None) -> Person:
    row = dataset.participant_row(scan.participant)
    session = dataset.session_row(scan.participant, scan.session)
    site = site_of(row, session, scan.metadata, site_column)
    body = row.get("person_id") or f"{dataset.root.name}/{scan.participant}"
    return Person(dataset.root.name, scan.participant, body, site or "")
