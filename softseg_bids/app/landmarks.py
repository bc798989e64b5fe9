"""Disc labels and centrelines of a session, brought together in scanner space.

Images of one session share a scanner, so a label placed on one serves the others, as long as
the person lay still: before anything is shared, centrelines are compared. Everything is
projected on one axis: the session's longest centreline, and what others add to its ends (`chain`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.core.levels import LEVEL_NAMES, arc_mm, project
from softseg_bids.image.grid import Grid, canonical
from softseg_bids.image.volume import Volume

Floats = NDArray[np.float64]

# Values a disc label may have: discs, pontomedullary groove and junction, conus.
DISC_VALUES = frozenset([*range(1, 26), 49, 50, 60])
LANDMARK_VALUES = frozenset([49, 50, 60])
MOST_LABELS = 100  # a file with more values is an image, not labels
NO_LABEL = 10**6  # stands for them
FARTHEST_LABEL_MM = 30.0  # from the centreline; a disc's posterior tip lies 5 to 15 mm away
APART_FLAGGED_MM = 3.0
APART_REFUSED_MM = 6.0
SHORT_SLAB_MM = 40.0  # a centreline shorter than this is too short for tangents of its own
BEYOND_MM = 200.0  # how far the axis is continued straight beyond its ends: to the last lumbar discs


class Track(NamedTuple):
    """A centreline in scanner space, from its upper end downwards.

    Attributes
    ----------
    points_mm : ndarray, shape (n, 3)
        Scanner coordinates.
    slices : ndarray of int, shape (n,)
        Canonical slice index of each point.
    """

    points_mm: Floats
    slices: NDArray[np.intp]

    @property
    def length_mm(self) -> float:
        """Length along the curve."""
        return float(arc_mm(self.points_mm)[-1])


class Axis(NamedTuple):
    """A curve along which positions are measured: 0 at the upper end of a track, growing downwards.

    It is continued straight beyond both ends, so that a label or a slab that reaches a little
    farther still has a position.
    """

    points_mm: Floats
    offset_mm: float
    length_mm: float

    def positions(self, points_mm: Floats) -> tuple[Floats, Floats]:
        """Position and distance (mm) of scanner points, both of shape (n,)."""
        position, distance = project(np.atleast_2d(points_mm), self.points_mm)
        return position - self.offset_mm, distance

    def tangents(self, positions_mm: Floats) -> Floats:
        """Unit tangents (scanner space, pointing up) at positions, shape (n, 3)."""
        arc = arc_mm(self.points_mm) - self.offset_mm
        upwards = -np.gradient(self.points_mm, arc, axis=0)
        tangent = np.column_stack([np.interp(positions_mm, arc, upwards[:, k]) for k in range(3)])
        return np.asarray(tangent / np.linalg.norm(tangent, axis=1, keepdims=True))

    def point(self, position_mm: float, before_mm: float = 0.0) -> Floats:
        """The scanner point at a position, or so far in front of it (across the axis), shape (3,)."""
        arc = arc_mm(self.points_mm) - self.offset_mm
        point = np.array([np.interp(position_mm, arc, column) for column in self.points_mm.T])
        front = np.cross(self.tangents(np.array([position_mm]))[0], [1.0, 0.0, 0.0])
        return np.asarray(point + before_mm * _unit(front))


class Placement(NamedTuple):
    """Where an image lies on the session's axis.

    Attributes
    ----------
    positions_mm : ndarray, shape (n,)
        Of the track's points.
    apart_mm : float
        Distance between the two centrelines where both exist (the median: both fray at the ends
        of their images); NaN where they do not overlap.
    shares : bool
        Whether positions on the session's axis may be used for this image.
    """

    positions_mm: Floats
    apart_mm: float
    shares: bool


def axis_of(track: Track) -> Axis:
    """The axis along a track."""
    return axis_along(track.points_mm)


def axis_along(points_mm: Floats) -> Axis:
    """The axis along points, from the upper end downwards, shape (n, 3)."""
    points = points_mm
    reach = min(10, len(points) - 1)
    up = _unit(points[0] - points[reach])
    down = _unit(points[-1] - points[-1 - reach])
    steps = np.arange(1.0, BEYOND_MM + 1)[:, None]
    longer = np.concatenate([(points[0] + up * steps)[::-1], points, points[-1] + down * steps])
    return Axis(longer, BEYOND_MM, float(arc_mm(points)[-1]))


def overlap_mm(track: Track, axis: Axis) -> float:
    """Length of the axis that a track runs beside; 0 where it lies beyond an end."""
    positions = axis.positions(track.points_mm)[0]
    inside = positions[(positions >= 0) & (positions <= axis.length_mm)]
    return float(np.ptp(inside)) if len(inside) else 0.0


def place(track: Track, axis: Axis) -> Placement:
    """Compare a track with the session's axis and find its positions there."""
    positions, distance = axis.positions(track.points_mm)
    inside = (positions >= 0) & (positions <= axis.length_mm)
    if not inside.any():
        return Placement(positions, float("nan"), False)
    apart = float(np.median(distance[inside]))
    return Placement(positions, apart, apart <= APART_REFUSED_MM)


def disc_points(labels: Volume) -> dict[int, Floats]:
    """Centre of each label value of a volume, in scanner mm; of a file with too many, that of NO_LABEL.

    Of a map of levels (SCT's ``_seg_labeled``) not the centres of the levels count, but their borders.
    """
    indices = np.argwhere(labels.array > 0.5)
    # Clipped, because whole numbers end where floating ones do not.
    values = np.rint(labels.array[tuple(indices.T)].clip(max=NO_LABEL)).astype(int)
    if len(np.unique(values)) > MOST_LABELS:
        return {NO_LABEL: labels.grid.to_world(indices.astype(float).mean(axis=0))}
    return level_borders(labels) or {
        int(value): labels.grid.to_world(indices[values == value].astype(float).mean(axis=0))
        for value in np.unique(values)
    }


def level_borders(levels: Volume) -> dict[int, Floats]:
    """The discs of a map of levels, in scanner mm: disc N is where voxels of level N - 1 lie upon those of N.

    Nothing for points: two discs never touch. Above the uppermost level and below the lowest no disc is
    known, since the map may end anywhere in them.
    """
    array, grid = canonical(levels.array, levels.grid)
    values = np.rint(array.clip(0, NO_LABEL)).astype(int)
    upper, lower = values[:, :, 1:], values[:, :, :-1]
    faces = np.argwhere((lower == upper + 1) & (upper > 0))
    below = lower[tuple(faces.T)]
    return {
        int(value): grid.to_world(faces[below == value].mean(axis=0) + np.array([0.0, 0.0, 0.5]))
        for value in np.unique(below)
    }


def with_landmarks(discs: Volume | None, landmarks: Volume) -> tuple[Volume | None, list[str]]:
    """Disc labels together with the junction (or groove, or conus) that lies in a file of its own.

    Labels of the disc file count where both have one. Another value in a landmark's file, 1 above all, would
    be taken for a disc: it is not used.

    Parameters
    ----------
    discs, landmarks : Volume
        None where there is no disc file. A file on another grid is brought onto that of the discs.

    Returns
    -------
    Volume or None
        None if there is no label at all.
    list of str
        What was not used, and why.
    """
    points, problems = disc_points(landmarks), []
    there = disc_points(discs) if discs is not None else {}
    grid = landmarks.grid if discs is None else discs.grid
    array = np.zeros(grid.shape, dtype=np.float32) if discs is None else discs.array.copy()
    for value, point in points.items():
        index = np.rint(grid.to_index(point)).astype(int)
        if value not in LANDMARK_VALUES:
            problems.append(f"label {value} is not used: in a file of a landmark it is 49, 50 or 60")
        elif value in there:
            away = float(np.linalg.norm(there[value] - point))
            problems.append(
                f"label {value} lies in the disc labels, too, {away:.0f} mm away: that one counts"
            )
        elif (index < 0).any() or (index >= grid.shape).any():
            problems.append(f"label {value} lies outside the image")
        else:
            array[tuple(index)] = value
    return (Volume(array, grid), problems) if array.any() else (discs, problems)


def usable_discs(points: Mapping[int, Floats], grid: Grid, axis: Axis) -> tuple[dict[int, float], list[str]]:
    """Positions along the axis of the labels that can be right, and what is wrong with the others.

    A label must have a known value, lie in the image it was placed on and within 30 mm of the
    cord; the order of the labels must be that of the spine.

    Parameters
    ----------
    points : mapping of int to ndarray
        From :func:`disc_points`.
    grid : Grid
        Of the image that was labelled.
    axis : Axis
        Along that image's centreline, or the session's.
    """
    positions: dict[int, float] = {}
    problems = []
    for value, point in sorted(points.items()):
        index = grid.to_index(point)
        position, distance = (float(found[0]) for found in axis.positions(point))
        if value not in DISC_VALUES:
            problems.append(f"label {value} is no disc" if value < NO_LABEL else "it is an image, not labels")
        elif (index < -0.5).any() or (index > np.array(grid.shape) - 0.5).any():
            problems.append(f"label {value} lies outside the image")
        elif distance > FARTHEST_LABEL_MM:
            problems.append(f"label {value} lies {distance:.0f} mm from the cord")
        else:
            positions[value] = position
    discs = [positions[value] for value in sorted(positions) if value < 49]
    if (np.diff(discs) <= 0).any():
        return {}, [*problems, "labels are not in the order of the spine"]
    return positions, problems


def disc_name(value: int) -> str:
    """Name of a disc label: 3 is C2-C3; 49, 50 and 60 are landmarks."""
    landmarks = {49: "PMG", 50: "PMJ", 60: "conus", 1: "top of C1"}
    return landmarks.get(value) or f"{LEVEL_NAMES[value - 1]}-{LEVEL_NAMES[value]}"


def straight_tangent(points_mm: Floats) -> Floats:
    """Unit direction (pointing up) of the straight line fitted to the points of a track, shape (3,)."""
    centred = points_mm - points_mm.mean(axis=0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    return np.asarray(direction * np.sign(direction @ (points_mm[0] - points_mm[-1])))


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector))
