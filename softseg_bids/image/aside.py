"""Files that appear whole or not at all.

A file is written under a hidden name beside its destination and renamed. The writer holds a lock
on it, which the kernel lets go when the process dies: so a later run can tell what a killed one
left behind from what another run is writing at this moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".part-"
# Between the making of a file and its lock; no process is stopped there for longer.
UNLOCKED_S = 2.0


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, renamed to it when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(path.suffixes[-2:])
    handle, name = tempfile.mkstemp(prefix=PREFIX, suffix=suffix, dir=path.parent)
    aside = Path(name)
    try:
        _lock(handle)
        yield aside
        # mkstemp makes private files; outputs follow the caller's umask instead.
        mask = os.umask(0)
        os.umask(mask)
        aside.chmod(0o666 & ~mask)
        aside.replace(path)
    finally:
        os.close(handle)
        with contextlib.suppress(OSError):  # a disk that became read-only: the first error counts
            aside.unlink(missing_ok=True)


def remove_abandoned(folders: Iterable[Path]) -> int:
    """Remove what killed processes left half-written in some folders; how many files that were.

    What another process is writing stays, and so does everything where the file system knows no locks.
    Files written a moment ago are waited for, so that a run started at once after a killed one leaves none.
    """
    found = [path for folder in folders for path in folder.glob(f"{PREFIX}*")]
    return sum(_remove_if_abandoned(path) for path in found)


def _remove_if_abandoned(path: Path) -> bool:
    _wait_until_old(path)
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if abs(time.time() - os.fstat(handle).st_mtime) < UNLOCKED_S:
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def _wait_until_old(path: Path) -> None:
    """Wait while a file is so young that its writer may not yet hold the lock."""
    with contextlib.suppress(OSError):  # gone meanwhile: it was being written
        age_s = time.time() - path.lstat().st_mtime
        if abs(age_s) < UNLOCKED_S:  # clocks of file servers may be ahead
            time.sleep(UNLOCKED_S - age_s)


def _lock(handle: int) -> None:
    with contextlib.suppress(OSError):  # some network file systems know no locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
