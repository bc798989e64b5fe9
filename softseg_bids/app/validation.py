"""Asking the BIDS validator, where the user wants a strict run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from softseg_bids.app.outcome import Exit, Stop

TOOL = "bids-validator-deno"
MOST_LINES = 40


def validate(dataset: Path) -> None:
    """Run the BIDS validator on a dataset.

    Raises
    ------
    Stop
        16 where it finds errors (with what it says), 64 where it is not installed.
    """
    tool = shutil.which(TOOL) or shutil.which(TOOL, path=str(Path(sys.executable).parent))
    if tool is None:
        raise Stop(Exit.USAGE, f"--validate needs {TOOL}: pip install {TOOL}, or leave the option out")
    done = subprocess.run([tool, str(dataset)], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[:MOST_LINES]
        lines = "\n".join(said)
        raise Stop(
            Exit.INVALID_INPUT,
            f"{dataset}: the BIDS validator finds errors; mend them, or run without --validate\n{lines}",
        )
