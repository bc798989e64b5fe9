"""The walk of a training: datasets, split, cases, steps, checkpoint."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from softseg_bids.app.identity import version
from softseg_bids.app.outcome import Exit
from softseg_bids.bids.derivatives import write_json, write_text
from softseg_bids.bids.rows import read_rows
from softseg_bids.image.volume import DataError, written_aside
from softseg_bids.lab.cli import PROGRAM
from softseg_bids.lab.dataset import Labelled, find, load
from softseg_bids.model.checkpoint import load_checkpoint, load_level_network, save_checkpoint
from softseg_bids.model.predict import Model, device_of, load_model
from softseg_bids.model.releases.contrast_agnostic import SIGMOID, ContrastAgnostic
from softseg_bids.model.releases.plainconv import layout_of
from softseg_bids.model.weights import DEFAULT
from softseg_bids.training.cases import Case
from softseg_bids.training.fit import Result, Settings, fit
from softseg_bids.training.recipes import (
    FOLDED,
    LOSSES,
    PLAIN,
    Recipe,
    architecture_of,
    network_of,
    recipe_of,
)
from softseg_bids.training.split import Person, check, split

COLUMNS = ("dataset", "participant_id", "site", "split")


def run(chosen: Namespace) -> Exit:
    """Train as chosen; 0, or an error told by the caller."""
    device = device_of(chosen.device)
    torch.manual_seed(chosen.seed)
    try:
        recipe = recipe_of(chosen.architecture, tuple(chosen.patch) if chosen.patch else None)
    except ValueError as error:
        raise DataError(f"--patch: {error}") from error
    labelled = [
        one
        for folder, labels in chosen.data
        for one in find(folder, labels, chosen.contrasts, chosen.site_column)
    ]
    sides = _sides(chosen, labelled)
    cases = {side: _cases(chosen, labelled, sides, side, recipe) for side in ("train", "validation")}
    network = _start(chosen, recipe)
    names = ("steps", "batch", "rate", "every", "patience", "synthetic", "augment", "seed", "tensorboard")
    settings = Settings(**{name: getattr(chosen, name) for name in names})
    result = fit(
        network, recipe, LOSSES[chosen.loss], cases["train"], cases["validation"], settings,
        chosen.folder, device, _say,
    )  # fmt: skip
    facts = _facts(chosen, labelled, sides, result)
    path = write_checkpoint(chosen.folder, network, recipe, facts)
    write_json(chosen.folder / "training.json", facts)
    why = "no better for a while" if result.stopped_early else "all steps done"
    _say(
        f"ended at step {result.step} ({why}), best at {result.best_step}; run it with softseg --model {path}"
    )
    return Exit.DONE


def write_checkpoint(folder: Path, network: nn.Module, recipe: Recipe, facts: dict[str, Any]) -> Path:
    """Write a trained network so that ``softseg --model`` runs it; where it lies.

    The published architecture is written in the layout of its releases; ours with the packaged
    locator and level network, which were not trained.
    """
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    if recipe.name == PLAIN:
        path = folder / "model.ckpt"
        content = {
            "state_dict": {f"net.{name}": tensor for name, tensor in state.items()},
            "softseg": {"window": list(recipe.window), "ending": SIGMOID},
            "provenance": facts,
        }
        with written_aside(path) as aside:
            torch.save(content, aside)
        return path
    path = folder / "model.pt"
    cpu = torch.device("cpu")
    locator, finder = load_checkpoint(DEFAULT, cpu)["locator"]
    networks: dict[str, Any] = {
        "locator": (locator, finder.state_dict()),
        "segmenter": (architecture_of(recipe), state),
    }
    levels = load_level_network(DEFAULT, cpu)
    if levels is not None:
        networks["levels"] = levels[0], levels[1].state_dict()
    save_checkpoint(path, networks, facts)
    return path


def _sides(chosen: Namespace, labelled: Sequence[Labelled]) -> dict[tuple[str, str], str]:
    """Each participant's side, by dataset and label: from the file, or drawn and written to it."""
    people: dict[tuple[str, str], Person] = {}
    for one in labelled:
        people.setdefault((one.person.dataset, one.person.participant), one.person)
    path: Path = chosen.folder / "split.tsv"
    if path.exists():
        try:
            found = check(read_rows(path), list(people.values()), chosen.within_site)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    else:
        found = split(list(people.values()), chosen.seed, chosen.within_site)
        rows = [
            (person.dataset, f"sub-{person.participant}", person.site or "n/a", side)
            for person, side in sorted(found.items())
        ]
        write_text(path, "\n".join("\t".join(row) for row in [COLUMNS, *rows]) + "\n")
    return {(person.dataset, person.participant): side for person, side in found.items()}


def _cases(
    chosen: Namespace,
    labelled: Sequence[Labelled],
    sides: dict[tuple[str, str], str],
    side: str,
    recipe: Recipe,
) -> list[Case]:
    with tempfile.TemporaryDirectory() as folder:
        cases = [
            load(one, recipe, chosen.hard, Path(folder) / str(number))
            for number, one in enumerate(labelled)
            if sides[one.person.dataset, one.person.participant] == side
        ]
    _say(f"{side}: {len(cases)} images")
    return cases


def _start(chosen: Namespace, recipe: Recipe) -> nn.Module:
    """The network to train: random, or a copy of a checkpoint's."""
    if chosen.start is None:
        return network_of(recipe)
    model = load_model(chosen.start, "cpu")
    if recipe.name == PLAIN and isinstance(model, ContrastAgnostic):
        network: nn.Module = network_of(recipe, layout=layout_of(model.network.state_dict()))
        network.load_state_dict(model.network.state_dict())
        return network
    if recipe.name == FOLDED and isinstance(model, Model):
        network = network_of(recipe)
        try:
            network.load_state_dict(model.segmenter[1].state_dict())
        except RuntimeError as error:
            raise DataError(
                f"{chosen.start}: its segmenter is of another shape than {recipe.name}"
            ) from error
        return network
    raise DataError(f"{chosen.start}: is no {recipe.name}; choose its --architecture, or another checkpoint")


def _facts(
    chosen: Namespace, labelled: Sequence[Labelled], sides: dict[tuple[str, str], str], result: Result
) -> dict[str, Any]:
    counts = {
        side: sum(value == side for value in sides.values()) for side in ("train", "validation", "test")
    }
    return {
        "program": f"{PROGRAM} {version()}",
        "architecture": chosen.architecture,
        "loss": chosen.loss,
        "synthetic": float(chosen.synthetic),
        "augmentation": bool(chosen.augment),
        "hard": bool(chosen.hard),
        "datasets": [folder.name for folder, _ in chosen.data],
        "contrasts": sorted({one.scan.contrast for one in labelled}),
        "participants": counts,
        "start": None if chosen.start is None else chosen.start.name,
        "steps": result.step,
        "best_step": result.best_step,
        "validation_loss": result.best_loss,
        "seed": int(chosen.seed),
    }


def _say(text: str) -> None:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    sys.stderr.flush()
