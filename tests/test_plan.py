from pathlib import Path

from bids_phantoms import add_image, add_images

from softseg_bids.bids.discover import Selection, discover
from softseg_bids.bids.plan import PLAN_COLUMNS, plan


def test_every_file_has_a_row(tmp_path: Path) -> None:
    root, fixed = tmp_path / "ds", tmp_path / "fixed"
    add_images(root, "sub-01", "T2w", "mt-on_MTR", "echo-1_MEGRE", "echo-2_MEGRE")
    add_image(root, "derivatives/labels/sub-01_T2w_label-discs_dlabel.nii.gz")
    add_image(root, "derivatives/labels/sub-01_T2w_label-PMJ_dlabel.nii.gz")
    mask = add_image(fixed, "sub-01_T2w_seg.nii.gz")
    dataset = discover(root, Selection(derivatives={"corrected": fixed}))
    rows = plan(dataset.root, dataset.scans, dataset.left_out)
    assert all(tuple(row) == PLAN_COLUMNS for row in rows)
    by_file = {row["file"].split("/")[-1]: row for row in rows}
    assert list(by_file) == sorted(by_file)
    assert len(by_file) == 4
    t2w = by_file["sub-01_T2w.nii.gz"]
    assert (t2w["status"], t2w["contrast"], t2w["combine"]) == ("chosen", "T2w", "single")
    assert t2w["discs"] == (
        "derivatives/labels/sub-01_T2w_label-discs_dlabel.nii.gz, "
        "derivatives/labels/sub-01_T2w_label-PMJ_dlabel.nii.gz"
    )
    assert t2w["corrected"] == str(mask)
    assert by_file["sub-01_echo-2_MEGRE.nii.gz"]["combine"] == "2 echoes"
    mtr = by_file["sub-01_mt-on_MTR.nii.gz"]
    assert (mtr["status"], mtr["contrast"]) == ("left out", "")
    assert "ratio map" in mtr["reason"]
