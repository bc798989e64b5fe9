"""What was found in a dataset: scans, the files left out and why, and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from softseg_bids.bids.names import bare
from softseg_bids.bids.rows import Row, find_row
from softseg_bids.bids.sidecars import gradient_correction
from softseg_bids.image.volume import DataError

Combine = Literal["single", "echoes", "diffusion"]


@dataclass(frozen=True)
class Scan:
    """One image to be segmented.

    Attributes
    ----------
    participant, session : str, str or None
        Labels without ``sub-`` and ``ses-``.
    contrast : str
        The contrast key (``T2w``, ``MTon``, ``DWI``).
    acq, ce, rec, run : str or None
        Labels without prefix.
    suffix, datatype : str
        As in the dataset (``T2starw``, ``anat``).
    paths : tuple of Path
        The file, or the files of all echoes in the order of the echoes.
    combine : {"single", "echoes", "diffusion"}
        How the volumes become one image: there is one; root mean square over echoes (files, or
        the volumes of the one file); mean over the diffusion-weighted volumes of ``bval``.
    bval : Path or None
        The b-values of a diffusion series.
    relative : str
        POSIX path of ``paths[0]`` from the dataset's root.
    stem : str
        The entities as in the file name, ``sub-01_ses-A_acq-full``; without ``echo-`` where
        echoes are combined.
    entities : dict of str
        The stem's entities, short keys.
    metadata : dict
        Merged sidecars (of the first echo).
    discs, corrected : Path or None
        Disc labels, and a corrected cord mask, of this very image.
    landmarks : Path or None
        A label of its pontomedullary junction in a file of its own.
    """

    participant: str
    session: str | None
    contrast: str
    acq: str | None
    ce: str | None
    rec: str | None
    run: str | None
    suffix: str
    datatype: str
    paths: tuple[Path, ...]
    combine: Combine
    bval: Path | None
    relative: str
    stem: str
    entities: Mapping[str, str] = field(hash=False)
    metadata: Mapping[str, Any] = field(hash=False)
    discs: Path | None = None
    corrected: Path | None = None
    landmarks: Path | None = None

    @property
    def label_files(self) -> tuple[Path, ...]:
        """The files with its labels, the one that counts first."""
        return tuple(path for path in (self.discs, self.landmarks) if path is not None)

    @property
    def key(self) -> str:
        """Unique in a dataset: ``sub-01_acq-full_T2w``."""
        return f"{self.stem}_{self.suffix}"

    @property
    def folder(self) -> PurePosixPath:
        """The scan's folder in the dataset, ``sub-01/ses-A/anat``."""
        return PurePosixPath(self.relative).parent

    @property
    def names(self) -> tuple[str, ...]:
        """What label files may be named after: the key, then the first file's own name."""
        return tuple(dict.fromkeys((self.key, bare(self.paths[0]))))

    @property
    def gradient_correction(self) -> str:
        """``none``, ``2D``, ``3D`` or ``unknown``."""
        return gradient_correction(self.metadata, self.entities)


@dataclass(frozen=True)
class LeftOut:
    """A file that is not segmented, with a reason the user can read.

    ``path`` is the file (or a whole folder of another modality); ``participant`` and ``session``
    are labels without prefix. ``asked`` is false where only the user's selection leaves it out: what
    other runs made of it stands.
    """

    path: Path
    reason: str
    participant: str | None = None
    session: str | None = None
    asked: bool = True


@dataclass(frozen=True)
class Selection:
    """What the user asked for; empty means everything.

    Attributes
    ----------
    participants, sessions : tuple of str
        Labels, with or without ``sub-`` and ``ses-``.
    contrasts : tuple of str
        Contrast keys, in any case.
    filters : dict
        A parsed BIDS filter file: group (suffix or contrast) -> entity -> value(s).
    derivatives : dict
        Name -> folder. ``corrected`` holds corrected masks, all others disc labels.
    database_dir : Path or None
        Where the index is kept between runs.
    """

    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    contrasts: tuple[str, ...] = ()
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    derivatives: Mapping[str, Path] = field(default_factory=dict, hash=False)
    database_dir: Path | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset as this run sees it.

    Attributes
    ----------
    root : Path
    name : str
        From dataset_description.json, else the folder's name.
    scans : tuple of Scan
        In the order of their paths.
    left_out : tuple of LeftOut
        In the order of their paths.
    participants : tuple of str
        Those chosen, whether or not they have a scan.
    sessions : tuple of (participant, session or None)
        Those that have a scan.
    asked_sessions : tuple of str
        The labels that were asked for; empty means all.
    """

    root: Path
    name: str
    scans: tuple[Scan, ...]
    left_out: tuple[LeftOut, ...]
    participants: tuple[str, ...]
    sessions: tuple[tuple[str, str | None], ...]
    asked_sessions: tuple[str, ...] = ()

    def scans_of(self, participant: str, session: str | None) -> tuple[Scan, ...]:
        """The scans of one session."""
        return tuple(s for s in self.scans if (s.participant, s.session) == (participant, session))

    def participant_row(self, label: str) -> Row:
        """The row of participants.tsv (None where a value is missing), {} if there is none."""
        return find_row(self.root / "participants.tsv", "participant_id", label, "sub-")

    def session_row(self, label: str, session: str | None) -> Row:
        """The row of sub-XX_sessions.tsv, {} if there is none."""
        if session is None:
            return {}
        table = self.root / f"sub-{label}" / f"sub-{label}_sessions.tsv"
        return find_row(table, "session_id", session, "ses-")


class SelectionError(DataError):
    """Nothing can be done; what was looked at, and why each file was left out, is in ``left_out``."""

    def __init__(self, message: str, left_out: tuple[LeftOut, ...] = ()) -> None:
        super().__init__(message)
        self.left_out = left_out


class NoInput(SelectionError):
    """The dataset holds no image that could be segmented (exit code 66)."""


class NothingSelected(SelectionError):
    """The selection leaves nothing, or names a participant who is not there (exit code 18)."""
