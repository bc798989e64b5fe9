"""What a run was asked to do: one frozen value, made once from the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from softseg_bids.core.levels import PMJ_DISTANCES_MM

PRIVATE = ".softseg-work"


@dataclass(frozen=True)
class Settings:
    """The choices of a run.

    Attributes
    ----------
    bids, out : Path
        The dataset and the folder of results, absolute.
    level : str
        ``participant`` or ``group``.
    participants, sessions, contrasts : tuple of str
        What was asked for, labels without prefix; empty means all.
    filter_file : Path or None
        BIDS filter file.
    derivatives : tuple of (str, Path)
        Folders of labels or, under the name ``corrected``, of corrected masks.
    contrast_set : tuple of str
        Contrast keys over which variability is computed.
    site_column : str or None
        Column of participants.tsv that names the site.
    group_column, controls : str or None
        Group: column that tells patients from controls, and what controls are called in it.
    covariates : tuple of str
        Group: columns that models adjust for.
    formula : str or None
        Group: right-hand side of the comparison of groups.
    combat, combat_fit_on : bool, str
        Group: harmonise over scanners, fitted on ``controls`` or ``all``.
    norms : str
        Group: ``controls``, ``published`` or a table.
    exclude : Path or None
        Group: list of exclusions.
    compression : Path or None
        Group: table of sites; ``Path()`` where they are to be detected.
    include_limited : bool
        Group: images of limited use enter norms' and groups' tests.
    pmj_distances : tuple of float
        Where to measure below the pontomedullary junction (mm).
    model : Path or None
        A checkpoint; None is the packaged one.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    work : Path
        Folder of intermediate files.
    clean_work : bool
        Whether they go after a run without failures.
    nprocs, omp_nthreads : int
        Processes at once, and threads of each.
    mem_gb : float
        Memory all processes may use together.
    plugin : Path or None
        YAML file with another nipype plugin.
    """

    bids: Path
    out: Path
    level: str
    work: Path
    nprocs: int
    omp_nthreads: int
    mem_gb: float
    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    contrasts: tuple[str, ...] = ()
    filter_file: Path | None = None
    derivatives: tuple[tuple[str, Path], ...] = ()
    contrast_set: tuple[str, ...] = ("T1w", "T2w", "T2starw", "MTon", "GRET1w")
    site_column: str | None = None
    group_column: str | None = None
    controls: str | None = None
    covariates: tuple[str, ...] = ("age", "sex")
    formula: str | None = None
    combat: bool = False
    combat_fit_on: str = "controls"
    norms: str = "controls"
    exclude: Path | None = None
    compression: Path | None = None
    include_limited: bool = False
    pmj_distances: tuple[float, ...] = PMJ_DISTANCES_MM
    model: Path | None = None
    device: str = "auto"
    plugin: Path | None = None
    database: Path | None = None
    validate: bool = False
    dry_run: bool = False
    reports_only: bool = False
    write_graph: bool = False
    clean_work: bool = False
    stop_on_first_crash: bool = False
    allow_mixed: bool = False
    verbose: bool = False
