"""The level and disc volumes of one image in OUT, with how sure each found label is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softseg_bids.app.alignment import Alignment
from softseg_bids.app.landmarks import disc_name
from softseg_bids.app.records import Record, load_soft, to_canonical
from softseg_bids.app.tables import SliceTable
from softseg_bids.bids import derivatives
from softseg_bids.image.grid import Grid, like_stored

PRODUCTS = ("levels", "discs")


def write_levels(record: Record, alignment: Alignment, table: SliceTable) -> list[str]:
    """Write levels and discs of an image, or remove those of an earlier run; the files written.

    Parameters
    ----------
    record, alignment, table
        The scan, its labels, and its slices.
    """
    paths = {product: Path(record.job.outputs[product]) for product in PRODUCTS}
    soft, grid = to_canonical(load_soft(Path(record.soft)), record.grid)
    levels = np.zeros(soft.shape, dtype=np.uint8)
    levels[:, :, table.slices] = np.nan_to_num(np.floor(table.level)).astype(np.uint8)
    images = {
        "levels": np.where(soft >= 0.5, levels, 0).astype(np.uint8),
        "discs": disc_image(alignment.disc_points_mm, grid),
    }
    remarks = record.job.remarks(record.checksum) | {"LevelsSource": alignment.levels_source}
    remarks |= label_facts(alignment)
    written = []
    for product, image in images.items():
        # An image between its session's discs has levels and no disc; one that shows a disc or a junction
        # alone, the other way round.
        if not image.any():
            derivatives.remove(paths[product])
            continue
        # Not like the image itself, which may be gone; the mask has its codes.
        like = Path(record.job.outputs["probseg"])
        derivatives.write_mask(
            paths[product], like_stored(image, record.grid), record.grid, like, product, remarks
        )
        written.append(str(paths[product]))
    return written


def label_facts(alignment: Alignment) -> dict[str, dict[str, Any]]:
    """Where each label comes from (``LabelSource``), and how sure those looked for are, shown or not.

    What has a confidence and no source is not shown; without a network for levels nothing has one.
    """
    facts: dict[str, dict[str, Any]] = {
        "LabelSource": {disc_name(v): source for v, source in sorted(alignment.label_sources.items())}
    }
    if alignment.confidences:
        facts["LabelConfidence"] = {
            disc_name(v): round(confidence, 3) for v, confidence in sorted(alignment.confidences.items())
        }
    return facts


def disc_image(points_mm: Mapping[int, list[float]], grid: Grid) -> NDArray[np.uint8]:
    """The value of each label in the voxel it lies in, canonical axes; labels out of view are left out."""
    image = np.zeros(grid.shape, dtype=np.uint8)
    for value, point in points_mm.items():
        x, y, z = (int(k) for k in np.rint(grid.to_index(np.asarray(point))))
        if all(0 <= k < n for k, n in zip((x, y, z), grid.shape, strict=True)):
            image[x, y, z] = value
    return image
