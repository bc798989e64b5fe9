"""Trees of Debian, made by debootstrap: the stand-in for the published base image."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from container.processes import Failed, Unavailable, run

BASE = "bookworm"
KEPT_DAYS = 7
# What the published slim image does not have either, and what belongs to one machine only.
LEFT_OUT = (
    "etc/resolv.conf",
    "etc/hostname",
    "var/lib/apt/lists/*",
    "var/cache/apt/*",
    "var/log/*",
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/locale/*",
)
NO_DEVICES = ("./dev/*", "./proc/*", "./sys/*")


def mirror(sources: Path = Path("/etc/apt")) -> str:
    """The first Debian mirror among the machine's apt sources, else Debian's own."""
    for path in sorted([*sources.glob("sources.list"), *sources.glob("sources.list.d/*")]):
        for address in re.findall(r"^(?:URIs:|deb)\s.*?(https?://\S+)", path.read_text(), re.MULTILINE):
            if address.rstrip("/").endswith("/debian"):
                return str(address)
    return "http://deb.debian.org/debian"


def make_tree(suite: str, folder: Path, include: str = "") -> None:
    """Make a minimal Debian in a folder that must not exist.

    Raises
    ------
    Unavailable
        If the mirror cannot be reached, or debootstrap fails for another reason.
    """
    wanted = [f"--include={include}"] if include else []
    try:
        run(["debootstrap", "--variant=minbase", *wanted, suite, folder, mirror()])
    except Failed as failure:
        raise Unavailable(f"no Debian {suite} from {mirror()}: {failure}") from failure


def base_archive(folder: Path) -> Path:
    """The base as a tar archive: of an earlier check if it is of this week, else made anew.

    Parameters
    ----------
    folder : Path
        Where to make the tree.

    Raises
    ------
    Unavailable
        If no tree can be made.
    """
    path = kept() / f"{BASE}.tar"
    if not path.is_file() or time.time() - path.stat().st_mtime > KEPT_DAYS * 86400:
        tree = folder / BASE
        make_tree(BASE, tree)
        _pack(tree, path)
        shutil.rmtree(tree)
    return path


def unpack(archive: Path, folder: Path) -> Path:
    """The tree of an archive, in a new folder."""
    folder.mkdir()
    run(["tar", "--numeric-owner", "-C", folder, "-xf", archive])
    return folder


def _pack(tree: Path, path: Path) -> None:
    for pattern in LEFT_OUT:
        for found in tree.glob(pattern):
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            else:
                found.unlink()
    excluded = [f"--exclude={pattern}" for pattern in NO_DEVICES]
    aside = path.with_suffix(".part")
    run(["tar", "--numeric-owner", *excluded, "-C", tree, "-cf", aside, "."])
    aside.replace(path)


def kept() -> Path:
    """A private folder that stays between checks.

    Raises
    ------
    PermissionError
        If somebody else made it.
    """
    folder = Path(tempfile.gettempdir(), f"softseg-container-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(f"{folder}: belongs to somebody else; set TMPDIR to a folder of your own")
    return folder
