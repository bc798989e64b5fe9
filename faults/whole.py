"""Is a file whole? And a watcher of a folder, in a process of its own, that asks it of every file at once.

``python -m faults.whole OUT REPORT`` watches until it is terminated. Whatever appears under a visible name
must have been renamed to it, and parse; logs (but for their JSON) are written line by line.
"""

from __future__ import annotations

import ctypes
import gzip
import json
import math
import os
import signal
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CREATE, MODIFY, MOVED_TO, IS_DIR, OVERFLOW = 0x100, 0x2, 0x80, 0x40000000, 0x4000
ENDINGS = {".png": b"IEND\xaeB`\x82", ".svg": b"</svg>", ".html": b"</html>", ".tsv": b"\n", ".md": b"\n"}


class Report(NamedTuple):
    """What a watcher saw: how many files it read, and what was wrong."""

    read: int
    problems: list[str]


def problem_of(path: Path) -> str:
    """What is wrong with a file, or an empty text; a file that is gone by now is not wrong."""
    try:
        content = path.read_bytes()
        if path.name.endswith(".nii.gz"):
            return _nifti(gzip.decompress(content))
        if path.suffix == ".json":
            json.loads(content)
        if path.suffix == ".tsv" and len({line.count(b"\t") for line in content.splitlines()}) != 1:
            return "its rows differ in length"
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, EOFError, zlib.error) as error:
        return str(error) or type(error).__name__
    end = ENDINGS.get(path.suffix, b"")
    return "" if content.rstrip(b"\n" if end != b"\n" else b"").endswith(end) else "its end is missing"


def _nifti(content: bytes) -> str:
    shape = struct.unpack_from("<8h", content, 40)
    bits = struct.unpack_from("<h", content, 72)[0]
    offset = int(struct.unpack_from("<f", content, 108)[0])
    wanted = offset + math.prod(shape[1 : 1 + shape[0]]) * bits // 8
    return "" if len(content) == wanted else f"it has {len(content)} bytes, not {wanted}"


def is_result(path: Path, out: Path) -> bool:
    """Whether a file of OUT is one that a reader may open: visible, and no log."""
    parts = path.relative_to(out).parts
    if any(part.startswith(".") and part != ".bidsignore" for part in parts):
        return False
    return parts[0] != "logs" or path.suffix == ".json"


def results(out: Path) -> Iterator[Path]:
    """All visible files of OUT."""
    for folder, folders, files in os.walk(out):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (path for name in sorted(files) if is_result(path := Path(folder, name), out))


def half_written(out: Path) -> list[str]:
    """What is wrong with the visible files of OUT."""
    return [f"{path}: {problem}" for path in results(out) if (problem := problem_of(path))]


class Watcher:
    """Follows a folder and all below it by the kernel's own notices."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.read = 0
        self.problems: list[str] = []
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_CLOEXEC)
        self._folders: dict[int, Path] = {}
        self._follow(out)

    def run(self) -> None:
        """Follow until interrupted."""
        while True:
            notices = os.read(self._handle, 2**16)
            place = 0
            while place < len(notices):
                watch, mask, _, length = struct.unpack_from("iIII", notices, place)
                name = notices[place + 16 : place + 16 + length].rstrip(b"\0")
                place += 16 + length
                if mask & OVERFLOW:
                    self.problems.append("too many notices: some were lost")
                elif watch in self._folders:
                    self._notice(self._folders[watch] / os.fsdecode(name), mask)

    def _notice(self, path: Path, mask: int) -> None:
        if mask & IS_DIR:
            if mask & (CREATE | MOVED_TO):
                self._follow(path)
        elif is_result(path, self.out):
            if mask & (CREATE | MODIFY):
                self.problems.append(f"{path}: written under its visible name")
            self._look_at(path)

    def _follow(self, folder: Path) -> None:
        if folder != self.out and folder.name.startswith("."):
            return
        watch = self._libc.inotify_add_watch(self._handle, os.fsencode(folder), CREATE | MODIFY | MOVED_TO)
        if watch < 0:
            return  # gone again
        self._folders[watch] = folder
        for path in folder.iterdir():  # what came before the watch
            if path.is_dir():
                self._follow(path)
            elif is_result(path, self.out):
                self._look_at(path)

    def _look_at(self, path: Path) -> None:
        self.read += 1
        if problem := problem_of(path):
            self.problems.append(f"{path}: {problem}")


def main(out: Path, report: Path) -> None:
    """Watch OUT until terminated; then write the report."""
    watcher = Watcher(out)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report.touch()
    try:
        watcher.run()
    except KeyboardInterrupt:
        report.write_text(json.dumps(Report(watcher.read, watcher.problems)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
