"""What the app itself costs: a dataset of spine-generic's size and shape, with a stand-in for the network.

``python -m bench.scale --write docs/benchmark.md`` (``make scale``) writes what it measured between the
page's ``scale`` markers. Processor time is what counts: other work on the machine changes it little.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.spine_generic import PARTICIPANTS, SITES, labels, write_dataset
from softseg_bids.app.settings import PRIVATE

ROOT = Path(__file__).parents[1]
STANDIN = ROOT / "tests" / "standin"
AT_ONCE = 16


class Cost(NamedTuple):
    """What a command took: wall and processor seconds, and its most memory (MiB)."""

    wall_s: float
    cpu_s: float
    peak_mb: float


class Run(NamedTuple):
    """The participant level over some participants.

    Attributes
    ----------
    participants, images : int
    cost : Cost
    work_mb : float
        Intermediate files an image.
    left_mb : float
        What is left after success of those in OUT's own folder, all together.
    again : Cost
        The same command once more, without any intermediate file.
    """

    participants: int
    images: int
    cost: Cost
    work_mb: float
    left_mb: float
    again: Cost


def start(*arguments: object) -> subprocess.Popen[bytes]:
    """Start the app with the stand-in, quietly."""
    environment = {**os.environ, "PYTHONPATH": str(STANDIN), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "run.py"), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def cost_of(*arguments: object) -> Cost:
    """Run the app to its end.

    Raises
    ------
    RuntimeError
        If it does not end well, with what it said.
    """
    begin = time.monotonic()
    process = start(*arguments)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}: {said[-2000:]}")
    return Cost(time.monotonic() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def participants_run(folder: Path, count: int, model: Path) -> Run:
    """Process so many participants in a folder of ours, which is kept; then once more in OUT's own."""
    images = write_dataset(folder / "bids", count, min(count, SITES))
    out, work = folder / "out", folder / "work"
    chosen = ("participant", "--nprocs", 1, "--model", model)
    cost = cost_of(folder / "bids", out, *chosen, "-w", work)
    work_mb = size_mb(work) / images
    again = cost_of(folder / "bids", out, *chosen)
    return Run(count, images, cost, work_mb, size_mb(out / PRIVATE), again)


def side_by_side(folder: Path, model: Path) -> str:
    """So many runs of one participant each at once into one OUT, then the group; what came of it."""
    write_dataset(folder / "bids", AT_ONCE, SITES)
    out = folder / "out"
    runs = [
        start(
            folder / "bids", out, "participant", "--participant-label", label, "--nprocs", 1, "--model", model
        )
        for label, _ in labels(AT_ONCE, SITES)
    ]
    codes = [run.wait() if run.stderr is None or run.stderr.read() is not None else 1 for run in runs]
    cost_of(folder / "bids", out, "group")
    rows = (out / "group_csa.tsv").read_text().splitlines()[1:]
    people = {row.split("\t")[0] for row in rows}
    validator = subprocess.run(
        ["bids-validator-deno", "--ignoreWarnings", str(out)], capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"},
    )  # fmt: skip
    valid = "no errors" if validator.returncode == 0 else "errors"
    return f"{codes.count(0)} of {AT_ONCE} ended well, {len(people)} in the group, validator: {valid}"


def size_mb(folder: Path) -> float:
    """All files below a folder, millions of bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def measure(counts: Sequence[int]) -> list[str]:
    """The page's section, as lines."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        root = Path(name)
        model = root / "standin.pt"
        model.write_bytes(b"the stand-in never opens it")
        images = write_dataset(root / "all" / "bids")
        plan = cost_of(root / "all" / "bids", root / "all" / "out", "participant", "--dry-run")
        tell(f"plan: {plan}")
        runs = []
        for count in counts:
            runs.append(participants_run(root / str(count), count, model))
            tell(f"run: {runs[-1]}")
        group = cost_of(root / str(counts[-1]) / "bids", root / str(counts[-1]) / "out", "group")
        together = side_by_side(root / "together", model)
        tell(together)
    return section(images, plan, runs, group, together)


def section(images: int, plan: Cost, runs: Sequence[Run], group: Cost, together: str) -> list[str]:
    """What was measured, in words and a table."""
    first, last = runs[0], runs[-1]
    # Starting and whatever does not grow with the images falls out of the difference.
    each_s = (last.cost.cpu_s - first.cost.cpu_s) / (last.images - first.images)
    return [
        f"A simulated dataset of spine-generic's size, shape and names ({PARTICIPANTS} participants, {SITES} "
        f"sites, {images} tiny images with disc labels and manual masks), a stand-in for the network, one "
        f"process on a {platform.machine()} processor, Python {platform.python_version()}. Seconds are those "
        "of the processor, so that other work on the machine counts little.",
        "",
        "| what | measured | asked |",
        "|---|---|---|",
        f"| discovery and plan of all {images} images (`--dry-run`, Python's start included) "
        f"| {plan.cpu_s:.1f} s, {plan.peak_mb:.0f} MiB | 5 s |",
        f"| everything but the network, an image (from {first.participants} and {last.participants} people) "
        f"| {each_s:.2f} s | 1 s |",
        f"| intermediate files, an image | {last.work_mb:.2f} MB | 20 MB |",
        f"| of these left in OUT after success, together | {last.left_mb:.2f} MB | 0 |",
        f"| the same command once more, without intermediate files, an image "
        f"| {(last.again.cpu_s - first.again.cpu_s) / (last.images - first.images):.2f} s | |",
        *(
            f"| peak memory of a run over {run.participants} participants ({run.images} images) "
            f"| {run.cost.peak_mb:.0f} MiB | flat |"
            for run in runs
        ),
        f"| `group` over {last.participants} participants | {group.cpu_s:.1f} s, {group.peak_mb:.0f} MiB | |",
        f"| {AT_ONCE} runs of one participant each at once into one OUT | {together} | all |",
        "",
        "`make scale` measures this anew.",
    ]


def written(page: str, name: str, lines: Sequence[str]) -> str:
    """A page with what stands between its markers ``<!-- name:begin -->`` and ``end`` replaced.

    Raises
    ------
    ValueError
        If the page has no such markers.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if begin not in page or end not in page:
        raise ValueError(f"the page has no markers {begin} and {end}")
    before, rest = page.split(begin, 1)
    return "\n".join([before + begin, "", *lines, "", end + rest.split(end, 1)[1]])


def tell(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(text + "\n")


def main() -> None:
    """Measure; print the section, or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--participants",
        type=int,
        nargs="+",
        default=[16, 64, PARTICIPANTS],
        help="sizes of the runs compared",
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="a page with the scale markers")
    chosen = parser.parse_args()
    lines = measure(chosen.participants)
    if chosen.write is None:
        print("\n".join(lines))
    else:
        page = chosen.write.read_text(encoding="utf-8")
        chosen.write.write_text(written(page, "scale", lines), encoding="utf-8")


if __name__ == "__main__":
    main()
