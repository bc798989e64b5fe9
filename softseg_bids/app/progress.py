"""What became of each unit of work (a scan, a session, a page), told while it happens.

On a terminal one line is rewritten: done, running, failed, time left. Elsewhere (a log file,
a batch system) each finished unit is a plain line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TextIO

State = Literal["waiting", "running", "done", "failed"]


@dataclass
class Unit:
    """One scan, session or page.

    Attributes
    ----------
    label : str
        As shown to the user.
    steps : int
        How many steps it has.
    state : {"waiting", "running", "done", "failed"}
    finished : set of str
        Steps that ended well.
    under_way : set of str
        Steps that started and have not ended; none between two steps.
    failed_step : str
        The step that failed, or empty.
    started : float
        When its first step started, seconds.
    reason : str
        Why it failed.
    kind : str
        What kind of failure (see `failures`), or empty.
    crash : str
        The crash file of a failure that is not for the user.
    """

    label: str
    steps: int
    state: State = "waiting"
    finished: set[str] = field(default_factory=set)
    under_way: set[str] = field(default_factory=set)
    failed_step: str = ""
    started: float = 0.0
    reason: str = ""
    kind: str = ""
    crash: str = ""


class Progress:
    """Follows the units of one pass.

    Parameters
    ----------
    what : str
        Name of the pass, shown first (``scans``).
    units : dict of str to Unit
        By the name under which events arrive.
    stream : TextIO, optional
        Where to write, default standard error.
    """

    def __init__(self, what: str, units: dict[str, Unit], stream: TextIO | None = None) -> None:
        self.what = what
        self.units = units
        self.stream = sys.stderr if stream is None else stream
        self.begin = time.monotonic()
        self.live = self.stream.isatty()

    def event(self, name: str, step: str, status: str) -> None:
        """A step of a unit has started (``start``), ended well (``end``) or failed (``exception``)."""
        unit = self.units[name]
        # A step behind a failed one is reported as ended by nipype's linear plugin.
        if unit.state in ("failed", "done"):
            return
        if status == "start":
            unit.under_way.add(step)
        else:
            unit.under_way.discard(step)
        if status == "exception":
            unit.failed_step = step
            self.finish(name, "failed")
            return
        if unit.state == "waiting":
            unit.state, unit.started = "running", time.monotonic()
        if status == "end":
            unit.finished.add(step)
            if len(unit.finished) == unit.steps:
                self.finish(name, "done")
                return
        self._refresh()

    def finish(self, name: str, state: State) -> None:
        """Set the final state of a unit and tell it."""
        unit = self.units[name]
        unit.state = state
        if self.live:
            self._refresh()
        else:
            ended = sum(self._count(which) for which in ("done", "failed"))
            self.stream.write(f"{self.what} [{ended}/{len(self.units)}] {unit.label}: {state}\n")
            self.stream.flush()

    def in_state(self, *states: State) -> list[str]:
        """Names of the units in one of these states."""
        return [name for name, unit in self.units.items() if unit.state in states]

    def close(self) -> None:
        """End the line that was being rewritten."""
        if self.live and self.units:
            self.stream.write("\n")
            self.stream.flush()

    def line(self) -> str:
        """Done, running, failed and time left, in one line."""
        done, running, failed = (self._count(which) for which in ("done", "running", "failed"))
        text = f"{self.what}: {done} done, {running} running, {failed} failed of {len(self.units)}"
        return text + self._time_left(done + failed)

    def _time_left(self, ended: int) -> str:
        if ended in (0, len(self.units)):
            return ""
        per_unit = (time.monotonic() - self.begin) / ended
        return f", {duration(per_unit * (len(self.units) - ended))} left"

    def _count(self, state: str) -> int:
        return sum(unit.state == state for unit in self.units.values())

    def _refresh(self) -> None:
        if self.live:
            self.stream.write(f"\r\x1b[K{self.line()}")
            self.stream.flush()


def duration(seconds: float) -> str:
    """A duration in the unit a reader wants: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def failures(units: Iterable[Unit]) -> list[str]:
    """One line a failed unit: what it is and why it failed."""
    return [f"{unit.label}: {unit.reason}" for unit in units if unit.state == "failed"]
