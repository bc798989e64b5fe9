"""Where faults are injected: a dataset, one OUT, and what an undisturbed run leaves there."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults.bodies import write_dataset
from faults.runs import Process, Report, differences, forked, fresh, manifests, snapshot, watched
from faults.whole import half_written

ENDED_S = 20.0  # orphans must be gone by then, on a busy machine
# Where its resource tracker is killed, Python starts another, which reports each semaphore it never knew in
# this way and goes on: a trace of Python's own, that no run can keep back.
TRACKER = re.compile(
    r'Traceback \(most recent call last\):\n  File "[^"\n]*resource_tracker\.py", line \d+, in main\n'
    r".*\nKeyError: .*\n"
)


@dataclass
class Outcome:
    """What became of one kind of fault.

    Attributes
    ----------
    fault, how : str
        What was injected, and by what means.
    injected : int
        How often.
    problems : list of str
        What was wrong afterwards, one entry each.
    files : int
        Files that the watcher read whole, meanwhile.
    skipped : str
        Why it could not be injected here.
    """

    fault: str
    how: str
    injected: int = 0
    spoiled: int = 0
    problems: list[str] = field(default_factory=list)
    files: int = 0
    skipped: str = ""

    @property
    def survived(self) -> int:
        """How many injections did no harm."""
        return self.injected - self.spoiled

    def note(self, problems: list[str]) -> None:
        """One injection and what was wrong after it."""
        self.injected += 1
        self.spoiled += bool(problems)
        self.problems += problems


@dataclass
class Lab:
    """A scratch folder with a dataset in it.

    Attributes
    ----------
    folder : Path
        Empty at first.
    seed : int
        Of all that is drawn.
    say : callable
        Told about every injection.
    """

    folder: Path
    seed: int = 0
    say: Callable[[str], object] = print
    reference: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.bids = self.folder / "bids"
        self.out = self.folder / "out"
        self.model = self.folder / "standin.pt"
        self.model.parent.mkdir(parents=True, exist_ok=True)
        self.model.write_bytes(b"stand-in")
        self._logs = 0
        write_dataset(self.bids)

    def log(self) -> Path:
        """A new file for what a run says."""
        self._logs += 1
        path = self.folder / f"said-{self._logs}.txt"
        path.touch()
        return path

    def argv(self, *more: object, nprocs: int = 1) -> list[str]:
        """Arguments of a run on the dataset."""
        always = [
            "participant",
            "--model",
            self.model,
            "--nprocs",
            nprocs,
            "--omp-nthreads",
            1,
            "--mem",
            "4G",
        ]
        return [*map(str, [self.bids, self.out, *always, *more])]

    def fork(self, *more: object, **environment: str) -> Process:
        """A run in one process."""
        return forked(self.argv(*more), self.log(), **environment)

    def pool(self, *more: object, before: tuple[str, ...] = (), **environment: str) -> Process:
        """A run with two workers."""
        argv = self.argv(*more, nprocs=2)
        return fresh(argv, self.log(), before=before, environment=environment)

    def clear(self) -> None:
        """Remove OUT (not the folder itself, on which something may be mounted)."""
        self.out.mkdir(parents=True, exist_ok=True)
        for path in self.out.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def prepare(self) -> None:
        """Learn what an undisturbed run leaves, and how long it works.

        Raises
        ------
        RuntimeError
            If it fails.
        """
        self.clear()
        with watched(self.out) as reports:
            run = self.fork()
            run.wait_until(lambda: begun(run))
            start = time.monotonic()
            code = run.wait()
        self.seconds = time.monotonic() - start
        wrong = [*reports[0].problems, *self.judge(run, 0)]
        if code or wrong:
            raise RuntimeError(f"an undisturbed run fails: {wrong} {run.said()}")
        self.reference = snapshot(self.out)

    def judge(self, run: Process, *codes: int) -> list[str]:
        """What is wrong with a run that ended: its exit code, its words, its manifest, half a file."""
        problems = [] if run.code in codes else [f"exit code {run.code}, not {codes}: {run.said()[-1500:]}"]
        if "Traceback" in TRACKER.sub("", run.said()):
            problems.append(f"a traceback: {run.said()[-1500:]}")
        return problems + half_written(self.out)

    def complete(self) -> list[str]:
        """Give the same command again: what is wrong then."""
        run = self.fork()
        run.wait()
        problems = self.judge(run, 0)
        last = (manifests(self.out) or [{}])[-1]
        if last.get("exit_code") != 0 or {entry["status"] for entry in last["inputs"]} != {"measured"}:
            problems.append("the rerun's manifest does not say that all was measured")
        left = [str(path) for path in self.out.rglob(".part-*")]
        lost = differences(self.reference, snapshot(self.out)) if self.reference else []
        return (
            problems + [f"left behind: {path}" for path in left] + [f"after the rerun: {it}" for it in lost]
        )

    def judged(
        self, outcome: Outcome, problems: list[str], what: str, reports: Sequence[Report] = ()
    ) -> None:
        """Count a round with all that is wrong with it, seen from outside or in, and say it."""
        problems = problems + [problem for report in reports for problem in report.problems]
        outcome.note(problems)
        outcome.files += sum(report.read for report in reports)
        self.say(f"{what}: {'; '.join(problems) or 'survived'}")

    def moment(self) -> float:
        """A random time within the work of a run, seconds."""
        return self.random.uniform(0.0, self.seconds)


def begun(run: Process) -> bool:
    """Whether a run has begun its work."""
    return "logs in" in run.said()


def after(run: Process, seconds: float) -> None:
    """Wait so long from the moment on at which a run has begun its work, or until it ends."""
    run.wait_until(lambda: begun(run))
    until = time.monotonic() + seconds
    run.wait_until(lambda: time.monotonic() > until)


def told_manifest(run: Process) -> Path | None:
    """The manifest that a run told of, wherever it could write it."""
    found = re.findall(r"; (/[^\n]*manifest\.json)", run.said())
    return Path(found[-1]) if found and Path(found[-1]).is_file() else None


def orphans(run: Process) -> list[str]:
    """Processes of an ended run that do not end by themselves."""
    until = time.monotonic() + ENDED_S
    while (left := [pid for pid in run.processes() if pid != os.getpid()]) and time.monotonic() < until:
        time.sleep(0.05)
    if left:
        run.kill_all()
    return [f"orphan process {pid}" for pid in left]
