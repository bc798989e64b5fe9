"""The Boutiques descriptor, generated from the app's own parser.

``python -m container.descriptor`` writes ``boutiques/softseg.json``; a test compares the two, so that
an option cannot be forgotten.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from softseg_bids.app.identity import version
from softseg_bids.app.options import LEVELS, count, existing, existing_file, parser, positive
from softseg_bids.app.outcome import Exit

PATH = Path(__file__).parents[1] / "boutiques" / "softseg.json"
LEFT_OUT = ("help", "version")
# What the parser's actions cannot say: the app itself refuses unknown levels, and of its two folders
# only the dataset is there before.
CHOICES = {"level": list(LEVELS)}
FOLDERS = ("bids",)


def main() -> int:
    """Write the descriptor; an exit code."""
    PATH.write_text(text())
    return 0


def text() -> str:
    """The descriptor as it stands in its file."""
    return json.dumps(descriptor(parser()), indent=2) + "\n"


def descriptor(of: argparse.ArgumentParser) -> dict[str, Any]:
    """The descriptor of a parser of the app (Boutiques schema 0.5)."""
    inputs = [described(action) for action in of._actions if action.dest not in LEFT_OUT]
    return {
        "name": "softseg",
        "tool-version": version(),
        "description": of.description,
        "author": "softseg-bids contributors",
        "command-line": " ".join(["softseg", *(each["value-key"] for each in inputs)]),
        "container-image": {"type": "docker", "image": f"softseg:{version()}"},
        "schema-version": "0.5",
        "inputs": inputs,
        "output-files": [
            {
                "id": "results",
                "name": "Results",
                "description": "Soft masks, tables of areas, pages; a BIDS derivative dataset",
                "path-template": "[OUT]",
            }
        ],
        "error-codes": [
            {"code": int(code), "description": code.name.replace("_", " ").lower()}
            for code in Exit
            if code is not Exit.DONE
        ],
        "suggested-resources": {"cpu-cores": 2, "ram": 8},
        "tags": {"domain": ["neuroinformatics", "mri", "spinal cord"]},
    }


def described(action: argparse.Action) -> dict[str, Any]:
    """One input: what an argument is called, takes and means."""
    spellings = [text for text in action.option_strings if text.startswith("--")]
    # An action that stores what is so by default (--skip-bids-validation) has another's destination.
    name = spellings[0][2:] if spellings else action.dest
    identifier = re.sub(r"\W", "_", name)
    entry: dict[str, Any] = {
        "id": identifier,
        "name": name.replace("-", " ").capitalize(),
        "description": action.help or name,
        "value-key": f"[{identifier.upper()}]",
        "type": kind(action),
        "optional": bool(spellings),
    }
    if spellings:
        entry["command-line-flag"] = spellings[0]
    if action.nargs in ("+", "*"):
        entry["list"] = True
    if entry["type"] == "Number":
        is_count = action.type is count
        entry |= {"integer": is_count, "minimum": int(is_count), "exclusive-minimum": not is_count}
    if choices := action.choices or CHOICES.get(action.dest):
        entry["value-choices"] = list(choices)
    return entry


def kind(action: argparse.Action) -> str:
    """The Boutiques type of an argument."""
    if action.nargs == 0:
        return "Flag"
    if action.type in (count, positive):
        return "Number"
    return "File" if action.type in (existing, existing_file) or action.dest in FOLDERS else "String"


if __name__ == "__main__":
    sys.exit(main())
