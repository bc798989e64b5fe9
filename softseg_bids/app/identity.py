"""Which program this is: its version, and those of the libraries that touch a number."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path

LIBRARIES = ("numpy", "scipy", "nibabel", "torch", "monai", "pybids", "nipype", "pandas")


@cache
def version() -> str:
    """The version: from the file `version` of a source checkout, else of the installed package."""
    source = Path(__file__).parents[2] / "version"
    if source.is_file():
        return source.read_text().strip()
    return metadata.version("softseg-bids")


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries installed here that touch a number."""
    return {name: metadata.version(name) for name in LIBRARIES if _installed(name)}


def _installed(name: str) -> bool:
    return any(True for _ in metadata.distributions(name=name))
