"""The walk of a training: datasets, split, cases, steps, checkpoint."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from argparse import Namespace
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from softseg_bids.app.identity import version
from softseg_bids.app.outcome import Exit
from softseg_bids.bids.derivatives import write_json, write_text
from softseg_bids.bids.rows import read_rows
from softseg_bids.image.volume import DataError
from softseg_bids.lab.cli import PACKAGED, PROGRAM
from softseg_bids.lab.dataset import Labelled, find, load
from softseg_bids.lab.start import Start, begin, write_checkpoint
from softseg_bids.model.predict import device_of
from softseg_bids.model.releases.plainconv import PlainConvUNet
from softseg_bids.model.weights import DEFAULT, digest
from softseg_bids.training.cases import Case
from softseg_bids.training.ending import end_in_sigmoid
from softseg_bids.training.fit import Result, Settings, fit
from softseg_bids.training.recipes import LOSSES, Recipe
from softseg_bids.training.split import Person, check, split
from softseg_bids.training.state import STATE

Sides = Mapping[tuple[str, str], str]
COLUMNS = ("dataset", "participant_id", "site", "split")


def run(chosen: Namespace) -> Exit:
    """Train as chosen; 0, or an error told by the caller."""
    device = device_of(chosen.device)
    torch.manual_seed(chosen.seed)
    start = begin(chosen)
    labelled = [
        one
        for folder, labels in chosen.data
        for one in find(folder, labels, chosen.contrasts, chosen.site_column)
    ]
    sides = _sides(chosen, labelled)
    cases = {side: _cases(chosen, labelled, sides, side, start.recipe) for side in ("train", "validation")}
    _mend_ending(start, cases["train"], chosen.folder, device)
    names = ("steps", "batch", "rate", "every", "patience", "synthetic", "augment", "seed", "tensorboard")
    settings = Settings(**{name: getattr(chosen, name) for name in (*names, "workers")})
    result = fit(
        start.network, start.recipe, LOSSES[chosen.loss], cases["train"], cases["validation"], settings,
        chosen.folder, device, _say, _defined(chosen, labelled, sides),
    )  # fmt: skip
    facts = _facts(chosen, start, labelled, sides, result)
    path = write_checkpoint(chosen.folder, start, facts)
    write_json(chosen.folder / "training.json", facts)
    why = "no better for a while" if result.stopped_early else "all steps done"
    _say(
        f"ended at step {result.step} ({why}), best at {result.best_step}; run it with softseg --model {path}"
    )
    return Exit.DONE


def _sides(chosen: Namespace, labelled: Sequence[Labelled]) -> Sides:
    """Each participant's side, by dataset and label: from the file, or drawn and written to it."""
    people = list(dict.fromkeys(one.person for one in labelled))
    path: Path = chosen.folder / "split.tsv"
    if path.exists():
        try:
            found = check(read_rows(path), people, chosen.within_site)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    else:
        rows = _rows(split(people, chosen.seed, chosen.within_site))
        found = check(rows, people, chosen.within_site)
        lines = [COLUMNS, *([row[name] for name in COLUMNS] for row in rows)]
        write_text(path, "\n".join("\t".join(line) for line in lines) + "\n")
    return {(person.dataset, person.participant): side for person, side in found.items()}


def _rows(drawn: Mapping[Person, str]) -> list[dict[str, str]]:
    """The table of a split: a row a participant, with all sites."""
    sites: dict[tuple[str, str], set[str]] = defaultdict(set)
    sides: dict[tuple[str, str], str] = {}
    for person, side in drawn.items():
        sites[person.dataset, person.participant].add(person.site or "n/a")
        sides[person.dataset, person.participant] = side
    return [
        {
            "dataset": who[0],
            "participant_id": f"sub-{who[1]}",
            "site": ", ".join(sorted(sites[who])),
            "split": side,
        }
        for who, side in sorted(sides.items())
    ]


def _cases(
    chosen: Namespace,
    labelled: Sequence[Labelled],
    sides: Sides,
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


def _mend_ending(start: Start, training: Sequence[Case], folder: Path, device: torch.device) -> None:
    """Published weights say cord by how large a value is; a training begins with their sigmoid meaning it."""
    if not start.ends_in_relu or (folder / STATE).exists() or not isinstance(start.network, PlainConvUNet):
        return
    scale, shift = end_in_sigmoid(start.network, training, start.recipe, device)[0]
    if (scale, shift) == (1.0, 0.0):
        _say(
            "these weights end in a ReLU, and what they say does not grow with the cord of your labels: they "
            "are trained on under a sigmoid as they are, and begin badly calibrated"
        )
        return
    _say(
        "these weights end in a ReLU over its maximum, the training in a sigmoid: their output is scaled by "
        f"{scale:.3g} and shifted by {shift:.3g} to fit the labels that are trained on"
    )


def _defined(chosen: Namespace, labelled: Sequence[Labelled], sides: Sides) -> dict[str, str]:
    """What makes this training this one: where it begins, and what it is shown."""
    defined = {"--start": _named_start(chosen), "--hard": "yes" if chosen.hard else "no"}
    for side in ("train", "validation"):
        total, number = hashlib.sha256(), 0
        for one in labelled:
            if sides[one.person.dataset, one.person.participant] != side:
                continue
            number += 1
            total.update(f"{one.person.dataset}/{one.scan.relative}".encode())
            for path in (*one.scan.paths, one.label):
                with path.open("rb") as file:
                    total.update(hashlib.file_digest(file, "sha256").digest())
        defined[f"{side} data"] = f"{number} images ({total.hexdigest()[:12]})"
    return defined


def _named_start(chosen: Namespace) -> str:
    if chosen.start is None:
        return "none"
    return f"{PACKAGED if chosen.start == DEFAULT else chosen.start.name} ({digest(chosen.start)})"


def _facts(
    chosen: Namespace, start: Start, labelled: Sequence[Labelled], sides: Sides, result: Result
) -> dict[str, Any]:
    counts = {
        side: sum(value == side for value in sides.values()) for side in ("train", "validation", "test")
    }
    return {
        "program": f"{PROGRAM} {version()}",
        "architecture": start.recipe.name,
        "loss": chosen.loss,
        "batch": int(chosen.batch),
        "rate": float(chosen.rate),
        "synthetic": float(chosen.synthetic),
        "augmentation": bool(chosen.augment),
        "hard": bool(chosen.hard),
        "datasets": [folder.name for folder, _ in chosen.data],
        "contrasts": sorted({one.scan.contrast for one in labelled}),
        "participants": counts,
        "start": None if chosen.start is None else _named_start(chosen),
        "steps": result.step,
        "best_step": result.best_step,
        "validation_loss": result.best_loss,
        "seed": int(chosen.seed),
    }


def _say(text: str) -> None:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    sys.stderr.flush()
