"""How the images of one session lie to each other, and which levels and tangents each one uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.app.landmarks import (
    APART_FLAGGED_MM,
    SHORT_SLAB_MM,
    Axis,
    Floats,
    Placement,
    Track,
    axis_of,
    disc_points,
    place,
    shared_discs,
    straight_tangent,
    usable_discs,
)
from softseg_bids.app.records import line_world
from softseg_bids.core.cord import Centreline
from softseg_bids.core.levels import arc_mm
from softseg_bids.image.grid import Grid
from softseg_bids.image.volume import Volume


class Traced(NamedTuple):
    """One image as the session sees it: canonical grid, stored grid, centreline and its own labels."""

    grid: Grid
    stored: Grid
    line: Centreline
    discs: Volume | None


class Labels(NamedTuple):
    """Disc labels, and the grid of the image they were placed on."""

    discs: Volume
    grid: Grid


@dataclass(frozen=True)
class Alignment:
    """What one image takes from its session.

    Attributes
    ----------
    positions_mm : list of float
        Of each slice of the centreline, along the session's axis (its own where it shares nothing).
    tangents : list of list of float
        Of each slice, frame mm, pointing up.
    angle_source : str
        ``own``, ``session`` or ``straight``.
    discs : dict of int to float
        Positions of the discs.
    disc_points_mm : dict of int to list of float
        The same discs in scanner mm, for figures.
    levels_source : str
        ``given``, ``shared`` or ``none``.
    shares : bool
        Whether positions are those of the session's axis.
    flags, notes : list of str
        For the tables, and for a reader.
    """

    positions_mm: list[float]
    tangents: list[list[float]]
    angle_source: str
    discs: dict[int, float]
    disc_points_mm: dict[int, list[float]]
    levels_source: str
    shares: bool
    flags: list[str]
    notes: list[str]


def align(images: Mapping[str, Traced], others: Sequence[Labels] = ()) -> tuple[str, dict[str, Alignment]]:
    """Project every image of a session on the longest centreline, and share levels and tangents.

    Parameters
    ----------
    images : mapping of str to Traced
        The measured images of a session, at least one.
    others : sequence of Labels
        Labels of images in which no cord was measured; they serve the session all the same.

    Returns
    -------
    str
        The image whose centreline is the axis.
    dict of str to Alignment
    """
    tracks = {key: track_of(image) for key, image in images.items()}
    longest = max(tracks, key=lambda key: tracks[key].length_mm)
    axis = axis_of(tracks[longest])
    placements = {key: place(track, axis) for key, track in tracks.items()}
    own_axes = {key: axis if placements[key].shares else axis_of(track) for key, track in tracks.items()}
    found: dict[str, dict[int, float]] = {}
    problems: dict[str, list[str]] = {}
    for key, image in images.items():
        points = disc_points(image.discs) if image.discs else {}
        found[key], problems[key] = usable_discs(points, image.stored, own_axes[key])
    files = [found[key] for key in images if placements[key].shares]
    files += [usable_discs(disc_points(other.discs), other.grid, axis)[0] for other in others]
    pooled = shared_discs([positions for positions in files if positions])
    return longest, {
        key: _alignment(
            image,
            tracks[key],
            placements[key],
            axis,
            own_axes[key],
            found[key],
            pooled,
            problems[key],
            key == longest,
        )
        for key, image in images.items()
    }


def track_of(image: Traced) -> Track:
    """An image's centreline in scanner space, from its upper end downwards."""
    return Track(line_world(image.line, image.grid)[::-1], image.line.slices[::-1])


def _alignment(
    image: Traced, track: Track, placement: Placement, axis: Axis, own: Axis, found: dict[int, float],
    pooled: dict[int, float], problems: list[str], is_axis: bool,
) -> Alignment:  # fmt: skip
    positions = own.positions(track.points_mm)[0][::-1]
    discs, source = (
        (found, "given") if found else (pooled, "shared") if placement.shares and pooled else ({}, "none")
    )
    tangents, angle_source = _tangents(image, track, placement, axis, is_axis)
    flags = [] if not (problems and not found) else ["labels_unusable"]
    notes = [f"labels: {problem}" for problem in problems]
    if not placement.shares:
        flags.append("not_shared")
        notes.append(_why_not(placement))
    elif placement.apart_mm > APART_FLAGGED_MM:
        flags.append("moved")
        notes.append(f"its centreline lies {placement.apart_mm:.1f} mm from that of the longest image")
    arc = arc_mm(own.points_mm) - own.offset_mm
    points = {
        value: [float(np.interp(position, arc, own.points_mm[:, k])) for k in range(3)]
        for value, position in discs.items()
    }
    return Alignment(
        positions.tolist(),
        tangents.tolist(),
        angle_source,
        discs,
        points,
        source,
        placement.shares,
        flags,
        notes,
    )


def _why_not(placement: Placement) -> str:
    if np.isnan(placement.apart_mm):
        return "it shows another part of the cord than the longest image; nothing is shared"
    return (
        f"its centreline lies {placement.apart_mm:.1f} mm from that of the longest image; nothing is shared"
    )


def _tangents(
    image: Traced, track: Track, placement: Placement, axis: Axis, is_axis: bool
) -> tuple[NDArray[np.float64], str]:
    """Tangents in frame mm, and where they come from: a short slab has too little length for its own."""
    if track.length_mm >= SHORT_SLAB_MM:
        return image.line.tangents, "own"
    frame = image.grid.affine[:3, :3] / image.grid.spacing_mm
    agrees = not is_axis and axis.length_mm >= SHORT_SLAB_MM and placement.apart_mm <= APART_FLAGGED_MM
    if agrees:
        return _upwards(axis.tangents(placement.positions_mm[::-1]) @ frame), "session"
    straight = straight_tangent(track.points_mm) @ frame
    return _upwards(np.tile(straight, (len(image.line.slices), 1))), "straight"


def _upwards(tangents: Floats) -> Floats:
    return np.asarray(tangents * np.where(tangents[:, 2:] < 0, -1.0, 1.0))
