"""What a process can do where this runs: printed as JSON. Sent into the containers, to show that the
restrictions they are tried under do hold (and, without them, that this would notice).

usage: probe.py PORT FOLDER...: a port that listens on the machine outside, folders to write to
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import sys
from pathlib import Path


def main(port: int, folders: list[str]) -> None:
    """Print what can be done."""
    found = {
        "uid": os.getuid(),
        "named": _named(os.getuid()),
        "capabilities": int(_status("CapEff"), 16),
        "no_new_privileges": _status("NoNewPrivs") == "1",
        "network": _reaches(port),
        "writable": [folder for folder in folders if _can_write(Path(folder))],
        "python": sys.version.split()[0],
        "pythonpath": os.environ.get("PYTHONPATH", ""),
    }
    print(json.dumps(found))


def _named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _status(key: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{key}:"))


def _reaches(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _can_write(folder: Path) -> bool:
    path = folder / f".probe-{os.getpid()}"
    try:
        path.touch()
        path.unlink()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
