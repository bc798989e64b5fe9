import logging
from pathlib import Path

import pytest
from bids_phantoms import add_image, add_images, broken_link

from softseg_bids.bids.discover import (
    Dataset,
    FilterError,
    NoInput,
    NothingSelected,
    Selection,
    discover,
)
from softseg_bids.image.volume import DataError


def contrasts(dataset: Dataset) -> dict[str, str]:
    return {scan.key: scan.contrast for scan in dataset.scans}


def reasons(dataset: Dataset) -> dict[str, str]:
    return {entry.path.name: entry.reason for entry in dataset.left_out}


def test_every_contrast_of_the_protocol(tmp_path: Path) -> None:
    names = ["T1w", "acq-full_T2w", "T2star", "flip-1_mt-on_MTS", "flip-1_mt-off_MTS", "flip-2_mt-off_MTS"]
    add_images(tmp_path, "sub-01", *names, "UNIT1", "inv-2_MP2RAGE", "PSIR", "STIR", "FLAIR", "PDw")
    dataset = discover(tmp_path)
    assert contrasts(dataset) == {
        "sub-01_T1w": "T1w",
        "sub-01_acq-full_T2w": "T2w",
        "sub-01_T2star": "T2starw",
        "sub-01_flip-1_mt-on_MTS": "MTon",
        "sub-01_flip-1_mt-off_MTS": "MToff",
        "sub-01_flip-2_mt-off_MTS": "GRET1w",
        "sub-01_UNIT1": "UNIT1",
        "sub-01_inv-2_MP2RAGE": "MP2RAGE",
        "sub-01_PSIR": "PSIR",
        "sub-01_STIR": "STIR",
        "sub-01_FLAIR": "FLAIR",
        "sub-01_PDw": "PDw",
    }
    assert dataset.left_out == ()
    assert dataset.name == tmp_path.name
    scan = next(scan for scan in dataset.scans if scan.contrast == "T2w")
    assert (scan.participant, scan.session, scan.acq, scan.run) == ("01", None, "full", None)
    assert (scan.stem, scan.suffix, scan.datatype) == ("sub-01_acq-full", "T2w", "anat")
    assert scan.relative == "sub-01/anat/sub-01_acq-full_T2w.nii.gz"
    assert scan.paths == (tmp_path / scan.relative,)


def test_every_file_left_out_has_its_reason(tmp_path: Path) -> None:
    add_images(
        tmp_path, "sub-01", "T2w", "mt-off_MTR", "T1map", "part-phase_T2starw", "part-mag_T2starw",
        "desc-preproc_T2w", "defacemask", "inv-1_MP2RAGE", "MTS", "VFA", "T1w_RPI_r", "sbref", "run-1",
    )  # fmt: skip
    add_image(tmp_path, "sub-01/func/sub-01_task-rest_bold.nii.gz")
    add_image(tmp_path, "sub-01/sub-01_T1w.nii.gz")
    add_image(tmp_path, "sub-01/anat/sub-02_T1w.nii.gz")
    add_image(tmp_path, "sub-01/anat/sub-01_ses-A_T1w.nii.gz")
    broken_link(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz")
    dataset = discover(tmp_path)
    assert sorted(contrasts(dataset)) == ["sub-01_T2w", "sub-01_part-mag_T2starw"]
    words = {
        "sub-01_mt-off_MTR.nii.gz": "ratio map",
        "sub-01_T1map.nii.gz": "quantitative",
        "sub-01_part-phase_T2starw.nii.gz": "magnitude",
        "sub-01_desc-preproc_T2w.nii.gz": "derivative",
        "sub-01_defacemask.nii.gz": "defacing",
        "sub-01_inv-1_MP2RAGE.nii.gz": "inv-2",
        "sub-01_MTS.nii.gz": "MTState",
        "sub-01_VFA.nii.gz": "contrasts.tsv",
        "sub-01_T1w_RPI_r.nii.gz": "no BIDS name",
        "sub-01_sbref.nii.gz": "single-band",
        "sub-01_run-1.nii.gz": "suffix missing",
        "func": "1 func image",
        "sub-02_T1w.nii.gz": "does not begin with sub-01",
        "sub-01_ses-A_T1w.nii.gz": "session",
    }
    found = reasons(dataset)
    by_place = {entry.path.relative_to(tmp_path).as_posix(): entry.reason for entry in dataset.left_out}
    assert "not in an anat or dwi folder" in by_place["sub-01/sub-01_T1w.nii.gz"]
    assert "git annex get" in by_place["sub-01/anat/sub-01_T1w.nii.gz"]
    assert {name for name in words if words[name] not in found[name]} == set()
    assert len(dataset.left_out) == len(words) + 2
    assert {entry.participant for entry in dataset.left_out} == {"01"}


def test_sessions_and_repeats(tmp_path: Path) -> None:
    for session in ("A", "B"):
        stem = f"sub-01_ses-{session}"
        add_image(tmp_path, f"sub-01/ses-{session}/anat/{stem}_run-1_T2w.nii.gz")
        add_image(tmp_path, f"sub-01/ses-{session}/anat/{stem}_run-2_T2w.nii.gz")
        add_image(tmp_path, f"sub-01/ses-{session}/fmap/{stem}_epi.nii.gz")
    dataset = discover(tmp_path)
    assert dataset.sessions == (("01", "A"), ("01", "B"))
    assert [scan.run for scan in dataset.scans_of("01", "A")] == ["1", "2"]
    assert dataset.left_out[0].session == "A"
    one = discover(tmp_path, Selection(sessions=("ses-B",)))
    assert one.sessions == (("01", "B"),)
    assert "session A was not asked for" in reasons(one)["sub-01_ses-A_run-1_T2w.nii.gz"]
    with pytest.raises(NothingSelected, match="session A was not asked for"):
        discover(tmp_path, Selection(sessions=("C",)))


def test_split_echoes_are_one_scan(tmp_path: Path) -> None:
    for echo in (10, 2, 1):
        add_image(tmp_path, f"sub-01/anat/sub-01_echo-{echo}_MEGRE.nii.gz", EchoTime=echo)
    add_image(tmp_path, "sub-01/anat/sub-01_acq-x_echo-1_T2starw.nii.gz")
    scans = {scan.key: scan for scan in discover(tmp_path).scans}
    joined = scans["sub-01_MEGRE"]
    assert joined.combine == "echoes"
    assert [path.name.split("_")[1] for path in joined.paths] == ["echo-1", "echo-2", "echo-10"]
    assert joined.metadata == {"EchoTime": 1}
    assert joined.relative.endswith("sub-01_echo-1_MEGRE.nii.gz")
    assert scans["sub-01_acq-x_echo-1_T2starw"].combine == "single"


def test_one_missing_echo_leaves_the_others_out(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01", "echo-1_MEGRE", "T2w")
    broken_link(tmp_path / "sub-01/anat/sub-01_echo-2_MEGRE.nii.gz")
    dataset = discover(tmp_path)
    assert contrasts(dataset) == {"sub-01_T2w": "T2w"}
    assert "another echo" in reasons(dataset)["sub-01_echo-1_MEGRE.nii.gz"]


def test_diffusion_series_and_its_supplied_means(tmp_path: Path) -> None:
    for participant in ("sub-01", "sub-02", "sub-03"):
        series = add_image(tmp_path, f"{participant}/dwi/{participant}_dwi.nii.gz", volumes=3)
        series.with_name(f"{participant}_dwi.bval").write_text("0 1000 1000")
    add_images(tmp_path, "sub-02", "rec-average_dwi", "acq-b0_dwi")
    add_images(tmp_path, "sub-03", "dwi_moco_dwi_mean")
    dataset = discover(tmp_path)
    scans = {scan.participant: scan for scan in dataset.scans}
    assert len(dataset.scans) == 3
    assert (scans["01"].combine, scans["01"].contrast) == ("diffusion", "DWI")
    assert scans["01"].bval == tmp_path / "sub-01/dwi/sub-01_dwi.bval"
    assert (scans["02"].combine, scans["02"].key) == ("single", "sub-02_rec-average_dwi")
    assert (scans["03"].stem, scans["03"].suffix, scans["03"].bval) == ("sub-03", "dwi", None)
    assert scans["03"].names == ("sub-03_dwi", "sub-03_dwi_moco_dwi_mean")
    assert "sub-02_rec-average_dwi.nii.gz is used" in reasons(dataset)["sub-02_dwi.nii.gz"]
    assert "b = 200" in reasons(dataset)["sub-02_acq-b0_dwi.nii.gz"]


def test_participants_with_or_without_prefix(tmp_path: Path) -> None:
    for label in ("01", "02", "010"):
        add_images(tmp_path, f"sub-{label}", "T2w")
    dataset = discover(tmp_path, Selection(participants=("sub-01", "02")))
    assert dataset.participants == ("01", "02")
    assert [scan.participant for scan in dataset.scans] == ["01", "02"]
    with pytest.raises(NothingSelected, match=r"no participant 1, 7; it has 01, 010, 02.*mounted"):
        discover(tmp_path, Selection(participants=("1", "02", "7")))


def test_contrasts_and_filters(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01", "T1w", "acq-full_T2w", "acq-crop_T2w", "acq-MTon_MTS")
    some = discover(tmp_path, Selection(contrasts=("t2W", "MTon")))
    assert sorted(contrasts(some).values()) == ["MTon", "T2w", "T2w"]
    assert "contrast T1w was not asked for" in reasons(some)["sub-01_T1w.nii.gz"]
    filtered = discover(tmp_path, Selection(filters={"t2w": {"acquisition": "full"}, "bold": {"task": "x"}}))
    assert sorted(contrasts(filtered)) == ["sub-01_T1w", "sub-01_acq-MTon_MTS", "sub-01_acq-full_T2w"]
    assert "does not match" in reasons(filtered)["sub-01_acq-crop_T2w.nii.gz"]
    with pytest.raises(NothingSelected) as caught:
        discover(tmp_path, Selection(contrasts=("T2starw",)))
    assert len(caught.value.left_out) == 4
    with pytest.raises(FilterError):
        discover(tmp_path, Selection(filters={"T3w": {}}))


def test_contrasts_tsv_overrides_and_includes(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01", "T1w", "flip-1_VFA", "acq-loc_T2w", "T2w", "mt-on_MTR")
    (tmp_path / "contrasts.tsv").write_text(
        "pattern\tcontrast\n*_VFA\tVFA1\n*acq-loc_*\tn/a\n*_T1w\tVIBE\n*_MTR\tT1w\n"
    )
    dataset = discover(tmp_path)
    assert contrasts(dataset) == {"sub-01_T1w": "VIBE", "sub-01_flip-1_VFA": "VFA1", "sub-01_T2w": "T2w"}
    assert "contrasts.tsv" in reasons(dataset)["sub-01_acq-loc_T2w.nii.gz"]
    assert "never segmented" in reasons(dataset)["sub-01_mt-on_MTR.nii.gz"]


def test_gradient_corrected_duplicate_is_used(tmp_path: Path) -> None:
    raw, corrected = {"ImageType": ["ND"]}, {"ImageType": ["DIS2D"]}
    add_image(tmp_path, "sub-01/anat/sub-01_rec-ND_T2w.nii.gz", **raw)
    add_image(tmp_path, "sub-01/anat/sub-01_rec-DIS2D_T2w.nii.gz", **corrected)
    # One acquisition by its time, a repeat by its time.
    add_image(tmp_path, "sub-01/anat/sub-01_run-1_T1w.nii.gz", AcquisitionTime="10:00", **raw)
    add_image(tmp_path, "sub-01/anat/sub-01_run-2_T1w.nii.gz", AcquisitionTime="10:00", **corrected)
    add_image(tmp_path, "sub-01/anat/sub-01_run-3_T1w.nii.gz", AcquisitionTime="11:00", **raw)
    dataset = discover(tmp_path)
    assert sorted(contrasts(dataset)) == ["sub-01_rec-DIS2D_T2w", "sub-01_run-2_T1w", "sub-01_run-3_T1w"]
    assert "sub-01_rec-DIS2D_T2w.nii.gz (2D) is used" in reasons(dataset)["sub-01_rec-ND_T2w.nii.gz"]
    assert {scan.gradient_correction for scan in dataset.scans} == {"2D", "none"}


def test_two_files_with_the_same_outputs(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01", "T2star", "T2starw")
    add_image(tmp_path, "sub-01/anat/sub-01_T2w.nii")
    add_image(tmp_path, "sub-01/anat/sub-01_T2w.nii.gz")
    dataset = discover(tmp_path)
    assert [scan.paths[0].name for scan in dataset.scans] == ["sub-01_T2star.nii.gz", "sub-01_T2w.nii.gz"]
    assert "same output names as sub-01_T2w.nii.gz" in reasons(dataset)["sub-01_T2w.nii"]


def test_labels_and_corrections(tmp_path: Path) -> None:
    root, fixed, given = tmp_path / "ds", tmp_path / "fixed", tmp_path / "given"
    add_images(root, "sub-01", "acq-full_T2w", "T1w")
    discs = add_image(root, "derivatives/labels/sub-01/anat/sub-01_acq-full_T2w_label-discs_dlabel.nii.gz")
    add_image(root, "derivatives/labels/sub-01/anat/sub-01_T1w_label-SC_seg.nii.gz")
    mask = add_image(fixed, "sub-01/anat/sub-01_acq-full_label-SC_desc-T2w_mask.nii.gz")
    other = add_image(given, "sub-01_T1w_labels-disc-manual.nii.gz")
    t1w, t2w = discover(root).scans[::-1]
    t1w, t2w = sorted((t1w, t2w), key=lambda scan: scan.contrast)
    assert (t2w.discs, t2w.corrected) == (discs, None)
    assert (t1w.discs, t1w.corrected) == (None, None)  # a mask in derivatives is never found by itself
    named = discover(root, Selection(derivatives={"corrected": fixed, "more": given}))
    t1w, t2w = sorted(named.scans, key=lambda scan: scan.contrast)
    assert (t2w.discs, t2w.corrected) == (discs, mask)
    assert (t1w.discs, t1w.corrected) == (other, None)
    with pytest.raises(DataError, match="does not exist"):
        discover(root, Selection(derivatives={"corrected": tmp_path / "none"}))


def test_malformed_json_does_not_end_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    add_images(tmp_path, "sub-01", "T2w", "T1w")
    (tmp_path / "dataset_description.json").write_text("{")
    bad = tmp_path / "sub-01/anat/sub-01_T2w.json"
    bad.write_text('{"FlipAngle": ')
    with caplog.at_level(logging.WARNING):
        dataset = discover(tmp_path)
    assert len(dataset.scans) == 2
    assert dataset.scans[1].metadata == {}
    assert str(bad) in caplog.text


def test_nothing_to_be_found(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match=r"no such folder.*mounted"):
        discover(tmp_path / "none")
    with pytest.raises(NoInput, match="no participants"):
        discover(tmp_path)
    (tmp_path / "sub-01/anat").mkdir(parents=True)
    with pytest.raises(NoInput, match="no image can be segmented"):
        discover(tmp_path)
    broken_link(tmp_path / "sub-01/anat/sub-01_T2w.nii.gz")
    with pytest.raises(NoInput, match="git annex get") as caught:
        discover(tmp_path, Selection(participants=("01",)))
    assert len(caught.value.left_out) == 1


def test_rows_of_participants_and_sessions(tmp_path: Path) -> None:
    add_image(tmp_path, "sub-01/ses-A/anat/sub-01_ses-A_T2w.nii.gz")
    (tmp_path / "participants.tsv").write_text("participant_id\tsite\tage\nsub-01\tX\t-\n")
    (tmp_path / "sub-01/sub-01_sessions.tsv").write_text("session_id\tdelay\nses-A\t3\n")
    dataset = discover(tmp_path)
    assert dataset.participant_row("01") == {"participant_id": "sub-01", "site": "X", "age": None}
    assert dataset.session_row("01", "A") == {"session_id": "ses-A", "delay": "3"}
    assert dataset.session_row("01", None) == {}
    assert dataset.participant_row("02") == {}
