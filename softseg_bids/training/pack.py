"""Pack trained networks into one checkpoint, with where they come from.

``python -m softseg_bids.training.pack runs/locator runs/segmenter runs/levels --out default.pt``

The third folder may be left out: then the checkpoint finds no levels.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from softseg_bids.model.checkpoint import LEVEL_ROLE, ROLES, save_checkpoint
from softseg_bids.model.levels import LevelArchitecture
from softseg_bids.model.network import Architecture


def main(argv: list[str] | None = None) -> int:
    """Read the averaged weights of each network's folder and write the checkpoint."""
    parser = argparse.ArgumentParser(description="Pack trained networks into one checkpoint.")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="LOCATOR SEGMENTER [LEVELS]")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--scaling",
        type=float,
        nargs=2,
        metavar=("SLOPE", "OFFSET"),
        help="of the segmenter's logits; python -m bench.scaling fits them",
    )
    parser.add_argument("--note", default="", help="how they were trained, for the checkpoint's provenance")
    options = parser.parse_args(argv)
    if len(options.folders) not in (2, 3):
        parser.error("give the folders of a locator, a segmenter and, if there is one, of levels")
    if options.scaling and not (math.isfinite(sum(options.scaling)) and options.scaling[0] > 0):
        parser.error(f"--scaling {options.scaling}: the slope must lie above 0, and both be finite")
    networks: dict[str, tuple[Architecture | LevelArchitecture, dict[str, Tensor]]] = {}
    steps = {}
    for role, folder in zip((*ROLES, LEVEL_ROLE), options.folders, strict=False):
        content = torch.load(folder / "weights.pt", map_location="cpu", weights_only=True)
        fields = {name: tuple(value) for name, value in content["architecture"].items()}
        kind = LevelArchitecture if role == LEVEL_ROLE else Architecture
        if role == "segmenter" and options.scaling:
            fields["scaling"] = tuple(options.scaling)
        networks[role] = (kind(**fields), content["state"])
        steps[role] = int(content["step"])
    save_checkpoint(options.out, networks, {"steps": steps, "note": options.note})
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, steps {steps}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
