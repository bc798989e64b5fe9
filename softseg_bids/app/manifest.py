"""The run's manifest: what became of every input. It decides the exit code."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from softseg_bids.app.outcome import Exit
from softseg_bids.image.volume import written_aside

# Statuses of an input, from best to worst.
STATUSES = ("measured", "no_cord", "left out", "failed", "not run")


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
    """

    command: list[str]
    version: str
    model_hash: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    started: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    inputs: list[Entry] = field(default_factory=list)
    sessions: dict[str, str] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)

    def exit_code(self) -> Exit:
        """65 if every chosen scan was unreadable, 1 if anything failed, else 0."""
        chosen = [entry for entry in self.inputs if entry.status != "left out"]
        if chosen and all(entry.unreadable for entry in chosen):
            return Exit.ALL_UNREADABLE
        failed = any(entry.status in ("failed", "not run") for entry in chosen)
        units = [*self.sessions.values(), *self.pages.values()]
        return Exit.SOME_FAILED if failed or any(state != "done" for state in units) else Exit.DONE

    def write(self, folder: Path) -> Path:
        """Write ``manifest.json`` into the run's folder of logs."""
        content = asdict(self) | {
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "exit_code": int(self.exit_code()),
        }
        path = folder / "manifest.json"
        with written_aside(path) as aside:
            aside.write_text(json.dumps(content, indent=2, default=str) + "\n")
        return path


def summary(entries: Sequence[Entry]) -> str:
    """How many inputs ended how, in one line."""
    counts = {status: sum(entry.status == status for entry in entries) for status in STATUSES}
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if count)


def new_run_folder(out: Path) -> Path:
    """A new folder ``logs/<time>-<random>`` in OUT, so that runs side by side never share one."""
    folder = out / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    return folder
