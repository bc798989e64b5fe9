"""A NIfTI file as an array and a :class:`~softseg_bids.image.grid.Grid`, or a clear error.

Whatever the user can mend is a :class:`DataError`: its message names the file and says
what to do. Files are written aside and renamed, so that no reader ever sees half of one.
"""

from __future__ import annotations

import gzip
import logging
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from softseg_bids.image.aside import written_aside as written_aside
from softseg_bids.image.grid import Array, Grid

# nibabel tells on the terminal what it mends silently in a header; what it cannot mend is an error here.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)

# Outside this range a spacing is a broken header, not an acquisition.
SPACING_RANGE_MM = (0.05, 20.0)
# Larger than any scan (1024 x 1024 x 512), small enough to be read on a laptop.
MAX_VOXELS = 2**29
# No scanner sees farther; an image that claims to would be resampled onto more voxels than fit memory.
MAX_EXTENT_MM = 2500.0
# Header extensions hold some kilobytes of text; voxels that begin later than this are a broken header.
MAX_HEADER_BYTES = 2**24
# Some programs append a few bytes to the voxels.
MOST_TRAILING_BYTES = 2**20
# Squares of larger values, summed over an image, overflow single precision; a damaged scale makes them.
LARGEST_VALUE = 1e14
# Splines overshoot the values of a mask by about a tenth.
OVERSHOOT = 0.2


class DataError(ValueError):
    """Input that the user can repair; the message names the file and the remedy."""


class Volume(NamedTuple):
    """A 3-D image: ``array`` (float32, in the file's own axis order) on ``grid``."""

    array: Array
    grid: Grid


def read_volume(path: Path) -> Volume:
    """Read a 3-D scalar image.

    Parameters
    ----------
    path : Path
        A NIfTI file; trailing axes of length one are dropped.

    Raises
    ------
    DataError
        If the file cannot be read, is not 3-D, has an impossible voxel size or affine,
        or holds no finite contrast.
    """
    series = read_series(path)
    if series.array.shape[3] != 1:
        raise DataError(
            f"{path}: has {series.array.shape[3]} volumes where one is expected; "
            "split it, or name it as a multi-echo or diffusion series"
        )
    return Volume(series.array[..., 0], series.grid)


def read_mask(path: Path) -> Volume:
    """Read a cord mask by whatever tool, binary or soft, as fractions in [0, 1]; it may be empty.

    A single label of any value counts as 1. What interpolation made of a mask (a little below 0
    or above 1) is cut off.

    Raises
    ------
    DataError
        If the file is no sane 3-D image, or holds several labels or what is no fraction.
    """
    series = _read(path)
    if series.array.shape[3] != 1:
        raise DataError(f"{path}: has {series.array.shape[3]} volumes where a mask has one; split it")
    array = series.array[..., 0]
    labels = np.unique(array[array != 0]) if (array == np.round(array)).all() else np.zeros(2)
    if labels.size == 1:
        return Volume((array / labels[0]).astype(np.float32), series.grid)
    low, high = float(array.min()), float(array.max())
    if labels.size > 1 and (low < -OVERSHOOT or high > 1.0 + OVERSHOOT):
        raise DataError(
            f"{path}: holds values from {low:g} to {high:g} where a mask has 0 to 1 or a single label; "
            "keep the spinal cord's own label"
        )
    return Volume(np.clip(array, 0.0, 1.0), series.grid)


def read_series(path: Path) -> Volume:
    """Read a 3-D or 4-D image as an array of shape (x, y, z, volumes), float32.

    Raises
    ------
    DataError
        As :func:`read_volume`, for any number of volumes.
    """
    series = _read(path)
    array = series.array
    if array.min() == array.max():
        raise DataError(
            f"{path}: every voxel has the value {array.flat[0]:g}, or none within {LARGEST_VALUE:g}; "
            "there is nothing to measure, convert it from DICOM again"
        )
    return series


def _read(path: Path) -> Volume:
    """Any 3-D or 4-D image as an array of shape (x, y, z, volumes), float32; 0 where a value is unusable."""
    image = _open(path)
    shape = _sane_shape(path, image)
    grid = read_grid(path, image)
    try:
        with np.errstate(all="ignore"):  # a damaged scale factor makes infinite values, told below
            values = np.asarray(_whole(path, image).dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: image data cannot be read ({_in_a_line(error)}); copy it again") from error
    if values.dtype.fields is not None or np.iscomplexobj(values):
        raise DataError(f"{path}: holds {values.dtype} values; convert it to one real channel")
    with np.errstate(all="ignore"):
        array = values.reshape(shape).astype(np.float32)
    usable = (array >= -LARGEST_VALUE) & (array <= LARGEST_VALUE)
    if not usable.all():
        if usable.mean() < 0.5:
            raise DataError(
                f"{path}: more than half of its values are NaN, infinite or beyond {LARGEST_VALUE:g}; "
                "convert it from DICOM again"
            )
        array = np.where(usable, array, np.float32(0))
    return Volume(array, grid)


def read_grid(path: Path, image: nib.Nifti1Image | None = None) -> Grid:
    """The grid of an image from its header alone.

    Raises
    ------
    DataError
        If the header cannot be read or makes no sense.
    """
    image = _open(path) if image is None else image
    shape = _sane_shape(path, image)[:3]
    affine = np.asarray(image.affine, dtype=float)
    grid = Grid(shape, affine)
    with np.errstate(all="ignore"):
        spacing = grid.spacing_mm
    low, high = SPACING_RANGE_MM
    if not np.isfinite(affine).all() or spacing.min() < low or spacing.max() > high:
        sizes = " x ".join(f"{value:g}" for value in spacing)
        raise DataError(
            f"{path}: voxel size {sizes} mm is outside {low:g} to {high:g} mm; "
            "correct the header (qform/sform, xyzt_units)"
        )
    if (extent_mm := float((spacing * shape).max())) > MAX_EXTENT_MM:
        raise DataError(
            f"{path}: claims to be {extent_mm / 1000:.1f} m long; correct its header (dim, pixdim, affine)"
        )
    directions = affine[:3, :3] / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > 0.02:
        raise DataError(f"{path}: its affine is sheared; resample it onto a rectangular grid")
    return grid


def count_volumes(path: Path) -> int:
    """Number of volumes along the fourth axis, from the header alone.

    Raises
    ------
    DataError
        If the header cannot be read or makes no sense.
    """
    return _sane_shape(path, _open(path))[3]


def reading_bytes(path: Path) -> int:
    """Most memory (bytes) that reading an image takes, from its header alone.

    Raises
    ------
    DataError
        If the header cannot be read or makes no sense.
    """
    image = _open(path)
    # The file's bytes (twice while they are put together), then doubles, singles (twice), and marks.
    per_voxel = 2 * int(image.get_data_dtype().itemsize) + 8 + 2 * 4 + 1
    return math.prod(_sane_shape(path, image)) * per_voxel


def write_volume(path: Path, array: NDArray[np.generic], grid: Grid, like: Path | None = None) -> None:
    """Write an array, with the qform and sform codes of ``like``.

    Parameters
    ----------
    path : Path
        Destination (``.nii.gz``); appears whole or not at all.
    array : ndarray, shape grid.shape
        Stored with its own dtype.
    grid : Grid
        Where the array lies.
    like : Path, optional
        The source image, whose space codes are kept; without one, both say scanner space.
    """
    source = nib.Nifti1Header() if like is None else _open(like).header
    image = nib.Nifti1Image(array, grid.affine)
    qform, sform = int(source["qform_code"]), int(source["sform_code"])
    if like is None:
        qform = sform = 1
    # A file with neither code set is still in scanner space for whoever reads the mask.
    image.set_qform(grid.affine, qform or (0 if sform else 1))
    image.set_sform(grid.affine, sform or (0 if qform else 1))
    image.header.set_xyzt_units("mm")
    with written_aside(path) as aside:
        nib.save(image, aside)


def _open(path: Path) -> nib.Nifti1Image:
    """The image with its header read, and nothing else of the file."""
    if not path.name.endswith((".nii", ".nii.gz")):
        raise DataError(f"{path}: its name does not end in .nii or .nii.gz; convert it to NIfTI")
    check_file(path)
    try:
        with _stream(path) as stream:
            header, kind = _header(stream)
        with np.errstate(all="ignore"):
            return kind.from_bytes(header)
    # nibabel stops at damaged bytes with whatever its arithmetic comes upon.
    except Exception as error:
        raise DataError(
            f"{path}: is not a readable NIfTI image ({_in_a_line(error)}); copy it or convert it again"
        ) from error


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def check_file(path: Path) -> None:
    """Refuse what cannot be read like a file: it would block (a pipe) or never end (a device).

    Raises
    ------
    DataError
        If there is no such file, or it is a folder, pipe, socket or device.
    """
    if not path.exists():
        hint = "run `git annex get` on it" if path.is_symlink() else "check the path"
        raise DataError(f"{path}: does not exist; {hint}")
    if not path.is_file():
        raise DataError(f"{path}: is no file; put the image itself there")


def _stream(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _header(stream: BinaryIO) -> tuple[bytes, type[nib.Nifti1Image]]:
    """The bytes before the voxels, and the kind of NIfTI they are.

    Raises
    ------
    ValueError
        If they begin with no NIfTI header, or the voxels with no sane byte.
    """
    start = stream.read(544)
    if len(start) < 348:
        raise ValueError("it ends within its header")
    for order in "<>":
        size = struct.unpack_from(f"{order}i", start)[0]
        if size == 348:
            offset, kind = struct.unpack_from(f"{order}f", start, 108)[0], nib.Nifti1Image
            break
        if size == 540:
            offset, kind = struct.unpack_from(f"{order}q", start, 168)[0], nib.Nifti2Image
            break
    else:
        raise ValueError("it begins with no NIfTI header")
    if not 0 <= offset <= MAX_HEADER_BYTES:
        raise ValueError(f"its voxels begin at byte {offset:g}")
    return start + stream.read(max(0, int(offset) - len(start))), kind


def _whole(path: Path, image: nib.Nifti1Image) -> nib.Nifti1Image:
    """The image with its data, compressed ones checked against their checksum.

    nibabel stops reading before the checksum, so that flipped bits would pass for intensities. No
    more is unpacked than the header claims: a small file may unpack to more than memory holds.

    Raises
    ------
    ValueError
        If the file holds more than its header claims.
    """
    claimed = int(image.dataobj.offset) + math.prod(image.shape) * image.get_data_dtype().itemsize
    with _stream(path) as stream:
        content = stream.read(claimed + MOST_TRAILING_BYTES + 1)
    if len(content) > claimed + MOST_TRAILING_BYTES:
        raise ValueError(f"it holds more than the {claimed} bytes its header claims")
    return type(image).from_bytes(content)


def _sane_shape(path: Path, image: nib.Nifti1Image) -> tuple[int, int, int, int]:
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2 or (len(shape) == 3 and min(shape) == 1):
        raise DataError(f"{path}: is a 2-D image {shape}; a volume of several slices is needed")
    if len(shape) not in (3, 4):
        raise DataError(f"{path}: has shape {shape}; a 3-D image or a 4-D series is needed")
    full = shape if len(shape) == 4 else (*shape, 1)
    if min(full) < 1 or np.prod(full, dtype=float) > MAX_VOXELS:
        raise DataError(f"{path}: its header claims {full} voxels; it is damaged or too large")
    return full[0], full[1], full[2], full[3]
