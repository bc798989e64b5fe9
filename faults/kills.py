"""Processes that are killed, interrupted, or run out of memory."""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path

from faults import runs
from faults.door import HUNGER, ROOT, SHARED, SLOW, STUCK
from faults.lab import Lab, Outcome, after, begun, orphans, told_manifest
from faults.runs import Process, fresh, manifests, send, watched
from softseg_bids.app.resources import usable_cpus

SOON_S = 5.0
ALONE = "it needs workers beside each other, and one processor is granted here"


def whole_runs(lab: Lab, rounds: int) -> Outcome:
    """SIGKILL of the whole run at a random moment."""
    outcome = Outcome(
        "SIGKILL of the whole run", "at a random moment of its work; then the same command again"
    )
    for number in range(rounds):
        lab.clear()
        with watched(lab.out) as reports:
            run = lab.fork()
            after(run, lab.moment())
            run.kill_all()
            problems = lab.judge(run, 0, -signal.SIGKILL)
            problems += _begun_manifest(lab, run)
            problems += lab.complete()
        lab.judged(outcome, problems, f"kill {number + 1}/{rounds}", reports)
    return outcome


def workers(lab: Lab, rounds: int) -> Outcome:
    """SIGKILL of one process of a run with two workers: them, what serves them, or the main one."""
    outcome = Outcome(
        "SIGKILL of one process of a run with workers",
        "at a random moment any of main process, workers, their fork server and Python's resource tracker "
        "(whose own complaint is let pass); then the same command again",
    )
    if usable_cpus() < 2:
        return _left_out(lab, outcome)
    for number in range(rounds):
        lab.clear()
        with watched(lab.out) as reports:
            run = lab.pool()
            after(run, lab.moment() + lab.random.uniform(0, 3))
            victims = run.processes()[number % 2 :] or run.processes()
            if victims:
                send(lab.random.choice(victims), signal.SIGKILL)
            run.wait()
            problems = lab.judge(run, 0, 1, -signal.SIGKILL) + orphans(run) + lab.complete()
        lab.judged(outcome, problems, f"worker {number + 1}/{rounds}", reports)
    return outcome


def memory(lab: Lab, rounds: int) -> Outcome:
    """The network's step finds memory for one process only."""
    outcome = Outcome(
        "Out of memory in the network's step",
        "a worker that is not alone is killed (as the kernel does) or gets no memory (RLIMIT_AS): "
        "the run must go on with one process and end well by itself",
    )
    if usable_cpus() < 2:
        return _left_out(lab, outcome)
    for number in range(rounds):
        end = ("kill", "limit")[number % 2]
        lab.clear()
        with tempfile.TemporaryDirectory() as shared:
            run = lab.pool(**{SHARED: shared, HUNGER: end})
            run.wait()
        problems = lab.judge(run, 0)
        if "going on with one process" not in run.said():
            problems.append(f"{end}: it did not go on with fewer processes")
        problems += lab.complete()
        lab.judged(outcome, problems, f"memory ({end})")
    return outcome


def real_memory(lab: Lab, rounds: int) -> Outcome:
    """The real network under a limit that not even its library fits in."""
    outcome = Outcome(
        "Too little memory for the real network",
        "RLIMIT_AS of 700 MB on the whole run (prlimit): one sentence per image, no traceback, exit code 1",
    )
    for number in range(rounds):
        lab.clear()
        argv = [lab.bids, lab.out, "participant", "--nprocs", 2, "--omp-nthreads", 1, "--mem", "4G"]
        limited = ("prlimit", f"--as={700 * 2**20}")
        run = fresh(argv, lab.log(), door=ROOT / "run.py", before=limited)
        run.wait()
        problems = lab.judge(run, 1)
        entries = (manifests(lab.out) or [{"inputs": []}])[-1]["inputs"]
        if not entries or any("memory" not in entry["reason"] for entry in entries):
            problems.append(f"the manifest does not say that memory ran out: {entries}")
        lab.judged(outcome, problems, f"real memory {number + 1}")
    return outcome


def interruptions(lab: Lab, rounds: int, soon_s: float = SOON_S) -> Outcome:
    """Ctrl-C at a random moment; every third time SIGTERM, every third time deep in a library.

    Runs with workers and runs of one process take turns of three; a library is stuck in the latter only.
    """
    outcome = Outcome(
        "Ctrl-C and SIGTERM",
        "to all processes of a run, with workers or without, as a terminal does, at a random moment, also "
        f"while a library is deep in its work: ends within {soon_s:g} s (times as much as others slow the "
        "machine), exit code 130, a manifest, no process left; then the same command again",
    )
    for number in range(rounds):
        lab.clear()
        deep, term = number % 3 == 1, number % 3 == 2
        serial = deep or number % 6 >= 3
        hold = {STUCK: "60"} if deep else {SLOW: "0.5"}
        run = lab.fork(**hold) if serial else lab.pool(**hold)
        after(run, 1.0 if deep else lab.moment() + 0.5)
        for pid in run.processes():
            send(pid, signal.SIGTERM if term else signal.SIGINT)
        start = time.monotonic()
        run.wait()
        seconds = time.monotonic() - start
        problems = lab.judge(run, 130)
        slower = slowness()
        problems += [f"ended after {seconds:.1f} s"] if seconds > soon_s * slower else []
        manifest = told_manifest(run)
        if manifest is None or '"exit_code": 130' not in manifest.read_text(encoding="utf-8"):
            problems.append("no manifest that says it was interrupted")
        problems += orphans(run) + lab.complete()
        lab.judged(outcome, problems, f"interruption {number + 1}/{rounds}: {seconds:.1f} s, {slower:.0f}")
    return outcome


def slowness() -> float:
    """How many times slower than its processor this process is now, as others are at work; at least 1."""
    start, used = time.monotonic(), time.process_time()
    while time.process_time() < used + 0.2:
        pass
    return max(1.0, (time.monotonic() - start) / 0.2)


def _left_out(lab: Lab, outcome: Outcome) -> Outcome:
    """Where there is no second processor there are no workers: say so instead of counting it."""
    outcome.skipped = ALONE
    lab.say(f"{outcome.fault}: not injected: {ALONE}")
    return outcome


def _begun_manifest(lab: Lab, run: Process) -> list[str]:
    """A killed run leaves the manifest that it began with, or a finished one."""
    found = manifests(lab.out)
    if not found and begun(run):
        return ["the killed run left no manifest"]
    wrong = [it for it in found if len(it["inputs"]) != 3 or it["exit_code"] not in (None, 0)]
    return [f"the killed run's manifest: {it}" for it in wrong]


def real_kills(lab: Lab, rounds: int, bids: Path) -> Outcome:
    """SIGKILL of whole runs with the real network and weights."""
    outcome = Outcome(
        "SIGKILL of the whole run, real network",
        "the packaged weights on a drawn neck; at a random moment, then the same command again",
    )
    argv = [bids, lab.out, "participant", "--nprocs", 1, "--omp-nthreads", 1]
    reference: dict[str, str] = {}
    seconds = 1.0
    for number in range(rounds + 1):
        lab.clear()
        run = fresh(argv, lab.log(), door=ROOT / "run.py")
        if number == 0:
            run.wait_until(lambda run=run: begun(run))  # type: ignore[misc]
            start = time.monotonic()
            run.wait()
            seconds = time.monotonic() - start
            if run.code:
                raise RuntimeError(run.said())
            reference = runs.snapshot(lab.out)
            continue
        after(run, lab.random.uniform(0, seconds))
        run.kill_all()
        problems = lab.judge(run, 0, -signal.SIGKILL)
        again = fresh(argv, lab.log(), door=ROOT / "run.py")
        again.wait()
        problems += lab.judge(again, 0) + runs.differences(reference, runs.snapshot(lab.out))
        lab.judged(outcome, problems, f"real kill {number}/{rounds}")
    return outcome
