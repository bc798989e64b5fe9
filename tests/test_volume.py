import gzip
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bids_phantoms import broken_link

from softseg_bids.image import volume
from softseg_bids.image.volume import (
    DataError,
    count_volumes,
    read_grid,
    read_series,
    read_volume,
    write_volume,
    written_aside,
)


def saved(path: Path, array: Any, affine: Any = None) -> Path:
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def ramp(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_reads_a_volume_with_trailing_axes(tmp_path: Path) -> None:
    affine = np.diag([0.5, 0.5, 5, 1])
    path = saved(tmp_path / "a.nii.gz", ramp(4, 5, 6)[..., None, None], affine)
    array, grid = read_volume(path)
    np.testing.assert_array_equal(array, ramp(4, 5, 6))
    assert (array.dtype, grid.shape) == (np.float32, (4, 5, 6))
    np.testing.assert_allclose(grid.affine, affine)
    assert count_volumes(path) == 1


def test_reads_a_series(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii.gz", ramp(3, 3, 3, 2))
    assert read_series(path).array.shape == (3, 3, 3, 2)
    assert count_volumes(path) == 2
    with pytest.raises(DataError, match="2 volumes"):
        read_volume(path)


def test_a_few_nan_become_zero(tmp_path: Path) -> None:
    array = ramp(4, 4, 4)
    array[0, 0, 0] = np.nan
    array[1, 1, 1] = np.inf
    array[2, 2, 2] = -1e30  # a division by nearly nothing
    values = read_volume(saved(tmp_path / "a.nii.gz", array)).array
    assert (values[0, 0, 0], values[1, 1, 1], values[2, 2, 2]) == (0, 0, 0)
    assert values[3, 3, 3] == array[3, 3, 3]


@pytest.mark.parametrize(
    ("array", "affine", "word"),
    [
        (np.full((4, 4, 4), np.nan, np.float32), None, "NaN"),
        (ramp(4, 4, 4) * np.float32(1e36), None, r"beyond 1e\+14"),
        (np.ones((4, 4, 4), np.float32), None, "every voxel"),
        (ramp(4, 4), None, "2-D"),
        (ramp(4, 4, 1), None, "2-D"),
        (ramp(2, 2, 2, 2, 2), None, "shape"),
        (ramp(4, 4, 4), np.diag([30, 1, 1, 1]), "voxel size 30"),
        (ramp(4, 4, 4), np.diag([1, 1, 0.001, 1]), "voxel size"),
        (ramp(4, 4, 4), np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "sheared"),
        (ramp(4, 4, 4).astype(np.complex64), None, "complex64"),
        (np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), None, "one real channel"),
    ],
)
def test_what_is_no_sane_image(tmp_path: Path, array: Any, affine: Any, word: str) -> None:
    path = saved(tmp_path / "a.nii.gz", array, affine)
    with pytest.raises(DataError, match=word) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)


def test_damaged_files(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.nii.gz", np.random.default_rng(0).random((20, 20, 20), np.float32))
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(good.read_bytes()[:2000])
    with pytest.raises(DataError, match="copy it again"):
        read_volume(cut)
    assert count_volumes(cut) == 1  # its header is whole
    flipped = bytearray(good.read_bytes())
    flipped[5000:5100] = bytes(100)
    cut.write_bytes(flipped)
    with pytest.raises(DataError, match="copy it again"):
        read_volume(cut)
    for content in (b"", b"not gzip", gzip.compress(b"not NIfTI" * 100)):
        cut.write_bytes(content)
        with pytest.raises(DataError, match="not a readable NIfTI"):
            read_volume(cut)


def test_header_that_claims_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.nii.gz", ramp(4, 4, 4))
    monkeypatch.setattr(volume, "MAX_VOXELS", 63)
    with pytest.raises(DataError, match="damaged or too large"):
        read_grid(path)


def test_other_formats_and_missing_files(tmp_path: Path) -> None:
    other = tmp_path / "a.mgz"
    nib.save(nib.MGHImage(ramp(4, 4, 4), np.eye(4)), other)
    with pytest.raises(DataError, match="convert it to NIfTI"):
        read_volume(other)
    with pytest.raises(DataError, match="check the path"):
        read_volume(tmp_path / "none.nii.gz")
    with pytest.raises(DataError, match="git annex get"):
        read_volume(broken_link(tmp_path / "link.nii.gz"))


@pytest.mark.parametrize(
    ("codes", "written"), [((1, 2), (1, 2)), ((0, 4), (0, 4)), ((3, 0), (3, 0)), ((0, 0), (1, 1))]
)
def test_space_codes_of_the_source_are_kept(
    tmp_path: Path, codes: tuple[int, int], written: tuple[int, int]
) -> None:
    image = nib.Nifti1Image(ramp(3, 4, 5), np.diag([1, 2, 3, 1]))
    image.set_qform(image.affine, codes[0])
    image.set_sform(image.affine, codes[1])
    source = tmp_path / "source.nii.gz"
    nib.save(image, source)
    grid = read_grid(source)
    path = tmp_path / "new" / "mask.nii.gz"
    write_volume(path, np.ones(grid.shape, np.uint8), grid, source)
    header = nib.load(path).header
    assert (int(header["qform_code"]), int(header["sform_code"])) == written
    assert header.get_data_dtype() == np.uint8
    assert header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(nib.load(path).affine, grid.affine)


def test_written_aside_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "table.tsv"
    with written_aside(path) as aside:
        aside.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    with pytest.raises(RuntimeError), written_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["table.tsv"]


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
