"""Runs of the app as processes of their own: started, watched, killed, and compared.

A run is a fork of this process, which has everything imported, or a fresh interpreter where that
matters (a pool of workers, the locale, the real network).
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.door import ROOT, install
from faults.whole import Report, results

# Imported here, so that a fork has them: the command line and the steps import them when they need them.
from softseg_bids.app import figures, group, looking, page, participant, single  # noqa: F401
from softseg_bids.app.cli import main

DOOR = Path(__file__).with_name("door.py")
LONGEST_S = 1800.0  # a run that takes longer hangs


_started: list[Process] = []


@atexit.register
def _end_all() -> None:
    """Nothing outlives this process, also where it is stopped while a run hangs."""
    for process in _started:
        if process.running():
            process.kill_all()


class Process:
    """A run under way, in a session of its own.

    Attributes
    ----------
    pid : int
    log : Path
        What it says.
    """

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log
        self.code: int | None = None
        self.started = time.monotonic()
        _started.append(self)

    def running(self) -> bool:
        """Whether it has not ended; its exit code is in ``code`` when it has."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is None

    def wait(self, longest_s: float = LONGEST_S) -> int:
        """Its exit code (negative: the signal that ended it).

        Raises
        ------
        TimeoutError
            If it hangs; it is killed then.
        """
        while self.running():
            if time.monotonic() - self.started > longest_s:
                self.kill_all()
                raise TimeoutError(f"still running after {longest_s:g} s: {self.said()[-500:]}")
            time.sleep(0.02)
        assert self.code is not None
        return self.code

    def wait_until(self, begun: Callable[[], bool]) -> None:
        """Wait until something is the case, or the run has ended."""
        while self.running() and not begun() and time.monotonic() - self.started < LONGEST_S:
            time.sleep(0.01)

    def processes(self) -> list[int]:
        """All processes of its session, also those whose parent has died; itself first."""
        found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return sorted((pid for pid in found if _session(pid) == self.pid), key=lambda pid: pid != self.pid)

    def kill_all(self) -> None:
        """SIGKILL to every process of its session, and wait for its end."""
        for pid in self.processes():
            send(pid, signal.SIGKILL)
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def said(self) -> str:
        """What it said so far."""
        return self.log.read_text(encoding="utf-8", errors="backslashreplace")


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def forked(argv: Sequence[object], log: Path, at: Path | None = None, **environment: str) -> Process:
    """Run the app's main function in a fork of this process (in folder ``at``), with the stand-in."""
    pid = os.fork()
    if pid:
        return Process(pid, log)
    try:  # the child never returns
        os.setsid()
        _redirect(log)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.environ.update(environment)
        if at is not None:
            os.chdir(at)
        tempfile.tempdir = None
        install()
        code = main([*map(str, argv)])
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)


def _redirect(log: Path) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for to, from_ in ((0, nothing), (1, handle), (2, handle)):
        os.dup2(from_, to)
    sys.stdout = open(1, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, errors="backslashreplace", buffering=1)  # noqa: SIM115


def fresh(
    argv: Sequence[object],
    log: Path,
    *,
    door: Path = DOOR,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Run the app in a new interpreter, by the stand-in's door or by its own (``run.py``)."""
    with log.open("ab") as file:
        started = subprocess.Popen(
            [*before, sys.executable, str(door), *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
            cwd=ROOT,
        )
    process = Process(started.pid, log)
    started.returncode = 0  # the process is waited for here, not by subprocess
    return process


@contextmanager
def watched(out: Path) -> Iterator[list[Report]]:
    """Watch OUT; the list holds the report after the block."""
    out.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="faults-watch-")
    os.close(handle)
    report = Path(name)
    report.unlink()
    watcher = subprocess.Popen([sys.executable, "-m", "faults.whole", str(out), name], cwd=ROOT)
    reports: list[Report] = []
    try:
        while not report.exists():
            time.sleep(0.01)
        yield reports
    finally:
        watcher.terminate()
        watcher.wait()
        reports.append(Report(*json.loads(report.read_text(encoding="utf-8"))))
        report.unlink()


def snapshot(out: Path) -> dict[str, str]:
    """Digest of every result in OUT; no result holds a date or a duration, so all bytes count."""
    files = [path for path in results(out) if path.relative_to(out).parts[0] != "logs"]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What one snapshot has and the other has not, or has otherwise."""
    names = sorted({*wanted, *found})
    kinds = {True: "missing", False: "different"}
    return [
        f"{name}: {'unexpected' if name not in wanted else kinds[name not in found]}"
        for name in names
        if wanted.get(name) != found.get(name)
    ]


def manifests(out: Path) -> list[dict[str, Any]]:
    """The manifests in OUT, the oldest first."""
    paths = sorted(out.glob("logs/*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def _session(pid: int) -> int:
    try:
        # The name, in brackets, may hold spaces.
        words = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if words[0] == "Z" else int(words[3])
