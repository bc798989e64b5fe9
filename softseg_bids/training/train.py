"""Train one of the two networks on procedural bodies: one command, resumable anywhere.

``python -m softseg_bids.training.train segmenter --folder runs/segmenter --minutes 60``

Drawing a body costs a processor as much as learning from it: batches are drawn from a pool, in which
new bodies replace the oldest. The learning rate warms up, stays constant, and decays only over the
last steps of a run (``--decay``). Soft Dice finds the cord fast and bounds what an ambiguous image can
cost, but it sharpens edges; its weight fades with the rate, and the calibrated cross-entropy remains.
The state is saved as it was *before* the decay, so that a later run goes on from there as if none had
been; the averaged weights of the end are saved beside it, to be packed by
``python -m softseg_bids.training.pack``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from softseg_bids.model.loss import area_error, cross_entropy, soft_dice
from softseg_bids.model.network import LOCATOR, SEGMENTER, Architecture, FoldedUNet
from softseg_bids.training.dataset import Pair, Pairs, draw_pair, endless
from softseg_bids.training.descent import Clock, averaged, descend, replayed

ROLES = {"locator": LOCATOR, "segmenter": SEGMENTER}
VALIDATION_SEED = 20_000_003
WARMUP_STEPS = 100
AVERAGED_STEPS = 1000
Batch = tuple[Tensor, Tensor, Tensor]
# A validation patch with less cord than this share of its voxels says nothing about Dice.
LEAST_CORD = 0.001


class Fields(Protocol):
    """An architecture, whichever: a named tuple of plain values."""

    def _asdict(self) -> dict[str, Any]: ...


def main(argv: list[str] | None = None) -> int:
    """Train for the given time or steps, then decay, validate and save."""
    options = _parser().parse_args(argv)
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device(options.device)
    torch.manual_seed(options.seed)
    architecture = ROLES[options.role]
    # Channels last: a fifth faster on CPUs, and what tensor cores want.
    network = FoldedUNet(architecture).to(device)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    average = averaged(network, AVERAGED_STEPS)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-4)
    step = _resume(folder, network, average, optimiser)
    learner: nn.Module = torch.compile(network) if options.compile else network  # type: ignore[assignment]
    validation = _validation_pairs(options.role, architecture, device)
    # Another step to resume from draws other bodies: none is seen twice.
    seed = options.seed * 1_000_003 + step
    drawn = Pairs(architecture.window, architecture.spacing_mm, seed, wide=options.role == "locator")
    fresh = endless(drawn, options.fresh, options.workers, device)
    pairs = mirrored(fresh, options.batch, options.pool, np.random.default_rng(seed))
    clock, first, decay_from = Clock(options.minutes, options.decay), step, None
    log = (folder / "log.tsv").open("a")
    losses: list[float] = []
    while True:
        ends = clock.is_late or step + options.decay >= options.steps
        if decay_from is None and step > first and (ends or step % options.every == 0):
            _save_state(folder, step, network, average, optimiser)
            if ends:
                decay_from = step
        done = 0.0 if decay_from is None else (step - decay_from) / max(options.decay, 1)
        if done >= 1:
            break
        rate = options.rate * min(1.0, (step + 1) / WARMUP_STEPS) * (1 - done)
        weights = options.dice * (1 - done), options.area
        losses.append(_train_step(learner, optimiser, next(pairs), rate, weights, options.bfloat16))
        average.update_parameters(network)
        step += 1
        clock.step()
        if step % options.every == 0:
            line = f"{step}\t{clock.spent_s:.0f}\t{rate:.2e}\t{np.mean(losses):.5f}\t" + _scores(
                average, validation
            )
            print(line, flush=True)
            print(line, file=log, flush=True)
            losses.clear()
            save_weights(folder / "weights.pt", step, architecture, average.module)
    print("end\t" + _scores(average, validation), flush=True)
    save_weights(folder / "weights.pt", step, architecture, average.module)
    log.close()
    return 0


def mirrored(fresh: Iterator[Batch], count: int, size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Batches of a pool (:func:`replayed`, kept in half precision), some bodies mirrored left to right.

    Yields
    ------
    tuple of Tensor
        Image, cord and seen, each of shape (count, 1, x, y, z).
    """
    halved = ([part.half() for part in new] for new in fresh)
    for bodies in replayed(halved, count, size, rng):
        turned = [[part.flip([1]) for part in body] if rng.random() < 0.5 else body for body in bodies]
        image, cord, seen = (torch.stack(parts).float() for parts in zip(*turned, strict=True))
        yield image, cord, seen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train a network on procedural bodies.")
    parser.add_argument("role", choices=sorted(ROLES))
    parser.add_argument(
        "--folder", type=Path, required=True, help="state, weights and log; resumed if present"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--steps", type=int, default=2**40, help="total, earlier runs counted in")
    parser.add_argument("--decay", type=int, default=600, help="last steps, over which the rate falls to 0")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--fresh", type=int, default=3, help="new bodies a step")
    parser.add_argument("--pool", type=int, default=1500, help="bodies kept")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--dice", type=float, default=1.0, help="weight of soft Dice beside cross-entropy")
    parser.add_argument("--area", type=float, default=0.0, help="weight of the error of slices' areas, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw bodies (CPU only)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="fuse operations; needs a C++ compiler")
    parser.add_argument(
        "--bfloat16", action="store_true", help="compute so on a CPU that can, too; CUDA always does"
    )
    parser.add_argument("--every", type=int, default=200, help="steps between validations and saved states")
    return parser


def _train_step(
    learner: nn.Module,
    optimiser: torch.optim.Optimizer,
    pair: Batch,
    rate: float,
    weights: tuple[float, float],
    bfloat16: bool,
) -> float:
    image, cord, seen = pair
    with torch.autocast(image.device.type, torch.bfloat16, enabled=bfloat16 or image.device.type == "cuda"):
        logits = learner(image.contiguous(memory_format=torch.channels_last_3d)).float()
    loss = cross_entropy(logits, cord, seen)
    for weight, other in zip(weights, (soft_dice, area_error), strict=True):
        if weight:
            loss = loss + weight * other(logits, cord, seen)
    return descend(loss, optimiser, rate)


def _validation_pairs(
    role: str, architecture: Architecture, device: torch.device, count: int = 40
) -> list[Pair]:
    rng = np.random.default_rng(VALIDATION_SEED)
    return [
        draw_pair(rng, architecture.window, architecture.spacing_mm, device, role == "locator")
        for _ in range(count)
    ]


@torch.no_grad()
def _scores(network: nn.Module, pairs: list[Pair]) -> str:
    """Median Dice at 0.5 and relative volume error over the fixed validation bodies that show a cord."""
    network.eval()
    dice, volume = [], []
    for image, cord, seen in pairs:
        predicted = network(image[None, None]).sigmoid()[0, 0] * seen
        true = cord * seen
        if float(true.mean()) < LEAST_CORD:
            continue
        p, t = predicted >= 0.5, true >= 0.5
        dice.append(float(2 * (p & t).sum() / (p.sum() + t.sum()).clamp_min(1)))
        volume.append(float(predicted.sum() / true.sum()) - 1)
    network.train()
    return (
        f"dice {np.median(dice):.3f} (10 % {np.quantile(dice, 0.1):.3f})\t"
        f"volume {100 * np.median(volume):+.1f} % (MAD {100 * np.median(np.abs(volume)):.1f} %)"
    )


def _resume(folder: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Go on from ``state.pt``; without ``optimiser.pt`` its moments are gathered anew in a few steps."""
    if not (folder / "state.pt").exists():
        return 0
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    moments = folder / "optimiser.pt"
    if moments.exists():
        optimiser.load_state_dict(torch.load(moments, map_location="cpu", weights_only=True))
    return int(state["step"])


def _save_state(
    folder: Path, step: int, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    save_aside(folder / "optimiser.pt", optimiser.state_dict())
    save_aside(
        folder / "state.pt",
        {"step": step, "network": network.state_dict(), "average": average.state_dict()},
    )


def save_weights(path: Path, step: int, architecture: Fields, network: nn.Module) -> None:
    """Write what :mod:`softseg_bids.training.pack` reads: the steps, the architecture and the weights."""
    save_aside(path, {"step": step, "architecture": architecture._asdict(), "state": network.state_dict()})


def save_aside(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is never half there."""
    aside = path.with_suffix(".part")
    torch.save(content, aside)
    aside.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
