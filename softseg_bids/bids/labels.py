"""Disc labels and corrected masks that people or other tools have put beside a dataset.

They are matched to their source image by name: the source's file name followed by one of the
endings below, as the manual-correction scripts of the spine-generic project, SCT and
TotalSpineSeg write them.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from softseg_bids.bids.derivatives import NAME
from softseg_bids.bids.names import bare
from softseg_bids.bids.sidecars import read_json
from softseg_bids.image.volume import DataError

logger = logging.getLogger(__name__)

# Best first. What was warped from another contrast comes after what was labelled on the image.
DISC_ENDINGS = (
    "_label-discs_dlabel",
    "_label-disc_dlabel",
    "_labels-disc-manual",
    "_labels-discs-manual",
    "_labels-disc",
    "_label-discs_desc-*_dlabel",
    "_totalspineseg_discs",
    "_totalspineseg_levels",
    "_step1_levels",
    "_seg_labeled_discs",
    "_label-SC_seg_labeled_discs",
    "_seg_labeled",
    "_label-SC_seg_labeled",
)
# Files of the pontomedullary junction alone, beside those of the discs: by hand, then SCT's own.
LANDMARK_ENDINGS = (
    "_label-PMJ_dlabel",
    "_label-pmj_dlabel",
    "_labels-PMJ-manual",
    "_labels-pmj-manual",
    "_labels-pmj",
    "_pmj",
)
# TotalSpineSeg on its own writes files of the source's name into a folder of this one.
DISC_FOLDERS = ("step1_levels",)

CORRECTED_ENDINGS = (
    "_label-SC_mask",
    "_label-SC_seg",
    "_label-SC_probseg",
    "_label-SC_softseg",
    "_seg-manual",
    "_softseg",
    "_seg",
)

# Big, and never the home of a label.
_SKIPPED_FOLDERS = frozenset({"figures", "logs", "work", "sourcedata", "code"})
_ANYWHERE = PurePosixPath()


class LabelFiles:
    """The NIfTI files below some folders, by participant; listed once.

    Parameters
    ----------
    folders : iterable of Path
    participants : sequence of str
        Labels without prefix.
    own : bool
        As of :func:`images_below`.
    """

    def __init__(self, folders: Iterable[Path], participants: Sequence[str], own: bool = True) -> None:
        wanted = frozenset(participants)
        self._files: dict[str, dict[str, list[Path]]] = {label: defaultdict(list) for label in participants}
        for folder in folders:
            for path in images_below(folder, wanted, own):
                self._files[_participant(path.name)][bare(path)].append(path)

    def discs(self, participant: str, names: Sequence[str]) -> Path | None:
        """The disc labels of the image known by ``names`` (without extensions), or None.

        Folders are preferred in the order they were given, then endings in the order of
        :data:`DISC_ENDINGS`. A broken annex link is passed over with a warning.
        """
        endings = [name + ending for ending in DISC_ENDINGS for name in names]
        found = self._first(participant, endings)
        if found is None:
            files = self._files[participant]
            same_name = [path for name in dict.fromkeys(names) for path in files.get(name, ())]
            found = _present(path for path in same_name if path.parent.name in DISC_FOLDERS)
        return found

    def landmarks(self, participant: str, names: Sequence[str]) -> Path | None:
        """The label of the pontomedullary junction of the image known by ``names``, or None; best first."""
        return self._first(participant, [name + ending for ending in LANDMARK_ENDINGS for name in names])

    def corrected(
        self, participant: str, names: Sequence[str], own_name: str, folder: PurePosixPath
    ) -> Path | None:
        """The corrected cord mask of an image, or None.

        Parameters
        ----------
        participant : str
            Label without prefix.
        names : sequence of str
            The image's name without extensions, best first.
        own_name : str
            What this app calls its binary mask of the image (without extensions): the name
            under which people save a corrected copy. It comes first.
        folder : PurePosixPath
            The image's folder in the dataset; a file at the same place below the corrections
            is preferred to one elsewhere.
        """
        wanted = [own_name, *(name + ending for ending in CORRECTED_ENDINGS for name in names)]
        return self._first(participant, wanted, folder) or self._first(participant, wanted)

    def _first(
        self, participant: str, patterns: Sequence[str], folder: PurePosixPath = _ANYWHERE
    ) -> Path | None:
        files = self._files[participant]
        for pattern in patterns:
            same_name = [path for name in _matching(pattern, files) for path in files[name]]
            found = _present(path for path in same_name if _ends_with(path.parent, folder))
            if found is not None:
                return found
        return None


def checked_folder(name: str, path: Path) -> Path:
    """A folder the user named by ``--derivatives``.

    Raises
    ------
    DataError
        If it does not exist.
    """
    if not path.is_dir():
        raise DataError(f"{path}: the derivatives folder {name!r} does not exist; correct it, or mount it")
    return path


def images_below(folder: Path, participants: frozenset[str], own: bool = True) -> list[Path]:
    """The NIfTI files of some participants (labels without prefix) below a folder, sorted.

    Parameters
    ----------
    own : bool
        Whether to enter what this app wrote. The folder itself is always entered, it was named; a
        dataset below it that is left out is told.
    """
    found = []
    for where, folders, files in os.walk(folder):
        if not own and Path(where) != folder and _is_own(Path(where)):
            logger.warning("%s: was made by %s itself; name this very folder to use its masks", where, NAME)
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if _is_entered(name, participants))
        found += [
            Path(where, name)
            for name in sorted(files)
            if name.endswith((".nii.gz", ".nii")) and _participant(name) in participants
        ]
    return found


def _is_own(folder: Path) -> bool:
    """Whether a folder is a dataset that this app made."""
    path = folder / "dataset_description.json"
    if not path.is_file():
        return False
    generators = read_json(path).get("GeneratedBy")
    return isinstance(generators, list) and any(
        isinstance(one, dict) and one.get("Name") == NAME for one in generators
    )


def _is_entered(folder: str, participants: frozenset[str]) -> bool:
    if folder.startswith(".") or folder in _SKIPPED_FOLDERS:
        return False
    return not folder.startswith("sub-") or folder.removeprefix("sub-") in participants


def _participant(name: str) -> str:
    return name.removeprefix("sub-").split("_", 1)[0].split(".", 1)[0] if name.startswith("sub-") else ""


def _matching(pattern: str, names: Collection[str]) -> list[str]:
    """The names that a pattern with at most one ``*`` describes.

    Not by fnmatch: to compile a pattern for every image and ending took longer than all the rest
    of discovery.
    """
    head, star, tail = pattern.partition("*")
    if not star:
        return [pattern] if pattern in names else []
    shortest = len(head) + len(tail)
    return [name for name in names if len(name) >= shortest and name.startswith(head) and name.endswith(tail)]


def _ends_with(folder: Path, relative: PurePosixPath) -> bool:
    count = len(relative.parts)
    return count == 0 or folder.parts[-count:] == relative.parts


def _present(paths: Iterable[Path]) -> Path | None:
    for path in paths:
        if path.exists():
            return path
        logger.warning("%s: is not downloaded (run `git annex get` on it); it is not used", path)
    return None
