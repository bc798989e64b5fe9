"""The folder of intermediate files: private, made when a run begins, and gone when it has ended well."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.settings import PRIVATE


def make(work: Path) -> None:
    """Make the work folder, if need be.

    Raises
    ------
    Stop
        73 if it cannot be made, or belongs to somebody else.
    """
    try:
        work.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        work.mkdir(mode=0o700, exist_ok=True)
        check_own(work)
    except OSError as error:
        raise Stop(
            Exit.OUTPUT_UNWRITABLE, f"{work}: cannot be made ({error.strerror}); choose another with -w"
        ) from error


def check_own(work: Path) -> None:
    """See that only this user can write the intermediate files: reading them can execute what they hold.

    Raises
    ------
    Stop
        73 if the folder belongs to somebody else.
    """
    with tempfile.TemporaryFile(dir=work) as probe:
        # Not the process's own number: some network file systems show every file as somebody else's.
        own = os.fstat(probe.fileno()).st_uid
    status = work.stat()
    if status.st_uid != own:
        raise Stop(
            Exit.OUTPUT_UNWRITABLE, f"{work}: belongs to another user; remove it, or choose another with -w"
        )
    if status.st_mode & 0o077:
        with contextlib.suppress(OSError):
            work.chmod(0o700)


def remove_empty(work: Path) -> None:
    """Remove what folders of the work folder are empty, itself included; none may be in use.

    Of what lies above it only the dot-folder in OUT is the app's own.
    """
    folders = [path for path in sorted(work.rglob("*"), reverse=True) if path.is_dir()]
    for folder in [*folders, work, *([work.parent] if work.parent.name == PRIVATE else [])]:
        with contextlib.suppress(OSError):  # not empty: of an earlier version, or of a run that failed
            folder.rmdir()
