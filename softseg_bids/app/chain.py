"""One axis for a session: its longest centreline, made longer by those of other stations that agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from softseg_bids.app.landmarks import (
    SHORT_SLAB_MM,
    Axis,
    Floats,
    Placement,
    Track,
    axis_along,
    overlap_mm,
    place,
)

# What reaches less than this beyond an end is placed well enough by the axis's straight continuation, whereas
# the ends of centrelines fray.
LEAST_ADDED_MM = 10.0
# Over this length a track beside the axis's end is led there: at once, the step would count as cord.
FADE_MM = 30.0


class Chain(NamedTuple):
    """The axis of a session.

    Attributes
    ----------
    longest : str
        The image with the longest centreline.
    axis : Axis
    placements : dict of str to Placement
        Of each image.
    """

    longest: str
    axis: Axis
    placements: dict[str, Placement]


def chain(tracks: Mapping[str, Track]) -> Chain:
    """Place all images of a session on one axis.

    Neck, chest and loins need not overlap all three: the track that overlaps the axis most is compared with
    it, and if the two agree, the axis goes on along that track; then the next one. A track too short for
    tangents of its own adds nothing to the axis.

    Parameters
    ----------
    tracks : mapping of str to Track
        At least one.
    """
    # In whole millimetres: of lines as long as each other the first is taken, on every processor.
    longest = max(tracks, key=lambda key: round(tracks[key].length_mm))
    line = tracks[longest].points_mm
    axis = axis_along(line)
    found = {longest: place(tracks[longest], axis)}
    waiting = {key: track for key, track in tracks.items() if key != longest}
    while waiting:
        overlaps = {key: overlap_mm(track, axis) for key, track in waiting.items()}
        key = max(overlaps, key=lambda each: overlaps[each])
        track = waiting.pop(key)
        found[key] = place(track, axis)
        if found[key].shares and track.length_mm >= SHORT_SLAB_MM:
            line = lengthened(line, track.points_mm)
            axis = axis_along(line)
    placements = {
        key: found[key]._replace(positions_mm=axis.positions(track.points_mm)[0])
        for key, track in tracks.items()
    }
    return Chain(longest, axis, placements)


def lengthened(line_mm: Floats, track_mm: Floats) -> Floats:
    """A line, continued along a track that overlaps it where that reaches beyond its ends.

    Parameters
    ----------
    line_mm, track_mm : ndarray, shape (n, 3)
        From the upper end downwards.
    """
    axis = axis_along(line_mm)
    position = axis.positions(track_mm)[0]
    above = _led(track_mm, -position, line_mm[0])
    below = _led(track_mm[::-1], (position - axis.length_mm)[::-1], line_mm[-1])
    return np.concatenate([above, line_mm, below[::-1]])


def _led(track_mm: Floats, beyond_mm: Floats, end_mm: Floats) -> Floats:
    """The points of a track beyond an end of a line, led to that end; the farthest comes first."""
    if beyond_mm.max() < LEAST_ADDED_MM:
        return track_mm[:0]
    order = np.argsort(beyond_mm)
    beside = np.array([np.interp(0.0, beyond_mm[order], column[order]) for column in track_mm.T])
    # A point at the end itself would be there twice.
    is_new = beyond_mm > 0.5
    share = np.clip(1 - beyond_mm[is_new] / FADE_MM, 0.0, None)
    return np.asarray(track_mm[is_new] + share[:, None] * (end_mm - beside))
