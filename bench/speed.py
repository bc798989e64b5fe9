"""Speed and memory beside the published architecture: the same image, threads and run.

The published network (Bédard & Karthik 2025; nnU-Net's PlainConvUNet, six stages of 32 to 320 channels,
windows of 64 x 192 x 320 at 1 mm) has random weights here, because time does not depend on them; its forward
pass alone is what ours is compared with. Without the package dynamic-network-architectures only our side
is measured.
"""

from __future__ import annotations

import importlib
import multiprocessing
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bench.scores import Figure
from softseg_bids.core.cord import keep_cord, measure_slices, trace
from softseg_bids.image.grid import Array, Grid
from softseg_bids.image.volume import Volume
from softseg_bids.model.predict import load_own, segment
from softseg_bids.model.weights import DEFAULT

# The published window (RL, AP, SI) and widths.
WINDOW = (64, 192, 320)
CHANNELS = [32, 64, 128, 256, 320, 320]
GIB = 2.0**30
REPEATS = 2


class Image(NamedTuple):
    """A field of view to be timed; 1 mm and no more than one published window high."""

    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


IMAGES = (
    Image("T1w of a neck, 1 mm", (192, 256, 320), (1.0, 1.0, 1.0)),
    Image("axial T2*w, 0.5 x 0.5 x 5 mm", (320, 320, 20), (0.5, 0.5, 5.0)),
)


class Timing(NamedTuple):
    """Seconds of the forward passes, of all the work on an image (NaN if not done), and GiB held at most."""

    passes_s: float
    whole_s: float
    peak_gib: float


def phantom(image: Image) -> Volume:
    """A grey cord in bright fluid from end to end, amid noise: enough for the whole field to be worked on."""
    rng = np.random.default_rng(0)
    x, y, _ = ((np.arange(n) - 0.5 * (n - 1)) * h for n, h in zip(image.shape, image.spacing_mm, strict=True))
    away = np.hypot(x[:, None] / 6.0, y[None] / 4.0)
    sac = np.hypot(x[:, None] / 9.0, y[None] / 7.0)
    plane = 0.25 + 0.7 * (sac < 1) - 0.45 * (away < 1)
    array = plane[:, :, None] + 0.05 * rng.standard_normal(image.shape)
    return Volume(array.astype(np.float32), Grid(image.shape, np.diag([*image.spacing_mm, 1.0])))


def time_ours(weights: Path, image: Image, threads: int) -> Timing:
    """All the work on an image, from array to table; best of two. Call it in a process of its own."""
    torch.set_num_threads(threads)
    model = load_own(weights or DEFAULT, torch.device("cpu"))
    spent = [0.0]
    for _, network in (model.locator, model.segmenter):
        _count(network, spent)
    volume = phantom(image)
    found = []
    for _ in range(REPEATS):
        spent[0] = 0.0
        began = time.perf_counter()
        soft: Array = keep_cord(segment(model, volume), volume.grid.spacing_mm)
        line = trace(soft, volume.grid.spacing_mm)
        if line is not None:
            measure_slices(soft, volume.grid.spacing_mm, line)
        found.append((time.perf_counter() - began, spent[0]))
    whole, passes = min(found)
    return Timing(passes, whole, _peak_gib())


def time_published(weights: Path, image: Image, threads: int) -> Timing:
    """Forward passes of the published architecture over the image's windows; best of two.

    The published pipeline crops to one window across and slides half a window along the cord.
    """
    torch.set_num_threads(threads)
    network = published_network().eval()
    height = image.shape[2] * image.spacing_mm[2]
    windows = max(int(np.ceil(height / (0.5 * WINDOW[2]))) - 1, 1)
    patch = torch.randn((1, 1, *WINDOW))
    seconds = []
    with torch.inference_mode():
        for _ in range(REPEATS):
            began = time.perf_counter()
            network(patch)
            seconds.append(time.perf_counter() - began)
    return Timing(min(seconds) * windows, float("nan"), _peak_gib())


def published_network() -> nn.Module:
    """The published architecture, randomly initialised.

    Raises
    ------
    ImportError
        If dynamic-network-architectures is not installed.
    """
    architectures = importlib.import_module("dynamic_network_architectures.architectures.unet")

    network: nn.Module = architectures.PlainConvUNet(
        input_channels=1,
        n_stages=len(CHANNELS),
        features_per_stage=CHANNELS,
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=[1, 2, 2, 2, 2, 2],
        n_conv_per_stage=2,
        num_classes=1,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=False,
    )
    return network


def speed_part(weights: Path, threads: int, say: Callable[[str], None]) -> tuple[list[Figure], list[Any]]:
    """Part c: its figures, and a row an image."""
    try:
        published_network()
        has_published = True
    except ImportError as error:
        say(f"NO COMPARISON with the published architecture: {error}; see the bench target of the Makefile")
        has_published = False
    figures: list[Figure] = []
    rows: list[Sequence[str]] = []
    for image in IMAGES:
        ours = _alone(time_ours, weights, image, threads)
        say(f"{image.name}: ours {ours.whole_s:.1f} s, passes {ours.passes_s:.1f} s, {ours.peak_gib:.2f} GiB")
        theirs = _alone(time_published, weights, image, threads) if has_published else None
        if theirs:
            say(f"{image.name}: published passes {theirs.passes_s:.1f} s, {theirs.peak_gib:.2f} GiB")
        figures += compare(image.name, ours, theirs)
        rows.append((image.name, *_texts(ours), *(_texts(theirs) if theirs else ("not run",) * 3)))
    return figures, rows


def compare(name: str, ours: Timing, theirs: Timing | None) -> list[Figure]:
    """What is asked of speed and memory on one image."""
    found = [
        Figure(f"{name}: whole run", "≤ 10 s", f"{ours.whole_s:.1f} s", ours.whole_s <= 10),
        Figure(f"{name}: memory", "≤ 2 GiB", f"{ours.peak_gib:.2f} GiB", ours.peak_gib <= 2),
    ]
    if theirs is None:
        return [*found, Figure(f"{name}: against the published passes", "≥ 20, ≥ 5", "not run", None)]
    passes, whole = theirs.passes_s / ours.passes_s, theirs.passes_s / ours.whole_s
    return [
        *found,
        Figure(f"{name}: passes, times faster", "≥ 20", f"{passes:.1f}", passes >= 20),
        Figure(f"{name}: whole run against their passes alone", "≥ 5", f"{whole:.1f}", whole >= 5),
    ]


def _count(network: nn.Module, spent: list[float]) -> None:
    """Add the time of each forward pass of a network to ``spent``."""
    plain = network.forward

    def timed(image: Tensor) -> Tensor:
        began = time.perf_counter()
        result: Tensor = plain(image)
        spent[0] += time.perf_counter() - began
        return result

    network.forward = timed


def _alone(work: Callable[[Path, Image, int], Timing], weights: Path, image: Image, threads: int) -> Timing:
    """Run in a fresh process, so that its peak of memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (weights, image, threads))


def _peak_gib() -> float:
    """The most memory this process ever held, GiB (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / GIB if found else float("nan")


def _texts(timing: Timing) -> tuple[str, str, str]:
    whole = "–" if np.isnan(timing.whole_s) else f"{timing.whole_s:.1f} s"
    return f"{timing.passes_s:.1f} s", whole, f"{timing.peak_gib:.2f} GiB"
