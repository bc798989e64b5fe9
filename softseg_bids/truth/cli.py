"""``softseg-truth BIDS OUT``: arguments in, exit code out. What is heavy is imported when it is needed."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from softseg_bids.app.cli import answered, prepare
from softseg_bids.app.identity import version
from softseg_bids.app.options import Parser, count, positive
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.core.softtruth import TOLERANCE_MM

PROGRAM = "softseg-truth"
# Fine, nearly isotropic and hardly distorted first: their slices are trusted where two disagree.
TRUST = ("T2w", "T1w", "UNIT1", "T2starw", "MTon", "GRET1w", "MToff", "PSIR", "STIR", "DWI")


def parser() -> Parser:
    """The parser of ``softseg-truth``."""
    result = Parser(
        prog=PROGRAM,
        description="Soft ground truth: the masks of a session's contrasts, moved onto each other slice by "
        "slice and averaged, written back for each image.",
    )
    result.add_argument("bids", type=Path, metavar="BIDS_DIR", help="the dataset")
    result.add_argument("out", type=Path, metavar="OUTPUT_DIR", help="where the soft truth goes")
    result.add_argument(
        "--masks",
        type=Path,
        metavar="DIR",
        help="folder with a cord mask per image, named after it (BIDS_DIR/derivatives); what softseg itself "
        "wrote below it is not used, unless that folder is named here",
    )
    result.add_argument(
        "--participant-label", "--participant_label", dest="participants", nargs="+", default=[]
    )
    result.add_argument("--session-label", "--session-id", dest="sessions", nargs="+", default=[])
    result.add_argument("-m", "--contrasts", nargs="+", default=[], metavar="KEY", help="contrast keys")
    result.add_argument(
        "--reference",
        metavar="KEY",
        help=f"contrast whose axes and slices count first (the first there is of {' '.join(TRUST)})",
    )
    result.add_argument(
        "--in-plane",
        choices=("translation", "rigid"),
        default="translation",
        help="how slices are moved onto each other: translation as published, or turned, too",
    )
    result.add_argument(
        "--tolerance",
        type=positive,
        default=TOLERANCE_MM,
        metavar="MM",
        help=f"slices further than this from the session's centreline are rejected ({TOLERANCE_MM:g})",
    )
    result.add_argument(
        "--at-least",
        type=count,
        default=2,
        metavar="N",
        help="slices that fewer contrasts cover get no truth (2)",
    )
    result.add_argument("--version", action="version", version=f"{PROGRAM} {version()}")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        0; 1 if some session got no truth; 65 if none did; else as `app.outcome.Exit`.
    """

    def everything() -> int:
        chosen = parser().parse_args(argv)
        _check(chosen)
        prepare(chosen.out, 1)
        from softseg_bids.truth import run

        return run.run(chosen)

    return answered(PROGRAM, everything)


def entry() -> None:
    """The console script."""
    sys.exit(main())


def _check(chosen: Namespace) -> None:
    for name in ("bids", "out"):
        setattr(chosen, name, getattr(chosen, name).absolute())
    if chosen.bids.resolve() == chosen.out.resolve():
        raise Stop(Exit.USAGE, f"{chosen.out}: is the dataset itself; name another folder")
    chosen.masks = (chosen.masks or chosen.bids / "derivatives").absolute()
