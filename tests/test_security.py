"""Nothing foreign is executed, no name is markup or a command, nobody is called, nobody else looks in."""

from __future__ import annotations

import ast
import json
import os
import pickle
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeDataset, centred_grid, cylinder, write_image

from softseg_bids.app import cli
from softseg_bids.app.cli import prepare
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.work_folder import check_own
from softseg_bids.image.volume import DataError
from softseg_bids.model.checkpoint import load_checkpoint
from softseg_bids.pages.report import Correction, Exclusion, ImageCard, RegionCell, SessionBlock, SubjectPage
from softseg_bids.pages.report import subject_page as write_page

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "softseg_bids"
MODULES = sorted(PACKAGE.rglob("*.py"))
NASTY = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
T2W = "sub-01/anat/sub-01_T2w.nii.gz"
Softseg = Callable[..., int]


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


class TestForeignFiles:
    """Nothing in them is executed."""

    @pytest.mark.parametrize("inside", [False, True])
    def test_a_checkpoint_is_weights_alone(self, tmp_path: Path, inside: bool) -> None:
        mark, path = tmp_path / "executed", tmp_path / "evil.pt"
        torch.save({"format": 1, "networks": Bomb(mark)} if inside else Bomb(mark), path)
        with pytest.raises(DataError, match=r"evil\.pt: cannot be read as weights alone"):
            load_checkpoint(path, torch.device("cpu"))
        assert not mark.exists()

    def test_a_plain_pickle_is_no_checkpoint(self, tmp_path: Path) -> None:
        mark, path = tmp_path / "executed", tmp_path / "evil.pt"
        path.write_bytes(pickle.dumps(Bomb(mark)))
        with pytest.raises(DataError, match=r"evil\.pt"):
            load_checkpoint(path, torch.device("cpu"))
        assert not mark.exists()

    def test_arrays_are_no_pickles(self, tmp_path: Path) -> None:
        from softseg_bids.app.records import load_soft

        mark, path = tmp_path / "executed", tmp_path / "soft.npz"
        np.savez(path, soft=np.array([Bomb(mark)], dtype=object))
        with pytest.raises(ValueError, match="allow_pickle"):
            load_soft(path)
        assert not mark.exists()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Every call in a module, with the name of what is called."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]


def keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {word.arg or "**": word.value for word in call.keywords}


def given(call: ast.Call, name: str) -> str | None:
    """A keyword's value as it is written, None if it is not given."""
    value = keywords(call).get(name)
    return None if value is None else ast.unparse(value)


class TestTheCode:
    """What no line of the package does."""

    def test_no_shell_and_no_evaluation(self) -> None:
        wrong = {
            "eval",
            "exec",
            "os.system",
            "os.popen",
            "subprocess.getoutput",
            "subprocess.getstatusoutput",
        }
        found = [(path.name, name) for path in MODULES for name, _ in calls(path) if name in wrong]
        shells = [path.name for path in MODULES for _, call in calls(path) if "shell" in keywords(call)]
        assert not found and not shells

    def test_no_unpickling(self) -> None:
        loading = {
            "pickle.load",
            "pickle.loads",
            "pd.read_pickle",
            "joblib.load",
            "yaml.load",
            "torch.jit.load",
        }
        found = [(path.name, name) for path in MODULES for name, _ in calls(path) if name in loading]
        assert not found
        for path in MODULES:
            for name, call in calls(path):
                if name == "torch.load":
                    assert given(call, "weights_only") == "True", path
                assert given(call, "allow_pickle") in (None, "False"), path

    def test_nothing_that_calls_the_network(self) -> None:
        wrong = {
            "socket",
            "urllib",
            "http",
            "requests",
            "ftplib",
            "smtplib",
            "httpx",
            "aiohttp",
            "webbrowser",
        }
        for path in MODULES:
            tree = tree_of(path)
            names: set[str] = set()
            for node in ast.walk(tree):
                names |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
                names |= {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
            found = {name.split(".")[0] for name in names} & wrong
            if used_of("socket", tree) == {"has_ipv6"}:  # says that others shall open none
                found -= {"socket"}
            assert not found, path

    def test_text_has_an_encoding_of_its_own(self) -> None:
        """The locale would change what is read and written; training only logs plain numbers."""
        for path in [path for path in MODULES if path.parent.name != "training"]:
            for name, call in calls(path):
                if is_text(name, call):
                    assert "encoding" in keywords(call), f"{path}:{call.lineno}"


def used_of(module: str, tree: ast.AST) -> set[str]:
    """The attributes of a module that a file uses; "from" and the bare name count as all of it."""
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    dotted = [node for node in taken if isinstance(node.value, ast.Name) and node.value.id == module]
    bare = sum(isinstance(node, ast.Name) and node.id == module for node in ast.walk(tree)) - len(dotted)
    from_ = any(isinstance(node, ast.ImportFrom) and node.module == module for node in ast.walk(tree))
    return {node.attr for node in dotted} | ({"*"} if bare or from_ else set())


def test_what_is_used_of_a_module() -> None:
    assert used_of("a", ast.parse("import a\na.b = a.c.d")) == {"b", "c"}
    assert used_of("a", ast.parse("import a\nx = a\na.b")) == {"*", "b"}
    assert used_of("a", ast.parse("from a import b")) == {"*"}


def is_text(name: str, call: ast.Call) -> bool:
    """Whether a call reads or writes text, so that the locale would say how."""
    method = name.rsplit(".", 1)[-1]
    if method == "open" and name not in ("os.open", "gzip.open", "Image.open"):
        mode = next((ast.unparse(argument) for argument in call.args), "''")
        return "b" not in mode
    # Our own write_text(path, text) states it.
    return method in ("read_text", "write_text") and "." in name and name != "derivatives.write_text"


class TestThePage:
    """Names from a dataset are text, never markup."""

    def test_every_text_is_escaped(self, tmp_path: Path) -> None:
        card = ImageCard(
            key="k", contrast="T2w", source=NASTY, plane=NASTY, voxel_mm=(1, 1, 1), status="measured",
            csa_fit=NASTY, gradient_correction=NASTY, mask_source=NASTY, levels_source=NASTY,
            angle_source=NASTY, model_hash=NASTY, flags=(NASTY,), slice_flags={NASTY: 1}, repeat=NASTY,
            correction=Correction(NASTY, NASTY, NASTY, NASTY, NASTY),
        )  # fmt: skip
        cell = RegionCell(NASTY, "k", 1.0, 1.0, 1.0, 1.0, (NASTY,))
        page = SubjectPage(
            NASTY, NASTY, [SessionBlock(NASTY, [card], [cell], None, [NASTY])],
            [Exclusion(NASTY, NASTY, True)], {NASTY: NASTY}, NASTY, NASTY, {NASTY: NASTY}, NASTY,
            NASTY, NASTY,
        )  # fmt: skip
        html = write_page(page, tmp_path / "page.html").read_text(encoding="utf-8")
        assert "<script>alert" not in html and "<img src=x" not in html
        assert html.count("&lt;script&gt;") >= 20

    def test_it_may_load_nothing(self, tmp_path: Path) -> None:
        html = write_page(SubjectPage("01", "d", []), tmp_path / "p.html").read_text(encoding="utf-8")
        assert "default-src 'none'" in html and 'src="http' not in html

    def test_commands_are_quoted(self) -> None:
        correction = Correction("a b.nii; rm -rf ~", "$(id)", "`id`", "x", "y;z")
        assert shlex.split(correction.fsleyes)[1] == "$BIDS_DIR/a b.nii; rm -rf ~"
        assert correction.itksnap.endswith("""-s "$OUTPUT_DIR"/'$(id)'""")
        assert shlex.split(correction.option)[-1] == "corrected=y;z"

    def test_nasty_names_of_a_dataset(self, bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
        bids.image(T2W)
        home = bids.root / "sub-<script>alert(1)<script>" / "anat"
        home.mkdir(parents=True)
        (home / "sub-<script>alert(1)<script>_T2w.nii.gz").write_bytes(b"x")
        (bids.root / "sub-01" / "anat" / "sub-01_acq-<b>_T2w.nii.gz").write_bytes(b"x")
        (bids.root / "participants.tsv").write_text(
            f"participant_id\t{NASTY}\nsub-01\t{NASTY}\n", encoding="utf-8"
        )
        sidecar = bids.root / T2W.replace(".nii.gz", ".json")
        sidecar.write_text(json.dumps({"InstitutionName": NASTY, "Manufacturer": NASTY}))
        described = bids.root / "dataset_description.json"
        # The end of the name is half a character, which no encoding knows.
        described.write_text(json.dumps({"Name": NASTY + "\ud800", "BIDSVersion": "1.11.1"}))
        out = tmp_path / "out"
        assert softseg(bids.root, out, "participant") == 0
        html = (out / "sub-01.html").read_text(encoding="utf-8")
        assert "<script>alert" not in html and "<img src=x" not in html and "&lt;script&gt;alert" in html
        [manifest] = out.glob("logs/*/manifest.json")
        inputs = json.loads(manifest.read_text())["inputs"]
        left_out = {it["input"] for it in inputs if it["status"] == "left out"}
        assert "sub-<script>alert(1)<script>" in left_out and len(left_out) == 2
        assert softseg(bids.root, out, "participant", "--session-label", NASTY) == Exit.NOTHING_SELECTED
        assert softseg(bids.root, out, "group") == 0


class TestTheWorkFolder:
    """Results in it are pickles of nipype: only its owner may write them."""

    def test_it_is_private(self, tmp_path: Path) -> None:
        work = tmp_path / "w" / "softseg-1"
        prepare(tmp_path / "out", 1, work)
        assert work.stat().st_mode & 0o777 == 0o700
        work.chmod(0o777)
        prepare(tmp_path / "out", 1, work)
        assert work.stat().st_mode & 0o777 == 0o700

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
    def test_somebody_elses_is_refused(self, tmp_path: Path) -> None:
        os.chown(tmp_path, 12345, -1)
        with pytest.raises(Stop, match="belongs to another user") as stopped:
            check_own(tmp_path)
        assert stopped.value.code == Exit.OUTPUT_UNWRITABLE

    def test_the_files_of_a_run_are_private(
        self, bids: MakeDataset, softseg: Softseg, tmp_path: Path
    ) -> None:
        bids.image(T2W)
        work = tmp_path / "w"
        assert softseg(bids.root, tmp_path / "out", "participant", "-w", work) == 0
        [folder] = work.iterdir()
        assert folder.stat().st_mode & 0o077 == 0 and (folder / "claims").stat().st_mode & 0o077 == 0


def test_the_unexpected_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(cli, "settings_of", broken)
    assert cli.main(["a", "b", "participant"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said
    report = Path(said.strip().rsplit(" ", 1)[1])
    assert "a fault of ours" in report.read_text(encoding="utf-8")
    report.unlink()


def test_a_disk_that_is_full_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/out/a")

    monkeypatch.setattr(cli, "settings_of", full)
    assert cli.main(["a", "b", "group"]) == Exit.OUTPUT_UNWRITABLE
    assert "/out/a: cannot be written" in capsys.readouterr().err


# A program for the kernel: whoever asks for an internet socket (AF_INET, AF_INET6) gets none (EACCES).
SOCKET_CALL = {"x86_64": 41, "aarch64": 198}
BLOCKED = """
import ctypes, os, struct, sys
def step(code, yes, no, value):
    return struct.pack("HBBI", code, yes, no, value)
program = (step(0x20, 0, 0, 0) + step(0x15, 0, 4, {call}) + step(0x20, 0, 0, 16)
    + step(0x15, 1, 0, 2) + step(0x15, 0, 1, 10)
    + step(0x06, 0, 0, 0x5000D) + step(0x06, 0, 0, 0x7fff0000))
buffer = ctypes.create_string_buffer(program, len(program))
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
if libc.prctl(22, 2, ctypes.byref(filter), 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
# In every interpreter of the run: each attempt to call somebody, or to learn an address, is written down.
NOTE = """
import os, sys
def note(event, given):
    named = event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "urllib.Request")
    if named or (event in ("socket.connect", "socket.sendto") and isinstance(given[1], tuple)):
        with open(os.environ["CALLS"], "a") as file:
            print(event, given[1:], file=file)
sys.addaudithook(note)
"""


@pytest.mark.timeout(1200)
@pytest.mark.skipif(
    platform.machine() not in SOCKET_CALL, reason="the number of the system call is not known"
)
def test_nobody_is_called(bids: MakeDataset, blind_checkpoint: Path, tmp_path: Path) -> None:
    """A real run, workers, torch and all: the kernel gives no internet socket, and nobody tries to call."""
    blocked = [sys.executable, "-c", BLOCKED.format(call=SOCKET_CALL[platform.machine()])]
    control = "import socket; socket.socket(socket.AF_UNIX).close(); socket.socket(socket.{})"
    for family in ("AF_INET", "AF_INET6"):
        done = subprocess.run([*blocked, "-c", control.format(family)], check=False, capture_output=True)
        if done.returncode == 77:
            pytest.skip("the kernel takes no such program here")
        assert b"PermissionError" in done.stderr, "the block itself does not work"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NOTE)
    called = tmp_path / "called"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "CALLS": str(called)}
    call = "import socket; socket.getaddrinfo('localhost', 1)"
    subprocess.run([*blocked, "-c", call], check=False, capture_output=True, env=environment)
    assert called.read_text().startswith("socket.getaddrinfo"), "the note itself does not work"
    called.unlink()
    bids.image(T2W)
    bids.image("sub-02/anat/sub-02_T2w.nii.gz")
    corrected = tmp_path / "corrected" / "sub-02_T2w_label-SC_seg.nii.gz"
    write_image(corrected, np.uint8(cylinder(centred_grid()) > 0.5), centred_grid())
    out, given = tmp_path / "out", f"corrected={corrected.parent}"
    levels: dict[str, list[object]] = {
        "participant": ["--device", "cpu", "--nprocs", "2", "--model", blind_checkpoint, "-d", given],
        "group": [],
    }
    for level, more in levels.items():
        command = [*blocked, ROOT / "run.py", bids.root, out, level, "--omp-nthreads", "1", *more]
        done = subprocess.run(
            [*map(str, command)], check=False, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        assert not called.exists(), called.read_text()
    [manifest] = out.glob("logs/*/manifest.json")
    statuses = [it["status"] for it in json.loads(manifest.read_text())["inputs"]]
    assert statuses == ["no_cord", "measured"] and (out / "group.html").is_file()
