"""What every file in OUT is called.

A name begins with the source's entities, so that it can be traced; ``desc`` carries the contrast
key, because the raw suffix may not stand in a derivative's name and T1w and T2w would collide.
"""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import NamedTuple

from softseg_bids.bids.dataset import Scan


class Product(NamedTuple):
    """One kind of file made of a scan.

    Attributes
    ----------
    entities : str
        What follows the source's entities, up to the contrast key; it ends in ``desc-``.
    variant : str
        What follows the contrast key in ``desc-``: letters and digits.
    suffix, extension : str
    description : str
        For the sidecar.
    kind : str or None
        BIDS mask type (``ROI``).
    """

    entities: str
    variant: str
    suffix: str
    extension: str
    description: str
    kind: str | None = None


PRODUCTS = {
    "probseg": Product(
        "label-SC_desc-", "", "probseg", ".nii.gz", "Fraction of each voxel that is spinal cord, 0 to 1"
    ),
    "mask": Product(
        "label-SC_desc-", "", "mask", ".nii.gz", "Voxels of which at least half is spinal cord", "ROI"
    ),
    "model": Product(
        "label-SC_desc-", "Model", "probseg", ".nii.gz",
        "Fraction of each voxel that is spinal cord as the model gave it, before the correction",
    ),
    "centreline": Product(
        "label-centerline_desc-", "", "mask", ".nii.gz", "Centreline of the cord, one voxel a slice", "ROI"
    ),
    "levels": Product(
        "seg-vertebrae_desc-", "", "dseg", ".nii.gz", "Vertebral level of each cord voxel: C1 = 1, T1 = 8"
    ),
    "discs": Product(
        "seg-discs_desc-", "", "dseg", ".nii.gz",
        "Posterior tips of the discs, one voxel each: value N lies above vertebra N (3 = C2-C3), 50 is the "
        "pontomedullary junction, 60 the conus",
    ),
    "truth": Product(
        "seg-softgt_label-SC_desc-", "", "probseg", ".nii.gz", "True cord fraction of each voxel, 0 to 1"
    ),
    "perslice": Product("label-SC_desc-", "Perslice", "morph", ".tsv", "Cord measures of every slice"),
    "perlevel": Product("label-SC_desc-", "Perlevel", "morph", ".tsv", "Cord measures of every region"),
}  # fmt: skip


def output(out: Path, scan: Scan, product: str) -> Path:
    """Where a product of a scan lies: ``sub-01/anat/sub-01_acq-full_label-SC_desc-T2w_probseg.nii.gz``."""
    made = PRODUCTS[product]
    return out / scan.folder / f"{_text(scan, made)}{made.extension}"


def mask_name(scan: Scan) -> str:
    """The binary mask's name without extension: also that under which a corrected copy is saved."""
    return _text(scan, PRODUCTS["mask"])


def figure(out: Path, scan: Scan, what: str, extension: str = ".png") -> Path:
    """A figure of a scan; ``what`` (letters and digits) tells several apart."""
    folder = out / f"sub-{scan.participant}" / "figures"
    return folder / f"{scan.stem}_desc-{scan.contrast}{what}_qc{extension}"


def session_table(out: Path, participant: str, session: str | None) -> Path:
    """The joined table of a session's scans, in its anat folder."""
    stem = session_stem(participant, session)
    return out.joinpath(*stem.split("_"), "anat", f"{stem}_label-SC_desc-session_morph.tsv")


def session_figure(
    out: Path, participant: str, session: str | None, what: str, extension: str = ".png"
) -> Path:
    """A figure of a whole session."""
    stem = session_stem(participant, session)
    return out / f"sub-{participant}" / "figures" / f"{stem}_desc-session{what}_qc{extension}"


def session_outputs(out: Path, participant: str, session: str | None, product: str) -> list[Path]:
    """What lies in OUT of one product of a session, whatever images it was made of."""
    made, stem = PRODUCTS[product], session_stem(participant, session)
    folder = out.joinpath(*stem.split("_"))
    return sorted(
        folder.glob(f"*/{escape(stem)}_*{made.entities}*{made.variant}_{made.suffix}{made.extension}")
    )


def session_figures(out: Path, participant: str, session: str | None, what: str) -> list[Path]:
    """The figures of this kind that lie in OUT of a session's scans, with their overlays."""
    stem = session_stem(participant, session)
    found = (out / f"sub-{participant}" / "figures").glob(f"{escape(stem)}_*desc-*{what}_qc*.png")
    # Sessions of one participant share the folder.
    return sorted(path for path in found if session or not path.name.startswith(f"{stem}_ses-"))


def session_stem(participant: str, session: str | None) -> str:
    """``sub-01`` or ``sub-01_ses-A``."""
    return f"sub-{participant}" if session is None else f"sub-{participant}_ses-{session}"


def subject_page(out: Path, participant: str) -> Path:
    """The participant's report page."""
    return out / f"sub-{participant}.html"


def _text(scan: Scan, made: Product) -> str:
    return f"{scan.stem}_{made.entities}{scan.contrast}{made.variant}_{made.suffix}"
