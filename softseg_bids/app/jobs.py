"""What one scan and one session need to know, as values that travel to other processes as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from softseg_bids.app.identity import code_digest
from softseg_bids.bids.dataset import Scan
from softseg_bids.core.levels import PMJ_DISTANCES_MM


@dataclass(frozen=True)
class ScanJob:
    """One scan to be processed.

    Attributes
    ----------
    scan : Scan
        From discovery.
    outputs : dict of str to str
        Product -> file in OUT.
    sources : list of str
        The scan's files, as sidecars refer to them.
    version, model_hash : str
        Who computes.
    uncertainty : list of float, optional
        Of the model: coefficients of `core.uncertainty.AreaUncertainty`.
    """

    scan: Scan
    outputs: dict[str, str]
    sources: list[str]
    version: str
    model_hash: str
    uncertainty: list[float] | None = None

    def remarks(self, checksum: str) -> dict[str, Any]:
        """What the sidecar of every mask says about its making.

        Parameters
        ----------
        checksum : str
            Digest of the source files.
        """
        return {
            "Sources": self.sources,
            "SourceChecksum": checksum,
            "ModelHash": self.model_hash,
            "SoftsegVersion": self.version,
            "CodeHash": code_digest(),
            "Contrast": self.scan.contrast,
        }

    def as_json(self) -> str:
        """The job as JSON text."""
        return _dump(self)

    @classmethod
    def from_json(cls, text: str) -> ScanJob:
        """A job from its JSON text."""
        fields = json.loads(text)
        fields["scan"] = scan_from(fields["scan"])
        return cls(**fields)


@dataclass(frozen=True)
class SessionJob:
    """One session to be measured, over whatever scans of it finished.

    Attributes
    ----------
    participant, session : str, str or None
        Labels without prefix.
    outputs : dict of str to str
        Product -> file in OUT.
    participant_row, session_row : dict
        Rows of participants.tsv and of the sessions table.
    missing : list of dict
        Inputs without a measurement: ``input contrast status reason``.
    elsewhere : list of str
        Inputs that only the selection leaves out: what other runs made of them stands.
    site_column : str or None
        Which column names the site.
    dataset, version, model_hash : str
        What was processed, and who computes.
    pmj_distances_mm : list of float
        Where to measure below the pontomedullary junction.
    """

    participant: str
    session: str | None
    outputs: dict[str, str]
    dataset: str
    version: str
    model_hash: str
    site_column: str | None = None
    participant_row: dict[str, str | None] = field(default_factory=dict)
    session_row: dict[str, str | None] = field(default_factory=dict)
    missing: list[dict[str, str]] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    pmj_distances_mm: list[float] = field(default_factory=lambda: list(PMJ_DISTANCES_MM))

    @property
    def key(self) -> str:
        """``sub-01`` or ``sub-01_ses-A``."""
        return f"sub-{self.participant}" + (f"_ses-{self.session}" if self.session else "")

    def as_json(self) -> str:
        """The job as JSON text."""
        return _dump(self)

    @classmethod
    def from_json(cls, text: str) -> SessionJob:
        """A job from its JSON text."""
        return cls(**json.loads(text))


def scan_from(fields: dict[str, Any]) -> Scan:
    """A Scan from its JSON form."""
    fields = dict(fields, paths=tuple(Path(path) for path in fields["paths"]))
    for name in ("bval", "discs", "corrected", "landmarks"):
        fields[name] = Path(fields[name]) if fields.get(name) else None
    return Scan(**fields)


def _dump(job: ScanJob | SessionJob) -> str:
    return json.dumps(dataclasses.asdict(job), default=str, sort_keys=True)


def stamp(path: Path | None) -> str:
    """Size and times of a file, which change when it is edited; empty if there is none.

    A file restored with its old time has at least a new time of change, which nobody can set.
    """
    if path is None or not path.exists():
        return ""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
