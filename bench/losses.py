"""Which loss? The segmenter trained under several, from one initial state and on the very same bodies.

``python -m bench.losses --steps 3000 --write`` (``make losses``). Every batch is drawn once and shown to one
network per loss, so that budget, order and seed are equal; the rate warms up, stays and falls to nothing over
the last quarter. Where soft Dice stands beside another loss its weight fades with the rate, as in training.
The networks are judged with the packaged locator on the beginning of the synthetic set: by calibration, and
by the area's error against contrast to noise and blur.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bench import report, scores
from bench.images import make, plan
from bench.judging import Judged, judge
from softseg_bids.core.calibration import deviation
from softseg_bids.model.loss import absolute_error, adaptive_wing, cross_entropy, soft_dice, squared_error
from softseg_bids.model.network import SEGMENTER, FoldedUNet
from softseg_bids.model.predict import Model, load_own
from softseg_bids.model.weights import DEFAULT
from softseg_bids.training.dataset import Pairs
from softseg_bids.training.descent import descend

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

# Name: the loss, and the weight of soft Dice beside it before it fades.
LOSSES: dict[str, tuple[Loss, float]] = {
    "cross-entropy + fading soft Dice": (cross_entropy, 1.0),
    "cross-entropy": (cross_entropy, 0.0),
    "L1 + fading soft Dice": (absolute_error, 1.0),
    "squares + fading soft Dice": (squared_error, 1.0),
    "Adaptive Wing": (adaptive_wing, 0.0),
}
WARMUP_STEPS, DECAY_SHARE = 100, 0.25
RATE, BATCH = 2e-3, 2
SEED = 4_100_003


class Learner:
    """One network with its optimiser and loss."""

    def __init__(self, start: dict[str, Tensor], loss: Loss, dice: float) -> None:
        self.network = FoldedUNet(SEGMENTER)
        self.network.load_state_dict(start)
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=RATE, weight_decay=1e-4)
        self.loss, self.dice = loss, dice

    def step(self, batch: Sequence[Tensor], rate: float, remaining: float) -> float:
        """Learn from a batch; its loss.

        Parameters
        ----------
        batch : sequence of Tensor
            Image, cord fraction, what was seen.
        rate : float
        remaining : float
            1 until the rate falls, then what is left of it: the weight of soft Dice fades with it.
        """
        image, cord, seen = batch
        logits = self.network(image.contiguous(memory_format=torch.channels_last_3d))
        value = self.loss(logits, cord, seen)
        if self.dice:
            value = value + self.dice * remaining * soft_dice(logits, cord, seen)
        return descend(value, self.optimiser, rate)


def main(argv: Sequence[str] | None = None) -> int:
    """Train under each loss, judge, print (and write) the table."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    base = load_own(options.weights or DEFAULT, torch.device("cpu"))
    learners = start_learners(base if options.warm else None)
    train(learners, options.steps)
    networks = {name: learner.network.eval().requires_grad_(False) for name, learner in learners.items()}
    text = _introduction(options) + "\n\n" + loss_table(judge_all(base, networks, options.images))
    print(text, flush=True)
    if options.write:
        report.replace_part("losses", text)
    return 0


def start_learners(base: Model | None) -> dict[str, Learner]:
    """One learner a loss, all with the same weights: random ones of the seed, or those of a model."""
    torch.manual_seed(SEED)
    start = FoldedUNet(SEGMENTER).state_dict() if base is None else base.segmenter[1].state_dict()
    return {name: Learner(start, loss, dice) for name, (loss, dice) in LOSSES.items()}


def train(learners: dict[str, Learner], steps: int) -> None:
    """Show the same batches to all learners."""
    began, batches = time.monotonic(), _batches()
    for step in range(steps):
        rate, remaining = schedule(step, steps)
        batch = next(batches)
        values = {name: learner.step(batch, rate, remaining) for name, learner in learners.items()}
        if (step + 1) % 100 == 0 or step + 1 == steps:
            told = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
            _say(f"step {step + 1}/{steps}, {(time.monotonic() - began) / 60:.0f} min: {told}")


def schedule(step: int, steps: int) -> tuple[float, float]:
    """Learning rate of a step, and how much is left of the time in which it falls (1 before)."""
    decay = max(int(DECAY_SHARE * steps), 1)
    remaining = min((steps - step) / decay, 1.0)
    return RATE * min((step + 1) / WARMUP_STEPS, 1.0) * remaining, remaining


def judge_all(base: Model, networks: dict[str, FoldedUNet], images: int) -> dict[str, list[Judged]]:
    """Every network on the same images; each is drawn once."""
    results: dict[str, list[Judged]] = {name: [] for name in networks}
    for number, spec in enumerate(plan(images), start=1):
        case = make(spec)
        for name, network in networks.items():
            results[name].append(judge(base._replace(segmenter=(SEGMENTER, network)), case))
        _say(f"judged image {number}/{images}")
    return results


def loss_table(results: dict[str, list[Judged]]) -> str:
    """Markdown: calibration, error of area and its trends, Dice; of images with contrast enough."""
    head = (
        "loss", "Dice", "CSA bias", "SD", "slope", "trend over contrast to noise", "trend over blur",
        "reliability: largest", "by voxels",
    )  # fmt: skip
    rows = []
    for name, judged in results.items():
        chosen = scores.clear(judged)
        found, curve = scores.areas(chosen), scores.reliability(chosen)
        largest, weighted = deviation(curve)
        trends = [scores.trend(chosen, scores.TRENDS[key][1]) for key in ("cnr", "blur")]
        rows.append(
            (
                name, f"{scores.median_dice(chosen):.3f}", f"{found.bias:+.1f} %",
                f"{found.sd:.1f} %", f"{scores.slope(chosen)[0]:.3f}",
                *(f"{change:+.1f} ± {error:.1f} %" for change, error in trends),
                f"{largest:.3f}", f"{weighted:.4f}",
            )
        )  # fmt: skip
    return report.table(head, rows)


def _batches() -> Iterator[Sequence[Tensor]]:
    pairs = Pairs(SEGMENTER.window, SEGMENTER.spacing_mm, SEED, False)
    yield from DataLoader(pairs, batch_size=BATCH, num_workers=1, prefetch_factor=4)


def _introduction(options: argparse.Namespace) -> str:
    start = "the packaged weights" if options.warm else "one random state"
    return (
        f"Each loss had {options.steps} steps of {BATCH} patches from {start}, on the same bodies in the "
        f"same order; judged on {options.images} images of the synthetic set."
    )


def _say(text: str) -> None:
    print(f"losses: {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.losses", description="Compare losses.")
    parser.add_argument("--steps", type=int, default=3000, help="training steps of each loss")
    parser.add_argument("--images", type=int, default=40, help="images of the synthetic set to judge on")
    parser.add_argument("--weights", type=Path, help="checkpoint with the locator (the packaged one)")
    parser.add_argument("--warm", action="store_true", help="start from that checkpoint's segmenter")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmark.md")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
