"""Several volumes of one acquisition as one image: echoes, and diffusion-weighted volumes.

Array functions; files are read and written by `steps`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from softseg_bids.image.grid import Array

# Below this b-value (s/mm²) a volume shows anatomy with bright CSF, unlike the mean of the others.
LEAST_B = 200.0
# A cord moves by less between volumes; a larger shift is a failed registration.
MOST_SHIFT_MM = 5.0
LEAST_SHIFT = 0.02  # voxels


def root_mean_square(volumes: NDArray[np.floating]) -> Array:
    """Root mean square over the last axis of (x, y, z, volumes)."""
    return np.asarray(np.sqrt(np.mean(np.square(volumes, dtype=np.float64), axis=-1)), dtype=np.float32)


def weighted_volumes(bvals: NDArray[np.floating]) -> NDArray[np.intp]:
    """Indices of the volumes with b > 200 s/mm².

    Raises
    ------
    ValueError
        If there is none.
    """
    chosen = np.flatnonzero(bvals > LEAST_B)
    if chosen.size == 0:
        raise ValueError(f"no b-value is above {LEAST_B:g} s/mm² (largest {bvals.max(initial=0):g})")
    return chosen


def aligned_mean(
    volumes: NDArray[np.floating], spacing_mm: NDArray[np.floating], slice_axis: int = 2, rounds: int = 2
) -> Array:
    """Mean of volumes after each slice is translated in its plane onto the running mean.

    Motion between diffusion volumes of the neck is mostly such a translation, another one in
    each slice, and a plain mean would blur the cord by it. Two rounds: the reference is first
    the plain mean, then the mean of the aligned volumes. A shift is used only where it makes
    the slice more like the reference, after a median over neighbouring slices.

    Parameters
    ----------
    volumes : ndarray, shape (x, y, z, n)
    spacing_mm : ndarray, shape (3,)
    slice_axis : int
        The axis across slices.
    rounds : int
        How often the reference is renewed.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
    """
    stack = np.moveaxis(np.asarray(volumes, dtype=np.float32), slice_axis, 2)
    in_plane = np.delete(np.asarray(spacing_mm, dtype=float), slice_axis)
    moved = stack
    for _ in range(rounds):
        reference = moved.mean(axis=-1)
        moved = np.stack([_onto(stack[..., n], reference, in_plane) for n in range(stack.shape[-1])], axis=-1)
    return np.ascontiguousarray(np.moveaxis(moved.mean(axis=-1), 2, slice_axis), dtype=np.float32)


def slice_shifts(volume: Array, reference: Array, in_plane_mm: NDArray[np.floating]) -> NDArray[np.float64]:
    """In-plane translation (voxels) that brings each slice of ``volume`` onto ``reference``.

    Found three times over, each time from the slices moved so far: windowing before the
    correlation pulls every single estimate towards zero by some tenth of it.

    Returns
    -------
    ndarray, shape (z, 2)
    """
    total = np.zeros((volume.shape[2], 2))
    moved = volume
    for _ in range(3):
        total += _correlation_peaks(moved, reference, in_plane_mm)
        moved = np.stack([_shifted(volume[..., z], shift) for z, shift in enumerate(total)], axis=-1)
    return total


def _correlation_peaks(
    volume: Array, reference: Array, in_plane_mm: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Peak of each slice's cross-correlation within 5 mm, refined by a parabola along each axis."""
    rows, columns = (np.hanning(n + 2)[1:-1] for n in volume.shape[:2])
    window = np.outer(rows, columns)[..., None]
    spectrum = np.fft.rfft2(_centred(reference) * window, axes=(0, 1))
    spectrum *= np.conj(np.fft.rfft2(_centred(volume) * window, axes=(0, 1)))
    correlation = np.fft.irfft2(spectrum, s=volume.shape[:2], axes=(0, 1))
    sizes = zip(in_plane_mm, volume.shape[:2], strict=True)
    reach = [int(min(np.ceil(MOST_SHIFT_MM / mm), (n - 1) // 2)) for mm, n in sizes]
    near = correlation[np.ix_(*(np.arange(-r, r + 1) for r in reach))]
    peak = near.reshape(-1, volume.shape[2]).argmax(axis=0)
    found = np.column_stack(np.unravel_index(peak, near.shape[:2]))
    return np.array(
        [
            [_vertex(near[:, j, z], i) - reach[0], _vertex(near[i, :, z], j) - reach[1]]
            for z, (i, j) in enumerate(found)
        ]
    )


def _onto(volume: Array, reference: Array, in_plane_mm: NDArray[np.floating]) -> Array:
    shifts = ndimage.median_filter(slice_shifts(volume, reference, in_plane_mm), size=(3, 1), mode="nearest")
    out = volume.copy()
    for z, shift in enumerate(shifts):
        candidate = _shifted(volume[..., z], shift)
        if _likeness(candidate, reference[..., z]) > _likeness(volume[..., z], reference[..., z]):
            out[..., z] = candidate
    return out


def _shifted(image: Array, shift: NDArray[np.floating]) -> Array:
    if np.abs(shift).max() < LEAST_SHIFT:
        return image  # interpolation would blur it for nothing
    return np.asarray(ndimage.shift(image, shift, order=3, mode="nearest"), dtype=np.float32)


def _centred(volume: Array) -> Array:
    return np.asarray(volume - volume.mean(axis=(0, 1), keepdims=True))


def _vertex(values: NDArray[np.floating], peak: int) -> float:
    """Position of the parabola through the peak and its neighbours; the peak itself at a border."""
    if peak in (0, len(values) - 1):
        return float(peak)
    left, middle, right = values[peak - 1 : peak + 2]
    bend = left - 2 * middle + right
    return float(peak + 0.5 * (left - right) / bend) if bend < 0 else float(peak)


def _likeness(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0
