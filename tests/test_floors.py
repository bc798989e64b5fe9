"""Who imports whom: the directions of docs/architecture.md, proved from the imports themselves."""

from __future__ import annotations

import ast
import sys
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "softseg_bids"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Room: libraries it may use, and other rooms it may import.
GROUND = {"numpy", "scipy"}
FIRST = GROUND | {"nibabel"}
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "core": (GROUND, set()),
    "image": (FIRST, {"core"}),
    "model": (GROUND | {"torch", "monai"}, {"core", "image"}),
    "synthesis": (GROUND | {"torch"}, {"core", "image"}),
    "bids": (GROUND | {"bids"}, {"core", "image"}),
    "stats": (GROUND | {"pandas", "statsmodels"}, {"core", "image"}),
    "pages": (GROUND | {"matplotlib", "jinja2", "PIL"}, {"core", "image"}),
    "training": (GROUND | {"torch", "monai", "pandas"}, {"core", "image", "model", "synthesis"}),
    "lab": (GROUND | {"torch"}, {"core", "image", "bids", "model", "training", "app"}),
    "truth": (GROUND, {"core", "image", "bids", "pages", "app"}),
    "study": (
        GROUND | {"pandas"},
        {"core", "image", "bids", "stats", "pages", "app"},
    ),
    "app": (
        GROUND | {"nipype", "pandas", "yaml"},
        {"core", "image", "model", "synthesis", "bids", "stats", "pages"},
    ),
}
# A library has one address.
ADDRESSES = {
    "nipype": {
        "app/interfaces.py",
        "app/workflow.py",
        "app/engine.py",
        "app/plugins.py",
        "app/batch.py",
    },
    "pandas": {"app/group*.py", "app/exclusions.py", "stats/*.py", "study/*.py", "training/evaluate.py"},
    "yaml": {"app/engine.py", "app/exclusions.py"},
}
# Starting the app must not import torch: these three import their floor inside a function. The
# command line waits with everything heavy until it has made the environment fit for it, and only the
# steps that draw need matplotlib.
HIDDEN = {
    "app/steps.py": {"model"},
    "app/level_steps.py": {"model"},
    "app/demo.py": {"synthesis"},
    "app/cli.py": {"app"},
    "app/session_steps.py": {"app"},
    "study/doors.py": {"study"},
    "truth/cli.py": {"truth"},
    "lab/cli.py": {"lab"},
}
WITHOUT_TORCH = {"softseg_bids.model.weights", "softseg_bids.model.releases.folders"}


class Import(NamedTuple):
    module: str
    top_level: bool


@cache
def imports_of(path: Path) -> list[Import]:
    """All imports of a module, and whether each is at its top."""
    tree = ast.parse(path.read_text())
    at_top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, id(node) in at_top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            # `from softseg_bids.app import steps` imports a module, `from numpy import array` does not.
            is_ours = (node.module or "").startswith("softseg_bids")
            found += [Import(name if is_ours else str(node.module), id(node) in at_top) for name in names]
    return found


def room_of(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    name = name_of(path)
    if "/" not in name:
        assert imports_of(path) == []
        return
    libraries, rooms = ROOMS[name.split("/")[0]]
    for found in imports_of(path):
        library = found.module.split(".")[0]
        if library == "softseg_bids":
            assert room_of(found.module) in rooms | {name.split("/")[0]}, f"{name} imports {found.module}"
        elif library not in sys.stdlib_module_names:
            assert library in libraries, f"{name} imports {library}"
            addresses = ADDRESSES.get(library, {name})
            assert any(fnmatch(name, known) for known in addresses), f"{library} belongs in {addresses}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_stand_at_the_top(path: Path) -> None:
    allowed = HIDDEN.get(name_of(path), set())
    hidden = [found.module for found in imports_of(path) if not found.top_level]
    assert [module for module in hidden if room_of(module) not in allowed] == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "app").glob("*.py")), ids=name_of)
def test_the_app_starts_without_torch(path: Path) -> None:
    for found in imports_of(path):
        if found.top_level and room_of(found.module) in ("model", "synthesis"):
            assert any(found.module.startswith(name) for name in WITHOUT_TORCH), found.module


def test_no_second_floor_room_knows_a_third_floor_one() -> None:
    for path in MODULES:
        room = name_of(path).split("/")[0]
        above = {"app", "training", "study", "truth", "lab"} - {room}
        # Rooms under the roof look down both stairs.
        above -= {"study": {"app"}, "truth": {"app"}, "lab": {"app", "training"}}.get(room, set())
        assert not {room_of(found.module) for found in imports_of(path)} & above, path
