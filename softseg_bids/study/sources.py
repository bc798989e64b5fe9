"""Whether results are of the images they are said to be of: by the digests of the images, not by names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.steps import digest
from softseg_bids.bids.dataset import Dataset
from softseg_bids.bids.derivatives import sidecar
from softseg_bids.bids.sidecars import read_json
from softseg_bids.study.ours import read_ours


def checksums(out: Path) -> dict[str, str]:
    """Digest of each image that results were made of, by its path in the dataset.

    Those without one (no mask, or a sidecar that does not say) are left out.
    """
    said = {image.source: sidecar(image.soft) for image in read_ours(out)}
    found = {source: read_json(path).get("SourceChecksum") for source, path in said.items() if path.is_file()}
    return {source: str(checksum) for source, checksum in found.items() if checksum}


def check_names(out: Path, chosen: frozenset[str], data: Path) -> None:
    """Refuse results of which no image is in the dataset.

    Parameters
    ----------
    out : Path
        Results.
    chosen : frozenset of str
        Images that count, by their path in the dataset.
    data : Path
        The dataset they are said to be of; images that are not fetched are in it, too.

    Raises
    ------
    Stop
        64.
    """
    if chosen and not any(os.path.lexists(data / source) for source in chosen):
        raise Stop(
            Exit.USAGE,
            f"{out}: none of its {len(chosen)} images is in {data}, for example {min(chosen)}; name the "
            "dataset it was made of, or the model instead of the folder",
        )


def check_dataset(out: Path, chosen: frozenset[str], dataset: Dataset) -> None:
    """Refuse results of another dataset, though its images have the same names.

    Parameters
    ----------
    out, chosen
        As of :func:`check_names`.
    dataset : Dataset
        What they are said to be of; images that are not fetched are no scans of it, and cannot be compared.

    Raises
    ------
    Stop
        64 if an image is another one.
    """
    said = checksums(out)
    there = {
        scan.relative: digest([*scan.paths, *([scan.bval] if scan.bval else [])])
        for scan in dataset.scans
        if scan.relative in chosen & said.keys()
    }
    check_same(out, said, dataset.root, there)


def check_same(one: Path, said: Mapping[str, str], other: Path, there: Mapping[str, str]) -> None:
    """Refuse to compare what two folders say of the same image, if it is not the same image.

    Parameters
    ----------
    one, other : Path
        Results, and results or the dataset.
    said, there : mapping of str to str
        Digests of their images, by path in the dataset; only those in both are compared.

    Raises
    ------
    Stop
        64, with the first image that is another one.
    """
    both = sorted(said.keys() & there.keys())
    changed = [source for source in both if said[source] != there[source]]
    if changed:
        first = changed[0]
        raise Stop(
            Exit.USAGE,
            f"{one}: {len(changed)} of {len(both)} images are not those of {other}, though of the same name, "
            f"for example {first} (SourceChecksum {said[first]}, there {there[first]}); name results of this "
            "very dataset, or the model instead of the folder, which is then run over it",
        )
