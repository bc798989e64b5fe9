"""A run under way: whose participants it has claimed, how far it came, and its end, whatever that is."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from softseg_bids.app.batch import remove_scripts
from softseg_bids.app.claims import claimed, forget
from softseg_bids.app.engine import configure
from softseg_bids.app.failures import unwritable_error
from softseg_bids.app.interruption import heeding, interruptible
from softseg_bids.app.jobs import ScanJob
from softseg_bids.app.manifest import Entry, Manifest, new_run_folder, summary
from softseg_bids.app.outcome import Exit
from softseg_bids.app.progress import Progress, Unit, failures
from softseg_bids.app.records import read_record
from softseg_bids.app.settings import Settings
from softseg_bids.bids.dataset import Dataset, Scan
from softseg_bids.bids.derivatives import OutputError
from softseg_bids.image.aside import remove_abandoned


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
            self.manifest.inputs = entries(self.dataset, self.jobs, scans, self.settings)
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
        if self.ended:
            return
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
    folders = [out, *(out / "logs").glob("*/")]
    for label in participants:
        home = out / f"sub-{label}"
        folders += [home, *home.glob("*/"), *home.glob("ses-*/*/")]
    remove_abandoned(folders)


def say(text: str) -> None:
    """One line to the user."""
    sys.stderr.write(f"softseg: {text}\n")
