"""How the volumes of one file become one image; what diffusion files are called."""

from __future__ import annotations

import re
from pathlib import Path

from softseg_bids.bids.contrasts import MULTI_ECHO
from softseg_bids.bids.dataset import Combine
from softseg_bids.bids.names import Name
from softseg_bids.image.volume import DataError, count_volumes

# Volumes up to this b-value (s/mm^2) count as not diffusion-weighted.
B_MIN = 200.0

_PRODUCT_WORDS = frozenset({"dwi", "moco", "mean", "crop", "concat"})


def is_diffusion_product(name: Name) -> bool:
    """Whether a name is an old one of a motion-corrected series or mean, ``sub-01_dwi_moco_dwi_mean``."""
    parts = (*name.stray, name.suffix)
    return "dwi" in parts and set(parts) <= _PRODUCT_WORDS


def as_diffusion(name: Name) -> Name:
    """The name with the suffix ``dwi`` if it is an old one of a diffusion product."""
    return name._replace(suffix="dwi") if is_diffusion_product(name) else name


def combination(path: Path, name: Name, contrast: str, bval: Path | None) -> tuple[Combine, str | None]:
    """How a file's volumes become one image, and why they cannot (None if they can).

    Headers are read only where several volumes are to be expected. A file that cannot be read
    stays: it fails when it is segmented, with its own message.
    """
    if contrast != "DWI" and name.suffix not in MULTI_ECHO:
        return "single", None
    try:
        several = count_volumes(path) > 1
    except DataError:
        several = bval is not None
    if contrast != "DWI":
        return ("echoes" if several else "single"), None
    combine: Combine = "diffusion" if several else "single"
    if several and bval is None:
        return combine, "has no .bval file: which volumes are diffusion-weighted is not known"
    if _is_unweighted(name, bval):
        return combine, f"holds no volume above b = {B_MIN:g}"
    return combine, None


def _is_unweighted(name: Name, bval: Path | None) -> bool:
    if bval is None:
        return "b0" in (name.entities.get("acq", "").casefold(), name.entities.get("rec", "").casefold())
    values = re.findall(r"\d+(?:\.\d*)?(?:e[+-]?\d+)?", bval.read_text(errors="replace"), re.IGNORECASE)
    return not any(float(value) > B_MIN for value in values)
