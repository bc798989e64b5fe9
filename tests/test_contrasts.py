from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from softseg_bids.bids.contrasts import contrast_key, override_of, read_overrides, reason_left_out
from softseg_bids.bids.names import parse_name
from softseg_bids.image.volume import DataError


@pytest.mark.parametrize(
    ("name", "metadata", "key"),
    [
        ("acq-full_T2w", {}, "T2w"),
        ("T2star", {}, "T2starw"),
        ("T2starw", {}, "T2starw"),
        ("inv-2_MP2RAGE", {}, "MP2RAGE"),
        ("dwi", {}, "DWI"),
        ("flip-1_mt-on_MTS", {}, "MTon"),
        ("flip-1_mt-off_MTS", {}, "MToff"),
        ("flip-2_mt-off_MTS", {}, "GRET1w"),
        ("flip-3_mt-off_MTS", {}, "GRET1w"),
        ("mt-off_MTS", {"FlipAngle": 15}, "GRET1w"),
        ("mt-off_MTS", {"FlipAngle": 9}, "MToff"),
        ("flip-1_mt-off_MTS", {"FlipAngle": 15}, "MToff"),
        ("acq-MTon_MTS", {}, "MTon"),
        ("acq-MToff_MTS", {"MTState": True}, "MToff"),
        ("acq-T1w_MTS", {"MTState": False}, "GRET1w"),
        ("acq-axMTon_MTS", {}, "MTon"),
        ("MTS", {"MTState": True}, "MTon"),
        ("MTS", {"MTState": "Off", "FlipAngle": 15.0}, "GRET1w"),
        ("MTS", {}, None),
        ("VFA", {}, None),
    ],
)
def test_contrast_key(name: str, metadata: dict[str, Any], key: str | None) -> None:
    assert contrast_key(parse_name(Path(f"sub-01_{name}.nii.gz")), metadata) == key


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("mt-on_MTR", "never segmented"),
        ("T1map", "quantitative map"),
        ("sbref", "single-band"),
        ("defacemask", "defacing"),
        ("mod-T1w_defacemask", "defacing"),
        ("desc-preproc_T2w", "derivative"),
        ("part-phase_T2starw", "magnitude"),
        ("inv-1_MP2RAGE", "inv-2"),
    ],
)
def test_reason_left_out(name: str, word: str) -> None:
    reason = reason_left_out(parse_name(Path(f"sub-01_{name}.nii.gz")))
    assert reason is not None
    assert word in reason


@pytest.mark.parametrize("name", ["T2w", "part-mag_T2starw", "inv-2_MP2RAGE", "acq-full_run-1_T1w"])
def test_images_stay(name: str) -> None:
    assert reason_left_out(parse_name(Path(f"sub-01_{name}.nii.gz"))) is None


def test_overrides_by_path_name_and_pattern(tmp_path: Path) -> None:
    (tmp_path / "contrasts.tsv").write_text(
        "file\tpattern\tcontrast\n"
        "sub-01_acq-x_T2w\tn/a\tSTIR\n"
        "n/a\tsub-*/anat/*_acq-loc_T1w.nii.gz\tn/a\n"
        "n/a\t*_T1w\tVIBE\n"
    )
    overrides = read_overrides(tmp_path)

    def key(relative: str) -> tuple[str | None] | None:
        found = override_of(PurePosixPath(relative), overrides)
        return None if found is None else (found.contrast,)

    assert key("sub-01/anat/sub-01_acq-x_T2w.nii.gz") == ("STIR",)
    assert key("sub-02/anat/sub-02_acq-loc_T1w.nii.gz") == (None,)
    assert key("sub-02/anat/sub-02_T1w.nii.gz") == ("VIBE",)
    assert key("sub-02/anat/sub-02_T2w.nii.gz") is None
    assert read_overrides(tmp_path / "elsewhere") == ()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("file\nsub-01_T2w\n", "contrast"),
        ("name\tcontrast\na\tT2w\n", "file"),
        ("file\tcontrast\na\tT2-w\n", "T2-w"),
    ],
)
def test_contrasts_tsv_that_cannot_be_used(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "contrasts.tsv").write_text(text)
    with pytest.raises(DataError, match=word) as caught:
        read_overrides(tmp_path)
    assert "contrasts.tsv" in str(caught.value)
