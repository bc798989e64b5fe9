"""A run under way: whose participants it has claimed, how far it came, and its end, whatever that is."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from softseg_bids.app.batch import remove_scripts
from softseg_bids.app.claims import claimed, forget
from softseg_bids.app.engine import configure
from softseg_bids.app.failures import unwritable_error
from softseg_bids.app.interruption import PATIENCE_S, heeding, interruptible
from softseg_bids.app.jobs import ScanJob
from softseg_bids.app.manifest import Entry, Manifest, new_run_folder, remove_reserves, summary
from softseg_bids.app.outcome import Exit
from softseg_bids.app.progress import Progress, Unit, failures
from softseg_bids.app.records import read_record
from softseg_bids.app.settings import Settings
from softseg_bids.bids.dataset import Dataset, Scan
from softseg_bids.bids.derivatives import OutputError
from softseg_bids.image.aside import remove_abandoned

# The step of a session that writes its tables.
MEASURING = "summarise"


@dataclass
class Run:
    """A run under way, of which the manifest can be written at any moment."""

    settings: Settings
    manifest: Manifest
    dataset: Dataset | None = None
    jobs: dict[str, ScanJob] = field(default_factory=dict)
    passes: dict[str, Progress] = field(default_factory=dict)
    logs: Path = Path()
    ended: bool = False
    telling: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> Path:
        """Make the folder of logs, with a manifest that says what is to be done.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        try:
            self.logs = new_run_folder(self.settings.out)
            configure(self.logs, self.settings.stop_on_first_crash)
            self._record()
            self.manifest.begin(self.logs)
        except OSError as error:
            raise OutputError(unwritable_error(error)) from error
        return self.logs

    @contextmanager
    def guarded(self, participants: Sequence[str]) -> Iterator[None]:
        """See that the block has its participants for itself and that its end, whatever it is, is told.

        After a good end the intermediate files go, if settings say so, while no other run can be using them.
        """
        with interruptible(lambda: self._end(interrupted=True)):
            try:
                with claimed(self.settings.work, participants):
                    _remove_abandoned(self.settings.out, participants)
                    with heeding():
                        yield
                    self._end()
                    self._clean()
                if self._is_to_clean():
                    forget(self.settings.work)
            except KeyboardInterrupt:
                if not self.ended:  # else only the cleaning was cut short
                    self._end(interrupted=True)
                    raise
            except Exception:
                self._end()
                raise

    def _record(self) -> None:
        if self.dataset is not None:
            scans = self.passes.get("scans", Progress("scans", {name: Unit("", 0) for name in self.jobs}))
            found = entries(self.dataset, self.jobs, scans, self.settings)
            sessions = self.passes.get("sessions", Progress("sessions", {}))
            self.manifest.inputs = with_sessions(found, sessions)
        for name in ("sessions", "pages"):
            if name in self.passes:
                setattr(self.manifest, name, _outcomes(self.passes[name]))
        units = [unit for done in self.passes.values() for unit in done.units.values()]
        self.manifest.unwritable = any(unit.kind == "output" for unit in units)

    def _is_to_clean(self) -> bool:
        return self.settings.clean_work and self.manifest.exit_code() == Exit.DONE

    def _clean(self) -> None:
        """Remove the files of this run's units only: other runs may be using the same work folder."""
        if self._is_to_clean():
            for name, progress in self.passes.items():
                for unit in progress.units:
                    shutil.rmtree(self.settings.work / name / unit, ignore_errors=True)
                with contextlib.suppress(OSError):  # what stays does no harm
                    remove_scripts(self.settings.work / name, progress.units.keys())

    def _end(self, interrupted: bool = False) -> None:
        """Tell the end, once: the watcher of an interruption may come while the main thread is at it."""
        if not self.telling.acquire(timeout=PATIENCE_S):
            return  # it hangs
        try:
            if not self.ended:
                self._tell(interrupted)
        finally:
            self.telling.release()

    def _tell(self, interrupted: bool) -> None:
        self.manifest.interrupted = interrupted
        self._record()
        try:
            told: Path | str = self.manifest.write(self.logs)
        except OSError as error:
            told = f"no manifest, {unwritable_error(error)}"
        for line in [line for done in self.passes.values() for line in failures(done.units.values())]:
            say(line)
        say(f"{summary(self.manifest.inputs) or 'pages written'}; {told}")
        self.ended = True


def entries(dataset: Dataset, jobs: dict[str, ScanJob], scans: Progress, settings: Settings) -> list[Entry]:
    """What became of every input so far."""
    found = [
        _entry(jobs[name].scan, unit, settings.work / "scans" / name) for name, unit in scans.units.items()
    ]
    for left in dataset.left_out:
        path = left.path.relative_to(dataset.root) if left.path.is_relative_to(dataset.root) else left.path
        found.append(
            Entry(path.as_posix(), left.participant or "", left.session or "", "", "left out", left.reason)
        )
    return sorted(found, key=lambda entry: entry.input)


def with_sessions(found: Sequence[Entry], sessions: Progress) -> list[Entry]:
    """Inputs that were segmented, but whose session could not be measured, are not called measured."""
    lost = {unit.label: unit for unit in sessions.units.values() if MEASURING not in unit.finished}
    return [_of_lost_session(entry, lost.get(_session_key(entry))) for entry in found]


def _session_key(entry: Entry) -> str:
    return f"sub-{entry.participant}" + (f"_ses-{entry.session}" if entry.session else "")


def _of_lost_session(entry: Entry, session: Unit | None) -> Entry:
    if session is None or session.state == "done" or entry.status not in ("measured", "no_cord"):
        return entry
    if session.state != "failed":
        return replace(entry, status="not run", reason="the run stopped before its session was measured")
    reason = f"its session could not be measured: {session.reason}"
    return replace(entry, status="failed", reason=reason, step=session.failed_step, crash=session.crash)


def _entry(scan: Scan, unit: Unit, folder: Path) -> Entry:
    who = (scan.relative, scan.participant, scan.session or "", scan.contrast)
    if unit.state == "done":
        return Entry(*who, read_record(folder / "save" / "record.json").status)
    if unit.state == "failed":
        unreadable = unit.failed_step == "conform" and unit.kind == "data"
        return Entry(*who, "failed", unit.reason, unit.failed_step, unreadable, unit.crash)
    return Entry(*who, "not run", "the run stopped before")


def _outcomes(progress: Progress) -> dict[str, str]:
    return {
        unit.label: "done" if unit.state == "done" else unit.reason or "not run"
        for unit in progress.units.values()
    }


def _remove_abandoned(out: Path, participants: Sequence[str]) -> None:
    """Remove what killed runs left half-written beside the results."""
    runs = list((out / "logs").glob("*/"))
    remove_reserves(runs)
    folders = [out, *runs]
    for label in participants:
        home = out / f"sub-{label}"
        folders += [home, *home.glob("*/"), *home.glob("ses-*/*/")]
    remove_abandoned(folders)


def say(text: str) -> None:
    """One line to the user."""
    sys.stderr.write(f"softseg: {text}\n")
