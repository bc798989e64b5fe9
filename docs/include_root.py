"""Pages of the documentation site whose text lies at the top of the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
# Links within the repository, as the pages of the site know each other.
LINKS = {"](docs/": "](", "](CHANGELOG.md)": "](changelog.md)"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages to those that mkdocs has found."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        for link, replacement in LINKS.items():
            text = text.replace(link, replacement)
        files.append(File.generated(config, page, content=text))
    return files
