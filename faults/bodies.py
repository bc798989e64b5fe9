"""Tiny datasets of straight, tilted cords, and what a run on one of them should leave."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from faults.door import CORD

SHAPE = (20, 20, 26)
RADIUS_MM = 4.0
# With letters beyond ASCII: they must survive every locale.
NAME = "Rückenmark – drei Bilder"
IMAGES = ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz", "sub-02/anat/sub-02_T2w.nii.gz")
DISCS = {3: 21, 4: 13, 5: 4}  # value: slice


def cord_image(shape: tuple[int, int, int] = SHAPE, radius_mm: float = RADIUS_MM) -> NDArray[np.float32]:
    """A slightly tilted cord in voxels of 1 mm, its edge one wide; every type keeps its whole numbers."""
    x, y, z = np.meshgrid(*[np.arange(n) - 0.5 * (n - 1) for n in shape], indexing="ij")
    away = np.hypot(x - 0.08 * z, y + 0.05 * z)
    return np.rint(CORD * np.clip(radius_mm + 0.5 - away, 0, 1)).astype(np.float32)


def affine_of(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Voxels of 1 mm about the scanner's origin."""
    affine = np.eye(4)
    affine[:3, 3] = [-0.5 * (n - 1) for n in shape[:3]]
    return affine


def write_image(path: Path, array: NDArray[np.generic]) -> Path:
    """Write an image in scanner space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine_of(array.shape))
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    nib.save(image, path)
    return path


def write_dataset(root: Path, images: tuple[str, ...] = IMAGES) -> Path:
    """Write a dataset: images, participants, disc labels of one image."""
    root.mkdir(parents=True)
    described = {"Name": NAME, "BIDSVersion": "1.11.1", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(described), encoding="utf-8")
    rows = ["participant_id\tsex\tsite", "sub-01\tF\tZürich", "sub-02\tM\t東京"]
    (root / "participants.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for relative in images:
        write_image(root / relative, cord_image())
    labels = np.zeros(SHAPE, np.uint8)
    for value, z in DISCS.items():
        labels[SHAPE[0] // 2, SHAPE[1] // 2 + 7, z] = value
    labelled = Path(images[-1])
    name = labelled.name.replace(".nii.gz", "_label-discs_dlabel.nii.gz")
    write_image(root / "derivatives" / "labels" / labelled.with_name(name), labels)
    return root
