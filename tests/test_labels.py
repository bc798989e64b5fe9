from pathlib import Path, PurePosixPath

import pytest
from bids_phantoms import broken_link

from softseg_bids.bids.labels import LabelFiles, checked_folder
from softseg_bids.image.volume import DataError

ANAT = PurePosixPath("sub-01/anat")


def touch(root: Path, *relatives: str) -> None:
    for relative in relatives:
        (root / relative).parent.mkdir(parents=True, exist_ok=True)
        (root / relative).touch()


@pytest.mark.parametrize(
    "file",
    [
        "labels/sub-01/anat/sub-01_T2w_label-discs_dlabel.nii.gz",
        "labels/sub-01/anat/sub-01_T2w_labels-disc-manual.nii.gz",
        "labels/sub-01/anat/sub-01_T2w_label-discs_desc-warp_dlabel.nii.gz",
        "sct/sub-01_T2w_totalspineseg_discs.nii.gz",
        "sct/sub-01_T2w_step1_levels.nii.gz",
        "sct/sub-01_T2w_seg_labeled_discs.nii.gz",
        "sct/sub-01_T2w_seg_labeled.nii.gz",
        "totalspineseg/step1_levels/sub-01_T2w.nii.gz",
    ],
)
def test_disc_labels_of_many_tools(tmp_path: Path, file: str) -> None:
    touch(tmp_path, file)
    labels = LabelFiles([tmp_path], ["01"])
    assert labels.discs("01", ["sub-01_T2w"]) == tmp_path / file
    assert labels.discs("01", ["sub-01_acq-full_T2w"]) is None
    assert labels.discs("01", ["sub-01_T1w"]) is None


def test_disc_labels_best_first(tmp_path: Path) -> None:
    manual = "own/sub-01/anat/sub-01_T2w_label-discs_dlabel.nii.gz"
    warped = "own/sub-01/anat/sub-01_T2w_label-discs_desc-warp_dlabel.nii.gz"
    touch(tmp_path, manual, warped, "given/sub-01_T2w_label-discs_dlabel.nii.gz")
    names = ["sub-01_T2w"]
    assert LabelFiles([tmp_path / "own"], ["01"]).discs("01", names) == tmp_path / manual
    both = LabelFiles([tmp_path / "given", tmp_path / "own"], ["01"])
    assert both.discs("01", names) == tmp_path / "given/sub-01_T2w_label-discs_dlabel.nii.gz"


@pytest.mark.parametrize("ending", ["_label-PMJ_dlabel", "_labels-pmj-manual", "_pmj"])
def test_the_junction_in_a_file_of_its_own(tmp_path: Path, ending: str) -> None:
    discs, junction = "sub-01_T2w_label-discs_dlabel.nii.gz", f"sub-01_T2w{ending}.nii.gz"
    touch(tmp_path, discs, junction, "sub-02_T2w_pmj.nii.gz")
    files = LabelFiles([tmp_path], ["01", "02"])
    assert files.landmarks("01", ["sub-01_T2w"]) == tmp_path / junction
    assert files.discs("01", ["sub-01_T2w"]) == tmp_path / discs
    assert files.landmarks("01", ["sub-01_T1w"]) is None


def test_a_junction_by_hand_comes_before_a_programs(tmp_path: Path) -> None:
    touch(tmp_path, "sub-01_T2w_pmj.nii.gz", "sub-01_T2w_labels-pmj-manual.nii.gz")
    found = LabelFiles([tmp_path], ["01"]).landmarks("01", ["sub-01_T2w"])
    assert found == tmp_path / "sub-01_T2w_labels-pmj-manual.nii.gz"


def test_what_is_no_disc_label(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "sub-01/anat/sub-01_T2w_label-vertebrae_dlabel.nii.gz",
        "sub-01/anat/sub-01_T2w_label-SC_seg.nii.gz",
        "sub-01/anat/sub-01_T2w_label-discs_dlabel.json",
        "sub-02/anat/sub-02_T2w_label-discs_dlabel.nii.gz",
        "sub-01/figures/sub-01_T2w_label-discs_dlabel.nii.gz",
    )
    labels = LabelFiles([tmp_path], ["01"])
    assert labels.discs("01", ["sub-01_T2w"]) is None


def test_label_that_is_not_downloaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = broken_link(tmp_path / "sub-01/anat/sub-01_T2w_label-discs_dlabel.nii.gz")
    assert LabelFiles([tmp_path], ["01"]).discs("01", ["sub-01_T2w"]) is None
    assert str(path) in caplog.text
    assert "git annex get" in caplog.text


@pytest.mark.parametrize(
    "file",
    [
        "sub-01/anat/sub-01_acq-x_label-SC_desc-T2w_mask.nii.gz",
        "sub-01/anat/sub-01_acq-x_T2w_label-SC_seg.nii.gz",
        "sub-01/anat/sub-01_acq-x_T2w_label-SC_mask.nii.gz",
        "sub-01/anat/sub-01_acq-x_T2w_seg-manual.nii.gz",
        "sub-01_acq-x_T2w_seg.nii.gz",
        "some/where/sub-01_acq-x_label-SC_desc-T2w_mask.nii",
    ],
)
def test_corrected_masks(tmp_path: Path, file: str) -> None:
    touch(tmp_path, file)
    files = LabelFiles([tmp_path], ["01"])
    own = "sub-01_acq-x_label-SC_desc-T2w_mask"
    assert files.corrected("01", ["sub-01_acq-x_T2w"], own, ANAT) == tmp_path / file
    assert files.corrected("01", ["sub-01_T2w"], "sub-01_label-SC_desc-T2w_mask", ANAT) is None


def test_corrected_mask_at_the_same_place_is_preferred(tmp_path: Path) -> None:
    touch(tmp_path, "a/sub-01_T2w_seg.nii.gz", "sub-01/anat/sub-01_T2w_seg.nii.gz")
    found = LabelFiles([tmp_path], ["01"]).corrected("01", ["sub-01_T2w"], "x", ANAT)
    assert found == tmp_path / "sub-01/anat/sub-01_T2w_seg.nii.gz"


def test_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert checked_folder("corrected", tmp_path) == tmp_path
    with pytest.raises(DataError, match="'corrected' does not exist"):
        checked_folder("corrected", tmp_path / "none")


def test_what_the_app_wrote_is_no_correction_unless_its_folder_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = "softseg/sub-01/anat/sub-01_label-SC_desc-T2w_mask.nii.gz"
    hand = "labels/sub-01/anat/sub-01_T2w_seg-manual.nii.gz"
    touch(tmp_path, mine, hand)
    for folder, content in (
        ("softseg", '{"GeneratedBy": [{"Name": "other"}, {"Name": "softseg"}]}'),
        ("labels", '{"GeneratedBy": "hand"}'),
    ):
        (tmp_path / folder / "dataset_description.json").write_text(content)

    def found(*folders: Path, own: bool) -> Path | None:
        files = LabelFiles(folders, ["01"], own=own)
        return files.corrected("01", ["sub-01_T2w"], "sub-01_label-SC_desc-T2w_mask", ANAT)

    assert found(tmp_path, own=True) == tmp_path / mine
    assert not caplog.messages
    assert found(tmp_path, own=False) == tmp_path / hand
    assert f"{tmp_path / 'softseg'}: was made by softseg itself" in caplog.text
    assert found(tmp_path / "softseg", own=False) == tmp_path / mine
