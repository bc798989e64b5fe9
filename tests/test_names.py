from pathlib import Path

import pytest

from softseg_bids.bids.names import bare, parse_name


@pytest.mark.parametrize(
    ("file", "entities", "suffix", "stray"),
    [
        ("sub-01_ses-A_acq-full_T2w.nii.gz", {"sub": "01", "ses": "A", "acq": "full"}, "T2w", ()),
        ("sub-01_dwi_moco_dwi_mean.nii.gz", {"sub": "01"}, "mean", ("dwi", "moco", "dwi")),
        ("sub-01_acq-a_acq-b_T1w.nii", {"sub": "01", "acq": "a"}, "T1w", ("acq-b",)),
        ("sub-01_run-2.json", {"sub": "01", "run": "2"}, "", ()),
        ("T2w.json", {}, "T2w", ()),
    ],
)
def test_parts_of_a_name(file: str, entities: dict[str, str], suffix: str, stray: tuple[str, ...]) -> None:
    name = parse_name(Path("anywhere") / file)
    assert name.entities == entities
    assert name.suffix == suffix
    assert name.stray == stray
    assert name.text == bare(Path(file))


def test_stem_without_an_entity() -> None:
    assert parse_name(Path("sub-01_echo-2_run-1_MEGRE.nii.gz")).stem("echo") == "sub-01_run-1"
