"""A model run over a dataset by the app's own participant level."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

from softseg_bids.app.cli import main
from softseg_bids.app.options import settings_of
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.results import session_tables
from softseg_bids.app.settings import Settings
from softseg_bids.bids.sidecars import read_json


class Side(NamedTuple):
    """One of the two models.

    Attributes
    ----------
    name : str
        As given.
    out : Path
        Its results.
    facts : dict
        ``version model_hash``.
    """

    name: str
    out: Path
    facts: dict[str, str]


def has_results(path: Path) -> bool:
    """Whether a folder holds results of the app."""
    return path.is_dir() and bool(session_tables(path))


def run_model(model: Path | None, data: Path, out: Path, chosen: Namespace) -> Exit:
    """Run the participant level; what is done already is not done again.

    Parameters
    ----------
    model : Path or None
        None is the packaged one.
    data, out : Path
        The dataset, and where results go.
    chosen : Namespace
        Options of :func:`add_running_options`.

    Returns
    -------
    Exit
        0, or 1 if some image failed.

    Raises
    ------
    Stop
        With the app's own code if it could not run; it has told why.
    """
    arguments = arguments_for(data, out, chosen)
    arguments += ["--model", str(model)] if model is not None else []
    sys.stderr.write(f"softseg {' '.join(arguments)}\n")
    code = Exit(main(arguments))
    if code not in (Exit.DONE, Exit.SOME_FAILED):
        raise Stop(code, f"{model or 'the packaged model'}: could not be run over {data}; see above")
    return code


def arguments_for(data: Path, out: Path, chosen: Namespace) -> list[str]:
    """The app's arguments for a dataset, from options of the same names."""
    arguments = [str(data), str(out), "participant", "--omp-nthreads", str(chosen.omp_nthreads)]
    arguments += ["--device", chosen.device]
    for option, value in (("--nprocs", chosen.nprocs), ("--mem", chosen.mem)):
        arguments += [option, str(value)] if value is not None else []
    for option, values in (
        ("--participant-label", chosen.participants),
        ("--contrasts", chosen.contrasts),
        ("--derivatives", chosen.derivatives),
    ):
        arguments += [option, *values] if values else []
    return arguments


def settings_for(data: Path, out: Path, chosen: Namespace) -> Settings:
    """The app's settings for a dataset, from options of the same names."""
    return settings_of(arguments_for(data, out, chosen))


def model_facts(out: Path) -> dict[str, str]:
    """Version of the app and digest of the model that made the results in a folder."""
    for table in session_tables(out):
        said = read_json(table.with_suffix(".json")).get("Session", {})
        if said:
            return {"version": str(said.get("version", "")), "model_hash": str(said.get("model_hash", ""))}
    return {"version": "", "model_hash": ""}
