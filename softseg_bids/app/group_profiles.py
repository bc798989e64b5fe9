"""Per-slice tables in OUT: measuring again without excluded slices, compression, and visits side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softseg_bids.app.columns import MEASURES
from softseg_bids.app.exclusions import Exclusion
from softseg_bids.core.levels import Region, summarise
from softseg_bids.core.quality import in_means

Floats = NDArray[np.float64]
NEEDS_LABELS = ("vert-", "disc-", "pmj-")
# Source image -> what people excluded of it.
Excluded = Mapping[str, Sequence[Exclusion]]
NOTHING: Excluded = MappingProxyType({})
NO_SLICES = "its per-slice table is not in OUT; run the participant level again, or exclude the whole image"


class Slices(NamedTuple):
    """The per-slice table of one image.

    Attributes
    ----------
    numbers : ndarray of int, shape (n,)
        As a viewer counts them.
    position_mm, level, length_mm : ndarray, shape (n,)
    measures : dict of ndarray, shape (n,)
    usable : ndarray of bool, shape (n,)
        Slices that enter means.
    """

    numbers: NDArray[np.intp]
    position_mm: Floats
    level: Floats
    length_mm: Floats
    measures: dict[str, Floats]
    usable: NDArray[np.bool_]

    @property
    def starts_mm(self) -> Floats:
        """Upper end of each slice along the axis."""
        return np.asarray(self.position_mm - 0.5 * self.length_mm)

    @property
    def ends_mm(self) -> Floats:
        """Lower end of each slice along the axis."""
        return np.asarray(self.position_mm + 0.5 * self.length_mm)

    @property
    def extent_mm(self) -> tuple[float, float] | None:
        """The stretch of the usable slices, None if there are none."""
        seen = self.usable & np.isfinite(self.measures["area_mm2"])
        if not seen.any():
            return None
        return float(self.starts_mm[seen].min()), float(self.ends_mm[seen].max())

    def mean(self, start_mm: float, end_mm: float) -> dict[str, float]:
        """Means over a stretch, as of `core.levels.summarise`."""
        region = Region("", start_mm, end_mm)
        return summarise(self.measures, self.starts_mm, self.ends_mm, region, self.usable)


def slice_table(out: Path, card: dict[str, Any]) -> Path:
    """The per-slice table of an image, from its card in the session's facts."""
    return out / str(card["folder"]) / f"{card['stem']}_label-SC_desc-{card['contrast']}Perslice_morph.tsv"


def read_slices(path: Path, exclusions: Sequence[Exclusion] = ()) -> Slices | None:
    """A per-slice table without what people excluded of it; None if it is not there."""
    if not path.is_file():
        return None
    header, *lines = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    cells = dict(zip(header, zip(*lines, strict=True), strict=True)) if lines else {}
    if not cells:
        return None
    flags = [() if text == "n/a" else tuple(text.split(";")) for text in cells["flags"]]
    slices = Slices(
        _numbers(cells["slice"]).astype(np.intp), _numbers(cells["position_mm"]), _numbers(cells["level"]),
        _numbers(cells["length_mm"]), {name: _numbers(cells[name]) for name in MEASURES}, in_means(flags),
    )  # fmt: skip
    return without(slices, exclusions)


def _numbers(texts: Sequence[str]) -> Floats:
    return np.array([np.nan if text == "n/a" else float(text) for text in texts])


def without(slices: Slices, exclusions: Sequence[Exclusion]) -> Slices:
    """The same with excluded images, slices and levels out of means; failed labels name no levels."""
    gone = np.zeros(len(slices.numbers), dtype=bool)
    level = slices.level
    for exclusion in exclusions:
        gone |= _taken(slices, exclusion)
        if exclusion.what == "labels":
            level = np.full(len(slices.numbers), np.nan)
    return slices._replace(usable=slices.usable & ~gone, level=level)


def _taken(slices: Slices, exclusion: Exclusion) -> NDArray[np.bool_]:
    """Which slices an exclusion takes out, shape (n,)."""
    taken = np.full(len(slices.numbers), exclusion.what == "image")
    for first, last in exclusion.slices:
        taken |= (slices.numbers >= first) & (slices.numbers <= last)
    for first, last in exclusion.levels:
        taken |= (slices.level >= first) & (slices.level < last + 1)
    return taken


def by_image(exclusions: Sequence[Exclusion], sources: Iterable[str]) -> dict[str, list[Exclusion]]:
    """Source image -> the exclusions that are about it."""
    concerned = {
        source: [exclusion for exclusion in exclusions if exclusion.concerns(source)] for source in sources
    }
    return {source: found for source, found in concerned.items() if found}


class Idle(NamedTuple):
    """An exclusion that took nothing out of an image.

    Attributes
    ----------
    source : str
        Path of the image from the dataset's root.
    exclusion : Exclusion
    reason : str
        Why it has no effect.
    """

    source: str
    exclusion: Exclusion
    reason: str


def exclude(
    long: pd.DataFrame, excluded: Excluded, tables: Mapping[str, Path]
) -> tuple[pd.DataFrame, list[Idle]]:
    """Mark excluded images, and measure images again without their excluded slices.

    Parameters
    ----------
    long : DataFrame
        All rows.
    excluded : mapping of str to sequence of Exclusion
        From :func:`by_image`.
    tables : mapping of str to Path
        Source image -> its per-slice table.

    Returns
    -------
    long : DataFrame
        With ``excluded`` (``image``; ``slices`` where a row was measured again; or n/a) and
        ``excluded_reason``.
    idle : list of Idle
        Exclusions of slices, levels or labels that took nothing out.
    """
    idle: list[Idle] = []
    long = long.assign(excluded=None, excluded_reason=None).astype(
        {"excluded": object, "excluded_reason": object}
    )
    for source, found in excluded.items():
        rows = long.index[long["source_image"] == source]
        whole = [each for each in found if each.what == "image"]
        part = [each for each in found if each.what == "slices"]
        labels = [each for each in found if each.what == "labels"]
        if whole:
            long.loc[rows, ["excluded", "excluded_reason"]] = ["image", whole[0].said]
            continue
        if labels:
            levelled = rows[long.loc[rows, "region"].str.startswith(NEEDS_LABELS)]
            long.loc[levelled, ["excluded", "excluded_reason"]] = ["image", labels[0].said]
            if not len(levelled):
                idle += [Idle(source, each, "no region of the image needs labels") for each in labels]
        slices = read_slices(tables[source]) if part and source in tables else None
        if slices is None:
            idle += [Idle(source, each, NO_SLICES) for each in part]
            continue
        acting = [each for each in part if (_taken(slices, each) & slices.usable).any()]
        idle += [Idle(source, each, _why_idle(slices, each)) for each in part if each not in acting]
        if acting:
            long = _measured_again(long, rows, slices, acting)
    return long, idle


def _why_idle(slices: Slices, exclusion: Exclusion) -> str:
    if _taken(slices, exclusion).any():
        return "these slices enter no mean in any case"
    if exclusion.levels and not np.isfinite(slices.level).any():
        return "the image has no vertebral levels; name slices instead"
    return f"the image was measured on slices {slices.numbers.min()} to {slices.numbers.max()}, none of these"


def _measured_again(
    long: pd.DataFrame, rows: pd.Index, slices: Slices, acting: Sequence[Exclusion]
) -> pd.DataFrame:
    """Means anew of the regions that lose a slice; what the others hold stays as it was measured."""
    rest = without(slices, acting)
    for row in rows:
        if long.at[row, "excluded"] == "image":
            continue
        start, end = long.loc[row, ["start_mm", "end_mm"]].astype(float)
        inside = slices.usable & (
            np.minimum(slices.ends_mm, end) - np.maximum(slices.starts_mm, start) > 1e-6
        )
        said = [each.said for each in acting if (_taken(slices, each) & inside).any()]
        if not said:
            continue
        found = rest.mean(start, end)
        for name, value in found.items():
            long.at[row, name] = value
        long.loc[row, ["excluded", "excluded_reason"]] = ["slices", "; ".join(said)]
    return long
