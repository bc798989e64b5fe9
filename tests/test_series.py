from pathlib import Path

import pytest
from bids_phantoms import add_image

from softseg_bids.bids.names import parse_name
from softseg_bids.bids.series import as_diffusion, combination, is_diffusion_product


def combined(path: Path, contrast: str, bvals: str | None = None) -> tuple[str, str | None]:
    bval = None
    if bvals is not None:
        bval = path.with_suffix(".bval")
        bval.write_text(bvals)
    return combination(path, as_diffusion(parse_name(path)), contrast, bval)


def test_echoes_stacked_in_one_file(tmp_path: Path) -> None:
    assert combined(add_image(tmp_path, "sub-01_T2star.nii.gz", volumes=3), "T2starw") == ("echoes", None)
    assert combined(add_image(tmp_path, "sub-02_T2star.nii.gz"), "T2starw") == ("single", None)


def test_unreadable_file_stays_and_fails_later(tmp_path: Path) -> None:
    path = tmp_path / "sub-01_T2star.nii.gz"
    path.write_bytes(b"damaged")
    assert combined(path, "T2starw") == ("single", None)


def test_header_is_not_read_where_the_contrast_has_one_volume(tmp_path: Path) -> None:
    assert combined(tmp_path / "sub-01_T1w.nii.gz", "T1w") == ("single", None)


@pytest.mark.parametrize(
    ("bvals", "combine", "left_out"),
    [
        ("0 800 800\n", "diffusion", False),
        ("0\n5\n1e3", "diffusion", False),
        ("0 0 200", "diffusion", True),
        ("1000", "single", False),
        ("", "single", True),
    ],
)
def test_diffusion_by_its_b_values(tmp_path: Path, bvals: str, combine: str, left_out: bool) -> None:
    found = combined(tmp_path / "sub-01_dwi.nii.gz", "DWI", bvals)
    assert found[0] == combine
    assert (found[1] is not None) == left_out


def test_diffusion_without_b_values(tmp_path: Path) -> None:
    assert combined(add_image(tmp_path, "sub-01_dwi.nii.gz"), "DWI") == ("single", None)
    assert combined(tmp_path / "sub-01_rec-average_dwi.nii.gz", "DWI") == ("single", None)
    combine, reason = combined(add_image(tmp_path, "sub-02_dwi.nii.gz", volumes=2), "DWI")
    assert combine == "diffusion"
    assert reason is not None
    assert ".bval" in reason
    assert combined(tmp_path / "sub-01_acq-b0_dwi.nii.gz", "DWI")[1] is not None


@pytest.mark.parametrize(
    ("name", "is_product"),
    [
        ("dwi_moco_dwi_mean", True),
        ("dwi_moco", True),
        ("dwi_mean", True),
        ("dwi_moco_b0_mean", False),
        ("T2w_mean", False),
        ("T2w", False),
    ],
)
def test_old_names_of_diffusion_products(name: str, is_product: bool) -> None:
    parsed = parse_name(Path(f"sub-01_{name}.nii.gz"))
    assert is_diffusion_product(parsed) == is_product
    assert (as_diffusion(parsed).suffix == "dwi") == is_product
