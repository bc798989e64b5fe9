"""What is installed: one version, one command, the weights; and a README that knows every option."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from softseg_bids.app.identity import version
from softseg_bids.app.options import Parser, parser, single_parser

ROOT = Path(__file__).parents[1]
SCRIPT = Path(sys.executable).parent / "softseg"
VERSION = (ROOT / "version").read_text().strip()


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, cwd=ROOT)


def long_options(of: Parser) -> dict[str, list[str]]:
    """The first long spelling of each option, and all its spellings."""
    options = {}
    for action in of._actions:
        spellings = [text for text in action.option_strings if text.startswith("--")]
        if spellings and spellings[0] != "--help":
            options[spellings[0]] = list(action.option_strings)
    return options


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of what git tracks, without any network."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "version", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "softseg_bids").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = source / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    build = "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(made)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    [path] = made.glob("*.whl")
    return zipfile.ZipFile(path)


def test_there_is_one_version() -> None:
    assert metadata.version("softseg-bids") == VERSION == version()
    assert run(SCRIPT, "--version").stdout == f"softseg {VERSION}\n"
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {VERSION} " in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("arguments", [("--help",), ("a", "b", "nonsense"), ("image.nii.gz", "--help"), ()])
def test_the_console_script_is_run_py(arguments: tuple[str, ...]) -> None:
    installed, direct = run(SCRIPT, *arguments), run(sys.executable, "run.py", *arguments)
    assert (installed.returncode, installed.stdout, installed.stderr) == (
        direct.returncode,
        direct.stdout,
        direct.stderr,
    )


def test_the_wheel_holds_all_that_is_no_code(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())
    there = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "softseg_bids").rglob("*") if path.is_file()
    }
    wanted = {name for name in there if "__pycache__" not in name and not name.endswith(".pyc")}
    assert wanted <= packed
    assert "softseg_bids/model/weights/default.pt" in packed
    assert f"softseg_bids-{VERSION}.dist-info/licenses/LICENSE" in packed


def test_the_wheel_holds_no_tests(wheel: zipfile.ZipFile) -> None:
    assert not [name for name in wheel.namelist() if not name.startswith("softseg_bids")]


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    lines = [
        line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] not in ("", "#")
    ]
    pins = dict(line.split("==") for line in lines)
    assert all(re.fullmatch(r"[\w.]+", pin) for pin in pins.values())
    normal = {re.sub(r"[-_.]+", "-", name).lower() for name in pins}
    assert {re.sub(r"[-_.]+", "-", re.split(r"[<>=~!\[ ]", line)[0]).lower() for line in asked} <= normal
    assert f"TORCH := torch=={pins['torch']}\n" in (ROOT / "Makefile").read_text()


def test_the_readme_knows_every_option_and_no_other() -> None:
    readme = (ROOT / "README.md").read_text()
    section = readme.split("### All options")[1].split("### Exit codes")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    named = {match[0] for row in rows if (match := re.search(r"--[a-z-]+", row.split("|")[1]))}
    assert named == set(long_options(parser()))
    alone = set(re.findall(r"--[a-z-]+", section.split("For one image:")[1]))
    assert alone == set(long_options(single_parser()))


def test_commands_in_the_readme_use_options_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    known = {
        spelling
        for of in (parser(), single_parser())
        for all_ in long_options(of).values()
        for spelling in all_
    }
    for line in re.findall(r"^softseg .*$", readme, re.MULTILINE):
        assert set(re.findall(r"(?<= )--?[a-z][a-z-]*", line)) <= known, line


def test_exit_codes_of_the_readme_are_those_of_the_program() -> None:
    from softseg_bids.app.outcome import Exit

    section = (ROOT / "README.md").read_text().split("### Exit codes")[1].split("## Results")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)} == set(Exit)


def test_links_of_the_readme_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)]+)\)", readme):
        if target.startswith("#"):
            assert re.search(rf"^#+ {target[1:]}$", readme, re.MULTILINE | re.IGNORECASE), target
        elif not target.startswith("https://"):
            assert (ROOT / target).is_file(), target
