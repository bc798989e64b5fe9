"""Masks that somebody else made of an image, brought to the image's canonical axes or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from softseg_bids.app.session_steps import canonical_grid
from softseg_bids.app.steps import same_place
from softseg_bids.core.scores import binarise
from softseg_bids.image.grid import Array, Grid
from softseg_bids.image.volume import DataError, read_grid, read_mask
from softseg_bids.study.place import canonical_array

USED, MISSING, EMPTY, OTHER_GRID, UNREADABLE = "used", "missing", "empty", "other_grid", "unreadable"
REMEDY = "bring it there (sct_register_multimodal -identity 1 -x nn, or segment the image itself)"


class Found(NamedTuple):
    """The mask of an image, or why there is none.

    Attributes
    ----------
    status : str
        ``used``, ``empty`` (it is there and holds nothing), ``missing``, ``other_grid`` or ``unreadable``;
        ``failed`` (`study.ours`) of an image that the app could not process.
    reason : str
    path : Path or None
    array : ndarray or None
        Canonical, [0, 1]; also of an empty mask that is a file.
    """

    status: str
    reason: str = ""
    path: Path | None = None
    array: Array | None = None


def find_mask(candidates: Sequence[Path], grid: Grid) -> Found:
    """The first of an image's masks that lies on its grid.

    Parameters
    ----------
    candidates : sequence of Path
        Best first.
    grid : Grid
        The image's, as stored (masks may be stored with other axes).
    """
    refused: list[Found] = []
    for path in candidates:
        try:
            if not same_box(read_grid(path), grid):
                refused.append(Found(OTHER_GRID, f"{path}: is not on the grid of the image; {REMEDY}", path))
                continue
            array = canonical_array(read_mask(path))
        except DataError as error:
            refused.append(Found(UNREADABLE, str(error), path))
            continue
        return Found(USED, "", path, array) if array.any() else Found(EMPTY, "the mask is empty", path, array)
    return refused[0] if refused else Found(MISSING, "there is no mask of this image")


def cut_at(found: Found, cut: float) -> Found:
    """A mask made binary: 1 from a value in (0, 1) on, else 0; empty if nothing reaches it."""
    if found.status != USED or found.array is None:
        return found
    hard = binarise(found.array, cut)
    if hard.any():
        return found._replace(array=hard)
    return Found(EMPTY, f"no voxel of the mask reaches {cut:g}", found.path, hard)


def same_box(one: Grid, other: Grid) -> bool:
    """Whether two stored grids have the same voxels, in whatever order of axes."""
    first, second = canonical_grid(one), canonical_grid(other)
    return first.shape == second.shape and same_place(first, second)
