"""Folders that fill up, become read-only, are shared, or lose a file; clocks and locales."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.bodies import IMAGES
from faults.door import SLOW
from faults.lab import Lab, Outcome, after, begun, told_manifest
from faults.runs import Process, manifests, watched
from faults.whole import results

ROOMY = 64 * 2**20
DAC = "-dac_override,-dac_read_search,-fowner"
ZONES = ("Pacific/Kiritimati", "America/St_Johns", "UTC")


def full_disk(lab: Lab, rounds: int) -> Outcome:
    """OUT on a disk that fills up during the run."""
    outcome = Outcome(
        "Disk full",
        "OUT and work folder on a tmpfs of a random size too small for the run: one sentence, exit code 73, "
        "a manifest; then more room and the same command again",
    )
    if os.geteuid() or not _works("mount", "--version"):
        return _by_limit(lab, rounds, outcome)
    needed = sum(path.stat().st_blocks * 512 for path in lab.out.rglob("*"))
    for _ in range(rounds):
        lab.clear()
        with _mounted(lab.out, ROOMY):
            size = lab.random.randrange(200 * 2**10, int(0.9 * needed))
            _resize(lab.out, size)
            with watched(lab.out) as reports:
                run = lab.fork()
                run.wait()
                problems = _unwritable(lab, run)
                _resize(lab.out, ROOMY)
                problems += lab.complete()
        lab.judged(outcome, problems, f"full disk at {size // 1024} KiB", reports)
    return outcome


def _by_limit(lab: Lab, rounds: int, outcome: Outcome) -> Outcome:
    """Without root: no file may grow beyond a few kilobytes."""
    outcome.how = (
        "RLIMIT_FSIZE of a random size, as a stand-in where nothing may be mounted: no file may grow "
        "beyond it; one sentence, a manifest; then without the limit the same command again"
    )
    for number in range(rounds):
        lab.clear()
        size = lab.random.randrange(2 * 2**10, 40 * 2**10)
        run = lab.pool(before=("prlimit", f"--fsize={size}"))
        run.wait()
        problems = _unwritable(lab, run, manifest=False) + lab.complete()
        lab.judged(outcome, problems, f"file size {number + 1}")
    return outcome


def read_only(lab: Lab, rounds: int) -> Outcome:
    """OUT made read-only during the run."""
    outcome = Outcome(
        "OUT made read-only midway",
        "all folders of OUT lose their write permission at a random moment (for root without the "
        "capabilities that ignore permissions): one sentence, exit code 73, a manifest where it can be "
        "written; then permission again and the same command again",
    )
    before: tuple[str, ...] = ()
    if os.geteuid() == 0:
        before = ("setpriv", f"--bounding-set={DAC}")
        if not _works(*before, "true"):
            outcome.skipped = "setpriv is missing, and root ignores permissions"
            return outcome
    for number in range(rounds):
        lab.clear()
        with watched(lab.out) as reports:
            run = lab.pool(before=before, **{SLOW: "0.3"})
            after(run, lab.random.uniform(0, 0.5 * lab.seconds))
            _writable(lab.out, False)
            run.wait()
            problems = _unwritable(lab, run)
            _writable(lab.out, True)
            problems += lab.complete()
        lab.judged(outcome, problems, f"read-only {number + 1}/{rounds}", reports)
    return outcome


def two_runs(lab: Lab, rounds: int) -> Outcome:
    """Two runs of the same participants on one work folder at once."""
    outcome = Outcome(
        "Two runs on one OUT and work folder",
        "started a random moment apart; both must end well with the results of one",
    )
    for number in range(rounds):
        lab.clear()
        with watched(lab.out) as reports:
            one = lab.fork()
            after(one, lab.random.uniform(0, 0.5 * lab.seconds))
            other = lab.fork()
            one.wait()
            other.wait()
            problems = lab.judge(one, 0) + lab.judge(other, 0) + lab.complete()
        lab.judged(outcome, problems, f"two runs {number + 1}/{rounds}", reports)
    return outcome


def vanishing(lab: Lab, rounds: int) -> Outcome:
    """An image that is removed during the run."""
    outcome = Outcome(
        "An image vanishes during the run",
        "one of three, at a random moment: the others are measured, the manifest tells of it; then it is put "
        "back and the same command given again",
    )
    for number in range(rounds):
        lab.clear()
        gone = lab.bids / IMAGES[number % 2]
        kept = shutil.copy2(gone, lab.folder / "kept.nii.gz")
        with watched(lab.out) as reports:
            run = lab.fork()
            after(run, lab.moment())
            gone.unlink()
            run.wait()
            problems = lab.judge(run, 0, 1)
            status = {
                it["input"]: it["status"] for it in (manifests(lab.out) or [{"inputs": []}])[-1]["inputs"]
            }
            lost = [name for name in IMAGES if lab.bids / name != gone and status.get(name) != "measured"]
            problems += [f"{name}: {status.get(name)}, though it was there" for name in lost]
            if run.code == 1 and str(gone) not in run.said():
                problems.append(f"nothing was said about {gone}")
            shutil.move(kept, gone)
            problems += lab.complete()
        lab.judged(outcome, problems, f"vanished {number + 1}/{rounds}", reports)
    return outcome


def locales(lab: Lab, rounds: int) -> Outcome:
    """Runs under other locales, time zones, and with impossible times of files."""
    outcome = Outcome(
        "Locale and clock",
        "LC_ALL=C and POSIX without Python's UTF-8 mode, de_DE.ISO-8859-1 and de_DE.UTF-8 (made by "
        "localedef), three time zones, inputs and results dated 1970 and 2099: the same bytes",
    )
    kinds = [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, *_german(lab.folder / "locales")]
    if len(kinds) == 2:
        outcome.skipped = "de_DE: localedef or its sources are missing here"
    for number in range(rounds):
        lab.clear()
        for place in (lab.bids, *lab.bids.rglob("*")):
            os.utime(place, (0, 0) if number % 2 else (4070908800, 4070908800))
        environment = {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "TZ": ZONES[number % 3]}
        run = lab.pool(**environment, **kinds[number % len(kinds)])
        run.wait()
        problems = lab.judge(run, 0)
        for path in results(lab.out):
            os.utime(path, (0, 0))
        problems += lab.complete()
        lab.judged(outcome, problems, f"locale {kinds[number % len(kinds)]['LC_ALL']}")
    for place in (lab.bids, *lab.bids.rglob("*")):
        os.utime(place)
    return outcome


def _german(folder: Path) -> list[dict[str, str]]:
    """German locales, made below a folder where the machine has their sources."""
    folder.mkdir(exist_ok=True)
    made = []
    for charset in ("ISO-8859-1", "UTF-8"):
        name = f"de_DE.{charset}"
        if _works("localedef", "-i", "de_DE", "-f", charset, str(folder / name)):
            made.append({"LC_ALL": name, "LOCPATH": str(folder)})
    return made


def _unwritable(lab: Lab, run: Process, manifest: bool = True) -> list[str]:
    """What is wrong with a run that could not write: it should end with 73, or well if it was done before."""
    problems = lab.judge(run, 73, 0)
    if run.code == 73 and "cannot be" not in run.said():
        problems.append(f"it does not say what cannot be written: {run.said()[-500:]}")
    if manifest and begun(run) and told_manifest(run) is None:
        problems.append(f"no manifest: {run.said()[-500:]}")
    return problems


@contextmanager
def _mounted(place: Path, size: int) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        for _ in range(50):  # a process may still be leaving
            if not subprocess.run(["umount", place], check=False, capture_output=True).returncode:
                break
            time.sleep(0.1)


def _resize(place: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)


def _writable(out: Path, yes: bool) -> None:
    """Give or take the permission to write in all folders of OUT."""
    for folder, _, _ in os.walk(out):
        mode = Path(folder).stat().st_mode
        Path(folder).chmod(mode | 0o200 if yes else mode & ~0o222)


def _works(*command: str) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False
