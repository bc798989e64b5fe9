"""Ask whether a locked package has a known weakness.

``python -m container.audit TOOLS`` asks through pip-audit, from the folder of programs TOOLS. Exit
code 0: none known; 1: some is known; 3: nobody could be asked, then only the list of what is inside
(``requirements/sbom.json``, CycloneDX) serves whoever can.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from container.lock import FILES, LOCKS

UNKNOWN = 3


def main(argv: Sequence[str]) -> int:
    """Print what is known; an exit code."""
    [tools] = argv
    files = [word for name in FILES for word in ("--requirement", str(LOCKS / name))]
    options = ("--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off")
    command = [str(Path(tools, "pip-audit")), *options, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        print(f"audit: SKIPPED, its data cannot be reached: {done.stderr.strip()[-500:]}")
        return UNKNOWN
    print(report(packages))
    return verdict(packages)


def verdict(packages: Sequence[dict[str, Any]]) -> int:
    """The exit code for what pip-audit says of each package; one it could not ask about is no good news."""
    if any(package.get("vulns") for package in packages):
        return 1
    return UNKNOWN if not packages or any("skip_reason" in package for package in packages) else 0


def report(packages: Sequence[dict[str, Any]]) -> str:
    """What pip-audit says, in lines for people."""
    lines = [
        f"audit: {package['name']} {package['version']}: {weakness['id']}, repaired in "
        f"{', '.join(weakness['fix_versions']) or 'no version yet'}"
        for package in packages
        for weakness in package.get("vulns", [])
    ]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        lines.append(
            f"audit: SKIPPED {len(skipped)} of {len(packages)} packages, nobody could be asked: "
            f"{', '.join(skipped[:5])} ...; requirements/sbom.json lists them all"
        )
    asked = len(packages) - len(skipped)
    return "\n".join([*lines, f"audit: {asked} of {len(packages)} packages were asked about"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
