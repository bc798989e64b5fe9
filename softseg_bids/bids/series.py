"""How the volumes of one file become one image; what diffusion files are called."""

from __future__ import annotations

import re
from pathlib import Path

from softseg_bids.bids.contrasts import MULTI_ECHO
from softseg_bids.bids.dataset import Combine
from softseg_bids.bids.names import Name, bare
from softseg_bids.image.volume import DataError, check_file, count_volumes

# Volumes up to this b-value (s/mm^2) count as not diffusion-weighted.
B_MIN = 200.0

_MEAN_LABELS = frozenset({"average", "mean"})
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

    Headers are read only where nothing else tells how many volumes there are. A file that cannot
    be read stays: it fails when it is segmented, with its own message.
    """
    if contrast == "DWI":
        return _diffusion_combination(path, name, bval)
    if name.suffix in MULTI_ECHO and _has_volumes(path):
        return "echoes", None
    return "single", None


def _diffusion_combination(path: Path, name: Name, bval: Path | None) -> tuple[Combine, str | None]:
    labels = {name.entities.get("acq", "").casefold(), name.entities.get("rec", "").casefold(), *name.stray}
    # A mean inherits the b-values of its series, but they are not its own.
    if labels & _MEAN_LABELS or name.text.endswith("_mean"):
        return "single", None
    if bval is not None and (bare(bval) == name.text or _has_volumes(path)):
        bvals = _numbers(bval)
        combine: Combine = "diffusion" if len(bvals) > 1 else "single"
        weighted = any(value > B_MIN for value in bvals)
        return combine, None if weighted else f"holds no volume above b = {B_MIN:g}"
    if "b0" in labels:
        return "single", f"holds no volume above b = {B_MIN:g}"
    if bval is None and _has_volumes(path):
        return "diffusion", "has no .bval file: which volumes are diffusion-weighted is not known"
    return "single", None


def _has_volumes(path: Path) -> bool:
    try:
        return count_volumes(path) > 1
    except DataError:
        return False


def _numbers(path: Path) -> list[float]:
    try:
        check_file(path)
        text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, DataError):
        return []
    return [float(word) for word in re.findall(r"\d+(?:\.\d*)?(?:e[+-]?\d+)?", text, re.IGNORECASE)]
