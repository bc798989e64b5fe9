"""The packaged checkpoint: where it is and what it is, without importing torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from softseg_bids.image.volume import DataError

DEFAULT = Path(__file__).with_name("default.pt")
# Files that make up a release in a folder; training logs and pictures beside them do not count.
IN_FOLDERS = ("plans.json", "dataset.json", "checkpoint_*.pth", "*.ckpt")


def digest(path: Path = DEFAULT) -> str:
    """First 12 hexadecimal digits of the checkpoint's SHA-256: the model's name in every output.

    Of a folder (a release of others), that of its plans, labels and weights, one after the other.
    """
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    total = hashlib.sha256()
    for part in sorted(found for kind in IN_FOLDERS for found in path.rglob(kind)):
        total.update(part.relative_to(path).as_posix().encode())
        with part.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:12]


def area_uncertainty(path: Path = DEFAULT) -> list[float] | None:
    """Coefficients of :class:`softseg_bids.core.uncertainty.AreaUncertainty`, fitted for a checkpoint.

    They stand beside it in a JSON file of its name; without one, or if it has none, None.

    Raises
    ------
    DataError
        If that file cannot be read or holds no three numbers.
    """
    facts = path.with_suffix(".json")
    if not facts.is_file():
        return None
    try:
        found = json.loads(facts.read_text(encoding="utf-8")).get("AreaUncertainty")
        if found is None:
            return None
        area, edge, floor_mm2 = (float(value) for value in found)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{facts}: no usable AreaUncertainty ({error}); it must be three numbers, or be left out"
        ) from error
    return [area, edge, floor_mm2]
