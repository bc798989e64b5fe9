"""The commands of this room: arguments in, exit code out. What is heavy is imported when it is needed."""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from softseg_bids.app.cli import answered, prepare
from softseg_bids.app.identity import version
from softseg_bids.app.options import Parser, count

PAIRS, SEED = 20, 1


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
        type=existing_place,
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


def compare_entry() -> None:
    """The console script."""
    sys.exit(compare())


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


def existing_folder(text: str) -> Path:
    """An argument that is a folder."""
    path = Path(text).absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: is not a folder; check the path")
    return path


def existing_place(text: str) -> Path:
    """An argument that is a folder or a file."""
    path = Path(text).absolute()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text}: does not exist; check the path")
    return path
