"""Which program this is: its version, its checkpoint, and the libraries that touch a number."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.image.volume import DataError
from softseg_bids.model.releases.folders import model_in
from softseg_bids.model.weights import DEFAULT, area_uncertainty, digest

PACKAGE = Path(__file__).parents[1]
LIBRARIES = ("numpy", "scipy", "nibabel", "torch", "monai", "pybids", "nipype", "pandas")


@cache
def version() -> str:
    """The version: from the file `version` of a source checkout, else of the installed package."""
    source = PACKAGE.parent / "version"
    if source.is_file():
        return source.read_text(encoding="utf-8").strip()
    return metadata.version("softseg-bids")


@cache
def code_digest() -> str:
    """First 8 hexadecimal digits of the SHA-256 of this package's source.

    What was computed by other code is not used again, though it may carry the same version
    (in a working copy that is being changed, for example).
    """
    total = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()[:8]


@cache
def torch_knows_cuda() -> bool:
    """Whether the torch installed here was built for CUDA, by its version file: importing it takes seconds.

    If nothing can be found out, it may be.
    """
    found = find_spec("torch")
    try:
        text = Path((found and found.origin) or "").with_name("version.py").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return True
    return re.search(r"^cuda\b[^=\n]*= *None$", text, re.MULTILINE) is None


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries installed here that touch a number."""
    return {name: metadata.version(name) for name in LIBRARIES if _installed(name)}


def checkpoint(path: Path | None) -> tuple[Path, str]:
    """The checkpoint that counts, and its digest.

    Parameters
    ----------
    path : Path or None
        What the user gave; None is the packaged one.

    Raises
    ------
    Stop
        64 if there is none.
    """
    path = DEFAULT if path is None else path
    if not path.exists():
        raise Stop(
            Exit.USAGE, f"{path}: there is no checkpoint; give one with --model, or install the package again"
        )
    return path, digest(path)


def is_model(path: Path) -> bool:
    """Whether ``--model`` takes a path: a file (what it is, its content says), or a folder with one model.

    Raises
    ------
    DataError
        If a folder holds several.
    """
    return path.is_file() or model_in(path) is not None


def uncertainty(checkpoint: Path) -> list[float] | None:
    """What a checkpoint says of its error, or None if it does not.

    Raises
    ------
    Stop
        64 if what it says cannot be read.
    """
    try:
        return area_uncertainty(checkpoint)
    except DataError as error:
        raise Stop(Exit.USAGE, str(error)) from error


def _installed(name: str) -> bool:
    return any(True for _ in metadata.distributions(name=name))
