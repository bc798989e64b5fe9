"""Train the network that finds vertebral levels: one command, resumable anywhere.

``python -m softseg_bids.training.train_levels --folder runs/levels --minutes 60``

Drawing an example costs more than learning from it: batches are drawn from a pool, in which new
examples replace the oldest. The rate warms up, stays constant, and falls to nothing over the last steps
of a run (``--decay``). The state is saved as it was before that fall, so that a later run goes on from there;
the averaged weights of the end lie beside it, for ``python -m softseg_bids.training.pack``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from softseg_bids.core.evidence import MARKS
from softseg_bids.model.levels import LEVELS, LevelNet
from softseg_bids.training.descent import Clock, averaged, descend, replayed
from softseg_bids.training.levels_data import NOTHING, Examples, as_tensors, draw_examples
from softseg_bids.training.train import save_aside, save_weights

VALIDATION_SEED = 30_000_001
VALIDATION_BODIES = 24
WARMUP_STEPS = 100
AVERAGED_STEPS = 500
# Weights of the parts of the loss: marks are rare, so their cross-entropy is small.
MARK_WEIGHT, TIP_WEIGHT = 8.0, 0.3
Batch = list[Tensor] | tuple[Tensor, ...]


def main(argv: list[str] | None = None) -> int:
    """Train for the given time or steps, then let the rate fall, validate and save."""
    options = _parser().parse_args(argv)
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    network = LevelNet(LEVELS).to(device)
    average = averaged(network, AVERAGED_STEPS)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-3)
    step = _resume(folder, network, average, optimiser)
    validation = _validation(options.validation)
    stream = DataLoader(
        Examples(options.seed * 1_000_003 + step),
        batch_size=options.fresh,
        num_workers=options.workers,
        prefetch_factor=4 if options.workers else None,
    )
    batches = replayed(stream, options.batch, options.pool, np.random.default_rng([options.seed, step]))
    clock, first, falls_from = Clock(options.minutes, options.decay), step, None
    losses: list[list[float]] = []
    with (folder / "log.tsv").open("a") as log:
        while True:
            ends = clock.is_late or step + options.decay >= options.steps
            if falls_from is None and step > first and (ends or step % options.every == 0):
                _save_state(folder, step, network, average, optimiser)
                falls_from = step if ends else None
            done = 0.0 if falls_from is None else (step - falls_from) / max(options.decay, 1)
            if done >= 1:
                break
            rate = options.rate * min(1.0, (step + 1) / WARMUP_STEPS) * (1 - done)
            batch = [torch.stack(parts).to(device) for parts in zip(*next(batches), strict=True)]
            losses.append(_train_step(network, optimiser, batch, rate))
            average.update_parameters(network)
            step += 1
            clock.step()
            if step % options.every == 0:
                parts = " ".join(f"{value:.4f}" for value in np.mean(losses, axis=0))
                line = (
                    f"{step}\t{clock.spent_s:.0f}\t{rate:.2e}\t{parts}\t{_scores(average.module, validation)}"
                )
                print(line, flush=True)
                print(line, file=log, flush=True)
                losses.clear()
                save_weights(folder / "weights.pt", step, LEVELS, average.module)
    print(f"end\t{_scores(average.module, validation)}", flush=True)
    save_weights(folder / "weights.pt", step, LEVELS, average.module)
    return 0


def level_loss(out: Tensor, marks: Tensor, tip: Tensor, level: Tensor) -> tuple[Tensor, list[float]]:
    """Cross-entropy of marks and classes, and the distance of the tips, over the rows in view.

    Parameters
    ----------
    out : Tensor, shape (n, OUTPUTS, rows)
    marks : Tensor, shape (n, len(MARKS), rows)
    tip : Tensor, shape (n, rows)
    level : Tensor of int64, shape (n, rows)
        -1 where nothing is seen.

    Returns
    -------
    Tensor
        To be minimised.
    list of float
        Its parts, before they are weighted: marks, tips, classes.
    """
    count = len(MARKS)
    seen = (level != NOTHING).float()
    total = seen.sum().clamp_min(1)
    each = nn.functional.binary_cross_entropy_with_logits(out[:, :count], marks, reduction="none")
    mark = (each * seen[:, None]).sum() / total
    near = marks[:, 0]
    far = ((out[:, count] - tip).abs() * near).sum() / near.sum().clamp_min(1)
    named = (
        nn.functional.cross_entropy(out[:, count + 1 :], level, ignore_index=NOTHING, reduction="sum") / total
    )
    loss = MARK_WEIGHT * mark + TIP_WEIGHT * far + named
    return loss, [float(part.detach()) for part in (mark, far, named)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train the network that finds vertebral levels.")
    parser.add_argument("--folder", type=Path, required=True, help="state, weights, log; resumed if present")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--steps", type=int, default=2**40, help="total, earlier runs counted in")
    parser.add_argument("--decay", type=int, default=400, help="last steps, over which the rate falls to 0")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--fresh", type=int, default=3, help="new examples a step")
    parser.add_argument("--pool", type=int, default=1000, help="examples kept")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw bodies")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--every", type=int, default=100, help="steps between validations and saved states")
    parser.add_argument("--validation", type=int, default=VALIDATION_BODIES, help="bodies to validate on")
    return parser


def _train_step(
    network: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch, rate: float
) -> list[float]:
    image, marks, tip, level = batch
    loss, parts = level_loss(network(image), marks, tip, level)
    descend(loss, optimiser, rate)
    return parts


def _validation(bodies: int) -> list[tuple[Tensor, ...]]:
    rng = np.random.default_rng(VALIDATION_SEED)
    return [as_tensors(rng, draw_examples(rng, count=1)[0]) for _ in range(bodies)]


@torch.no_grad()
def _scores(network: nn.Module, examples: list[tuple[Tensor, ...]]) -> str:
    """Loss of the classes, share of rows with the right one (or its neighbour), and discs found."""
    network.eval()
    named, right, beside, rows = 0.0, 0, 0, 0
    found, false, discs = 0, 0, 0
    for image, marks, _, level in examples:
        out = network(image[None])[0]
        seen = level != NOTHING
        scores = out[len(MARKS) + 1 :, seen]
        named += float(nn.functional.cross_entropy(scores.T, level[seen], reduction="sum"))
        away = (scores.argmax(dim=0) - level[seen]).abs()
        right, beside, rows = (
            right + int((away == 0).sum()),
            beside + int((away <= 1).sum()),
            rows + len(away),
        )
        true, guess = _peaks(marks[0] * seen), _peaks(out[0].sigmoid() * seen)
        near = (true[:, None] - guess[None]).abs() <= 2
        found += int(near.any(dim=1).sum())
        false += int((~near.any(dim=0)).sum())
        discs += len(true)
    network.train()
    shares = (named / max(rows, 1), right / max(rows, 1), beside / max(rows, 1))
    return (
        "class {:.3f} right {:.3f} beside {:.3f}\t".format(*shares)
        + f"discs {found / max(discs, 1):.3f} false {false / max(discs, 1):.3f}"
    )


def _peaks(line: Tensor) -> Tensor:
    """Rows where a line has a maximum of at least 0.4."""
    top = nn.functional.max_pool1d(line[None], 7, stride=1, padding=3)[0]
    return torch.nonzero((line == top) & (line >= 0.4))[:, 0]


def _resume(folder: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    path = folder / "state.pt"
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _save_state(
    folder: Path, step: int, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    content = {
        "step": step,
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    save_aside(folder / "state.pt", content)


if __name__ == "__main__":
    raise SystemExit(main())
