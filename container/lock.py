"""Lock what the images install: every package of constraints.txt that the app needs, with its hashes.

``python -m container.lock TOOLS`` writes ``requirements/*.txt`` anew, and the list of what is inside
(``sbom.json``, CycloneDX). TOOLS is a folder with the program uv, which asks the package index. The
versions are those of constraints.txt; the hashes are of all files of a release.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "requirements"
SBOM = "sbom.json"
TARGET = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# Which file a package is locked in, and what that file is; the first pattern that fits.
FILES = {
    "build.txt": (r"setuptools", "Builds the app, and the packages that come as source only."),
    "torch.txt": (r"torch", "The plain wheel (CUDA) and that of PyTorch's CPU index."),
    "cuda.txt": (r"(nvidia|cuda)-.+|triton", "What only the plain torch wheel needs."),
    "runtime.txt": (r".+", "All other packages."),
}


def main(argv: Sequence[str]) -> int:
    """Write the lock files; an exit code."""
    [tools] = argv
    entries = compiled(Path(tools, "uv"))
    entries["torch"] = with_hash(entries["torch"], sha256(cpu_wheel(entries["torch"])))
    LOCKS.mkdir(exist_ok=True)
    for name, text in lock_texts(entries).items():
        (LOCKS / name).write_text(text)
    (LOCKS / SBOM).write_text(listed(entries, (ROOT / "version").read_text().strip()))
    print(f"locked {len(entries)} packages in {LOCKS}")
    return 0


def compiled(uv: Path) -> dict[str, str]:
    """Package to its requirement with hashes, as uv resolves the app within constraints.txt."""
    command = [str(uv), "pip", "compile", "pyproject.toml", "--constraint", "constraints.txt", *TARGET]
    options = ["--generate-hashes", "--no-header", "--no-annotate", "--no-config", "--quiet"]
    done = subprocess.run([*command, *options], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return entries_of(done.stdout)


def listed(entries: Mapping[str, str], version: str) -> str:
    """The software bill of materials (CycloneDX 1.6, JSON) of all that is locked.

    Parameters
    ----------
    entries : mapping of str to str
        Package to its requirement with hashes, which stand in the lock files only.
    version : str
        Of the app.
    """
    requirements = sorted(entry.split("\n")[0].split("==") for entry in entries.values())
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component("application", "softseg-bids", version)},
        "components": [_component("library", name, pin) for name, pin in requirements],
    }
    return json.dumps(bill, indent=1) + "\n"


def _component(kind: str, name: str, version: str) -> dict[str, str]:
    identifier = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    return {"type": kind, "bom-ref": identifier, "name": name, "version": version, "purl": identifier}


def entries_of(text: str) -> dict[str, str]:
    """Package to its requirement with hashes, from the text of a requirements file."""
    blocks = re.findall(r"^[a-zA-Z0-9].*(?:\n[ ].*)*", text, re.MULTILINE)
    return {re.split("[=; ]", block)[0]: block.replace(" \\\n", "\n").rstrip() for block in blocks}


def with_hash(entry: str, digest: str) -> str:
    """The requirement, accepting one more file; each hash stands once, in order."""
    requirement, *hashes = entry.split("\n")
    return "\n".join([requirement, *sorted({*hashes, f"    --hash=sha256:{digest}"})])


def lock_texts(entries: Mapping[str, str]) -> dict[str, str]:
    """File name to its text; each package stands in one file."""
    files: dict[str, list[str]] = {name: [] for name in FILES}
    for package, entry in sorted(entries.items()):
        files[file_of(package)].append(entry.replace("\n", " \\\n"))
    return {name: "\n".join([heading(FILES[name][1]), *lines, ""]) for name, lines in files.items()}


def file_of(package: str) -> str:
    """The lock file that a package belongs to."""
    return next(name for name, (pattern, _) in FILES.items() if re.fullmatch(pattern, package))


def heading(text: str) -> str:
    """The first lines of a lock file."""
    return f"# {text}\n# Written by `make lock` from pyproject.toml and constraints.txt; do not edit."


def cpu_wheel(entry: str, find_links: str | None = os.environ.get("PIP_FIND_LINKS")) -> Path:
    """The CPU wheel of torch: from local wheels where pip was told of them, else from PyTorch's index.

    Raises
    ------
    FileNotFoundError
        If what pip found is no CPU wheel.
    """
    folder = Path(tempfile.mkdtemp(prefix="torch-"))
    source = () if find_links else ("--index-url", CPU_INDEX)
    options = ("--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder))
    requirement = entry.split("\n")[0].split(" ")[0]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, *source, requirement], check=True)
    wheels = [path for path in folder.iterdir() if "+cpu-" in path.name]
    if not wheels:
        raise FileNotFoundError(f"{requirement}: pip found {names(folder.iterdir())}, and no CPU wheel")
    return wheels[0]


def names(paths: Iterable[Path]) -> str:
    """Bare file names, for a message."""
    return ", ".join(sorted(path.name for path in paths))


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
