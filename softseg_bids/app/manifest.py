"""The run's manifest: what became of every input. It decides the exit code."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from softseg_bids.app.outcome import Exit
from softseg_bids.image.aside import written_aside

# Statuses of an input, from best to worst.
STATUSES = ("measured", "no_cord", "left out", "failed", "not run")
RESERVE = ".reserve"
RESERVED_BYTES = 2**17


@dataclass(frozen=True)
class Entry:
    """One input.

    Attributes
    ----------
    input : str
        Path from the dataset's root.
    participant, session, contrast : str
        Empty where unknown.
    status : str
        One of ``measured, no_cord, left out, failed, not run``.
    reason : str
        Why it has no measurement.
    step : str
        The step that failed.
    unreadable : bool
        Whether the file itself could not be read.
    crash : str
        Crash file of an unexpected failure.
    """

    input: str
    participant: str = ""
    session: str = ""
    contrast: str = ""
    status: str = "measured"
    reason: str = ""
    step: str = ""
    unreadable: bool = False
    crash: str = ""


@dataclass
class Manifest:
    """What a run did.

    Attributes
    ----------
    command : list of str
        The arguments.
    version, model_hash : str
    settings : dict
    inputs : list of Entry
    sessions, pages : dict of str to str
        Unit -> ``done`` or the reason why it failed.
    unwritable : bool
        Whether something failed because OUT or the work folder could not be written.
    interrupted : bool
        Whether somebody ended the run.
    """

    command: list[str]
    version: str
    model_hash: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    started: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    inputs: list[Entry] = field(default_factory=list)
    sessions: dict[str, str] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    unwritable: bool = False
    interrupted: bool = False

    def __post_init__(self) -> None:
        self._reserve: int | None = None  # the open file; no field, as it is not told

    def exit_code(self) -> Exit:
        """What the run's outcomes amount to; see `outcome.Exit`."""
        if self.interrupted:
            return Exit.INTERRUPTED
        if self.unwritable:
            return Exit.OUTPUT_UNWRITABLE
        chosen = [entry for entry in self.inputs if entry.status != "left out"]
        if chosen and all(entry.unreadable for entry in chosen):
            return Exit.ALL_UNREADABLE
        failed = any(entry.status in ("failed", "not run") for entry in chosen)
        units = [*self.sessions.values(), *self.pages.values()]
        return Exit.SOME_FAILED if failed or any(state != "done" for state in units) else Exit.DONE

    def begin(self, folder: Path) -> None:
        """Write the manifest of a run that has just begun, and keep room for the final one.

        A run that is killed leaves this one behind: it says what was to be done, and has no exit code.
        """
        text = self._text({"finished": None, "exit_code": None})
        self._write(folder, text)
        # Reasons are longer than nothing, and a full disk must not keep them from being told.
        self._reserve = os.open(folder / RESERVE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):  # some network file systems know no locks
            fcntl.flock(self._reserve, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with os.fdopen(os.dup(self._reserve), "wb") as file:
            file.write(bytes(2 * len(text) + RESERVED_BYTES))

    def write(self, folder: Path) -> Path:
        """Write ``manifest.json`` into the run's folder of logs, or elsewhere if that cannot be written.

        Raises
        ------
        OSError
            If it cannot be written anywhere.
        """
        with contextlib.suppress(OSError):
            (folder / RESERVE).unlink(missing_ok=True)
            if self._reserve is not None:
                os.close(self._reserve)
                self._reserve = None
        try:
            return self._write(folder, self._finished())
        except OSError:
            self.unwritable = True
            return self._write(Path(tempfile.mkdtemp(prefix=f"softseg-{folder.name}-")), self._finished())

    def _finished(self) -> str:
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        return self._text({"finished": now, "exit_code": int(self.exit_code())})

    def _text(self, more: dict[str, Any]) -> str:
        return json.dumps(asdict(self) | more, indent=2, default=str) + "\n"

    @staticmethod
    def _write(folder: Path, text: str) -> Path:
        path = folder / "manifest.json"
        with written_aside(path) as aside:
            aside.write_text(text, encoding="utf-8")
        return path


def summary(entries: Sequence[Entry]) -> str:
    """How many inputs ended how, in one line."""
    counts = {status: sum(entry.status == status for entry in entries) for status in STATUSES}
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if count)


def remove_reserves(folders: Iterable[Path]) -> None:
    """Give back the room that killed runs kept for their last manifest.

    A run holds a lock on its own until it has ended; where the file system knows no locks, all stay.
    """
    for path in [folder / RESERVE for folder in folders]:
        with contextlib.suppress(OSError):  # of a run under way, or gone meanwhile
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_size:  # an empty one was made a moment ago, and not locked yet
                    path.unlink()
            finally:
                os.close(handle)


def new_run_folder(out: Path) -> Path:
    """A new folder ``logs/<time>-<random>`` in OUT, so that runs side by side never share one."""
    folder = out / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    return folder
