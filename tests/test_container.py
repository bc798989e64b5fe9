"""The images' recipes agree with the project; the check on them sees what it must see."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from container import check, context, debian, expectations, podman, processes, trial
from container.compare import differences, foreign, results
from container.conditions import OPEN, OWN_USER, RESTRICTED, STRANGER, Condition, Mounts

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SINGULARITY = (ROOT / "Singularity.def").read_text()
VERSION = (ROOT / "version").read_text().strip()
HELD = {"uid": STRANGER, "named": False, "no_new_privileges": True, "network": False, "capabilities": 0}


def section(name: str) -> str:
    """The body of a section of Singularity.def."""
    found = re.search(rf"^%{name}\n((?:[ \t].*\n|\n)*)", SINGULARITY, re.MULTILINE)
    assert found, name
    return found[1]


def test_the_recipes_name_the_version() -> None:
    assert f"\nARG VERSION={VERSION}\n" in DOCKERFILE
    assert f" VERSION={VERSION}\n" in section("arguments")


def test_both_recipes_have_the_same_labels() -> None:
    docker = dict(re.findall(r'(org\.opencontainers\.image\.\w+)="(.*?)"', DOCKERFILE))
    docker = {key: re.sub(r"^\$(\w+)$", r"{{ \1 }}", value) for key, value in docker.items()}
    other = dict(re.findall(r"(org\.opencontainers\.image\.\w+) (.*)", section("labels")))
    assert docker == other
    assert {key.rpartition(".")[2] for key in docker} >= {
        "title",
        "version",
        "licenses",
        "source",
        "revision",
    }


def test_both_recipes_take_torch_from_the_index_for_cpus() -> None:
    index = "https://download.pytorch.org/whl/cpu"
    assert f"ARG TORCH_INDEX={index}\n" in DOCKERFILE
    assert f" TORCH_INDEX={index}\n" in section("arguments")
    assert index in (ROOT / "Makefile").read_text()


def test_both_recipes_start_the_app_alike() -> None:
    entry = re.search(r"^ENTRYPOINT (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert entry
    assert section("runscript").split() == ["exec", *ast.literal_eval(entry[1]), '"$@"']


def test_both_recipes_set_what_the_app_needs_alike() -> None:
    declared = re.search(r"^ENV PATH=(?:.*\\\n)*.*$", DOCKERFILE, re.MULTILINE)
    assert declared
    docker = dict(re.findall(r"(\w+)=(\S+)", declared[0]))
    other = dict(re.findall(r"(\w+)=(\S+)", section("environment")))
    # Apptainer gives the caller's home, and says by itself which image it runs.
    assert other == {key: docker[key] for key in docker.keys() - {"HOME", "SOFTSEG_CONTAINER_TAG"}}


def test_both_recipes_start_from_the_same_base_and_end_without_root() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["debian:bookworm-slim"] * 2
    assert " FROM=debian:bookworm-slim\n" in section("arguments")
    [user] = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert user == f"{OWN_USER}:{OWN_USER}"


def test_whatever_the_recipes_copy_is_let_through() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = [rule[1:] for rule in rules if rule.startswith("!")]
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {name for line in copies for name in line.split()}
    taken = {line.split()[0] for line in section("files").splitlines() if line.strip()}
    for name in copied | taken:
        assert name == "requirements" or any(fnmatch.fnmatch(name, rule) for rule in let_through), name
        assert list(ROOT.glob(name)), name
    assert {Path(name).parts[0] for name in copied} == {Path(name).parts[0] for name in taken}
    assert {name for name in copied | taken if name in context.FILES} >= {"run.py", "version", "softseg_bids"}


def test_the_shell_scripts_are_clean() -> None:
    scripts = [*sorted((ROOT / "container").glob("*.sh")), ROOT / ".ci" / "run"]
    for script in scripts:
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_the_dockerfile_is_clean() -> None:
    program = shutil.which("hadolint", path=f"{ROOT / 'build/tools/bin'}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("hadolint is not installed; make hadolint does it")
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_an_unknown_step_of_the_installation_is_refused() -> None:
    done = subprocess.run(
        ["sh", ROOT / "container/install.sh", "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 64 and "nonsense" in done.stderr


# What is compared


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal output folders, written as by two runs."""
    for name in ("plain", "other"):
        anat = tmp_path / name / "sub-01" / "anat"
        anat.mkdir(parents=True)
        mask = np.zeros((3, 4, 5), np.float32)
        mask[1, 2, 3] = 0.25
        nib.save(nib.Nifti1Image(mask, np.eye(4)), anat / "a_probseg.nii.gz")
        (anat / "a_morph.tsv").write_text("slice\tarea_mm2\n1\t70.1\n")
        (anat / "a_probseg.json").write_text('{"Manual": false, "Sources": ["bids:raw:a"]}')
        (tmp_path / name / "sub-01.html").write_text(f"<p>{name}</p>")
        (tmp_path / name / ".bidsignore").write_text("*.html\n")
        (tmp_path / name / "dataset_description.json").write_text(
            f'{{"Name": "a", "GeneratedBy": [{{"Name": "softseg", "Container": "{name}"}}]}}'
        )
        for folder in ("logs/1", ".softseg-work"):
            (tmp_path / name / folder).mkdir(parents=True)
            (tmp_path / name / folder / f"{name}.txt").write_text(name)
    return tmp_path / "plain", tmp_path / "other"


def test_two_equal_runs_are_equal(two_runs: tuple[Path, Path]) -> None:
    assert differences(*two_runs) == []
    assert ".bidsignore" in results(two_runs[0])
    assert not [name for name in results(two_runs[0]) if "logs" in name or "work" in name]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("sub-01/anat/a_morph.tsv", "slice\tarea_mm2\n1\t70.2\n", "other content"),
        ("sub-01/anat/a_probseg.json", '{"Manual": true, "Sources": ["bids:raw:a"]}', "other facts"),
        ("dataset_description.json", '{"Name": "a", "GeneratedBy": [{"Name": "else"}]}', "other facts"),
        ("sub-01.html", "", "empty"),
        ("sub-01/anat/b_morph.tsv", "slice\n", "not written by the plain run"),
        (".bidsignore", "*.tsv\n", "other content"),
    ],
)
def test_any_other_result_is_seen(two_runs: tuple[Path, Path], name: str, content: str, said: str) -> None:
    (two_runs[1] / name).write_text(content)
    assert differences(*two_runs) == [f"{name}: {said}"]


@pytest.mark.parametrize(
    ("mask", "affine", "said"),
    [
        (np.zeros((3, 4, 5), np.float32), np.eye(4), "1 voxels differ, by up to 0.25"),
        (np.zeros((3, 4, 6), np.float32), np.eye(4), "shape (3, 4, 6) instead of (3, 4, 5)"),
        (None, np.diag([1, 1, 1.0001, 1]), "another grid"),
    ],
)
def test_any_other_voxel_is_seen(
    two_runs: tuple[Path, Path], mask: np.ndarray | None, affine: np.ndarray, said: str
) -> None:
    path = two_runs[1] / "sub-01/anat/a_probseg.nii.gz"
    if mask is None:
        mask = np.asanyarray(nib.load(path).dataobj)
    nib.save(nib.Nifti1Image(mask, affine), path)
    assert differences(*two_runs) == [f"sub-01/anat/a_probseg.nii.gz: {said}"]


def test_a_missing_result_is_seen(two_runs: tuple[Path, Path]) -> None:
    (two_runs[1] / "sub-01/anat/a_morph.tsv").unlink()
    assert differences(*two_runs) == ["sub-01/anat/a_morph.tsv: missing"]


def test_nothing_to_compare_with_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no tables"):
        differences(tmp_path, tmp_path)


def test_whoever_owns_the_results_is_seen(two_runs: tuple[Path, Path]) -> None:
    status = two_runs[0].stat()
    assert foreign(two_runs[0], status.st_uid, status.st_gid) == []
    everything = len([two_runs[0], *two_runs[0].rglob("*")])
    assert len(foreign(two_runs[0], status.st_uid + 1, status.st_gid)) == everything
    assert len(foreign(two_runs[0], status.st_uid, status.st_gid + 1)) == everything


# Under which restrictions


def test_restrictions_that_hold_are_right() -> None:
    assert RESTRICTED[1].wrong({**HELD, "writable": ["/out"]}) == []
    assert RESTRICTED[0].wrong({**HELD, "writable": ["/tmp", "/out"]}) == []


@pytest.mark.parametrize(
    "other",
    [
        {"uid": 0},
        {"named": True},
        {"no_new_privileges": False},
        {"network": True},
        {"capabilities": 0x400},
        {"writable": ["/", "/out"]},
        {"writable": []},
    ],
)
def test_a_restriction_that_does_not_hold_is_seen(other: dict[str, object]) -> None:
    assert len(RESTRICTED[1].wrong({**HELD, "writable": ["/out"], **other})) == 1


def test_root_without_capabilities_is_not_unrestricted() -> None:
    free = {"uid": 0, "named": True, "no_new_privileges": False, "network": True, "writable": OPEN.writable()}
    assert OPEN.wrong({**free, "capabilities": 0x3FFF}) == []
    assert OPEN.wrong({**free, "capabilities": 0}) == ["capabilities are 0x0"]


def test_restrictions_are_options_of_podman(tmp_path: Path) -> None:
    mounts = Mounts(tmp_path / "in", tmp_path / "out", ((tmp_path / "more", "/more"),))
    strict = " ".join(podman.flags(Condition("strict"), mounts))
    for option in (
        "--network none",
        "--read-only",
        "--cap-drop all",
        "no-new-privileges",
        "--user 54321:54321",
    ):
        assert option in strict
    assert (
        "--tmpfs" not in strict
        and f"{tmp_path}/in:/data:ro" in strict
        and f"{tmp_path}/more:/more:ro" in strict
    )
    free = podman.flags(OPEN, mounts)
    assert "host" in free and "--read-only" not in free and f"{tmp_path}/in:/data:rw" in free
    assert "--user" not in podman.flags(RESTRICTED[2], mounts)


def test_the_probe_sees_this_process(tmp_path: Path) -> None:
    probe = ROOT / "container" / "probe.py"
    with expectations.listening() as port:
        told = subprocess.run(
            [sys.executable, probe, str(port), str(tmp_path), str(tmp_path / "none")],
            capture_output=True,
            text=True,
            check=True,
        )
    found = ast.literal_eval(told.stdout.replace("true", "True").replace("false", "False"))
    assert found["network"] is True and found["writable"] == [str(tmp_path)]
    assert not list(tmp_path.iterdir())
    alone = subprocess.run([sys.executable, probe, str(port)], capture_output=True, text=True, check=True)
    assert '"network": false' in alone.stdout


# How it is run


def test_a_build_sees_what_pip_was_told_of(tmp_path: Path) -> None:
    wheels, certificate = tmp_path / "wheels", tmp_path / "ca.crt"
    wheels.mkdir()
    certificate.touch()
    assert podman.pip_mounts(tmp_path, {}) == []
    assert podman.pip_mounts(tmp_path, {"PIP_CERT": str(tmp_path / "none")}) == []
    told = {"PIP_CERT": str(certificate), "PIP_FIND_LINKS": str(wheels)}
    mounts = podman.pip_mounts(tmp_path, told)
    assert [place for _, place in mounts] == [podman.CERTIFICATE, podman.WHEELS, podman.PIP_CONF]
    assert mounts[-1][0].read_text() == (
        f"[global]\ncert = {podman.CERTIFICATE}\nfind-links = {podman.WHEELS}\n"
    )


def test_a_command_that_fails_says_how() -> None:
    with pytest.raises(processes.Failed, match=r"exit code 3: .*\nhello"):
        processes.run(["sh", "-c", "echo hello; exit 3"])
    assert processes.run(["sh", "-c", "echo $A; pwd"], {"A": "b"}, Path("/")) == "b\n/\n"


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    start = time.monotonic()
    with pytest.raises(processes.Late, match="took more than 1 s"):
        processes.run(["sh", "-c", f"sleep 60 & echo $! > {note}; wait"], timeout_s=1)
    assert time.monotonic() - start < 30
    for _ in range(100):
        state = Path(f"/proc/{note.read_text().strip()}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("what the command started is still running")


def test_commands_of_a_step_share_its_time() -> None:
    with processes.within(0.5), processes.within(60):
        assert processes.run(["echo", "a"]) == "a\n"
        with pytest.raises(processes.Late):
            processes.run(["sleep", "60"])
        with pytest.raises(processes.Late, match="took more than 0 s"):
            processes.run(["sleep", "60"])
    assert processes.run(["echo", "b"]) == "b\n"


def hanging(*_: object) -> str:
    return processes.run(["sleep", "60"])


def trial_with(left_s: float = 60, run_s: float = 60) -> trial.Trial:
    """A trial whose demo data and plain run are thought of."""
    made = trial.Trial.__new__(trial.Trial)
    made.last_begin, made.run_s = time.monotonic() + left_s, run_s
    return made


def test_a_run_that_hangs_has_failed() -> None:
    with pytest.raises(processes.Failed, match="sleep 60"):
        trial_with(run_s=0.2)._step("participant", hanging)


def test_a_build_that_takes_too_long_is_no_failure_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "BUILD_S", 0.2)
    with pytest.raises(processes.Unavailable, match="build, Dockerfile: not done"):
        trial_with()._build("build, Dockerfile", hanging)


def test_a_build_that_fails_is_one() -> None:
    with pytest.raises(processes.Failed, match="exit code 1"):
        trial_with()._build("build, Dockerfile", lambda: processes.run(["false"]))


def test_nothing_is_begun_when_the_time_is_over() -> None:
    late = trial_with(left_s=-1)
    for begin in (late._step, late._build):
        with pytest.raises(trial.Enough, match="anything"):
            begin("anything", hanging)


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (None, 0, "passed"),
        (
            trial.Enough("%test"),
            check.UNFINISHED,
            "SKIPPED the rest, from here on: %test; 25 minutes are over",
        ),
        (processes.Unavailable("slow"), check.NOTHING_TRIED, "SKIPPED, no image was tried: slow"),
        (processes.Late("took more than 9 s: podman"), 1, "FAILED: took more than 9 s: podman"),
    ],
)
def test_each_end_has_its_code(
    outcome: Exception | None,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Tried:
        def __init__(self, work: Path, participants: int, minutes: float) -> None:
            assert (participants, minutes) == (1, 25)

        def podman(self, engine: object) -> None:
            if outcome:
                raise outcome

        def apptainer(self, engine: object) -> None: ...

    monkeypatch.setattr(check, "missing", list)
    monkeypatch.setattr(check, "Trial", Tried)
    monkeypatch.setattr(check.signal, "signal", lambda *_: None)
    assert check.main(["--participants", "1", "--minutes", "25"]) == code
    assert f"container-test: {said}\n" in capsys.readouterr().out


def test_only_what_is_inside_a_folder_is_unmounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    points = ("/", "/work/a", "/work/a/b", "/work/ab", "/work")
    mounts.write_text("".join(f"x {point} ext4 rw 0 0\n" for point in points))
    done: list[list[object]] = []
    monkeypatch.setattr(processes, "run", lambda words: done.append(list(words)))
    processes.unmount_below(Path("/work/a"), mounts)
    assert done == [["umount", Path("/work/a/b")]]
    processes.unmount_below(Path("/work"), mounts)
    assert [str(words[1]) for words in done[1:]] == ["/work/ab", "/work/a/b", "/work/a"]


def test_expectations_fail_where_they_must() -> None:
    def failing(code: int) -> str:
        return processes.run(["sh", "-c", f"exit {code}"])

    expectations.expect_nothing("here", [])
    with pytest.raises(processes.Failed, match="here: 1 things are wrong:\n  this"):
        expectations.expect_nothing("here", ["this"])
    expectations.expect_code(18, failing, 18)
    with pytest.raises(processes.Failed, match="exit code 1:"):
        expectations.expect_code(18, failing, 1)
    with pytest.raises(processes.Failed, match="exit code 0 instead of 18"):
        expectations.expect_code(18, failing, 0)


def test_a_machine_without_podman_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert check.main([]) == check.NOTHING_TRIED
    assert "SKIPPED" in (said := capsys.readouterr().out) and "podman is not installed" in said


def test_a_root_that_may_not_mount_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check.shutil, "which", lambda name: name)
    monkeypatch.setattr(check.os, "getuid", lambda: 0)
    monkeypatch.setattr(check, "run", lambda _: processes.run(["false"]))
    assert check.main([]) == check.NOTHING_TRIED
    assert "may not mount" in capsys.readouterr().out


def test_a_mirror_that_cannot_be_reached_is_no_failure_of_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "run", lambda _: processes.run(["false"]))
    with pytest.raises(processes.Unavailable, match="no Debian trixie"):
        debian.make_tree("trixie", tmp_path / "tree")


def test_a_machine_that_can_build_nothing_is_no_failure_of_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podman, "run", lambda *_, **__: processes.run(["sh", "-c", "echo why; false"]))
    engine = podman.Podman(tmp_path)
    with pytest.raises(processes.Unavailable, match=r"not even a trivial image .*\nwhy"):
        engine.try_out(RESTRICTED[1], Mounts(tmp_path, tmp_path))
    assert (tmp_path / "trivial" / "Dockerfile").read_text().startswith(f"FROM {podman.BASE}\n")


def test_the_sources_are_copied_without_what_is_no_source(tmp_path: Path) -> None:
    copy = context.snapshot(tmp_path / "context")
    assert (copy / "softseg_bids/model/weights/default.pt").is_file()
    assert (copy / "run.py").read_bytes() == (ROOT / "run.py").read_bytes()
    assert not list(copy.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("environment", "index"),
    [
        ({}, None),
        ({"PIP_FIND_LINKS": "/wheels"}, ""),
        ({"TORCH_INDEX": "auto"}, None),
        ({"TORCH_INDEX": ""}, ""),
        ({"TORCH_INDEX": "https://example.org", "PIP_FIND_LINKS": "/wheels"}, "https://example.org"),
    ],
)
def test_torch_comes_from_where_make_takes_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], index: str | None
) -> None:
    for variable in ("TORCH_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert context.torch_index() == index


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://me:secret@example.org/softseg.git", "https://example.org/softseg.git"),
        ("https://example.org/softseg.git", "https://example.org/softseg.git"),
        ("", "unknown"),
    ],
)
def test_no_password_gets_into_the_labels(monkeypatch: pytest.MonkeyPatch, address: str, said: str) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout=address + "\n")
    monkeypatch.setattr(context.subprocess, "run", lambda *_, **__: answer)
    assert context.source() == said


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n",
            "http://mirror.example/debian",
        ),
        ("deb [arch=amd64] https://mirror.example/debian bookworm main\n", "https://mirror.example/debian"),
        ("deb https://example.org/other stable main\n", "http://deb.debian.org/debian"),
        ("", "http://deb.debian.org/debian"),
    ],
)
def test_the_mirror_is_the_machines_own(tmp_path: Path, text: str, address: str) -> None:
    (tmp_path / "sources.list").write_text(text)
    assert debian.mirror(tmp_path) == address


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian.tempfile, "gettempdir", lambda: str(tmp_path))
    assert debian.kept().stat().st_mode & 0o777 == 0o700
    debian.kept().rename(tmp_path / "elsewhere")
    debian_folder = tmp_path / f"softseg-container-{debian.os.getuid()}"
    debian_folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="somebody else"):
        debian.kept()
