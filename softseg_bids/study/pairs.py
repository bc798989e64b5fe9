"""The worst disagreements as blinded pairs: who is A is drawn by lot, and told in a file of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from softseg_bids.app import steps
from softseg_bids.app.session_steps import canonical_grid
from softseg_bids.bids.derivatives import sidecar
from softseg_bids.bids.names import bare
from softseg_bids.bids.sidecars import read_json
from softseg_bids.core.scores import HALF, binarise
from softseg_bids.image.grid import Array
from softseg_bids.image.volume import DataError, read_grid, read_mask, read_volume
from softseg_bids.pages.pairs import PairFigure, pair_figure
from softseg_bids.study.ours import MEASURED, Ours
from softseg_bids.study.place import canonical_array

OURS, OTHER = "softseg", "other"
MOST_TILES = 8
TILES_APART_MM = 3.0


class Candidate(NamedTuple):
    """An image that both tools looked at, of which at least one has a mask.

    Attributes
    ----------
    image : Ours
        Without a mask where no cord was found.
    mask : Path
        The other tool's.
    dice : float
        Overlap over all slices that either mask reaches; NaN if neither reaches 0.5 anywhere.
    difference_mm2 : float
        Mean difference of area (ours minus the other's) over the slices that both have, NaN without any.
    """

    image: Ours
    mask: Path
    dice: float
    difference_mm2: float


class Pair(NamedTuple):
    """A pair as the page shows it.

    Attributes
    ----------
    number : int
        From 1, in an order that says nothing.
    contrast : str
    figure : PairFigure
        First is A, second is B.
    key : dict
        Row of the key.
    """

    number: int
    contrast: str
    figure: PairFigure
    key: dict[str, Any]


class Pairs(NamedTuple):
    """The pairs, and why others of the worst have no figure."""

    shown: list[Pair]
    notes: list[str]


def draw_pairs(candidates: Sequence[Candidate], root: Path | None, most: int, seed: int) -> Pairs:
    """Figures of the images with the least overlap, shuffled, A and B by lot.

    Parameters
    ----------
    candidates : sequence of Candidate
    root : Path or None
        The dataset, for the images; without it there are no figures.
    most : int
        How many.
    seed : int
        The same seed draws the same lots for the same candidates.
    """
    if root is None:
        return Pairs([], ["the images were not found: name the dataset by --bids to get the blinded figures"])
    differ = [each for each in candidates if each.dice < 1.0]
    worst = sorted(differ, key=lambda each: (each.dice, each.image.key))[:most]
    rng = np.random.default_rng(seed)
    shown: list[Pair] = []
    notes: list[str] = []
    for place in rng.permutation(len(worst)).tolist():
        one = worst[place]
        ours_is_a = bool(rng.integers(2))
        try:
            figure = _figure(one, root, ours_is_a)
        except DataError as error:
            notes.append(str(error))
            continue
        number = len(shown) + 1
        first, second = (OURS, OTHER) if ours_is_a else (OTHER, OURS)
        key = {"pair": number, "a": first, "b": second, **one.image.named}
        shown.append(
            Pair(
                number, one.image.contrast, figure,
                key | {"dice": one.dice, "difference_mm2": one.difference_mm2},
            )
        )  # fmt: skip
    return Pairs(shown, notes)


def worst_slices(own: Array, other: Array, slice_mm: float) -> list[int]:
    """Slices with a mask of either in which the two differ most, at least 3 mm apart, at most eight.

    Where one mask ends, all slices beyond differ alike: of such the one farthest from those chosen is next,
    so that the tiles show the whole stretch.

    Parameters
    ----------
    own, other : ndarray, shape (x, y, z)
    slice_mm : float
    """
    one, two = own >= HALF, other >= HALF
    either = (one | two).sum(axis=(0, 1))
    off = (one ^ two).sum(axis=(0, 1)) / np.maximum(either, 1)
    left = np.flatnonzero(either)
    chosen: list[int] = []
    while len(left) and len(chosen) < MOST_TILES:
        away = np.abs(left[:, None] - np.array(chosen)).min(axis=1) if chosen else np.zeros(len(left))
        index = int(left[np.lexsort((-away, -off[left]))[0]])
        chosen.append(index)
        left = left[np.abs(left - index) * slice_mm >= TILES_APART_MM]
    return sorted(chosen)


def _figure(one: Candidate, root: Path, ours_is_a: bool) -> PairFigure:
    """Draw a pair.

    Raises
    ------
    DataError
        If the image or a mask cannot be read.
    """
    other = canonical_array(read_mask(one.mask))
    is_measured = one.image.status == MEASURED
    own = canonical_array(read_mask(one.image.soft)) if is_measured else np.zeros_like(other)
    spacing_mm = canonical_grid(read_grid(one.mask)).spacing_mm
    with tempfile.TemporaryDirectory() as folder:
        volume = read_volume(conformed(one.image, root, Path(folder)))
    image = canonical_array(volume)
    if image.shape != own.shape:
        raise DataError(f"{root / one.image.source}: changed since it was segmented; run the app again")
    slices = worst_slices(own, other, float(spacing_mm[2]))
    # A soft mask's outline is smoother than a binary one's, which would tell whose it is.
    hard = binarise(own), binarise(other)
    masks = hard if ours_is_a else hard[::-1]
    return pair_figure(image, *masks, spacing_mm, slices)


def conformed(image: Ours, root: Path, folder: Path) -> Path:
    """The 3-D image that was segmented, from its sources in the dataset.

    Raises
    ------
    DataError
        If they cannot be read.
    """
    # Without a mask there is no sidecar of it.
    said = read_json(sidecar(image.soft)) if image.status == MEASURED else {}
    named = [str(each) for each in said.get("Sources", [])]
    raw = [root / each.removeprefix("bids:raw:") for each in named if each.startswith("bids:raw:")]
    sources = raw or [root / image.source]
    bval = sources[0].with_name(f"{bare(sources[0])}.bval")
    is_diffusion = image.card.get("combine") == "diffusion" and bval.is_file()
    made = steps.conform(
        [str(path) for path in sources], [], str(image.card.get("combine", "single")),
        str(bval) if is_diffusion else "", folder,
    )  # fmt: skip
    return Path(made.image)
