"""The command line of the BIDS App: its options, and the Settings they make."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from softseg_bids.app.identity import code_digest, version
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.resources import granted_memory_gb, granted_processes, usable_cpus
from softseg_bids.app.settings import PRIVATE, Settings

LEVELS = ("participant", "group")
UNITS_GB = {"M": 1 / 1024, "G": 1.0, "T": 1024.0}
MODEL_HELP = "another checkpoint: of softseg, of the contrast-agnostic releases v2.x, or a folder of nnU-Net"
MOST_THREADS = 8  # more threads a process gain little on volumes of this size


class Parser(argparse.ArgumentParser):
    """argparse, leaving with the exit code of a usage error."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"{self.prog}: {message}\n")


def settings_of(argv: Sequence[str]) -> Settings:
    """Settings from command line arguments.

    Raises
    ------
    SystemExit
        With code 64 for wrong usage, 0 for ``--help`` and ``--version``.
    Stop
        For an unknown analysis level (17) and for folders that cannot be combined (64).
    """
    arguments = parser().parse_args(argv)
    if arguments.level not in LEVELS:
        raise Stop(
            Exit.UNKNOWN_LEVEL,
            f"unknown analysis level {arguments.level!r}; it is one of {', '.join(LEVELS)}",
        )
    chosen = vars(arguments)
    out = chosen["out"] = arguments.out.absolute()
    chosen["bids"] = arguments.bids.absolute()
    chosen["clean_work"] = arguments.clean_work or arguments.work is None
    chosen["work"] = (arguments.work or out / PRIVATE).absolute() / f"softseg-{version()}-{code_digest()}"
    chosen["nprocs"] = granted_processes(arguments.nprocs)
    chosen["omp_nthreads"] = arguments.omp_nthreads or min(MOST_THREADS, max(1, chosen["nprocs"] // 2))
    chosen["mem_gb"] = granted_memory_gb(arguments.mem_gb)
    chosen["participants"] = tuple(label.removeprefix("sub-") for label in arguments.participants)
    chosen["sessions"] = tuple(label.removeprefix("ses-") for label in arguments.sessions)
    chosen["pmj_distances"] = dict.fromkeys(arguments.pmj_distances)  # one region a distance
    for name in ("contrasts", "derivatives", "contrast_set", "covariates", "pmj_distances"):
        chosen[name] = tuple(chosen[name])
    del chosen["notrack"]
    settings = Settings(**chosen)
    check_folders(settings)
    return settings


def check_folders(settings: Settings) -> None:
    """Refuse folders that would mix results or intermediate files with the input.

    Raises
    ------
    Stop
        64, with both folders in the message.
    """
    bids, out, work = (path.resolve() for path in (settings.bids, settings.out, settings.work))
    if out == bids:
        raise Stop(
            Exit.USAGE,
            f"{settings.out}: is the dataset itself; choose another output folder, "
            f"for example {settings.bids / 'derivatives' / 'softseg'}",
        )
    if bids in work.parents and out not in work.parents:
        raise Stop(
            Exit.USAGE,
            f"{settings.work}: lies inside the dataset {settings.bids}; choose a work folder elsewhere",
        )


def parser() -> Parser:
    """The parser of all options."""
    result = Parser(
        prog="softseg",
        description="Contrast-agnostic soft segmentation of the spinal cord and its cross-sectional area.",
        epilog="One image without BIDS: softseg IMAGE.nii.gz -o DIR [--discs FILE]",
        argument_default=None,
    )
    result.add_argument("bids", type=Path, metavar="BIDS_DIR", help="the BIDS dataset")
    result.add_argument("out", type=Path, metavar="OUTPUT_DIR", help="folder of results")
    result.add_argument("level", metavar="{participant,group}", help="what to do")
    result.add_argument("--version", action="version", version=f"softseg {version()}")
    _add_selection(result.add_argument_group("what to process"))
    _add_measures(result.add_argument_group("how to measure"))
    _add_study(result.add_argument_group("group: statistics of the study"))
    _add_resources(result.add_argument_group("how to run"))
    return result


def single_parser() -> Parser:
    """The parser of the command for one image."""
    result = Parser(
        prog="softseg", description="Segment and measure the spinal cord in one image, without BIDS."
    )
    result.add_argument("image", type=Path, metavar="IMAGE.nii.gz")
    result.add_argument(
        "-o", "--output", dest="out", type=Path, required=True, metavar="DIR", help="folder of results"
    )
    result.add_argument("--discs", type=existing_file, metavar="FILE", help="disc labels on the image's grid")
    result.add_argument(
        "--corrected", type=existing_file, metavar="FILE", help="a corrected cord mask of the image"
    )
    _add_distances(result)
    result.add_argument("--model", type=existing, metavar="PATH", help=MODEL_HELP)
    result.add_argument("--device", type=device, default="auto", metavar="{auto,cpu,cuda[:n]}")
    result.add_argument("--omp-nthreads", type=count, default=usable_cpus(), metavar="N")
    return result


def _add_selection(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--participant-label",
        "--participant_label",
        dest="participants",
        nargs="+",
        default=[],
        action="extend",
        metavar="LABEL",
        help="participants, with or without 'sub-'",
    )
    group.add_argument(
        "--session-label",
        "--session_label",
        "--session-id",
        "--session_id",
        dest="sessions",
        nargs="+",
        default=[],
        action="extend",
        metavar="LABEL",
        help="sessions, with or without 'ses-'",
    )
    group.add_argument(
        "-m",
        "--contrasts",
        "--modalities",
        dest="contrasts",
        nargs="+",
        default=[],
        action="extend",
        metavar="KEY",
        help="participant level: contrast keys (T1w T2w T2starw MTon MToff GRET1w DWI ...)",
    )
    group.add_argument(
        "--bids-filter-file",
        "--bids_filter_file",
        dest="filter_file",
        type=existing_file,
        metavar="FILE",
        help="participant level: JSON file with entities to select by",
    )
    group.add_argument(
        "-d",
        "--derivatives",
        dest="derivatives",
        type=_named_folder,
        nargs="+",
        default=[],
        action="extend",
        metavar="[NAME=]PATH",
        help="folders with disc labels; corrected=PATH holds corrected masks",
    )
    group.add_argument(
        "--bids-database-dir",
        "--bids_database_dir",
        dest="database",
        type=Path,
        metavar="DIR",
        help="keep the index of the dataset here",
    )
    group.add_argument(
        "--validate", action="store_true", help="stop (exit 16) where the BIDS validator finds errors"
    )
    group.add_argument(
        "--skip-bids-validation",
        "--skip_bids_validation",
        "--skip-bids-validator",
        "--skip_bids_validator",
        dest="validate",
        action="store_false",
        help="do not validate (the default)",
    )
    group.add_argument(
        "--dry-run", "--dry_run", action="store_true", help="list every input, chosen or left out, and stop"
    )


def _add_measures(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", type=existing, metavar="PATH", help=MODEL_HELP)
    group.add_argument(
        "--device", type=device, default="auto", metavar="{auto,cpu,cuda[:n]}", help="where the network runs"
    )
    _add_distances(group)
    group.add_argument(
        "--contrast-set",
        "--contrast_set",
        dest="contrast_set",
        nargs="+",
        metavar="KEY",
        default=list(Settings.contrast_set),
        help="group: contrasts over which variability is computed",
    )
    group.add_argument(
        "--site-column",
        "--site_column",
        metavar="NAME",
        help="column of participants.tsv that names the site",
    )
    group.add_argument(
        "--allow-mixed",
        "--allow_mixed",
        action="store_true",
        help="group: pool results of different models or versions",
    )


def _add_distances(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--pmj-distance",
        "--pmj_distance",
        dest="pmj_distances",
        type=positive,
        nargs="+",
        metavar="MM",
        default=list(Settings.pmj_distances),
        help="measure 20 mm about so far below the pontomedullary junction, too (50)",
    )


def _add_study(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--group-column",
        "--group_column",
        metavar="NAME",
        help="column that tells patients from controls (pathology, group or diagnosis)",
    )
    group.add_argument(
        "--controls", metavar="LABEL", help="what controls are called in it (HC, control, ...)"
    )
    group.add_argument(
        "--covariates",
        nargs="*",
        metavar="NAME",
        default=list(Settings.covariates),
        help="columns that models adjust for (age sex)",
    )
    group.add_argument(
        "--formula", metavar="TEXT", help="terms of the comparison of groups: 'age + sex + height + (1|site)'"
    )
    group.add_argument(
        "--combat", action="store_true", help="harmonise areas over scanners, in columns beside the raw ones"
    )
    group.add_argument(
        "--combat-fit-on",
        "--combat_fit_on",
        choices=("controls", "all"),
        default=Settings.combat_fit_on,
        help="whose images harmonisation is fitted on (controls)",
    )
    group.add_argument(
        "--norms",
        metavar="{controls,published,FILE}",
        default=Settings.norms,
        help="what each person is compared with (the study's own controls)",
    )
    group.add_argument(
        "--exclude",
        type=existing_file,
        metavar="FILE",
        help="exclude.tsv (file, slices or levels, reason, rater, date) or SCT's qc_fail.yml",
    )
    group.add_argument(
        "--compression",
        type=existing_file,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="minima per level and narrowings, at sites that FILE names (participant_id, site) or detected",
    )
    group.add_argument(
        "--include-limited",
        "--include_limited",
        action="store_true",
        help="images whose pixels or plane limit the area enter comparisons of groups, too",
    )


def _add_resources(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-w",
        "--work-dir",
        "--work_dir",
        dest="work",
        type=Path,
        metavar="DIR",
        help="folder of intermediate files, which are kept for later runs "
        f"(OUTPUT_DIR/{PRIVATE}, removed after a run without failures)",
    )
    group.add_argument(
        "--nprocs",
        "--nthreads",
        "--n_cpus",
        "--n-cpus",
        dest="nprocs",
        type=count,
        metavar="N",
        help="processes at once (all granted processors)",
    )
    group.add_argument(
        "--omp-nthreads", "--omp_nthreads", type=count, metavar="N", help="threads of each process"
    )
    group.add_argument(
        "--mem", dest="mem_gb", type=_memory_gb, metavar="SIZE", help="memory for all processes: 8G, 6000M"
    )
    group.add_argument(
        "--use-plugin",
        "--use_plugin",
        dest="plugin",
        type=existing_file,
        metavar="FILE",
        help="YAML file with a nipype plugin and its plugin_args",
    )
    group.add_argument(
        "--reports-only",
        "--reports_only",
        action="store_true",
        help="only write the pages again, from OUTPUT_DIR",
    )
    group.add_argument(
        "--write-graph", "--write_graph", action="store_true", help="write the workflow's graph to logs"
    )
    group.add_argument(
        "--clean-workdir",
        "--clean_workdir",
        dest="clean_work",
        action="store_true",
        help="remove intermediate files from DIR of -w, too, after a run without failures",
    )
    group.add_argument(
        "--stop-on-first-crash",
        "--stop_on_first_crash",
        action="store_true",
        help="stop at the first failure",
    )
    group.add_argument(
        "--notrack", action="store_true", help="accepted for compatibility; nothing ever phones home"
    )
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more")


def count(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def _memory_gb(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MGT])(?:i?B)?", text, re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size with its unit, such as 8G or 6000M")
    return float(match[1]) * UNITS_GB[match[2].upper()]


def device(text: str) -> str:
    """An argument that names a device."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu, cuda or cuda:N")
    return text


def existing_file(text: str) -> Path:
    """An argument that is a file."""
    path = Path(text).absolute()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text}: is not a file; check the path")
    return path


def positive(text: str) -> float:
    """An argument that is a number above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def share(text: str) -> float:
    """An argument that is a number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def existing(text: str) -> Path:
    """An argument that is a file or a folder."""
    path = Path(text).absolute()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text}: does not exist; check the path")
    return path


def existing_folder(text: str) -> Path:
    """An argument that is a folder."""
    path = Path(text).absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: is not a folder; check the path")
    return path


def _named_folder(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    path = existing_folder(str(Path(folder if separator else text).absolute()))
    return (name if separator else path.name), path
