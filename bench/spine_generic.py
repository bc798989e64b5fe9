"""A dataset of the size, shape and names of spine-generic's multi-subject one, with tiny images.

267 participants at 42 sites; T1w, T2w, T2star, three MTS and a diffusion series each, manual cord
masks and disc labels among the derivatives. The images are small cylinders of a bright cord: what is
measured on them is the app, not the network. Site names and people are invented.
"""

from __future__ import annotations

import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

PARTICIPANTS = 267
SITES = 42
CORD = 100.0  # brightness of a voxel that is all cord
RADIUS_MM = 4.5
SHAPE = (24, 24, 40)
B_VALUES = "0 800 800\n"
DISCS = {3: 14.0, 4: -1.0, 5: -15.0}  # value of the label -> height, mm
SCANNERS = (("Siemens", "Prisma"), ("Siemens", "Skyra"), ("GE", "Discovery MR750"), ("Philips", "Achieva"))

# What follows the participant in a file's name -> voxel size, mm.
ANATOMICAL = {
    "T1w": (1.0, 1.0, 1.0),
    "T2w": (1.0, 1.0, 1.0),
    "T2star": (1.0, 1.0, 4.0),
    "flip-1_mt-off_MTS": (1.0, 1.0, 4.0),
    "flip-1_mt-on_MTS": (1.0, 1.0, 4.0),
    "flip-2_mt-off_MTS": (1.0, 1.0, 4.0),
}


def labels(participants: int = PARTICIPANTS, sites: int = SITES) -> list[tuple[str, str]]:
    """Participant and site labels: the participants of a site are numbered from 01."""
    names = [f"{chr(97 + n % 26)}{'eiou'[n // 26]}site" for n in range(sites)]
    return [(f"{names[n % sites]}{n // sites + 1:02d}", names[n % sites]) for n in range(participants)]


def write_dataset(root: Path, participants: int = PARTICIPANTS, sites: int = SITES) -> int:
    """Write the dataset; return how many images can be segmented (seven a participant).

    Parameters
    ----------
    root : Path
        Made if it does not exist.
    participants, sites : int
        How many; the participants are spread over the sites.
    """
    people = sorted(labels(participants, sites))
    root.mkdir(parents=True, exist_ok=True)
    _write_json(root / "dataset_description.json", {"Name": "simulated", "BIDSVersion": "1.8.0"})
    labels_root = root / "derivatives" / "labels"
    labels_root.mkdir(parents=True)
    _write_json(
        labels_root / "dataset_description.json",
        {
            "Name": "labels",
            "BIDSVersion": "1.8.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "people"}],
        },
    )
    images = {name: cylinder(spacing) for name, spacing in ANATOMICAL.items()}
    files = {name: _compressed(array, ANATOMICAL[name]) for name, array in images.items()}
    masks = {
        n: _compressed((image > CORD / 2).astype(np.uint8), ANATOMICAL[n]) for n, image in images.items()
    }
    series = cylinder((1.0, 1.0, 4.0))
    diffusion = _compressed(np.stack([2 * series, series, series], axis=-1), (1.0, 1.0, 4.0))
    discs = _compressed(_discs(), (1.0, 1.0, 1.0))
    rng = random.Random(1)
    rows = ["participant_id\tsex\tage\tinstitution_id\tmanufacturer\tmanufacturers_model_name"]
    for number, (label, site) in enumerate(people):
        maker, model = SCANNERS[number % len(SCANNERS)]
        rows.append(f"sub-{label}\t{rng.choice('MF')}\t{rng.randint(20, 55)}\t{site}\t{maker}\t{model}")
        facts = {"Manufacturer": maker, "ManufacturersModelName": model, "InstitutionName": site}
        anat, dwi = (root / f"sub-{label}" / kind for kind in ("anat", "dwi"))
        below = labels_root / f"sub-{label}" / "anat"
        for folder in (anat, dwi, below):
            folder.mkdir(parents=True)
        for name, data in files.items():
            (anat / f"sub-{label}_{name}.nii.gz").write_bytes(data)
            (below / f"sub-{label}_{name}_label-SC_seg.nii.gz").write_bytes(masks[name])
            _write_json(anat / f"sub-{label}_{name}.json", facts | {"RepetitionTime": 0.04})
        (below / f"sub-{label}_T2w_label-discs_dlabel.nii.gz").write_bytes(discs)
        (dwi / f"sub-{label}_dwi.nii.gz").write_bytes(diffusion)
        (dwi / f"sub-{label}_dwi.bval").write_text(B_VALUES)
        (dwi / f"sub-{label}_dwi.bvec").write_text("0 1 0\n0 0 1\n0 0 0\n")
        _write_json(dwi / f"sub-{label}_dwi.json", facts | {"RepetitionTime": 0.6})
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    return len(people) * (len(files) + 1)


def cylinder(spacing: tuple[float, float, float]) -> NDArray[np.float32]:
    """An upright cylinder about the middle of the field of view, its edge as wide as a pixel."""
    shape = _shape(spacing)
    x, y = (np.arange(n) - 0.5 * (n - 1) for n in shape[:2])
    away = np.hypot(x[:, None] * spacing[0], y[None, :] * spacing[1])
    plane = np.clip(0.5 + (RADIUS_MM - away) / spacing[0], 0, 1)
    return np.repeat(CORD * plane[..., None], shape[2], axis=2).astype(np.float32)


def _shape(spacing: tuple[float, float, float]) -> tuple[int, int, int]:
    return SHAPE[0], SHAPE[1], round(SHAPE[2] / spacing[2])


def _discs() -> NDArray[np.uint8]:
    array = np.zeros(SHAPE, dtype=np.uint8)
    for value, height in DISCS.items():
        array[SHAPE[0] // 2, SHAPE[1] // 2, round(height + 0.5 * (SHAPE[2] - 1))] = value
    return array


def _compressed(array: NDArray[Any], spacing: tuple[float, float, float]) -> bytes:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -0.5 * (np.asarray(array.shape[:3]) - 1) * np.asarray(spacing)
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    plain = io.BytesIO(image.to_bytes())
    return gzip.compress(plain.getvalue(), compresslevel=6, mtime=0)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))
