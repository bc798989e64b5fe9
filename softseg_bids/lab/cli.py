"""``softseg-train``: arguments in, exit code out. What is heavy is imported when it is needed."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from softseg_bids.app.cli import answered, prepare
from softseg_bids.app.identity import version
from softseg_bids.app.options import Parser, count, device, existing, positive, share
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.model.weights import DEFAULT

PROGRAM = "softseg-train"
ARCHITECTURES = ("plainconvunet", "folded")
PACKAGED = "packaged"
LOSSES = ("ours", "adaptive-wing", "cross-entropy", "absolute", "squared", "dice")


def parser() -> Parser:
    """The parser of ``softseg-train``."""
    result = Parser(
        prog=PROGRAM,
        description="Train or fine-tune on labelled BIDS datasets; the checkpoint runs with softseg --model. "
        "The same command goes on with a training that was stopped.",
    )
    result.add_argument("folder", type=Path, metavar="FOLDER", help="split, state, log and checkpoint")
    result.add_argument(
        "--data",
        nargs=2,
        type=existing,
        action="append",
        required=True,
        metavar=("BIDS_DIR", "LABELS"),
        help="a dataset and the folder with its labels (soft truth of softseg-truth, or masks named after "
        "their images; not what softseg itself wrote below it); may be given several times",
    )
    result.add_argument(
        "-m", "--contrasts", nargs="+", default=[], metavar="KEY", help="only these contrasts"
    )
    result.add_argument(
        "--architecture",
        choices=ARCHITECTURES,
        help="the published one, or ours (folded); that of --start, else folded",
    )
    result.add_argument(
        "--loss", choices=LOSSES, default="ours", help="ours: cross-entropy and fading soft Dice"
    )
    result.add_argument(
        "--start",
        type=_start,
        metavar="PATH",
        help=f"fine-tune this checkpoint, or '{PACKAGED}': the one that comes with softseg",
    )
    result.add_argument(
        "--synthetic", type=share, default=0.0, metavar="SHARE", help="share of procedural bodies (0)"
    )
    result.add_argument(
        "--no-augmentation", dest="augment", action="store_false", help="real images as they are"
    )
    result.add_argument("--hard", action="store_true", help="cut labels at 0.5")
    result.add_argument("--steps", type=count, default=50_000, metavar="N", help="in all (50000)")
    result.add_argument("--batch", type=count, default=2, metavar="N", help="(2)")
    result.add_argument(
        "--rate", type=positive, default=1e-3, metavar="R", help="learning rate at first (0.001)"
    )
    result.add_argument(
        "--every", type=count, default=250, metavar="N", help="steps between validations (250)"
    )
    result.add_argument(
        "--patience",
        type=count,
        default=20,
        metavar="N",
        help="validations without improvement that end it (20)",
    )
    result.add_argument(
        "--patch", nargs=3, type=count, metavar=("RL", "AP", "SI"), help="another patch, voxels"
    )
    result.add_argument(
        "--site-column",
        "--site_column",
        metavar="NAME",
        help="column of participants.tsv that names the site",
    )
    result.add_argument("--within-site", action="store_true", help="let sites be on both sides of the split")
    result.add_argument("--seed", type=int, default=0, metavar="N")
    result.add_argument("--device", type=device, default="auto", metavar="{auto,cpu,cuda[:n]}")
    result.add_argument("--omp-nthreads", type=count, default=1, metavar="N", help="threads (1)")
    result.add_argument(
        "--workers",
        type=_workers,
        default=0,
        metavar="N",
        help="processes that draw examples ahead, for a GPU; the result is the same for any number (0)",
    )
    result.add_argument(
        "--tensorboard", action="store_true", help="write a TensorBoard log, too (needs tensorboard)"
    )
    result.add_argument("--version", action="version", version=f"{PROGRAM} {version()}")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; an exit code of `app.outcome.Exit`."""

    def everything() -> int:
        chosen = parser().parse_args(argv)
        _check(chosen)
        prepare(chosen.folder, chosen.omp_nthreads)
        from softseg_bids.lab import train

        return train.run(chosen)

    return answered(PROGRAM, everything)


def entry() -> None:
    """The console script."""
    sys.exit(main())


def _start(text: str) -> Path:
    return DEFAULT if text == PACKAGED else existing(text)


def _workers(text: str) -> int:
    return 0 if text == "0" else count(text)


def _check(chosen: Namespace) -> None:
    chosen.folder = chosen.folder.absolute()
    names = [folder.name for folder, _ in chosen.data]
    if len(set(names)) != len(names):
        raise Stop(
            Exit.USAGE, f"two datasets have one name ({', '.join(names)}): a split could not tell them apart"
        )
    for folder, _ in chosen.data:
        if chosen.folder == folder or not folder.is_dir():
            raise Stop(
                Exit.USAGE,
                f"{folder}: is no dataset to train on; name its folder, and another for the training",
            )
