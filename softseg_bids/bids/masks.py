"""Cord masks that other tools, people or models left, matched to images by their names.

Two ways of naming are understood: the image's own name followed by whatever the tool appends
(``sub-01_T2w_seg``, ``sub-01_T1w_RPI_r_seg``, ``sub-01_T2w`` itself), and that of BIDS derivatives, where
``desc`` carries the contrast (``sub-01_label-SC_desc-T2w_probseg``). What is named after other tissue or
landmarks is no cord mask.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from softseg_bids.bids.labels import images_below
from softseg_bids.bids.names import bare, parse_name

# In what follows the image's name: no cord mask.
OTHER_TISSUE = re.compile(
    r"gm|wm|csf|canal|lesion|rootlet|cent(er|re)line|ctl|disc|dlabel|level|label(led|ed|s)|vertebra|dseg|pmj|"
    r"warp|template|pam50|crop|model|defac",
    re.IGNORECASE,
)
SOFT = re.compile(r"probseg|soft", re.IGNORECASE)
# Entities that derivatives add to those of their source.
ADDED = ("label", "desc", "seg", "space", "res", "den")
# A derivative's suffixes of masks.
MASK_SUFFIXES = ("probseg", "mask", "seg", "softseg")


class Known(NamedTuple):
    """An image that masks may be named after.

    Attributes
    ----------
    key : str
        What the image is called in results; the names below need not be unique.
    participant : str
        Label without prefix.
    names : tuple of str
        File names without extensions.
    stem : str
        Its entities as in a file name.
    contrast : str
        Contrast key.
    """

    key: str
    participant: str
    names: tuple[str, ...]
    stem: str
    contrast: str


def masks_of(folder: Path, images: Sequence[Known]) -> dict[str, list[Path]]:
    """The masks of each image below a folder, best first: soft before binary, short names before long ones.

    Parameters
    ----------
    folder : Path
    images : sequence of Known

    Returns
    -------
    dict of str to list of Path
        By key; images without a mask are not in it.
    """
    found: dict[str, list[Path]] = {}
    for path in images_below(folder, frozenset(image.participant for image in images)):
        image = owner_of(bare(path), images)
        if image is not None:
            found.setdefault(image.key, []).append(path)
    for paths in found.values():
        paths.sort(key=lambda path: (SOFT.search(bare(path)) is None, len(path.name), str(path)))
    return found


def owner_of(name: str, images: Iterable[Known]) -> Known | None:
    """The image that a mask of this name (without extensions) is of, or None.

    Of several images whose names it begins with, the one of the longest name.
    """
    entities = parse_name(Path(name))
    stem = entities.stem(*ADDED)
    begun: list[tuple[int, Known]] = []
    for image in images:
        if (
            entities.entities.get("desc") == image.contrast
            and stem == image.stem
            and entities.suffix in MASK_SUFFIXES
            and entities.entities.get("label", "SC") in ("SC", "cord")
        ):
            return image
        begun += [
            (len(own), image)
            for own in image.names
            if (name == own or name.startswith(f"{own}_")) and not OTHER_TISSUE.search(name[len(own) :])
        ]
    return max(begun, key=lambda pair: pair[0])[1] if begun else None
