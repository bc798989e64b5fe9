"""What the process must find in its environment before heavy libraries are imported.

Containers run under a user number without a name, with a read-only home and only OUT
writable; some libraries stop there. Nothing here imports more than the standard library.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def identify() -> None:
    """Give the process a name and keep libraries quiet: USER, LOGNAME, telemetry off.

    `import monai` asks for the user's name and fails without a passwd entry; nipype asks
    a server for news unless told not to.
    """
    name = os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid{os.getuid()}"
    for variable in ("USER", "LOGNAME"):
        os.environ.setdefault(variable, name)
    os.environ.setdefault("HOME", "/")
    for variable in ("NO_ET", "NIPYPE_NO_ET"):
        os.environ[variable] = "1"
    os.environ.setdefault("MPLBACKEND", "Agg")


def use_private_folder(private: Path) -> None:
    """Send temporary files and caches below ``private`` where their usual places are read-only.

    Parameters
    ----------
    private : Path
        A dot-folder inside OUT, the only place certain to be writable.
    """
    if not _usable_temporary_folder():
        short = private / "t"  # sockets live here, and their paths are limited to 108 characters
        short.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(short)
        tempfile.tempdir = None
    home = Path(os.environ["HOME"])
    if not os.access(home, os.W_OK):
        for variable, folder in (("MPLCONFIGDIR", "matplotlib"), ("XDG_CACHE_HOME", "cache")):
            if variable not in os.environ:
                (private / folder).mkdir(parents=True, exist_ok=True)
                os.environ[variable] = str(private / folder)


def limit_threads(threads: int) -> None:
    """Let the arithmetic libraries of worker processes use ``threads`` threads each."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)


def _usable_temporary_folder() -> bool:
    try:
        with tempfile.TemporaryFile():
            return True
    except OSError:  # FileNotFoundError when no candidate is writable
        return False
