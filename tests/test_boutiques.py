"""The Boutiques descriptor says what the parser says, and its example runs."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from container import descriptor
from softseg_bids.app.options import parser, settings_of
from softseg_bids.app.resources import usable_cpus

FOLDER = Path(__file__).parents[1] / "boutiques"
DESCRIPTOR = json.loads((FOLDER / "softseg.json").read_text())
EXAMPLE = json.loads((FOLDER / "example.json").read_text())
INPUTS = {entry["id"]: entry for entry in DESCRIPTOR["inputs"]}


def command(values: dict[str, Any]) -> list[str]:
    """The command line that the descriptor makes of these values, by the rules of Boutiques."""
    words = DESCRIPTOR["command-line"].split()
    for entry in DESCRIPTOR["inputs"]:
        place = words.index(entry["value-key"])
        value = values.get(entry["id"])
        flag = [entry["command-line-flag"]] if "command-line-flag" in entry else []
        if value is None or value is False:
            made = []
        elif value is True:
            made = flag
        else:
            made = [*flag, *map(str, value if isinstance(value, list) else [value])]
        words[place : place + 1] = made
    return words


def test_the_file_is_what_the_parser_says() -> None:
    assert (FOLDER / "softseg.json").read_text() == descriptor.text(), (
        "the options changed: python -m container.descriptor"
    )


def test_every_argument_is_an_input_of_its_own() -> None:
    actions = [action for action in parser()._actions if action.dest not in ("help", "version")]
    assert len(INPUTS) == len(DESCRIPTOR["inputs"]) == len(actions)
    assert len({entry["value-key"] for entry in INPUTS.values()}) == len(actions)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("bids", {"type": "File", "optional": False}),
        ("level", {"value-choices": ["participant", "group"], "optional": False}),
        ("participant_label", {"list": True, "type": "String", "optional": True}),
        ("nprocs", {"type": "Number", "integer": True, "minimum": 1}),
        ("model", {"type": "File", "command-line-flag": "--model"}),
        ("dry_run", {"type": "Flag"}),
        ("verbose", {"type": "Flag"}),
    ],
)
def test_an_input_is_described_as_the_parser_takes_it(name: str, facts: dict[str, Any]) -> None:
    assert INPUTS[name].items() >= facts.items()


def test_the_example_is_a_command_that_the_parser_understands() -> None:
    assert EXAMPLE.keys() <= INPUTS.keys()
    settings = settings_of(command(EXAMPLE)[1:])
    assert (settings.level, settings.participants) == ("participant", ("01", "02"))
    assert (settings.nprocs, settings.omp_nthreads) == (min(2, usable_cpus()), 1)
    assert settings.contrasts == ("T1w", "T2w")


def test_any_input_makes_a_command_that_the_parser_understands(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    samples: dict[str, Any] = {"String": "a", "File": str(tmp_path / "file"), "Flag": True, "Number": 2}
    known = {"mem": "8G", "device": "cpu", "derivatives": str(tmp_path)}
    least = {"bids": str(tmp_path), "out": str(tmp_path / "out"), "level": "participant"}
    of = parser()
    of.error = lambda message: pytest.fail(message)  # type: ignore[method-assign, misc, return-value, arg-type]
    for name, entry in INPUTS.items():
        sample = known.get(name, entry.get("value-choices", [samples[entry["type"]]])[0])
        sample = [sample] if entry.get("list") else sample
        taken = of.parse_args(command({**least, **({} if name in least else {name: sample})})[1:])
        assert isinstance(taken, argparse.Namespace)


def test_the_exit_codes_are_those_of_the_program() -> None:
    from softseg_bids.app.outcome import Exit

    assert {entry["code"] for entry in DESCRIPTOR["error-codes"]} == set(Exit) - {0}


def test_boutiques_itself_has_no_objection() -> None:
    program = shutil.which("bosh", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("boutiques is not installed; make installs it")
    for words in (
        ("validate", FOLDER / "softseg.json"),
        ("invocation", FOLDER / "softseg.json", "-i", FOLDER / "example.json"),
    ):
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
