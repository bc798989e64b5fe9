"""Where voxels are: the one idea every image operation of the project shares.

A :class:`Grid` is a shape and an affine. The affine maps voxel indices to scanner
millimetres (RAS+, as in NIfTI), and a voxel *covers* the box of one spacing around its
centre. Two operations move an array from one grid to another with the same axes:
both are separable, one small weight matrix per axis, so that training, inference and
the restoring of masks share the very same arithmetic.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from softseg_bids.core.centreline import Centreline
from softseg_bids.core.respace import axis_weights

Array = NDArray[np.float32]
Floats = NDArray[np.float64]

_RAS = np.array([[0, 1], [1, 1], [2, 1]])


class Grid(NamedTuple):
    """A box of voxels in scanner space.

    Attributes
    ----------
    shape : tuple of int
        Number of voxels along each of the three axes.
    affine : ndarray, shape (4, 4)
        Voxel indices to scanner millimetres (RAS+).
    """

    shape: tuple[int, int, int]
    affine: Floats

    @property
    def spacing_mm(self) -> Floats:
        """Voxel size along each axis, shape (3,)."""
        return np.asarray(np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)), dtype=float)

    def to_world(self, indices: NDArray[np.floating]) -> Floats:
        """Scanner coordinates (mm) of voxel indices, shape (..., 3)."""
        return np.asarray(indices @ self.affine[:3, :3].T + self.affine[:3, 3], dtype=float)

    def to_index(self, points_mm: NDArray[np.floating]) -> Floats:
        """Voxel indices (fractional) of scanner points (mm), shape (..., 3)."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points_mm @ inverse[:3, :3].T + inverse[:3, 3], dtype=float)


def line_world(line: Centreline, grid: Grid) -> Floats:
    """Scanner coordinates (mm) of a centreline's points, given the canonical grid of its image."""
    return grid.to_world(line.points_mm / grid.spacing_mm)


def canonical(array: NDArray[np.generic], grid: Grid) -> tuple[NDArray[np.generic], Grid]:
    """Flip and permute axes to the nearest right-anterior-superior order; no interpolation."""
    change = orientations.io_orientation(grid.affine)
    turned = np.asarray(orientations.apply_orientation(array, change))
    affine = grid.affine @ orientations.inv_ornt_aff(change, grid.shape)
    return turned, Grid(turned.shape[:3], affine)


def like_stored(array: NDArray[np.generic], stored: Grid) -> NDArray[np.generic]:
    """Undo :func:`canonical`: bring a canonical array back to the axes of ``stored``."""
    change = orientations.io_orientation(stored.affine)
    return np.asarray(orientations.apply_orientation(array, orientations.ornt_transform(_RAS, change)))


def oriented(array: NDArray[np.generic], codes: str) -> NDArray[np.generic]:
    """Turn a canonical array so that its axes run to the sides that three letters name (``LPS``)."""
    change = orientations.ornt_transform(_RAS, orientations.axcodes2ornt(codes))
    return np.asarray(orientations.apply_orientation(array, change))


def unoriented(array: NDArray[np.generic], codes: str) -> NDArray[np.generic]:
    """Undo :func:`oriented`."""
    change = orientations.ornt_transform(orientations.axcodes2ornt(codes), _RAS)
    return np.asarray(orientations.apply_orientation(array, change))


def stored_slices(slices: NDArray[np.integer], stored: Grid) -> NDArray[np.intp]:
    """Indices in the file, along whichever voxel axis it is, of canonical slices (axis 2).

    What a viewer shows as the voxel coordinate of that slice.
    """
    change = orientations.io_orientation(stored.affine)
    axis = int(np.flatnonzero(change[:, 0] == 2)[0])
    last = stored.shape[axis] - 1
    return np.asarray(slices if change[axis, 1] > 0 else last - np.asarray(slices), dtype=np.intp)


def respaced(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid of another voxel size that covers the same box (rounded up to whole voxels).

    Both boxes have the same centre: what rounding up adds lies in equal parts at either end.
    """
    new = np.asarray(spacing_mm, dtype=float)
    old = grid.spacing_mm
    extent = np.asarray(grid.shape) * old
    shape = np.maximum(np.ceil(extent / new - 1e-3).astype(int), 1)
    corner = 0.5 * (extent - shape * new)
    directions = grid.affine[:3, :3] / old
    affine = np.eye(4)
    affine[:3, :3] = directions * new
    first_centre = corner + 0.5 * new
    affine[:3, 3] = grid.affine[:3, 3] + directions @ (first_centre - 0.5 * old)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def cropped(grid: Grid, start: NDArray[np.integer], shape: tuple[int, int, int]) -> Grid:
    """The part of a grid (or what lies beyond it) that begins at voxel ``start``."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world(np.asarray(start, dtype=float))
    return Grid(shape, affine)


def resample(
    array: NDArray[np.generic],
    source: Grid,
    target: Grid,
    outside: Literal["edge", "zero"] = "edge",
) -> Array:
    """Bring an array to another grid with parallel axes.

    Finer targets are interpolated, coarser ones integrated (see
    :func:`~softseg_bids.core.respace.axis_weights`), so the volume of a mask is conserved:
    ``sum(out) * voxel == sum(in) * voxel``, where it ends half a voxel within the target's box.

    Parameters
    ----------
    array : ndarray, shape source.shape
    source, target : Grid
        Axes must be parallel and point the same way.
    outside : {"edge", "zero"}
        What lies beyond the source: its border value (images) or nothing (masks).

    Returns
    -------
    ndarray of float32, shape target.shape

    Raises
    ------
    ValueError
        If the axes of the grids are not parallel.
    """
    relation = np.linalg.inv(source.affine) @ target.affine
    scale = np.diag(relation)[:3]
    off_axis = relation[:3, :3] - np.diag(scale)
    if np.abs(off_axis).max() > 1e-3 or scale.min() <= 0:
        raise ValueError(f"grids are not parallel: voxel relation\n{relation}")
    out = np.asarray(array, dtype=np.float32)
    for axis in range(3):
        weights = axis_weights(
            source.shape[axis], target.shape[axis], scale[axis], relation[axis, 3], outside
        )
        moved = np.tensordot(weights.astype(np.float32), out, axes=(1, axis))
        out = np.moveaxis(moved, 0, axis)
    return np.ascontiguousarray(out)
