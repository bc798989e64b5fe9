"""The MNI152 brain that nilearn's package ships: an image without any cord below the foramen magnum."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from softseg_bids.image.volume import Volume, read_volume

PLACE = Path("datasets", "data", "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")


def template() -> Volume | None:
    """The template, or None if nilearn is not installed; nilearn itself is not imported."""
    found = find_spec("nilearn")
    folders = found.submodule_search_locations if found else None
    path = Path(next(iter(folders))) / PLACE if folders else None
    return read_volume(path) if path and path.is_file() else None
