"""Train the looks that follow the segmenter's first network, on what that one makes of procedural bodies.

``python -m softseg_bids.training.train_refiner --first runs/segmenter --folder runs/refined --minutes 60``

The first network stays as it is. What it sees and says is cropped around its estimate and kept in a
pool, from which batches are drawn while new bodies replace the oldest: drawing a body costs more than
learning from it. Some estimates are made too narrow or too wide over some slices, so that a look can mend
what the first network never does to procedural bodies, but may do to real ones. The loss is the calibrated
cross-entropy near the cord, and the error of each slice's area, which is what this project measures.
The rate falls from the first step to the last. ``weights.pt`` of the folder holds both networks, to be
packed as the segmenter; a later run goes on from it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, max_pool3d

from softseg_bids.model.loss import area_error
from softseg_bids.model.network import Architecture
from softseg_bids.model.refine import LOOKS, WIDTHS, Cascade, Refiner
from softseg_bids.training.dataset import Pairs, endless
from softseg_bids.training.descent import averaged, descend, replayed
from softseg_bids.training.train import save_weights

VALIDATION_SEED = 21_000_001
WARMUP_STEPS = 100
AVERAGED_STEPS = 500
# Crop (voxels) around the estimate: the largest cord, and its surroundings.
CROP = (32, 32, 32)
# Share of estimates made worse before they are looked at, of these made too narrow, and by how many voxels.
WORSENED, NARROWED, FARTHEST = 0.3, 0.7, 3
# An estimate of less than a slice of the thinnest cord (voxels) shows no place to look at again.
LEAST_ESTIMATE = 30.0
# How much the error of areas counts beside the cross-entropy.
AREA_WEIGHT = 10.0
# A validation crop with less cord than this (voxels) says nothing about volume.
LEAST_VOLUME = 100.0

Look = Callable[[Tensor, Tensor], Tensor]


class Crops(NamedTuple):
    """What a batch of looks learns from, each of shape (n, 1, x, y, z): the image as the network sees it, the
    first network's logits, the true cord fraction, and 1 where the image was seen."""

    image: Tensor
    logits: Tensor
    cord: Tensor
    seen: Tensor


def main(argv: list[str] | None = None) -> int:
    """Train for the given time or steps, validate and save."""
    options = _parser().parse_args(argv)
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    device = torch.device(options.device)
    cascade, architecture, step = _begin(options.first, folder, device)
    average = averaged(cascade.refiner, AVERAGED_STEPS)
    mean = Cascade(architecture)
    mean.first, mean.refiner = cascade.first, cast(Refiner, average.module)
    look: Look = torch.compile(cascade.look) if options.compile else cascade.look
    first = torch.compile(cascade.first) if options.compile else cascade.first
    optimiser = torch.optim.AdamW(cascade.refiner.parameters(), lr=options.rate, weight_decay=1e-4)
    validation = next(_crops(first, architecture, VALIDATION_SEED, options.validation, 0, device))
    seed = options.seed * 1_000_003 + step
    stream = _crops(first, architecture, seed, options.fresh, options.workers, device)
    batches = replayed(stream, options.batch, options.pool, rng)
    began, before = time.monotonic(), step
    losses: list[float] = []
    with (folder / "log.tsv").open("a") as log:
        while True:
            seconds = time.monotonic() - began
            done = max(seconds / (60 * options.minutes), (step - before) / options.steps)
            if done >= 1:
                break
            batch = worsened(_mirrored(_joined(next(batches)), rng), rng)
            rate = options.rate * min(1.0, (step - before + 1) / WARMUP_STEPS) * (1 - done)
            losses.append(_train_step(look, optimiser, batch, rate, earlier=int(rng.integers(LOOKS))))
            average.update_parameters(cascade.refiner)
            step += 1
            if step % options.every == 0:
                scores = _scores(mean.look, validation)
                line = f"{step}\t{seconds:.0f}\t{rate:.2e}\t{np.mean(losses):.5f}\t{scores}"
                print(line, flush=True)
                print(line, file=log, flush=True)
                losses.clear()
                save_weights(folder / "weights.pt", step, architecture, mean)
    print("end\t" + _scores(mean.look, validation), flush=True)
    save_weights(folder / "weights.pt", step, architecture, mean)
    return 0


def refining_loss(logits: Tensor, cord: Tensor, seen: Tensor) -> Tensor:
    """Cross-entropy over the voxels near the cord, and the error of slices' areas.

    Parameters
    ----------
    logits, cord, seen : Tensor, shape (n, 1, x, y, z)
        Prediction, true fraction in [0, 1], and 1 where the image was seen.
    """
    near = (max_pool3d(cord, (5, 5, 1), stride=1, padding=(2, 2, 0)) > 0).float() * seen
    each = binary_cross_entropy_with_logits(logits, cord, reduction="none") * seen
    return each.sum() / near.sum().clamp_min(1) + AREA_WEIGHT * area_error(logits, cord, seen)


def worsened(batch: Crops, rng: np.random.Generator) -> Crops:
    """The same crops, of some the estimate too narrow or too wide in plane, over some neighbouring slices."""
    logits = batch.logits.clone()
    for each in logits:
        if rng.random() >= WORSENED:
            continue
        sign = -1 if rng.random() < NARROWED else 1
        reach = int(rng.integers(1, FARTHEST + 1))
        low, last = np.sort(rng.integers(0, each.shape[-1], 2))
        part = each[..., low : last + 1]
        each[..., low : last + 1] = sign * max_pool3d(
            sign * part, (2 * reach + 1, 2 * reach + 1, 1), 1, (reach, reach, 0)
        )
    return batch._replace(logits=logits)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train the looks after the first network.")
    parser.add_argument("--first", type=Path, required=True, help="folder of the trained first network")
    parser.add_argument("--folder", type=Path, required=True, help="weights and log; resumed if present")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--steps", type=int, default=2**40, help="of this run")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--fresh", type=int, default=3, help="new bodies a step")
    parser.add_argument("--pool", type=int, default=1500, help="crops kept")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw bodies")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="fuse operations; needs a C++ compiler")
    parser.add_argument("--every", type=int, default=200, help="steps between validations and saved weights")
    parser.add_argument("--validation", type=int, default=64, help="bodies to validate on")
    return parser


def _begin(first: Path, folder: Path, device: torch.device) -> tuple[Cascade, Architecture, int]:
    """Looks as they were left in ``folder``, or new ones behind the first network; and their steps."""
    begun = (folder / "weights.pt").exists()
    path = folder if begun else first
    content = torch.load(path / "weights.pt", map_location="cpu", weights_only=True)
    fields = {name: tuple(value) for name, value in content["architecture"].items()}
    architecture = Architecture(**fields)._replace(refine=WIDTHS)
    cascade = Cascade(architecture).to(device)
    cascade.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    (cascade if begun else cascade.first).load_state_dict(content["state"])
    cascade.first.eval().requires_grad_(False)
    return cascade, architecture, int(content["step"]) if begun else 0


@torch.no_grad()
def _crops(
    first: Callable[[Tensor], Tensor],
    architecture: Architecture,
    seed: int,
    count: int,
    workers: int,
    device: torch.device,
) -> Iterator[Crops]:
    """``count`` bodies at a time on which the first network sees a cord, cropped around it."""
    pairs = Pairs(architecture.window, architecture.spacing_mm, seed, wide=False)
    kept: list[Crops] = []
    for image, cord, seen in endless(pairs, 4, workers, device):
        logits = first(image.contiguous(memory_format=torch.channels_last_3d))
        for one in _each(Crops(image, logits, cord, seen)):
            estimate = one.logits[0].sigmoid()
            if float(estimate.sum()) < LEAST_ESTIMATE:
                continue
            where = (slice(None), *_around(estimate))
            kept.append(Crops(*(part[where].half() for part in one)))
            if len(kept) == count:
                yield Crops(*(torch.stack(parts) for parts in zip(*kept, strict=True)))
                kept = []


def _around(estimate: Tensor) -> tuple[slice, ...]:
    """A crop's place, its middle at the centre of mass as far as the window allows."""
    places = []
    for axis, (most, length) in enumerate(zip(CROP, estimate.shape, strict=True)):
        size = min(most, length)
        profile = estimate.sum(dim=[a for a in range(3) if a != axis])
        middle = float((profile * torch.arange(length, device=profile.device)).sum() / profile.sum())
        start = min(max(round(middle - 0.5 * (size - 1)), 0), length - size)
        places.append(slice(start, start + size))
    return tuple(places)


def _each(crops: Crops) -> list[Crops]:
    return [Crops(*parts) for parts in zip(*crops, strict=True)]


def _joined(crops: list[tuple[Tensor, ...]]) -> Crops:
    return Crops(*(torch.stack(parts).float() for parts in zip(*crops, strict=True)))


def _mirrored(batch: Crops, rng: np.random.Generator) -> Crops:
    flips = [axis for axis in (2, 3, 4) if rng.random() < 0.5]
    return Crops(*(part.flip(flips) for part in batch))


def _train_step(
    look: Look, optimiser: torch.optim.Optimizer, batch: Crops, rate: float, earlier: int
) -> float:
    """Learn from what the first network, or the given number of earlier looks, left to be mended."""
    logits = batch.logits
    with torch.no_grad():
        for _ in range(earlier):
            logits = look(batch.image, logits)
    value = refining_loss(look(batch.image, logits), batch.cord, batch.seen)
    return descend(value, optimiser, rate)


@torch.no_grad()
def _scores(look: Look, crops: Crops) -> str:
    """Error of the volume on fixed bodies: after the first network, and after each look."""
    image, logits, cord, seen = (part.float() for part in crops)
    true = (cord * seen).sum(dim=(1, 2, 3, 4))
    told = []
    for number in range(LOOKS + 1):
        if number:
            parts = zip(torch.split(image, 8), torch.split(logits, 8), strict=True)
            logits = torch.cat([look(*part) for part in parts])
        measured = (logits.sigmoid() * seen).sum(dim=(1, 2, 3, 4))
        error = 100 * (measured / true - 1)[true > LEAST_VOLUME].numpy()
        told.append(f"{np.median(error):+.1f} % (MAD {np.median(np.abs(error)):.1f} %)")
    return "\t".join(told)


if __name__ == "__main__":
    raise SystemExit(main())
