"""Build both images from nothing, and try them under all restrictions they are made for.

``python -m container.check [--participants N] [--sif] [--minutes N]`` needs root, podman, buildah,
runc and debootstrap. Exit code 0: everything that was tried is right; 1: something is not, or a run
hangs; 3: nothing could be tried; 4: what was tried is right, and for the rest there was no time.
What cannot be had is said aloud.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from container.apptainer import Apptainer
from container.expectations import say
from container.podman import PROGRAMS, Podman
from container.processes import Failed, Unavailable, run
from container.trial import Enough, Trial

NOTHING_TRIED, UNFINISHED = 3, 4


def main(argv: Sequence[str]) -> int:
    """Try everything; an exit code."""
    parser = argparse.ArgumentParser(prog="python -m container.check", description=__doc__)
    parser.add_argument("--participants", type=int, default=4, metavar="N", help="of the demo, 1 to 4")
    parser.add_argument("--sif", action="store_true", help="build a SIF file instead of a sandbox")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), metavar="N", help="begin nothing new after these"
    )
    chosen = parser.parse_args(argv)
    if reasons := missing():
        say(f"SKIPPED, nothing was tried: {'; '.join(reasons)}")
        return NOTHING_TRIED
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    work = Path(tempfile.mkdtemp(prefix="softseg-container-"))
    work.chmod(0o711)
    docker, singularity = Podman(work / "podman"), Apptainer(work, chosen.sif)
    with ExitStack() as last:
        last.callback(shutil.rmtree, work, ignore_errors=True)
        last.callback(singularity.remove)
        last.callback(docker.remove)
        try:
            trial = Trial(work, chosen.participants, chosen.minutes)
            trial.podman(docker)
            trial.apptainer(singularity)
        except Unavailable as lack:
            say(f"SKIPPED, no image was tried: {lack}")
            return NOTHING_TRIED
        except Enough as step:
            say(f"SKIPPED the rest, from here on: {step}; {chosen.minutes:g} minutes are over")
            return UNFINISHED
        except Failed as failure:
            say(f"FAILED: {failure}")
            return 1
    say("passed")
    return 0


def missing() -> list[str]:
    """What this machine lacks; empty where the images can be tried."""
    programs = [name for name in (*PROGRAMS, "debootstrap") if shutil.which(name) is None]
    reasons = [f"{name} is not installed" for name in programs] + (["not root"] if os.getuid() else [])
    return reasons or _forbidden()


def _forbidden() -> list[str]:
    try:
        run(["unshare", "--mount", "--propagation", "private", "true"])
    except Failed:
        return ["this root may not mount anything"]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
