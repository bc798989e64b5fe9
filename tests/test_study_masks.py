"""Whose mask is it, and does it lie on the image's grid: names and files of other tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import centred_grid, cylinder, write_image

from softseg_bids.bids.masks import Known, masks_of, owner_of
from softseg_bids.image.grid import Grid
from softseg_bids.image.volume import DataError, read_mask
from softseg_bids.study.masks import EMPTY, MISSING, OTHER_GRID, UNREADABLE, USED, find_mask

T2W = Known("t2w", "01", ("sub-01_T2w",), "sub-01", "T2w")
FULL = Known("full", "01", ("sub-01_acq-full_T2w",), "sub-01_acq-full", "T2w")
MTON = Known("mton", "01", ("sub-01_flip-1_mt-on_MTS",), "sub-01_flip-1_mt-on", "MTon")
DWI = Known("dwi", "01", ("sub-01_dwi",), "sub-01", "DWI")
SESSION = Known("ses", "01", ("sub-01_ses-B_T2w",), "sub-01_ses-B", "T2w")
ALL = (T2W, FULL, MTON, DWI, SESSION)
SHAPE = (20, 20, 20)


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("sub-01_T2w", "t2w"),
        ("sub-01_T2w_seg", "t2w"),
        ("sub-01_T2w_RPI_r_seg", "t2w"),
        ("sub-01_T2w_label-SC_seg", "t2w"),
        ("sub-01_T2w_seg-manual", "t2w"),
        ("sub-01_acq-full_T2w_seg", "full"),
        ("sub-01_ses-B_T2w_seg", "ses"),
        ("sub-01_flip-1_mt-on_MTS_seg", "mton"),
        ("sub-01_dwi_dwi_mean_seg", "dwi"),
        ("sub-01_label-SC_desc-T2w_probseg", "t2w"),
        ("sub-01_seg-softgt_label-SC_desc-T2w_probseg", "t2w"),
        ("sub-01_acq-full_label-SC_desc-T2w_mask", "full"),
        ("sub-01_flip-1_mt-on_label-SC_desc-MTon_probseg", "mton"),
        ("sub-01_label-GM_desc-T2w_mask", None),
        ("sub-01_T2w_gmseg", None),
        ("sub-01_T2w_seg_labeled", None),
        ("sub-01_T2w_centerline", None),
        ("sub-01_T2w_label-lesion_seg", None),
        ("sub-01_label-centerline_desc-T2w_mask", None),
        ("sub-01_label-SC_desc-T2wModel_probseg", None),
        ("sub-01_T1w_seg", None),
        ("sub-01_T2wx_seg", None),
    ],
)
def test_a_mask_belongs_to_the_image_it_is_named_after(name: str, owner: str | None) -> None:
    found = owner_of(name, ALL)
    assert (found.key if found else None) == owner


def test_soft_masks_come_before_binary_ones_and_plain_names_first(tmp_path: Path) -> None:
    names = (
        "sub-01_T2w_seg_deepseg",
        "sub-01_T2w_seg",
        "sub-01_T2w_softseg",
        "sub-01_T1w_seg",
        "sub-02_T2w_seg",
    )
    for name in names:
        (tmp_path / f"{name}.nii.gz").touch()
    found = masks_of(tmp_path, ALL)
    assert [path.name for path in found["t2w"]] == [f"{names[k]}.nii.gz" for k in (2, 1, 0)]
    assert set(found) == {"t2w"}


class TestFindMask:
    """The first mask on the grid, or the reason why there is none."""

    grid = centred_grid(SHAPE)

    def write(self, path: Path, array: np.ndarray, grid: Grid | None = None) -> Path:
        return write_image(path, array, self.grid if grid is None else grid)

    def test_stored_with_other_axes_it_is_the_same(self, tmp_path: Path) -> None:
        grid = Grid(SHAPE, self.grid.affine)
        body = cylinder(grid, 4.0, centre_mm=(3.0, 0.0, 0.0), over=2)
        flipped = grid.affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
        flipped[:3, 3] = grid.to_world(np.array([SHAPE[0] - 1.0, 0, 0]))
        path = self.write(tmp_path / "a.nii.gz", body[::-1], Grid(SHAPE, flipped))
        found = find_mask([path], grid)
        assert found.status == USED and found.array is not None
        np.testing.assert_allclose(found.array, body)

    def test_the_first_on_the_grid_counts(self, tmp_path: Path) -> None:
        body = cylinder(self.grid, 4.0, over=2)
        moved = self.grid.affine.copy()
        moved[0, 3] += 1.0
        elsewhere = self.write(tmp_path / "a.nii.gz", body, Grid(SHAPE, moved))
        smaller = self.write(tmp_path / "b.nii.gz", body[:-1], Grid((19, 20, 20), self.grid.affine))
        right = self.write(tmp_path / "c.nii.gz", body)
        assert find_mask([elsewhere, smaller, right], self.grid).path == right
        refused = find_mask([elsewhere, smaller], self.grid)
        assert refused.status == OTHER_GRID and str(elsewhere) in refused.reason and "sct_" in refused.reason

    def test_nothing_an_empty_one_and_a_broken_one(self, tmp_path: Path) -> None:
        assert find_mask([], self.grid).status == MISSING
        empty = self.write(tmp_path / "e.nii.gz", np.zeros(SHAPE, np.uint8))
        found = find_mask([empty], self.grid)
        assert found.status == EMPTY and found.array is not None and not found.array.any()
        broken = tmp_path / "x.nii.gz"
        broken.write_bytes(b"no image")
        assert find_mask([broken], self.grid).status == UNREADABLE


class TestReadMask:
    """What counts as a mask."""

    def read(self, tmp_path: Path, array: np.ndarray) -> np.ndarray:
        return read_mask(write_image(tmp_path / "m.nii.gz", array, centred_grid(array.shape[:3]))).array

    def test_one_label_of_any_value_is_one(self, tmp_path: Path) -> None:
        array = np.zeros(SHAPE, np.int16)
        array[5:9] = 255
        assert set(np.unique(self.read(tmp_path, array))) == {0.0, 1.0}

    def test_overshoot_is_cut_off(self, tmp_path: Path) -> None:
        array = np.linspace(-0.1, 1.1, 8000, dtype=np.float32).reshape(SHAPE)
        found = self.read(tmp_path, array)
        assert found.min() == 0 and found.max() == 1
        np.testing.assert_allclose(found[10], array[10])

    def test_several_labels_are_refused(self, tmp_path: Path) -> None:
        array = np.zeros(SHAPE, np.uint8)
        array[3:6], array[6:9] = 1, 2
        with pytest.raises(DataError, match="keep the spinal cord's own label"):
            self.read(tmp_path, array)

    def test_several_volumes_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="2 volumes"):
            self.read(tmp_path, np.ones((*SHAPE, 2), np.uint8))
