from dataclasses import replace
from pathlib import Path
from typing import Any

from softseg_bids.bids.choose import join_echoes, prefer_corrected, prefer_means, refuse_collisions
from softseg_bids.bids.dataset import Scan
from softseg_bids.bids.names import parse_name

ROOT = Path("/data")


def scan(file: str, contrast: str = "T2w", combine: str = "single", **metadata: Any) -> Scan:
    name = parse_name(Path(file))
    datatype = "dwi" if contrast == "DWI" else "anat"
    base = Scan(
        participant="01", session=None, contrast=contrast, acq=None, ce=None, rec=name.entities.get("rec"),
        run=None, suffix=name.suffix, datatype=datatype, paths=(ROOT / file,), combine="single", bval=None,
        relative=f"sub-01/{datatype}/{file}", stem=name.stem(), entities=name.entities, metadata=metadata,
    )  # fmt: skip
    return replace(base, combine=combine)  # type: ignore[arg-type]


def keys(scans: list[Scan]) -> list[str]:
    return [each.key for each in scans]


def test_echoes_of_different_acquisitions_stay_apart() -> None:
    names = ["run-1_echo-1", "run-2_echo-1", "run-1_echo-2"]
    joined = join_echoes([scan(f"sub-01_{name}_MEGRE.nii") for name in names])
    assert keys(joined) == ["sub-01_run-1_MEGRE", "sub-01_run-2_echo-1_MEGRE"]
    assert len(joined[0].paths) == 2
    assert "echo" not in joined[0].entities


def test_motion_corrected_series_is_preferred_to_the_raw_one() -> None:
    raw = scan("sub-01_dwi.nii", "DWI", "diffusion")
    moco = scan("sub-01_rec-moco_dwi.nii", "DWI", "diffusion")
    other = scan("sub-01_dir-PA_dwi.nii", "DWI", "diffusion")
    kept, left_out = prefer_means([raw, moco, other])
    assert keys(kept) == [moco.key, other.key]
    assert "motion-corrected series sub-01_rec-moco_dwi.nii" in left_out[0].reason


def test_other_contrasts_are_not_diffusion() -> None:
    scans = [scan("sub-01_T2w.nii"), scan("sub-01_rec-average_T2w.nii")]
    assert prefer_means(scans) == (scans, [])


def test_3d_correction_is_preferred_to_2d() -> None:
    two, three = scan("sub-01_rec-DIS2D_T2w.nii"), scan("sub-01_rec-DIS3D_T2w.nii")
    kept, left_out = prefer_corrected([two, three])
    assert keys(kept) == [three.key]
    assert left_out[0].path == two.paths[0]


def test_what_is_no_duplicate() -> None:
    apart = [
        scan("sub-01_acq-ax_T2w.nii", NonlinearGradientCorrection=False),
        scan("sub-01_acq-sag_T2w.nii", NonlinearGradientCorrection=True),
        scan("sub-01_rec-ND_T1w.nii", "T1w"),
    ]
    assert prefer_corrected(apart) == (apart, [])


def test_names_that_collide() -> None:
    kept, left_out = refuse_collisions([scan("sub-01_T2starw.nii"), scan("sub-01_T2star.nii.gz")])
    assert keys(kept) == ["sub-01_T2star"]
    assert "rename" in left_out[0].reason
