"""The lock files name all that the app needs, at the tested versions, and nothing without a hash."""

from __future__ import annotations

import json
import os
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from container import audit, lock

ROOT = Path(__file__).parents[1]
LOCKED = {name: lock.entries_of((lock.LOCKS / name).read_text()) for name in lock.FILES}
ENTRIES = {package: entry for entries in LOCKED.values() for package, entry in entries.items()}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {normal(name): pin for line in lines if "==" in line for name, pin in [line.split("==")]}


def needed(name: str, seen: set[str]) -> set[str]:
    """Packages that a package needs here, itself among them."""
    if normal(name) in seen:
        return seen
    seen.add(normal(name))
    for line in metadata.requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed(requirement.name, seen)
    return seen


def test_all_that_the_app_needs_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    seen: set[str] = set()
    for line in project["dependencies"]:
        needed(Requirement(line).name, seen)
    assert seen <= {normal(name) for name in ENTRIES}


def test_no_package_is_locked_twice_and_each_in_its_file() -> None:
    assert sum(map(len, LOCKED.values())) == len(ENTRIES)
    assert all(lock.file_of(package) == name for name, entries in LOCKED.items() for package in entries)


def test_locked_versions_are_the_tested_ones() -> None:
    tested = pins()
    for package, entry in ENTRIES.items():
        if lock.file_of(package) != "cuda.txt":
            assert entry.split("\n")[0] == f"{package}=={tested[normal(package)]}"


def test_every_locked_package_has_hashes() -> None:
    for entry in ENTRIES.values():
        requirement, *hashes = entry.split("\n")
        assert re.fullmatch(r"[\w.-]+==[\w.]+", requirement)
        assert hashes and len(hashes) == len(set(hashes))
        assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}", line) for line in hashes)


def test_torch_may_be_the_plain_wheel_or_that_for_cpus() -> None:
    # The plain release has a wheel for each Python and system; one more hash is that of the CPU wheel.
    assert len(ENTRIES["torch"].split("\n")) > 2
    local = sorted(Path(os.environ.get("PIP_FIND_LINKS", "/nowhere")).glob("torch-*+cpu-cp311-*x86_64.whl"))
    for wheel in local:
        assert f"sha256:{lock.sha256(wheel)}" in ENTRIES["torch"]


def test_the_bill_of_materials_names_what_is_locked() -> None:
    text = (lock.LOCKS / lock.SBOM).read_text()
    assert text == lock.listed(ENTRIES, (ROOT / "version").read_text().strip())
    bill = json.loads(text)
    assert bill["metadata"]["component"]["name"] == "softseg-bids"
    assert len(bill["components"]) == len(ENTRIES)
    assert f"pkg:pypi/{ENTRIES['torch'].split()[0].replace('==', '@')}" in {
        part["purl"] for part in bill["components"]
    }


def test_a_requirements_file_is_read_and_written() -> None:
    hashes = [f" \\\n    --hash=sha256:{digest}" for digest in ("aa", "bb", "cc")]
    text = f"# a\nNumpy==1.0{hashes[0]}{hashes[1]}\ntriton==2{hashes[2]}\n"
    entries = lock.entries_of(text)
    assert entries == {
        "Numpy": "Numpy==1.0\n    --hash=sha256:aa\n    --hash=sha256:bb",
        "triton": "triton==2\n    --hash=sha256:cc",
    }
    texts = lock.lock_texts(entries)
    assert lock.entries_of(texts["runtime.txt"]) == {"Numpy": entries["Numpy"]}
    assert lock.entries_of(texts["cuda.txt"]) == {"triton": entries["triton"]}
    assert lock.entries_of(texts["torch.txt"]) == {}


def test_a_hash_is_added_once() -> None:
    one = lock.with_hash("torch==2\n    --hash=sha256:bb", "aa")
    assert one == "torch==2\n    --hash=sha256:aa\n    --hash=sha256:bb"
    assert lock.with_hash(one, "aa") == one


def test_a_wheel_that_is_not_for_cpus_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    asked: list[list[str]] = []
    monkeypatch.setattr(lock.subprocess, "run", lambda command, check: asked.append(command))
    (tmp_path / "torch-2-cp311.whl").touch()
    with pytest.raises(FileNotFoundError, match=r"torch==2: pip found torch-2-cp311\.whl"):
        lock.cpu_wheel("torch==2\n    --hash=sha256:aa", find_links=None)
    (tmp_path / "torch-2+cpu-cp311.whl").write_bytes(b"wheel")
    assert lock.cpu_wheel("torch==2", find_links="/wheels").name == "torch-2+cpu-cp311.whl"
    assert lock.CPU_INDEX in asked[0] and lock.CPU_INDEX not in asked[1]
    assert lock.sha256(tmp_path / "torch-2-cp311.whl").startswith("e3b0c44298fc1c14")


GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "X-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "version": "3", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code"),
    [([GOOD], 0), ([GOOD, BAD], 1), ([BAD, SKIPPED], 1), ([GOOD, SKIPPED], 3), ([], 3)],
)
def test_no_answer_is_no_good_news(packages: list[dict[str, object]], code: int) -> None:
    assert audit.verdict(packages) == code


def test_what_is_known_is_told() -> None:
    told = audit.report([GOOD, BAD, SKIPPED])
    assert "b 2: X-1, repaired in 3" in told
    assert "SKIPPED 1 of 3" in told and "2 of 3 packages were asked about" in told


def test_an_audit_without_an_answer_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\necho no way out >&2\nexit 1\n")
    program.chmod(0o755)
    assert audit.main([str(tmp_path)]) == audit.UNKNOWN
    assert "SKIPPED" in (said := capsys.readouterr().out) and "no way out" in said
    program.write_text('#!/bin/sh\necho \'{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}\'\n')
    assert audit.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "audit: 1 of 1 packages were asked about\n"
