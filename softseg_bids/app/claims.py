"""One run at a time on one participant's intermediate files.

Runs of different participants may share a work folder; two runs of the same one would remove each
other's files while they are written. The kernel lets a claim go when its process ends, however that is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from softseg_bids.app.work_folder import make, remove_empty

logger = logging.getLogger("softseg")
CLAIMS = "claims"


@contextmanager
def claimed(work: Path, participants: Iterable[str]) -> Iterator[None]:
    """Hold the claims on some participants' files in a work folder; wait for another run to end first.

    A claim is a lock on one byte of one file. All runs claim in the same order, so that none waits for
    one that waits for it.

    Raises
    ------
    Stop
        73 if a run that ended meanwhile removed the folder, and it cannot be made again.
    """
    places = sorted((_place(label), label) for label in participants)
    handle = _open(work)
    try:
        _claim_all(handle, places, work)
        while not _is_there(handle, work):  # the run that was waited for removed the file
            os.close(handle)
            handle = _open(work)
            _claim_all(handle, places, work)
        yield
    finally:
        os.close(handle)


def forget(work: Path) -> None:
    """Remove the file of claims and the empty work folder, unless another run is using them.

    This run's own claims must be given back already.
    """
    with contextlib.suppress(OSError):  # another run's claims, or no locks at all: the folder stays
        handle = os.open(work / CLAIMS, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (work / CLAIMS).unlink()
            remove_empty(work)
        finally:
            os.close(handle)


def _open(work: Path) -> int:
    while True:
        try:
            return os.open(work / CLAIMS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            make(work)


def _is_there(handle: int, work: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), (work / CLAIMS).stat())
    except FileNotFoundError:
        return False


def _claim_all(handle: int, places: Iterable[tuple[int, str]], work: Path) -> None:
    for place, label in places:
        _claim(handle, place, label, work)


def _place(label: str) -> int:
    """The byte that stands for a participant."""
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:7], "big")


def _claim(handle: int, place: int, label: str, work: Path) -> None:
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # either may say that another one holds it
            logger.warning("another run is working on sub-%s in %s; waiting for it to end", label, work)
            fcntl.lockf(handle, fcntl.LOCK_EX, 1, place)
    except OSError as error:
        logger.warning("%s: knows no locks (%s); let no two runs work on sub-%s at once", work, error, label)
