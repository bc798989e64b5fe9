"""How the images of one session lie to each other, and which levels and tangents each one uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.app.chain import chain
from softseg_bids.app.finding import Decision, decide, look, looked, main_source
from softseg_bids.app.given import LabelFile, disputes, shared_labels, told
from softseg_bids.app.landmarks import (
    APART_FLAGGED_MM,
    SHORT_SLAB_MM,
    Axis,
    Floats,
    Placement,
    Track,
    axis_of,
    disc_points,
    straight_tangent,
    usable_discs,
)
from softseg_bids.app.sights import Sight
from softseg_bids.core.cord import Centreline
from softseg_bids.image.grid import Grid, line_world
from softseg_bids.image.volume import Volume


class Traced(NamedTuple):
    """One image as the session sees it: canonical grid, stored grid, centreline, given labels, and what
    was seen of levels in it."""

    grid: Grid
    stored: Grid
    line: Centreline
    discs: Volume | None
    sight: Sight | None = None


class Labels(NamedTuple):
    """Disc labels, and grid and key of the image they were placed on."""

    discs: Volume
    grid: Grid
    image: str = "an image without a cord"


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
        The same discs in scanner mm: their posterior tips, or the place on the cord where those are unknown.
    levels_source : str
        ``given``, ``found``, ``shared`` or ``none``: where most discs come from.
    shares : bool
        Whether positions are those of the session's axis.
    flags, notes : list of str
        For the tables, and for a reader.
    confidences : dict of int to float
        Of labels looked for in images, shown or not: the probability that the place is right within 3 mm
        (the conus: 10 mm).
    label_sources : dict of int to str
        Where each of the discs comes from.
    doubtful : dict of int to float
        Positions of labels that are probably in view, but not sure enough to be shown.
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
    confidences: dict[int, float] = field(default_factory=dict)
    label_sources: dict[int, str] = field(default_factory=dict)
    doubtful: dict[int, float] = field(default_factory=dict)


def align(images: Mapping[str, Traced], others: Sequence[Labels] = ()) -> tuple[str, dict[str, Alignment]]:
    """Project every image of a session on one axis (`app.chain`), and share levels and tangents.

    Parameters
    ----------
    images : mapping of str to Traced
        The measured images of a session, at least one.
    others : sequence of Labels
        Labels of images in which no cord was measured; they serve the session all the same.

    Returns
    -------
    str
        The image with the longest centreline, which the axis begins with.
    dict of str to Alignment
    """
    tracks = {key: track_of(image) for key, image in images.items()}
    longest, axis, placements = chain(tracks)
    own_axes = {key: axis if placements[key].shares else axis_of(track) for key, track in tracks.items()}
    points = {key: disc_points(image.discs) if image.discs else {} for key, image in images.items()}
    given: dict[str, dict[int, float]] = {}
    problems: dict[str, list[str]] = {}
    for key, image in images.items():
        given[key], problems[key] = usable_discs(points[key], image.stored, own_axes[key])
    sharing = [key for key in images if placements[key].shares]
    files = [LabelFile(key, given[key], points[key]) for key in sharing]
    for other in others:
        found_there = disc_points(other.discs)
        usable = usable_discs(found_there, other.grid, axis)[0]
        files.append(LabelFile(other.image, usable, found_there))
    disputed = disputes(files)
    pooled = shared_labels(files, disputed)
    in_dispute = {image for dispute in disputed for image in (dispute.one, dispute.other)}
    seen = look(axis, [images[key].sight for key in sharing])
    alignments = {}
    for key, image in images.items():
        shares = placements[key].shares
        found = seen if shares else look(own_axes[key], [image.sight])
        at = own_axes[key].positions(tracks[key].points_mm)[0]
        extent = float(at.min()), float(at.max())
        serves = pooled.positions_mm if shares and key not in in_dispute else {}
        against = told(disputed, key) if shares else []
        elsewhere = [images[other].sight for other in sharing if other != key] if shares else []
        looked_at = looked(own_axes[key], found, image.sight, elsewhere)
        decision = decide(given[key], serves, looked_at, extent, against)
        tip_points = {v: pooled.points_mm[v] for v in serves if v in decision.positions_mm}
        tip_points |= {value: points[key][value] for value in given[key]}
        is_unusable = bool(problems[key]) and not given[key]
        own = _Own(image, tracks[key], placements[key], own_axes[key], problems[key], is_unusable)
        alignments[key] = _alignment(own, axis, decision, tip_points, key == longest)
    return longest, alignments


def track_of(image: Traced) -> Track:
    """An image's centreline in scanner space, from its upper end downwards."""
    return Track(line_world(image.line, image.grid)[::-1], image.line.slices[::-1])


class _Own(NamedTuple):
    """What is an image's own: its track and place, the axis its positions lie on, and trouble with labels."""

    image: Traced
    track: Track
    placement: Placement
    axis: Axis
    problems: list[str]
    is_unusable: bool


def _alignment(
    own: _Own, axis: Axis, decision: Decision, tips: Mapping[int, Floats], is_axis: bool
) -> Alignment:
    image, track, placement = own.image, own.track, own.placement
    positions = own.axis.positions(track.points_mm)[0][::-1]
    tangents, angle_source = _tangents(image, track, placement, axis, is_axis)
    flags = [*(["labels_unusable"] if own.is_unusable else []), *decision.flags]
    notes = [*(f"labels: {problem}" for problem in own.problems), *decision.notes]
    if not placement.shares:
        flags.append("not_shared")
        notes.append(_why_not(placement))
    elif placement.apart_mm > APART_FLAGGED_MM:
        flags.append("moved")
        notes.append(f"its centreline lies {placement.apart_mm:.1f} mm from the session's")
    points = {
        value: tips.get(value, own.axis.point(position, decision.before_mm.get(value, 0.0))).tolist()
        for value, position in decision.positions_mm.items()
    }
    return Alignment(
        positions.tolist(),
        tangents.tolist(),
        angle_source,
        decision.positions_mm,
        points,
        main_source(decision.sources),
        placement.shares,
        flags,
        notes,
        decision.confidences,
        decision.sources,
        decision.doubtful_mm,
    )


def _why_not(placement: Placement) -> str:
    if np.isnan(placement.apart_mm):
        return "it shows another part of the cord than the other images; nothing is shared"
    return f"its centreline lies {placement.apart_mm:.1f} mm from the session's; nothing is shared"


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
