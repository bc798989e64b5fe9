"""Pack trained networks into one checkpoint, with where they come from.

``python -m softseg_bids.training.pack runs/locator runs/segmenter --out default.pt``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from softseg_bids.model.checkpoint import ROLES, save_checkpoint
from softseg_bids.model.network import Architecture


def main(argv: list[str] | None = None) -> int:
    """Read the averaged weights of a locator's and a segmenter's folder and write the checkpoint."""
    parser = argparse.ArgumentParser(description="Pack trained networks into one checkpoint.")
    parser.add_argument("folders", type=Path, nargs=2, metavar=("LOCATOR", "SEGMENTER"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--note", default="", help="how they were trained, for the checkpoint's provenance")
    options = parser.parse_args(argv)
    networks, steps = {}, {}
    for role, folder in zip(ROLES, options.folders, strict=True):
        content = torch.load(folder / "weights.pt", map_location="cpu", weights_only=True)
        fields = {name: tuple(value) for name, value in content["architecture"].items()}
        networks[role] = (Architecture(**fields), content["state"])
        steps[role] = int(content["step"])
    save_checkpoint(options.out, networks, {"steps": steps, "note": options.note})
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, steps {steps}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
