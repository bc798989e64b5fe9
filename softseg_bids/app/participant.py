"""The participant level: run the passes over a dataset, write the manifest."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from softseg_bids.app import identity, kept, workflow
from softseg_bids.app.engine import engine_of, run_pass
from softseg_bids.app.identity import checkpoint, version
from softseg_bids.app.jobs import ScanJob, SessionJob
from softseg_bids.app.manifest import Manifest
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.progress import Progress, Unit
from softseg_bids.app.records import read_record
from softseg_bids.app.results import session_tables
from softseg_bids.app.settings import Settings
from softseg_bids.app.under_way import Run, entries, say
from softseg_bids.bids import derivatives
from softseg_bids.bids.dataset import Dataset, Scan
from softseg_bids.bids.discover import CORRECTED

logger = logging.getLogger("softseg")
FIGURES = {"montage": "Montage", "sagittal": "Sagittal", "overview": "Overview"}


def run(settings: Settings, dataset: Dataset, argv: Sequence[str]) -> Exit:
    """Process a dataset's chosen scans; never stops at a failed one.

    Raises
    ------
    Stop
        64 if there is no usable checkpoint.
    OutputError
        If OUT cannot be written.
    KeyboardInterrupt
        If somebody ended the run; the manifest says how far it came.
    """
    model, model_hash = checkpoint(settings.model)
    uncertainty = identity.uncertainty(model)
    check_site_column(dataset, settings.site_column)
    engine_of(settings)  # a malformed plugin file ends the run before anything is written
    links = {name: folder for name, folder in settings.derivatives if name == CORRECTED}
    derivatives.write_description(settings.out, settings.bids, dataset.name, version(), links)
    jobs = {_unit(scan.key): _scan_job(scan, settings, model_hash, uncertainty) for scan in dataset.scans}
    manifest = Manifest(list(argv), version(), model_hash, dataclasses.asdict(settings))
    under_way = Run(settings, manifest, dataset, jobs)
    logs = under_way.begin()
    say(f"{len(dataset.scans)} images of {len(dataset.participants)} participants; logs in {logs}")
    with under_way.guarded(dataset.participants):
        passes = under_way.passes
        scans = _run_scans(jobs, model, settings, logs, passes)
        manifest.inputs = entries(dataset, jobs, scans, settings)
        _run_sessions(dataset, jobs, scans, manifest, settings, logs, passes)
        _run_pages(dataset.participants, settings, logs, passes)
    return manifest.exit_code()


def reports(settings: Settings, argv: Sequence[str]) -> Exit:
    """Write the participants' pages again, from OUT alone.

    Raises
    ------
    Stop
        18 or 66 if OUT has no results of these participants.
    OutputError
        If OUT cannot be written.
    KeyboardInterrupt
        If somebody ended the run.
    """
    there = sorted(
        {table.name.split("_", 1)[0].removeprefix("sub-") for table in session_tables(settings.out)}
    )
    if not there:
        raise Stop(Exit.NO_INPUT, f"{settings.out}: has no results; run the participant level first")
    unknown = sorted(set(settings.participants) - set(there))
    if unknown:
        raise Stop(
            Exit.NOTHING_SELECTED,
            f"{settings.out}: has no results of {', '.join(unknown)}; it has {', '.join(there)}",
        )
    chosen = settings.participants or tuple(there)
    under_way = Run(settings, Manifest(list(argv), version(), settings=dataclasses.asdict(settings)))
    logs = under_way.begin()
    with under_way.guarded(chosen):
        _run_pages(chosen, settings, logs, under_way.passes)
    return under_way.manifest.exit_code()


def check_site_column(dataset: Dataset, name: str | None) -> None:
    """Refuse a site column that no table has, instead of leaving every site empty.

    Raises
    ------
    Stop
        64, with the columns that exist.
    """
    rows = [dataset.participant_row(label) for label in dataset.participants]
    rows += [dataset.session_row(*pair) for pair in dataset.sessions]
    there = sorted({column for row in rows for column in row})
    if name is not None and name not in there:
        raise Stop(
            Exit.USAGE,
            f"--site-column {name}: {dataset.root / 'participants.tsv'} has no such column; "
            f"it has {', '.join(there) or 'none'}",
        )


def scan_outputs(out: Path, scan: Scan) -> dict[str, str]:
    """Product -> file in OUT, for one scan."""
    products = [name for name in derivatives.PRODUCTS if name != "truth"]
    files = {name: derivatives.output(out, scan, name) for name in products}
    files |= {name: derivatives.figure(out, scan, what) for name, what in FIGURES.items()}
    return {name: str(path) for name, path in files.items()}


def _scan_job(scan: Scan, settings: Settings, model_hash: str, uncertainty: list[float] | None) -> ScanJob:
    sources = derivatives.sources(scan)
    corrections = dict(settings.derivatives).get(CORRECTED)
    if scan.corrected is not None and corrections is not None:
        sources.append(f"bids:{CORRECTED}:{scan.corrected.relative_to(corrections).as_posix()}")
    return ScanJob(scan, scan_outputs(settings.out, scan), sources, version(), model_hash, uncertainty)


def _run_scans(
    jobs: dict[str, ScanJob], model: Path, settings: Settings, logs: Path, passes: dict[str, Progress]
) -> Progress:
    base = settings.work / "scans"
    units = {name: Unit(job.scan.relative, len(workflow.SCAN_STEPS)) for name, job in jobs.items()}
    progress = passes["scans"] = Progress("scans", units)

    def assemble(names: list[str]) -> Any:
        made = workflow.scan_workflow({name: jobs[name] for name in names}, model, settings, base)
        if settings.write_graph:
            made.write_graph(str(logs / "scans.dot"), graph2use="hierarchical", format="dot")
        return made

    run_pass(assemble, progress, settings, base, logs)
    _miss_vanished(progress, base)
    return progress


def _miss_vanished(scans: Progress, base: Path) -> None:
    """Images that were removed since they were segmented: their session could not be measured with them."""
    for name in scans.in_state("done"):
        image = read_record(base / name / "save" / "record.json").image
        if not Path(image).is_file():
            unit = scans.units[name]
            unit.kind, unit.reason = "data", f"{image}: vanished during the run; put it back and run again"
            scans.finish(name, "failed")


def _run_sessions(
    dataset: Dataset,
    jobs: dict[str, ScanJob],
    scans: Progress,
    manifest: Manifest,
    settings: Settings,
    logs: Path,
    passes: dict[str, Progress],
) -> Progress:
    base = settings.work / "sessions"
    finished = {
        name: settings.work / "scans" / name / "save" / "record.json" for name in scans.in_state("done")
    }
    units: dict[str, tuple[SessionJob, list[Path]]] = {}
    for participant, session in sessions_of(dataset, settings.out):
        job = _session_job(dataset, participant, session, manifest, settings)
        records = [
            path
            for name, path in finished.items()
            if (jobs[name].scan.participant, jobs[name].scan.session) == (participant, session)
        ]
        units[_unit(job.key)] = job, records
    progress = passes["sessions"] = Progress(
        "sessions", {name: Unit(job.key, len(workflow.SESSION_STEPS)) for name, (job, _) in units.items()}
    )
    run_pass(
        lambda names: workflow.session_workflow({name: units[name] for name in names}, base),
        progress,
        settings,
        base,
        logs,
    )
    return progress


def _run_pages(
    participants: Sequence[str], settings: Settings, logs: Path, passes: dict[str, Progress]
) -> Progress:
    base = settings.work / "pages"
    with_results = [label for label in participants if session_tables(settings.out, label)]
    inputs = {
        _unit(f"sub-{label}"): {"participant": label, "out": str(settings.out), "root": str(settings.bids)}
        for label in with_results
    }
    progress = passes["pages"] = Progress(
        "pages", {name: Unit(f"sub-{given['participant']}", 1) for name, given in inputs.items()}
    )
    run_pass(
        lambda names: workflow.page_workflow({name: inputs[name] for name in names}, base),
        progress,
        settings,
        base,
        logs,
    )
    return progress


def sessions_of(dataset: Dataset, out: Path) -> list[tuple[str, str | None]]:
    """The sessions whose tables are this run's to write: with a scan, or a file it has to say something of.

    Those that the selection leaves out are other runs', unless none has written their table yet.
    """
    scanned = {(scan.participant, scan.session) for scan in dataset.scans}
    told = {(entry.participant, entry.session) for entry in dataset.left_out if entry.asked}
    labels = dataset.asked_sessions
    return [
        pair
        for pair in every_session(dataset)
        if pair in scanned
        or (pair in told and (not labels or pair[1] in labels))
        or not derivatives.session_table(out, *pair).exists()
    ]


def every_session(dataset: Dataset) -> list[tuple[str, str | None]]:
    """Every session with a scan or a file left out, so that the ledger misses none."""
    named = {(scan.participant, scan.session) for scan in dataset.scans}
    named |= {
        (entry.participant, entry.session)
        for entry in dataset.left_out
        if entry.participant and entry.session
    }
    with_any = {participant for participant, _ in named}
    named |= {
        (entry.participant, None)
        for entry in dataset.left_out
        if entry.participant and entry.participant not in with_any
    }
    chosen = set(dataset.participants)
    return sorted((pair for pair in named if pair[0] in chosen), key=lambda pair: (pair[0], pair[1] or ""))


def _session_job(
    dataset: Dataset, participant: str, session: str | None, manifest: Manifest, settings: Settings
) -> SessionJob:
    first = next(pair for pair in every_session(dataset) if pair[0] == participant)
    homeless = (participant, session) == first  # takes what belongs to the participant but to no session
    missing = [
        {"input": entry.input, "contrast": entry.contrast, "status": entry.status, "reason": entry.reason}
        for entry in manifest.inputs
        if entry.status in ("failed", "left out", "not run")
        and entry.participant == participant
        and (entry.session == (session or "") or (homeless and not entry.session))
    ]
    table = derivatives.session_table(settings.out, participant, session)
    curves = derivatives.session_figure(settings.out, participant, session, "Curves", ".svg")
    return SessionJob(
        participant,
        session,
        {"table": str(table), "curves": str(curves)},
        dataset.name,
        version(),
        manifest.model_hash,
        settings.site_column,
        dataset.participant_row(participant),
        dataset.session_row(participant, session),
        missing,
        kept.elsewhere(dataset, participant, session),
        list(settings.pmj_distances),
    )


def _unit(key: str) -> str:
    """A name nipype accepts, another one for each key: labels of letters, digits and + joined by - and _."""
    return key.replace("-", "_").replace("+", "_plus_")
