"""Which voxels belong to the cord: pieces on one plausible centreline, and their soft edge.

In every slice the voxels above a threshold fall into objects. A cord is the chain of
objects, at most one a slice, that collects most cord while paying for gaps and for bends;
it is found by dynamic programming from the lowest slice to the highest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]

# Below this a value is background: the published pipeline cuts its output there too.
FAINT = 0.1
# A voxel is cord, as a yes or no, from here.
HALF = 0.5
# The soft edge that goes with a piece: wider than the partial volume of a thick, tilted slice.
HALO_MM = 3.0
# From the centreline to beyond the edge of the widest cord (lumbar, tilted), in a slice.
REACH_MM = 12.0
# A stretch of cord shorter than this is no cord.
LEAST_CORD_MM = 10.0
# A cord whose best slices stay under this is noise.
LEAST_PEAK = 0.2
# Metal for an instrumented level or two; beyond it the direction says nothing any more.
LONGEST_VOID_MM = 60.0

# Objects a slice can offer to the chain; more than this is noise, and time.
_OBJECTS_A_SLICE = 8
# Cord areas in mm²: from the first an object counts fully, beyond the second ever less.
_FULL_AREA_MM2, _HUGE_AREA_MM2 = 40.0, 250.0
# Each mm of gap costs as much as this length of cord earns: a piece beyond a void of 60 mm
# must be 15 mm long.
_GAP_PRICE = 0.25
# A link that is off by its whole tolerance costs half its own length.
_BEND_PRICE = 0.5
# How far from the extrapolated place the next object may lie: an offset, and per mm of
# distance the tangent's change along a settled chain and the slope of a new one.
_OFFSET_MM, _SETTLED_BEND, _FREE_SLOPE = 4.0, 0.3, 0.9
# The direction of a chain is that of about its last centimetre.
_MEMORY_MM = 10.0
# A slice without any voxel above the threshold is still cord from this share of its
# neighbours' area (a thin cord in thick slices); below it is a void.
_WEAK_SHARE = 0.3
# A second object of a slice is a fragment of the cord if it mostly lies over cord next door.
_FRAGMENT_SHARE = 0.5
_FRAGMENT_REACH_MM = 5.0


class _Objects(NamedTuple):
    """Objects of all slices, lowest slice first; ``label`` is their value in the label array."""

    label: NDArray[np.intp]
    level: NDArray[np.intp]
    area_mm2: Floats
    centre_mm: Floats


def cord_threshold(soft: NDArray[np.floating], spacing_mm: NDArray[np.floating]) -> float:
    """Value from which a voxel counts as cord: 0.5, or half the peak of a fainter cord.

    The peak is what the best 10 mm of slices reach; under 0.2 there is no cord and the
    threshold is above every value.
    """
    peaks = np.sort(soft.max(axis=(0, 1)))[::-1]
    enough = min(int(np.ceil(LEAST_CORD_MM / spacing_mm[2])), len(peaks))
    peak = float(peaks[enough - 1])
    if peak >= HALF:
        return HALF
    return 0.5 * peak if peak >= LEAST_PEAK else np.inf


def keep_cord(soft: Array, spacing_mm: NDArray[np.floating]) -> Array:
    """Keep the pieces that lie on one plausible centreline, with their soft edge.

    Parameters
    ----------
    soft : ndarray, shape (x, y, z)
        Cord fraction in [0, 1], canonical axes.
    spacing_mm : ndarray, shape (3,)

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        The input's values in the kept objects and within 3 mm of them (unless nearer to a
        dropped object), 0 elsewhere. At most one object a slice, but for fragments that
        continue the cord of the slices next to it. Gaps of up to 60 mm are bridged, never filled.
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    kept = np.zeros(soft.shape, dtype=np.float32)
    threshold = cord_threshold(soft, spacing)
    strong = soft >= threshold
    if not strong.any():
        return kept
    labels, _ = ndimage.label(strong, structure=_in_plane_neighbours())
    objects = _describe(labels, soft, spacing)
    chain = _best_chain(objects, spacing[2])
    chosen = np.zeros(labels.max() + 1, dtype=bool)
    chosen[objects.label[chain]] = True
    body = chosen[labels]
    # What follows looks a few millimetres about the chain only.
    box = bounding_box(body, spacing, REACH_MM)
    inner, strong, labels = soft[box], strong[box], labels[box]
    body = _with_fragments(body[box], labels, spacing[2])
    objects = objects._replace(
        level=objects.level - box[2].start,
        centre_mm=objects.centre_mm - np.array([box[0].start, box[1].start]) * spacing[:2],
    )
    keep = halo(body, strong, spacing) | _weak_slices(inner, body, strong, objects, chain, spacing)
    kept[box] = np.where(keep, inner, np.float32(0))
    return kept


def bounding_box(mask: Mask, spacing_mm: Floats, margin_mm: float) -> Box:
    """The box of a non-empty mask, wider by a margin on every side."""
    box = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = int(np.ceil(margin_mm / spacing_mm[axis]))
        box.append(slice(max(int(hit[0]) - margin, 0), int(hit[-1]) + margin + 1))
    return box[0], box[1], box[2]


def halo(body: Mask, strong: Mask, spacing_mm: Floats) -> Mask:
    """Voxels of ``body`` and within 3 mm of it, but for those nearer to other strong voxels."""
    distance, nearest = ndimage.distance_transform_edt(~strong, sampling=spacing_mm, return_indices=True)
    near_body = distance <= HALO_MM
    near_body[near_body] = body[tuple(index[near_body] for index in nearest)]
    return np.asarray(near_body)


def within_reach(shape: tuple[int, ...], centre_mm: Floats, spacing_mm: Floats) -> Mask:
    """Pixels of a slice within 12 mm of a point (x, y) in the frame of the slice."""
    x = np.arange(shape[0])[:, None] * spacing_mm[0] - centre_mm[0]
    y = np.arange(shape[1])[None, :] * spacing_mm[1] - centre_mm[1]
    return np.asarray(np.hypot(x, y) <= REACH_MM)


def _in_plane_neighbours() -> Mask:
    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[:, :, 1] = True
    return structure


def _describe(labels: NDArray[np.integer], soft: Array, spacing_mm: Floats) -> _Objects:
    """Area, centre and slice of each labelled object, the largest of each slice only."""
    voxels = np.nonzero(labels)
    label = labels[voxels]
    weight = soft[voxels].astype(float)
    mass = np.bincount(label, weight)[1:]
    centre = np.stack(
        [np.bincount(label, weight * voxels[axis])[1:] / mass * spacing_mm[axis] for axis in (0, 1)], axis=1
    )
    level = np.zeros(len(mass), dtype=np.intp)
    level[label - 1] = voxels[2]
    order = np.lexsort((-mass, level))
    first = np.searchsorted(level[order], level[order], side="left")
    order = order[np.arange(len(order)) - first < _OBJECTS_A_SLICE]
    area = mass * spacing_mm[0] * spacing_mm[1]
    return _Objects(order + 1, level[order], area[order], centre[order])


def _best_chain(objects: _Objects, pz_mm: float) -> NDArray[np.intp]:
    """Indices of the objects of the best chain, lowest first (dynamic programming).

    An object earns its slice thickness, less if it is thinner or much larger than a cord.
    The slope of the best chain to each object is carried along with its score.
    """
    level, centre, area = objects.level, objects.centre_mm, objects.area_mm2
    earned = pz_mm * np.minimum(1.0, np.minimum(area / _FULL_AREA_MM2, _HUGE_AREA_MM2 / area))
    score = earned.copy()
    length = np.zeros(len(level))
    slope = np.zeros((len(level), 2))
    before = np.full(len(level), -1, dtype=np.intp)
    reach = int(LONGEST_VOID_MM / pz_mm) + 1
    for here in range(len(level)):
        lower = slice(
            np.searchsorted(level, level[here] - reach), np.searchsorted(level, level[here], side="left")
        )
        if lower.start == lower.stop:
            continue
        rise = (level[here] - level[lower]) * pz_mm
        off = np.linalg.norm(centre[here] - centre[lower] - slope[lower] * rise[:, None], axis=1)
        bend = _SETTLED_BEND + _FREE_SLOPE * np.exp(-length[lower] / _MEMORY_MM)
        off /= _OFFSET_MM + bend * rise
        cost = _GAP_PRICE * (rise - pz_mm) + _BEND_PRICE * rise * off**2
        gain = np.where(off <= 1, score[lower] - cost, -np.inf)
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            continue
        before[here] = lower.start + best
        score[here] += gain[best]
        length[here] = length[before[here]] + rise[best]
        memory = np.exp(-rise[best] / _MEMORY_MM) * (length[before[here]] > 0)
        step = (centre[here] - centre[before[here]]) / rise[best]
        slope[here] = memory * slope[before[here]] + (1 - memory) * step
    chain = [int(np.argmax(score))]
    while before[chain[-1]] >= 0:
        chain.append(int(before[chain[-1]]))
    return np.array(chain[::-1], dtype=np.intp)


def _with_fragments(body: Mask, labels: NDArray[np.integer], pz_mm: float) -> Mask:
    """Add objects that lie mostly over the cord of slices within 5 mm (at least one slice)."""
    steps = max(1, int(_FRAGMENT_REACH_MM / pz_mm))
    nearby = ndimage.maximum_filter1d(body, 2 * steps + 1, axis=2, mode="constant")
    other = (labels > 0) & ~body
    if not (other & nearby).any():
        return body
    size = np.bincount(labels[other], minlength=labels.max() + 1)
    over = np.bincount(labels[other & nearby], minlength=labels.max() + 1)
    fragments = np.flatnonzero(over > _FRAGMENT_SHARE * np.maximum(size, 1))
    return body | (np.isin(labels, fragments) & other)


def _weak_slices(
    soft: Array,
    body: Mask,
    strong: Mask,
    objects: _Objects,
    chain: NDArray[np.intp],
    spacing_mm: Floats,
) -> Mask:
    """Soft values about the centreline in slices of the chain that stay under the threshold."""
    keep = np.zeros(soft.shape, dtype=bool)
    seen = objects.level[chain]
    enough = _WEAK_SHARE * np.median(objects.area_mm2[chain])
    present = np.asarray(body.any(axis=(0, 1)))
    # The slice beyond each end too: of a thick one the edge within 3 mm is only a part.
    for level in range(max(seen[0] - 1, 0), min(seen[-1] + 2, soft.shape[2])):
        if present[level]:
            continue
        centre = np.array([np.interp(level, seen, objects.centre_mm[chain, axis]) for axis in (0, 1)])
        near = within_reach(soft.shape[:2], centre, spacing_mm) & (soft[:, :, level] >= FAINT)
        if strong[:, :, level].any():  # dropped objects, with their edge
            near &= ndimage.distance_transform_edt(~strong[:, :, level], sampling=spacing_mm[:2]) > HALO_MM
        inside = seen[0] < level < seen[-1]
        area = soft[:, :, level][near].sum() * spacing_mm[0] * spacing_mm[1]
        if area >= enough or not inside:
            keep[:, :, level] = near
    return keep
