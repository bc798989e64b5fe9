"""Judge many images, in several processes, telling how far it is."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

from bench import scores
from bench.images import Spec, make
from bench.judging import Judged, judge
from softseg_bids.model.predict import Model, load_own
from softseg_bids.model.weights import DEFAULT

Item = TypeVar("Item")
Answer = TypeVar("Answer")
_model: Model


def say(text: str) -> None:
    """Progress, apart from the tables."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def judge_all(specs: Sequence[Spec], weights: Path, processes: int) -> Iterator[Judged]:
    """Draw and judge images in their order, in one or several processes of one thread each."""
    yield from _followed(in_processes(_draw_and_judge, specs, processes, _prepare, weights), len(specs))


def in_processes(
    call: Callable[[Item], Answer],
    items: Iterable[Item],
    processes: int,
    prepare: Callable[..., None],
    *given: object,
) -> Iterator[Answer]:
    """Answers in the order of the items, from one or several processes.

    Parameters
    ----------
    call : callable
        Of a module: other processes import it.
    items : iterable
    processes : int
        1: this one.
    prepare : callable
        Called once in each process, with ``given``.
    """
    if processes == 1:
        prepare(*given)
        yield from map(call, items)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=prepare, initargs=given) as pool:
        yield from pool.map(call, items)


def _followed(results: Iterator[Judged], count: int) -> Iterator[Judged]:
    for number, one in enumerate(results, start=1):
        row = one.image
        say(
            f"{number:3d}/{count} {row['image']:18} {row['contrast']:14} {row['resolution']:15} "
            f"{row['pathology']:11} Dice {row['dice']:.3f} CSA {scores.relative_error(row):+6.1f} % "
            f"missed {row['n_missed']}/{row['n_slices']} stray {row['stray_mm']:.0f} mm"
        )
        yield one


def _prepare(weights: Path) -> None:
    global _model
    torch.set_num_threads(1)
    _model = load_own(weights or DEFAULT, torch.device("cpu"))


def _draw_and_judge(spec: Spec) -> Judged:
    return judge(_model, make(spec))
