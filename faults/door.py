"""The app's own command line, but for the network: a stand-in that needs a millisecond and no weights.

The stand-in takes the image itself for the cord's fraction, so a dataset of `bodies` is measured
exactly. Environment variables make it slow, stuck, or hungry.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from softseg_bids.app import level_steps, steps  # noqa: E402
from softseg_bids.image.grid import Array  # noqa: E402
from softseg_bids.image.volume import Volume  # noqa: E402

CORD = 100.0  # brightness of a voxel that is all cord
# Seconds to sleep; seconds to be deep in a library that sees no signal; a folder that all share, and
# what becomes of a worker that is not alone there: `kill` (as the kernel does) or `limit`.
SLOW, STUCK, SHARED, HUNGER = "FAULTS_SLOW", "FAULTS_STUCK", "FAULTS_SHARED", "FAULTS_HUNGER"


def stand_in(volume: Volume, model: str, device: str) -> Array:
    """The image over CORD, after whatever the environment asks for."""
    if folder := os.environ.get(SHARED):
        _hunger(Path(folder), os.environ[HUNGER])
    time.sleep(float(os.environ.get(SLOW, 0)))
    if seconds := os.environ.get(STUCK):
        ctypes.CDLL(None).usleep(int(1e6 * float(seconds)))
    soft = np.clip(volume.array / CORD, 0, 1)
    return np.where(soft > 0.05, soft, 0).astype(np.float32)


def _hunger(folder: Path, end: str) -> None:
    """Memory for one: whoever finds another one at work is killed, or gets no memory."""
    mark = folder / str(os.getpid())
    mark.touch()
    time.sleep(1.0)
    others = [path for path in folder.iterdir() if path != mark and Path("/proc", path.name).exists()]
    if others and end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if others:
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (2**28, before[1]))
        try:
            np.ones(2**30)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
    mark.unlink()


def install() -> None:
    """Put the stand-in into the place of the network, in this process."""
    steps.run_network = stand_in
    level_steps.run_levels = lambda *_: None


# Here and in worker processes, which import this file again, but not in whoever only wants its names.
if __name__ in ("__main__", "__mp_main__"):
    install()

if __name__ == "__main__":
    from softseg_bids.app.cli import main

    sys.exit(main(sys.argv[1:]))
