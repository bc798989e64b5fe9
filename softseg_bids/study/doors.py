"""The commands of this room: arguments in, exit code out. What is heavy is imported when it is needed."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from softseg_bids.app.cli import answered, prepare
from softseg_bids.app.identity import version
from softseg_bids.app.options import Parser, count, device, existing, existing_folder, positive
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.study.arguments import method, model_or_results

PAIRS, SEED = 20, 1
# 1.4 % of a C2-C3 area, a seventh of what healthy adults differ by.
TOLERANCE_MM2 = 1.0


def compare_parser() -> Parser:
    """The parser of ``softseg-compare``."""
    result = _parser(
        "softseg-compare",
        "What changes against another tool: our areas and masks against its masks and tables, by contrast "
        "and region, failures of each, and the worst disagreements to be judged blind.",
    )
    result.add_argument("out", type=existing_folder, metavar="OUT", help="results of softseg")
    result.add_argument(
        "other",
        type=existing,
        metavar="OTHER",
        help="folder of masks and/or CSV tables of sct_process_segmentation, or one such table",
    )
    _add_output(result, "softseg-compare")
    result.add_argument("--name", default="other", help="what the other tool is called on the page (other)")
    result.add_argument(
        "--bids", type=existing_folder, metavar="DIR", help="the dataset, if it is not where OUT says"
    )
    result.add_argument(
        "--pairs", type=count, default=PAIRS, metavar="N", help=f"blinded pairs at most ({PAIRS})"
    )
    result.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"of the lots who is A ({SEED})")
    return result


def compare(argv: Sequence[str] | None = None) -> int:
    """``softseg-compare OUT OTHER``; an exit code."""

    def call(chosen: Namespace) -> int:
        from softseg_bids.study import compare as room

        return room.run(chosen)

    return _entered("softseg-compare", compare_parser, call, argv)


def drift_parser() -> Parser:
    """The parser of ``softseg-drift``."""
    result = _parser(
        "softseg-drift",
        "What a new model changes: both are run over a frozen BIDS dataset; bias, limits of agreement "
        "and scaling factor of the area by contrast, and whether the bias is within a tolerance (exit code 1 "
        "if not).",
    )
    for name in ("old", "new"):
        result.add_argument(
            name,
            type=model_or_results,
            metavar=name.upper(),
            help="a model (whatever --model takes), 'packaged', or a folder of softseg's results on DATA",
        )
    result.add_argument("data", type=existing_folder, metavar="DATA", help="the frozen BIDS dataset")
    _add_output(result, "softseg-drift")
    result.add_argument(
        "--tolerance",
        type=positive,
        default=TOLERANCE_MM2,
        metavar="MM2",
        help=f"largest bias that passes, mm2 ({TOLERANCE_MM2:g})",
    )
    result.add_argument(
        "--region", metavar="NAME", help="region that is judged (vert-C2:C3, else the first that is there)"
    )
    _add_running(result)
    return result


def evaluate_parser() -> Parser:
    """The parser of ``softseg-evaluate``."""
    result = _parser(
        "softseg-evaluate",
        "How good methods are on a labelled dataset: overlap, volume, surface, area, calibration, spread "
        "over contrasts with the response to size beside it, and tests between methods.",
    )
    result.add_argument("data", type=existing_folder, metavar="DATA", help="the BIDS dataset")
    result.add_argument(
        "methods",
        type=method,
        nargs="+",
        metavar="NAME=PATH",
        help="a method: its name, and a folder of masks, a model that is run over DATA (whatever --model "
        "takes), or 'packaged'; NAME@0.5=PATH cuts its masks at 0.5, NAME=T1w:PATH,T2w:PATH has one a "
        "contrast",
    )
    result.add_argument(
        "--labels", type=existing_folder, metavar="DIR", help="folder of the labels (DATA/derivatives/labels)"
    )
    _add_output(result, "softseg-evaluate")
    result.add_argument(
        "--contrast-set",
        "--contrast_set",
        dest="contrast_set",
        nargs="+",
        default=[],
        metavar="KEY",
        help="contrasts over which spread is computed (all that have labels, without DWI)",
    )
    _add_running(result)
    return result


def compare_entry() -> None:
    """The console script ``softseg-compare``."""
    sys.exit(compare())


def drift(argv: Sequence[str] | None = None) -> int:
    """``softseg-drift OLD NEW DATA``; an exit code."""

    def call(chosen: Namespace) -> int:
        from softseg_bids.study import drift as room

        return room.run(chosen)

    return _entered("softseg-drift", drift_parser, call, argv)


def drift_entry() -> None:
    """The console script ``softseg-drift``."""
    sys.exit(drift())


def evaluate(argv: Sequence[str] | None = None) -> int:
    """``softseg-evaluate DATA NAME=PATH ...``; an exit code."""

    def call(chosen: Namespace) -> int:
        names = [asked.name for asked in chosen.methods]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise Stop(Exit.USAGE, f"{', '.join(twice)}: names two methods; give each a name of its own")
        from softseg_bids.study import evaluate as room

        return room.run(chosen)

    return _entered("softseg-evaluate", evaluate_parser, call, argv)


def evaluate_entry() -> None:
    """The console script ``softseg-evaluate``."""
    sys.exit(evaluate())


def _entered(
    program: str,
    parser: Callable[[], Parser],
    call: Callable[[Namespace], int],
    argv: Sequence[str] | None,
) -> int:
    """Read the arguments, make the output folder and the environment fit, and go."""

    def everything() -> int:
        chosen = parser().parse_args(argv)
        prepare(chosen.output, 1)
        return call(chosen)

    return answered(program, everything)


def _parser(program: str, description: str) -> Parser:
    result = Parser(prog=program, description=description)
    result.add_argument("--version", action="version", version=f"{program} {version()}")
    return result


def _add_output(parser: Parser, default: str) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=lambda text: Path(text).absolute(),
        default=Path(default).absolute(),
        metavar="DIR",
        help=f"folder of the page and the tables (./{default})",
    )


def _add_running(parser: Parser) -> None:
    """How models are run over the dataset: options of softseg, under the same names."""
    group = parser.add_argument_group("how models are run, as options of softseg")
    for options, dest, metavar, what in (
        (("--participant-label", "--participant_label"), "participants", "LABEL", "participants"),
        (("-m", "--contrasts"), "contrasts", "KEY", "contrast keys"),
        (("-d", "--derivatives"), "derivatives", "[NAME=]PATH", "folders with disc labels"),
    ):
        group.add_argument(*options, dest=dest, nargs="+", default=[], metavar=metavar, help=what)
    group.add_argument("--device", type=device, default="auto", metavar="{auto,cpu,cuda[:n]}")
    group.add_argument("--nprocs", type=count, metavar="N", help="processes at once")
    group.add_argument("--omp-nthreads", type=count, default=1, metavar="N", help="threads of each process")
    group.add_argument("--mem", metavar="SIZE", help="memory for all processes: 8G")
