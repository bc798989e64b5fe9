"""Which contrast an image is, from its name first and its sidecar second.

The contrast key names columns, rows and files everywhere downstream, so it is decided once, here.
Old spine-generic names (``acq-MTon_MTS``, ``T2star``) and today's give the same keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from softseg_bids.bids.names import Name
from softseg_bids.bids.rows import read_rows
from softseg_bids.image.volume import DataError

# Suffix -> contrast key, where the suffix alone decides.
BY_SUFFIX = {
    "T1w": "T1w", "T2w": "T2w", "PDw": "PDw", "FLAIR": "FLAIR", "T2starw": "T2starw", "T2star": "T2starw",
    "UNIT1": "UNIT1", "MEGRE": "MEGRE", "MESE": "MESE", "MP2RAGE": "MP2RAGE", "PSIR": "PSIR",
    "STIR": "STIR", "dwi": "DWI",
}  # fmt: skip
SUFFIXES = (*BY_SUFFIX, "MTS")
CONTRASTS = tuple(dict.fromkeys((*BY_SUFFIX.values(), "MTon", "MToff", "GRET1w")))

# Several echoes may be stacked in one file of these.
MULTI_ECHO = frozenset({"T2star", "T2starw", "MEGRE", "MESE"})

# Quantitative maps and other products of computation: no boundary to be measured on them.
MAPS = frozenset({
    "T1map", "T2map", "T2starmap", "R1map", "R2map", "R2starmap", "PDmap", "MTRmap", "MTsat", "T1rho",
    "MWFmap", "MTVmap", "PDT2map", "Chimap", "S0map", "M0map", "ADC", "FA", "colFA", "expADC", "trace",
})  # fmt: skip

# Between the 9 degrees (MT pair) and 15 degrees (T1w) of the spine-generic protocol.
T1W_FLIP_DEG = 12.0

_OLD_MTS = {"mton": "MTon", "mtoff": "MToff", "t1w": "GRET1w"}


class Override(NamedTuple):
    """One row of ``contrasts.tsv``: files that match ``pattern`` are ``contrast`` (None: leave out)."""

    pattern: str
    contrast: str | None


def read_overrides(root: Path) -> tuple[Override, ...]:
    """Rows of the dataset's own ``contrasts.tsv``, if it has one.

    Column ``file`` (path from the dataset's root, or bare file name) or ``pattern`` (the same
    with ``*`` and ``?``), and column ``contrast``: a key of letters and digits, or ``n/a`` to
    leave these files out. Extensions may be left off; the first matching row counts.

    Raises
    ------
    DataError
        If a column is missing, a row names no file, or a key is not alphanumeric.
    """
    path = root / "contrasts.tsv"
    overrides = []
    for number, row in enumerate(read_rows(path), start=2):
        pattern = row.get("file") or row.get("pattern")
        if pattern is None or "contrast" not in row:
            raise DataError(
                f"{path}: row {number} needs a file (or pattern) and a contrast; "
                "write columns `file` and `contrast`, separated by tabs"
            )
        contrast = row["contrast"]
        if contrast is not None and not re.fullmatch(r"[a-zA-Z0-9]+", contrast):
            raise DataError(f"{path}: row {number}: {contrast!r} is no contrast key; use letters and digits")
        overrides.append(Override(pattern, contrast))
    return tuple(overrides)


def override_of(relative: PurePosixPath, overrides: tuple[Override, ...]) -> Override | None:
    """The first override that names a file, by path or by name, with or without extension."""
    bare = relative.with_name(relative.name.split(".", 1)[0])
    forms = {str(relative), relative.name, str(bare), bare.name}
    for override in overrides:
        if any(fnmatchcase(form, override.pattern) for form in forms):
            return override
    return None


def reason_left_out(name: Name) -> str | None:
    """Why a file is no input by its name alone, or None if it may be one."""
    entities = name.entities
    if name.suffix == "MTR":
        return "MTR is a ratio map: listed, never segmented"
    if name.suffix in MAPS:
        return f"{name.suffix} is a quantitative map, not an image"
    if name.suffix == "sbref":
        return "a single-band reference is no diffusion-weighted image"
    if name.suffix == "defacemask" or entities.get("mod"):
        return "a defacing mask is no image"
    if "desc" in entities:
        return "a derivative (desc-) is no input"
    if entities.get("part") in ("phase", "real", "imag"):
        return f"part-{entities['part']}: only the magnitude is segmented"
    if name.suffix == "MP2RAGE" and entities.get("inv", "2") != "2":
        return f"inv-{entities['inv']} of an MP2RAGE: inv-2 shows the cord best and is used"
    return None


def contrast_key(name: Name, metadata: Mapping[str, Any]) -> str | None:
    """The contrast key of an image, or None if name and sidecar do not tell.

    Magnetisation transfer series split into ``MTon`` (mt-on), ``MToff`` (mt-off, first flip
    angle) and ``GRET1w`` (mt-off, a higher flip angle): by the ``mt-`` and ``flip-`` entities,
    else by the old ``acq-MTon``, ``acq-MToff``, ``acq-T1w``, else by MTState and FlipAngle.
    """
    if name.suffix != "MTS":
        return BY_SUFFIX.get(name.suffix)
    state = name.entities.get("mt")
    if state is None:
        old = next((key for word, key in _OLD_MTS.items() if _says(name.entities.get("acq", ""), word)), None)
        if old:
            return old
        state = _mt_state(metadata.get("MTState"))
    if state == "on":
        return "MTon"
    if state == "off":
        return "GRET1w" if _is_t1_weighted(name, metadata) else "MToff"
    return None


def _says(label: str, word: str) -> bool:
    return label.casefold().endswith(word) or label.casefold().startswith(word)


def _mt_state(value: object) -> str | None:
    """MTState is a boolean; converters have also written words for it."""
    words = {"true": "on", "on": "on", "1": "on", "false": "off", "off": "off", "0": "off"}
    return words.get(str(value).casefold())


def _is_t1_weighted(name: Name, metadata: Mapping[str, Any]) -> bool:
    flip = name.entities.get("flip")
    if flip is not None:
        return flip.isdigit() and int(flip) >= 2
    angle = metadata.get("FlipAngle")
    return isinstance(angle, int | float) and angle > T1W_FLIP_DEG
