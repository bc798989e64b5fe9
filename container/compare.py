"""Whether a run in a container gave what a plain run gave.

Equal: the list of files, every table and sidecar, every voxel and grid. What a page or a log says
(dates, durations, folders) may differ, and so may the facts named in ``MAY_DIFFER``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

# Key of a JSON file to the reason why it may differ.
MAY_DIFFER = {
    "Container": "there is none outside",
    "SourceDatasets": "where the dataset is mounted",
    "DatasetLinks": "where the dataset is mounted",
}
ONLY_THERE = (".html", ".svg", ".png")  # written with folders, dates and fonts in them: not compared


def results(out: Path) -> list[str]:
    """Paths of all files in OUT, from OUT, sorted; without logs and what lies in dot-folders."""
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in files if not _private(path.parent.parts))


def differences(plain: Path, other: Path) -> list[str]:
    """What is not the same in two output folders, one line each; empty if they are equal.

    Raises
    ------
    ValueError
        If the plain run wrote no table: then nothing would be compared.
    """
    expected, found = results(plain), results(other)
    if not any(name.endswith("_morph.tsv") for name in expected):
        raise ValueError(f"{plain}: holds no tables to compare with")
    lines = [f"{name}: missing" for name in expected if name not in found]
    lines += [f"{name}: not written by the plain run" for name in found if name not in expected]
    for name in sorted(set(expected) & set(found)):
        lines += [f"{name}: {difference}" for difference in _differ(plain / name, other / name)]
    return lines


def _private(folders: tuple[str, ...]) -> bool:
    return folders[:1] == ("logs",) or any(folder.startswith(".") for folder in folders)


def _differ(one: Path, other: Path) -> Iterator[str]:
    if one.name.endswith(".nii.gz"):
        yield from _images_differ(one, other)
    elif one.suffix == ".json":
        if _facts(json.loads(one.read_text())) != _facts(json.loads(other.read_text())):
            yield "other facts"
    elif one.suffix in ONLY_THERE:
        if not other.stat().st_size:
            yield "empty"
    elif one.read_bytes() != other.read_bytes():
        yield "other content"


def _images_differ(one: Path, other: Path) -> Iterator[str]:
    images = nib.load(one), nib.load(other)
    if not np.array_equal(images[0].affine, images[1].affine):
        yield "another grid"
    arrays = [np.asanyarray(image.dataobj) for image in images]
    if arrays[0].shape != arrays[1].shape:
        yield f"shape {arrays[1].shape} instead of {arrays[0].shape}"
    elif count := np.count_nonzero(arrays[0] != arrays[1]):
        yield f"{count} voxels differ, by up to {np.abs(arrays[0].astype(float) - arrays[1]).max():.3g}"


def _facts(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _facts(value) for key, value in content.items() if key not in MAY_DIFFER}
    if isinstance(content, list):
        return [_facts(value) for value in content]
    return content


def foreign(out: Path, uid: int, gid: int) -> list[str]:
    """Everything in OUT, and OUT itself, that does not belong to this user and group."""
    paths = [out, *out.rglob("*")]
    return [
        f"{path.relative_to(out)}: owned by {status.st_uid}:{status.st_gid}"
        for path in paths
        if ((status := path.lstat()).st_uid, status.st_gid) != (uid, gid)
    ]
