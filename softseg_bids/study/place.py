"""Where the slices of an image lie along the cord, so that several masks of it are measured alike.

The centreline, the tangents and the regions belong to the image; only the mask differs. Two areas
of one region then differ by the masks alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.app.alignment import Traced, align
from softseg_bids.app.landmarks import Track, axis_of, disc_points, usable_discs
from softseg_bids.app.session_steps import canonical_grid
from softseg_bids.bids.rows import Row, read_rows
from softseg_bids.core.cord import Centreline, measure_areas, trace
from softseg_bids.core.levels import Region, common_extent, regions, summarise
from softseg_bids.core.quality import image_flags, in_means, slice_flags
from softseg_bids.image.grid import Array, Grid, canonical, line_world, stored_slices
from softseg_bids.image.volume import DataError, Volume

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

COMMON, CORD = "common", "cord"
# Which region speaks for a study: the first that is there.
PREFERRED = ("vert-C2:C3", "disc-C2C3", "vert-C3", "pmj-50", COMMON, CORD)


class Place(NamedTuple):
    """An image's slices along the cord.

    Attributes
    ----------
    grid : Grid
        Canonical.
    line : Centreline
        With the tangents that count.
    position_mm : ndarray, shape (n,)
        Of each slice of the line, along the session's axis.
    usable : ndarray of bool, shape (n,)
        Slices that may enter means.
    regions : tuple of Region
    """

    grid: Grid
    line: Centreline
    position_mm: Floats
    usable: Mask
    regions: tuple[Region, ...]

    @property
    def length_mm(self) -> Floats:
        """Length of cord in each slice of the line."""
        return np.asarray(self.grid.spacing_mm[2] / self.line.tangents[:, 2])


class Measured(NamedTuple):
    """The slices of one mask at a place.

    Attributes
    ----------
    area_mm2, area_binary_mm2, length_mm : ndarray, shape (n,)
        NaN where the mask has nothing.
    usable : ndarray of bool, shape (n,)
        Slices that may enter means, by this mask alone.
    flags : list of str
        Of the mask between its own ends (`core.quality.image_flags`): that it ends before the line does is
        no gap in it.
    """

    area_mm2: Floats
    area_binary_mm2: Floats
    length_mm: Floats
    usable: Mask
    flags: list[str]


def measured(soft: Array, place: Place) -> Measured:
    """Measure a mask slice by slice, with the centreline of the place.

    Parameters
    ----------
    soft : ndarray, shape place.grid.shape
        Canonical axes, [0, 1].
    place : Place
    """
    table = measure_areas(soft, place.grid.spacing_mm, place.line)
    flags = slice_flags(table, float(place.grid.spacing_mm[2]))
    seen = np.isfinite(table["area_mm2"])
    ends = np.flatnonzero(seen)[[0, -1]] if seen.any() else np.array([0, -1])
    own = slice(int(ends[0]), int(ends[1]) + 1)
    whole = image_flags({name: values[own] for name, values in table.items()}, flags[own])
    return Measured(
        table["area_mm2"], table["area_binary_mm2"], table["length_mm"], in_means(flags) & seen, whole
    )


def over(place: Place, found: Measured, region: Region, used: Mask) -> dict[str, float]:
    """Mean areas of a mask over a region, weighted by length, of the slices named (`core.levels`)."""
    half = 0.5 * found.length_mm
    columns = {"area_mm2": found.area_mm2, "area_binary_mm2": found.area_binary_mm2}
    return summarise(columns, place.position_mm - half, place.position_mm + half, region, used)


def covered(place: Place, region: Region, used: Mask) -> float:
    """Share of a region that some slices cover, 0 to 1."""
    half = 0.5 * place.length_mm
    columns = {"area_mm2": place.length_mm}  # of every slice: which of them count is asked
    return summarise(columns, place.position_mm - half, place.position_mm + half, region, used)["coverage"]


def joint(place: Place, line: Centreline | None) -> tuple[Place, Place]:
    """The slices of a place and of another mask's line together, so that either mask is seen to its ends.

    Parameters
    ----------
    place : Place
        Of one mask.
    line : Centreline or None
        Of the other, None if it has none.

    Returns
    -------
    own, other : Place
        The same slices, positions and tangents, those of the place wherever it has them; the line of the
        first runs through the one mask wherever that has a line, that of the second through the other.
        Slices that the place does not have are not usable by it.
    """
    if line is None:
        return place, place
    slices = np.arange(
        min(place.line.slices[0], line.slices[0]), max(place.line.slices[-1], line.slices[-1]) + 1
    )
    own, other = _through(place.line, line, slices), _through(line, place.line, slices)
    of_place = np.isin(slices, place.line.slices)
    usable = np.zeros(len(slices), dtype=bool)
    usable[of_place] = place.usable
    length = place.grid.spacing_mm[2] / own.tangents[:, 2]
    # Positions grow downwards, slices upwards.
    along = -np.concatenate([[0.0], np.cumsum(0.5 * (length[:-1] + length[1:]))])
    nearest = np.clip(np.arange(len(slices)), *np.flatnonzero(of_place)[[0, -1]])
    known = np.full(len(slices), np.nan)
    known[of_place] = place.position_mm
    wider = place._replace(line=own, position_mm=known[nearest] + along - along[nearest], usable=usable)
    return wider, wider._replace(line=own._replace(points_mm=other.points_mm))


def seen_by_either(place: Place, used: Mask, discs: Volume | None) -> Place:
    """The place with the regions of what either mask shows, used slices of both given.

    Regions came from one mask's extent: ``cord`` becomes that of the used slices, and levels that only these
    reach are added where disc labels tell of them.
    """
    if not used.any():
        return place
    extent = _extent(place, used)
    own = [Region(CORD, *extent) if region.name == CORD else region for region in place.regions]
    names = {region.name for region in own}
    # Distances from the junction are asked for by the user: those asked for are there.
    levels = regions(_positions(place, discs), extent, ()) if discs is not None else []
    return place._replace(regions=(*own, *(region for region in levels if region.name not in names)))


def region_named(place: Place, name: str) -> Region | None:
    """The region of a name, or None."""
    return next((region for region in place.regions if region.name == name), None)


def leading_region(names: Iterable[str]) -> str:
    """The region that speaks for a study: of those there the first of `PREFERRED`.

    Raises
    ------
    ValueError
        If there is none.
    """
    there = dict.fromkeys(names)
    if not there:
        raise ValueError("there is no region")
    return next((name for name in PREFERRED if name in there), next(iter(there)))


def region_rank(name: str) -> tuple[int, str]:
    """Where a region stands in a list: `PREFERRED` first, then by name."""
    return (PREFERRED.index(name) if name in PREFERRED else len(PREFERRED), name)


def place_of_table(table: Path, stored: Grid, rows: Sequence[Row]) -> Place:
    """The place of an image that the app has measured.

    Parameters
    ----------
    table : Path
        Its per-slice table in OUT.
    stored : Grid
        Of the image's mask.
    rows : sequence of dict
        The image's rows of the session's table, for its regions.

    Raises
    ------
    DataError
        If the table does not fit the mask.
    """
    slices = read_rows(table)
    grid = canonical_grid(stored)
    column = {name: _numbers(slices, name) for name in ("slice", "position_mm", "x_mm", "y_mm", "z_mm")}
    angles = [np.deg2rad(_numbers(slices, f"angle_{way}_deg")) for way in ("rl", "ap")]
    known = {int(number): k for k, number in enumerate(stored_slices(np.arange(grid.shape[2]), stored))}
    try:
        index = np.array([known[int(number)] for number in column["slice"]], dtype=np.intp)
    except KeyError as error:
        raise DataError(
            f"{table}: names slice {error}, which its mask does not have; run the participant level again"
        ) from error
    world = np.stack([column["x_mm"], column["y_mm"], column["z_mm"]], axis=1)
    tangents = np.stack([np.tan(angles[0]), np.tan(angles[1]), np.ones(len(index))], axis=1)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    line = Centreline(index, grid.to_index(world) * grid.spacing_mm, tangents)
    usable = in_means([(row["flags"] or "").split(";") for row in slices])
    wanted = tuple(
        Region(str(row["region"]), float(row["start_mm"] or "nan"), float(row["end_mm"] or "nan"))
        for row in rows
        if row["start_mm"] is not None
    )
    return Place(grid, line, column["position_mm"], usable, wanted)


def places_of_labels(labels: Mapping[str, Volume], discs: Mapping[str, Volume]) -> dict[str, Place]:
    """The places of a session's images from their reference masks, brought together in scanner space.

    Parameters
    ----------
    labels : mapping of str to Volume
        Reference mask of each image, on its stored grid.
    discs : mapping of str to Volume
        Disc labels, of the images that have some.

    Returns
    -------
    dict of str to Place
        Of the images whose reference shows at least 10 mm of cord; ``common`` is among the regions where
        at least two share 30 mm.
    """
    images: dict[str, Traced] = {}
    softs: dict[str, Array] = {}
    for key, label in labels.items():
        grid = canonical_grid(label.grid)
        softs[key] = canonical_array(label)
        line = trace(softs[key], grid.spacing_mm)
        if line is not None:
            images[key] = Traced(grid, label.grid, line, discs.get(key))
    if not images:
        return {}
    _, alignments = align(images)
    bare_places: dict[str, Place] = {}
    extents: dict[str, tuple[float, float]] = {}
    for key, image in images.items():
        alignment = alignments[key]
        line = image.line._replace(tangents=np.asarray(alignment.tangents))
        place = Place(
            image.grid, line, np.asarray(alignment.positions_mm), np.ones(len(line.slices), bool), ()
        )
        found = measured(softs[key], place)
        whole = _extent(place, found.usable if found.usable.any() else np.isfinite(found.area_mm2))
        own = (Region(CORD, *whole), *regions(alignment.discs, whole))
        bare_places[key] = place._replace(usable=found.usable, regions=own)
        if alignment.shares and found.usable.any():
            extents[key] = whole
    extent, left_out = common_extent(extents) if len(extents) > 1 else (None, {})
    if extent is None:
        return bare_places
    shared = Region(COMMON, *extent)
    return {
        key: place._replace(regions=(*place.regions, shared))
        if key in extents and key not in left_out
        else place
        for key, place in bare_places.items()
    }


def canonical_array(volume: Volume) -> Array:
    """A mask on canonical axes."""
    return np.ascontiguousarray(canonical(volume.array, volume.grid)[0], dtype=np.float32)


def _through(first: Centreline, then: Centreline, slices: NDArray[np.intp]) -> Centreline:
    """A line over slices: the first where it has a point, else the other, and straight where neither has."""
    more = ~np.isin(then.slices, first.slices)
    known = np.concatenate([first.slices, then.slices[more]])
    values = np.concatenate(
        [np.hstack([first.points_mm, first.tangents]), np.hstack([then.points_mm, then.tangents])[more]]
    )
    order = np.argsort(known)
    points = np.stack([np.interp(slices, known[order], column[order]) for column in values.T], axis=1)
    tangents = points[:, 3:] / np.linalg.norm(points[:, 3:], axis=1, keepdims=True)
    return Centreline(slices, points[:, :3], tangents)


def _positions(place: Place, discs: Volume) -> dict[int, float]:
    """Positions of disc labels along a place."""
    track = Track(line_world(place.line, place.grid)[::-1], place.line.slices[::-1])
    axis = axis_of(track)
    along, position = axis.positions(track.points_mm)[0], place.position_mm[::-1]
    found, _ = usable_discs(disc_points(discs), discs.grid, axis)
    ends = along[0], along[-1]
    return {
        value: float(np.interp(place_mm, along, position) + place_mm - np.clip(place_mm, *ends))
        for value, place_mm in found.items()
    }


def _extent(place: Place, used: Mask) -> tuple[float, float]:
    half = 0.5 * place.length_mm
    return float((place.position_mm - half)[used].min()), float((place.position_mm + half)[used].max())


def _numbers(rows: Sequence[Row], name: str) -> Floats:
    return np.array([float(row[name] or "nan") for row in rows], dtype=np.float64)
