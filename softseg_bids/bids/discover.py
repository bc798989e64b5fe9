"""From a dataset's root to the scans that will be segmented, and a reason for every other file.

The walk: list the participants, index their images, drop what a name alone rules out, apply the
user's selection, drop what is not there, then settle what several files of one acquisition mean.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from softseg_bids.bids.choose import join_echoes, prefer_corrected, prefer_means, refuse_collisions
from softseg_bids.bids.contrasts import SUFFIXES, contrast_key, override_of, read_overrides, reason_left_out
from softseg_bids.bids.dataset import Dataset, LeftOut, NoInput, NothingSelected, Scan, Selection
from softseg_bids.bids.derivatives import mask_name
from softseg_bids.bids.filters import FilterError, check_filters, groups_of, read_filters
from softseg_bids.bids.index import EXTENSIONS, Index
from softseg_bids.bids.labels import LabelFiles, checked_folder
from softseg_bids.bids.names import Name, is_label, parse_name
from softseg_bids.bids.series import as_diffusion, combination, is_diffusion_product
from softseg_bids.bids.sidecars import Sidecars, read_json
from softseg_bids.image.volume import DataError

__all__ = [
    "Dataset",
    "FilterError",
    "LeftOut",
    "NoInput",
    "NothingSelected",
    "Scan",
    "Selection",
    "discover",
    "read_filters",
]

DATATYPES = ("anat", "dwi")
CORRECTED = "corrected"
_MOUNT_HINT = "in a container, is the dataset mounted (docker -v, singularity -B)?"


def discover(root: Path, selection: Selection | None = None) -> Dataset:
    """Find the scans of a dataset.

    Parameters
    ----------
    root : Path
        A BIDS dataset; need not be valid, nor have a dataset_description.json.
    selection : Selection, optional
        By default everything.

    Raises
    ------
    NoInput
        If the folder does not exist, has no participants, or none of its images can be used.
    NothingSelected
        If a participant is unknown, or the selection leaves no image.
    FilterError
        If the filters name unknown groups or entities.
    DataError
        If contrasts.tsv, a derivatives folder or the kept index cannot be used.
    """
    selection = Selection() if selection is None else selection
    root = root.absolute()
    check_filters(selection.filters)
    everyone = _participants(root)
    chosen = _chosen_participants(root, everyone, selection)
    walk = _Walk(root, selection, Index(root, chosen, everyone, selection.database_dir))
    scans, left_out = walk.scans()
    left_out += [] if selection.participants else _strangers(root)
    known = {*(path for scan in scans for path in scan.paths), *(entry.path for entry in left_out)}
    for label in chosen:
        left_out += _other_modalities(root, label)
        left_out += [entry for entry in _not_indexed(root, label) if entry.path not in known]
    for settle in (prefer_means, prefer_corrected, refuse_collisions):
        scans, more = settle(scans)
        left_out += more
    ledger = tuple(sorted(left_out, key=lambda entry: str(entry.path)))
    if not scans:
        raise _nothing(root, selection, ledger, walk.not_asked)
    scans = _with_labels(root, selection, chosen, sorted(scans, key=lambda scan: scan.relative))
    sessions = dict.fromkeys((scan.participant, scan.session) for scan in scans)
    asked = tuple(label.removeprefix("ses-") for label in selection.sessions)
    return Dataset(root, _name(root), tuple(scans), ledger, chosen, tuple(sessions), asked)


class _Walk:
    """One walk over a dataset's images."""

    def __init__(self, root: Path, selection: Selection, index: Index) -> None:
        self.not_asked = 0
        self._root = root
        self._index = index
        self._filters = selection.filters
        self._matching = {group: index.matching(query) for group, query in selection.filters.items()}
        self._sessions = {label.removeprefix("ses-") for label in selection.sessions}
        self._contrasts = {key.casefold() for key in selection.contrasts}
        self._overrides = read_overrides(root)
        self._sidecars = Sidecars(root)
        self._incomplete: set[tuple[PurePosixPath, str, str]] = set()

    def scans(self) -> tuple[list[Scan], list[LeftOut]]:
        """Every image as a scan (echoes of one acquisition as one), or left out with the reason."""
        found = [self._classified(path) for path in self._index.images()]
        left_out = [entry for entry in found if isinstance(entry, LeftOut)]
        scans = [entry for entry in found if isinstance(entry, Scan)]
        complete = []
        for scan in scans:
            name = parse_name(scan.paths[0])
            if (scan.folder, name.stem("echo"), name.suffix) in self._incomplete:
                # Fewer echoes combined are another contrast.
                reason = "another echo of this acquisition is not downloaded (`git annex get`)"
                left_out.append(LeftOut(scan.paths[0], reason, scan.participant, scan.session))
            else:
                complete.append(scan)
        return join_echoes(complete), left_out

    def _classified(self, path: Path) -> Scan | LeftOut:
        relative = PurePosixPath(path.relative_to(self._root).as_posix())
        name = as_diffusion(parse_name(path))
        participant, session = _owner(relative)
        out = LeftOut(path, "", participant, session)
        if reason := _misplaced(name, relative, participant, session) or reason_left_out(name):
            return replace(out, reason=reason)
        metadata = self._sidecars.metadata(path.parent, name)
        override = override_of(relative, self._overrides)
        contrast = override.contrast if override else contrast_key(name, metadata)
        if contrast is None:
            return replace(out, reason="contrasts.tsv leaves it out" if override else _unknown(name))
        if reason := self._not_asked_for(path, name, session, contrast):
            self.not_asked += 1
            return replace(out, reason=reason, asked=False)
        if not path.exists():
            if "echo" in name.entities:
                self._incomplete.add((relative.parent, name.stem("echo"), name.suffix))
            return replace(out, reason="is not downloaded: run `git annex get` on it")
        bval = self._sidecars.nearest(path.parent, name, ".bval") if contrast == "DWI" else None
        combine, reason = combination(path, name, contrast, bval)
        if reason:
            return replace(out, reason=reason)
        return Scan(
            participant=participant,
            session=session,
            contrast=contrast,
            acq=name.entities.get("acq"),
            ce=name.entities.get("ce"),
            rec=name.entities.get("rec"),
            run=name.entities.get("run"),
            suffix=name.suffix,
            datatype=relative.parent.name,
            paths=(path,),
            combine=combine,
            bval=bval if combine == "diffusion" else None,
            relative=str(relative),
            stem=name.stem(),
            entities=name.entities,
            metadata=metadata,
        )

    def _not_asked_for(self, path: Path, name: Name, session: str | None, contrast: str) -> str | None:
        if self._sessions and session not in self._sessions:
            return f"session {session or 'none'} was not asked for"
        if self._contrasts and contrast.casefold() not in self._contrasts:
            return f"contrast {contrast} was not asked for"
        for group in groups_of(name.suffix, contrast, self._filters):
            if path not in self._matching[group]:
                return f"the filter {group} {dict(self._filters[group])} does not match"
        return None


def _participants(root: Path) -> tuple[str, ...]:
    """Labels of the participants' folders, sorted."""
    if not root.is_dir():
        raise NoInput(f"{root}: there is no such folder; {_MOUNT_HINT}")
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if entry.name.startswith("sub-") and entry.is_dir())
    names = [name for name in names if is_label(name.removeprefix("sub-"))]
    if not names:
        raise NoInput(f"{root}: holds no participants (folders sub-*); {_MOUNT_HINT}")
    return tuple(name.removeprefix("sub-") for name in names)


def _strangers(root: Path) -> list[LeftOut]:
    """One entry for each folder that looks like a participant's but cannot be one."""
    reason = "is no participant's folder: after sub- come letters and digits only"
    folders = [path for path in root.glob("sub-*/") if not is_label(path.name.removeprefix("sub-"))]
    return [LeftOut(path, reason, None, None) for path in sorted(folders)]


def _not_indexed(root: Path, participant: str) -> list[LeftOut]:
    """What has the name of an image, and no index holds: names that are no text, and what is no file."""
    home = root / f"sub-{participant}"
    paths = [path for pattern in ("*/*", "ses-*/*/*") for path in home.glob(pattern)]
    reasons = {path: _unindexable(path) for path in paths if path.name.lower().endswith(EXTENSIONS)}
    return [LeftOut(path, reason, participant, None) for path, reason in sorted(reasons.items()) if reason]


def _unindexable(path: Path) -> str:
    """Why an index does not hold an image; empty if it does."""
    if not _is_text(path):
        return "its name is not valid UTF-8: rename it"
    extension = path.name[path.name.index(".") :]
    if extension not in EXTENSIONS:
        return f"its extension is {extension}, not {' or '.join(EXTENSIONS)}: rename it"
    is_image = path.is_file() or path.is_symlink()
    return "" if is_image else "is no file: put the image itself there"


def _is_text(path: Path) -> bool:
    return re.search("[\ud800-\udfff]", str(path)) is None


def _chosen_participants(root: Path, everyone: tuple[str, ...], selection: Selection) -> tuple[str, ...]:
    asked = dict.fromkeys(label.removeprefix("sub-") for label in selection.participants)
    unknown = [label for label in asked if label not in everyone]
    if unknown:
        shown = ", ".join(everyone[:20]) + (f" and {len(everyone) - 20} more" if len(everyone) > 20 else "")
        raise NothingSelected(
            f"{root}: has no participant {', '.join(unknown)}; it has {shown}; {_MOUNT_HINT}"
        )
    return tuple(label for label in everyone if label in asked) if asked else everyone


def _owner(relative: PurePosixPath) -> tuple[str, str | None]:
    """Participant and session of a file, from its folders."""
    participant = relative.parts[0].removeprefix("sub-")
    session = relative.parts[1] if len(relative.parts) > 2 else ""
    return participant, _session_label(session)


def _session_label(folder: str) -> str | None:
    """The label in the name of a session's folder, None if it is none."""
    label = folder.removeprefix("ses-")
    return label if folder.startswith("ses-") and is_label(label) else None


def _misplaced(name: Name, relative: PurePosixPath, participant: str, session: str | None) -> str | None:
    """Why a file is not where its name says it belongs, or None."""
    if relative.parent.name not in DATATYPES:
        return f"lies in {relative.parent}, not in an {' or '.join(DATATYPES)} folder"
    if relative.parent.name not in DATATYPES:
        return f"lies in {relative.parent}, not in an {' or '.join(DATATYPES)} folder"
    if len(relative.parts) != (4 if session else 3):
        return f"lies in {relative.parent}, which is no folder of a participant or session (ses-LABEL)"
    if name.entities.get("sub") != participant:
        return f"its name does not begin with sub-{participant}, the folder it lies in"
    if name.entities.get("ses") != session:
        return f"the session in its name is not that of its folder ({session or 'none'})"
    if name.stray and not is_diffusion_product(name):
        return f"is no BIDS name: what does {'_'.join(name.stray)} mean?"
    return None


def _unknown(name: Name) -> str:
    if name.suffix == "MTS":
        return "mt-on or mt-off? Say so by mt- in its name, by MTState in its sidecar, or in contrasts.tsv"
    return (
        f"suffix {name.suffix or 'missing'} is none of {', '.join(SUFFIXES)}; "
        "a row in contrasts.tsv would include it"
    )


def _other_modalities(root: Path, participant: str) -> list[LeftOut]:
    """One entry for each folder of another modality that holds images."""
    found = []
    home = root / f"sub-{participant}"
    for folder in sorted([*home.glob("*/"), *home.glob("ses-*/*/")]):
        if folder.name in DATATYPES or folder.name.startswith("ses-"):
            continue
        session = _session_label(folder.parent.name)
        count = sum(path.name.endswith(EXTENSIONS) for path in folder.iterdir())
        if count:
            reason = f"{count} {folder.name} image(s): only anatomical and diffusion images are segmented"
            found.append(LeftOut(folder, reason, participant, session))
    return found


def _nothing(root: Path, selection: Selection, ledger: tuple[LeftOut, ...], not_asked: int) -> DataError:
    reasons = "; ".join(f"{entry.path.name}: {entry.reason}" for entry in ledger[:5])
    more = f" (and {len(ledger) - 5} more)" if len(ledger) > 5 else ""
    if not_asked:
        return NothingSelected(f"{root}: the selection leaves nothing: {reasons}{more}", ledger)
    who = f" of {', '.join(selection.participants)}" if selection.participants else ""
    seen = f": {reasons}{more}" if ledger else ""
    return NoInput(f"{root}: no image{who} can be segmented{seen}", ledger)


def _with_labels(
    root: Path, selection: Selection, participants: Sequence[str], scans: Sequence[Scan]
) -> list[Scan]:
    """The scans with their disc labels and corrected masks."""
    given = {name: checked_folder(name, path) for name, path in selection.derivatives.items()}
    corrections = [path for name, path in given.items() if name == CORRECTED]
    labels = [path for name, path in given.items() if name != CORRECTED] + [root / "derivatives"]
    disc_files = LabelFiles(labels, participants)
    # What this app wrote is nobody's correction, nor a rater's mask.
    corrected_files = LabelFiles(corrections, participants, own=False)
    return [
        replace(
            scan,
            discs=disc_files.discs(scan.participant, scan.names),
            landmarks=disc_files.landmarks(scan.participant, scan.names),
            corrected=corrected_files.corrected(scan.participant, scan.names, mask_name(scan), scan.folder),
        )
        for scan in scans
    ]


def _name(root: Path) -> str:
    description = root / "dataset_description.json"
    name = read_json(description).get("Name") if description.exists() else None
    return str(name or root.name)
