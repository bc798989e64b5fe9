"""Tiny BIDS datasets for the tests: real NIfTI files of a few voxels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np


def add_image(root: Path, relative: str, volumes: int = 1, **metadata: Any) -> Path:
    """Write an image (and, given metadata, its sidecar) below ``root``."""
    path = root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (4, 4, 4) if volumes == 1 else (4, 4, 4, volumes)
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    if metadata:
        path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(metadata))
    return path


def add_images(root: Path, participant: str, *names: str) -> None:
    """Write images of one participant, each named by what follows the participant: ``acq-full_T2w``."""
    for name in names:
        datatype = "dwi" if name.endswith(("dwi", "sbref", "mean")) else "anat"
        add_image(root, f"{participant}/{datatype}/{participant}_{name}.nii.gz")


def broken_link(path: Path) -> Path:
    """A link into a git annex whose content is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("../../.git/annex/objects/none")
    return path
