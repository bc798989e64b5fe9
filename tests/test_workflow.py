"""Passes of nipype: pickling, killed workers, plugins, resources."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeDataset, centred_grid, write_image
from killer import MaybeDie
from nipype.pipeline.engine import Node, Workflow

from softseg_bids.app import identity, interfaces, workflow
from softseg_bids.app.engine import KILLED, Engine, configure, engine_of, run_pass
from softseg_bids.app.interfaces import StepInterface
from softseg_bids.app.interruption import interruptible
from softseg_bids.app.options import settings_of
from softseg_bids.app.progress import Progress, Unit
from softseg_bids.app.settings import Settings
from softseg_bids.image.volume import DataError

STEPS = StepInterface.__subclasses__()


def settings(**changes: object) -> Settings:
    base = settings_of(["/bids", "/out", "participant", "--nprocs", "2", "--mem", "4G"])
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_every_interface_pickles(step: type[StepInterface]) -> None:
    made = step()
    again = pickle.loads(pickle.dumps(made))
    assert again.inputs.get() == made.inputs.get()
    assert (
        type(again.inputs) is step.input_spec and pickle.loads(pickle.dumps(step.output_spec())) is not None
    )


def test_names_of_files_are_not_opened_for_hashing(tmp_path: Path) -> None:
    image = tmp_path / "a.nii.gz"
    image.write_bytes(b"1")
    inputs = interfaces.Segment(image=str(image), stored=[str(image)]).inputs
    before = inputs.get_hashval("content")[1]
    image.write_bytes(b"2")
    assert inputs.get_hashval("content")[1] == before


@pytest.mark.timeout(240)
def test_a_killed_worker_costs_only_its_own_unit(tmp_path: Path) -> None:
    words = {"first": "live", "second": "die", "third": "live"}
    base, logs = tmp_path / "pass", tmp_path / "logs"
    logs.mkdir()
    configure(logs, stop_on_first_crash=False)
    progress = Progress("words", {name: Unit(name, 1) for name in words})

    def assemble(names: list[str]) -> Workflow:
        made = Workflow(name=base.name, base_dir=str(base.parent))
        for name in names:
            chain = Workflow(name=name)
            chain.add_nodes([Node(MaybeDie(word=words[name]), name="step", mem_gb=0.1)])
            made.add_nodes([chain])
        return made

    run_pass(assemble, progress, settings(), base, logs)
    assert {name: unit.state for name, unit in progress.units.items()} == {
        "first": "done", "second": "failed", "third": "done",
    }  # fmt: skip
    assert progress.units["second"].reason == KILLED


@pytest.mark.timeout(240)
def test_a_killed_worker_costs_no_unit_between_two_steps(tmp_path: Path) -> None:
    """nipype runs the first steps of all chains before any second one."""
    base, logs = tmp_path / "pass", tmp_path / "logs"
    logs.mkdir()
    configure(logs, stop_on_first_crash=False)
    names = [f"u{number}" for number in range(6)]
    progress = Progress("words", {name: Unit(name, 2) for name in names})
    run_pass(_chains(base, {"u2": "die", "u5": "fail"}), progress, settings(), base, logs)
    assert {name: progress.units[name].state for name in names} == {
        "u0": "done", "u1": "done", "u2": "failed", "u3": "done", "u4": "done", "u5": "failed",
    }  # fmt: skip
    assert (progress.units["u2"].reason, progress.units["u2"].failed_step) == (KILLED, "second")
    assert "ValueError: fail" in progress.units["u5"].reason


@pytest.mark.timeout(240)
def test_who_failed_before_a_worker_was_killed_has_its_reason(tmp_path: Path) -> None:
    base, logs = tmp_path / "pass", tmp_path / "logs"
    logs.mkdir()
    configure(logs, stop_on_first_crash=False)
    progress = Progress("words", {name: Unit(name, 2) for name in ("u0", "u1")})
    chosen = settings(plugin=_one_process(tmp_path))
    run_pass(_chains(base, {"u0": "fail", "u1": "die"}), progress, chosen, base, logs)
    failed, killed = progress.units["u0"], progress.units["u1"]
    assert (killed.state, killed.reason) == ("failed", KILLED)
    assert failed.state == "failed" and "ValueError: fail" in failed.reason and failed.kind == "unexpected"


def _chains(base: Path, words: dict[str, str]) -> Callable[[list[str]], Workflow]:
    """Chains of two steps, the second of which does what its unit's word says."""

    def assemble(names: list[str]) -> Workflow:
        made = Workflow(name=base.name, base_dir=str(base.parent))
        for name in names:
            first = Node(MaybeDie(word="live"), name="first", mem_gb=0.1)
            second = Node(MaybeDie(word=words.get(name, "live")), name="second", mem_gb=0.1)
            chain = Workflow(name=name)
            chain.connect(first, "said", second, "after")
            made.add_nodes([chain])
        return made

    return assemble


def _one_process(folder: Path) -> Path:
    path = folder / "plugin.yml"
    path.write_text("plugin: MultiProc\nplugin_args: {n_procs: 1}\n")
    return path


def test_an_interruption_in_this_process_is_no_failure_of_its_step(tmp_path: Path) -> None:
    """nipype takes whatever a node raises for its failure, and would go on with the next one."""
    base, logs = tmp_path / "pass", tmp_path / "logs"
    logs.mkdir()
    configure(logs, stop_on_first_crash=False)
    progress = Progress("words", {name: Unit(name, 1) for name in ("first", "second")})

    def assemble(names: list[str]) -> Workflow:
        made = Workflow(name=base.name, base_dir=str(base.parent))
        for name in names:
            chain = Workflow(name=name)
            chain.add_nodes([Node(MaybeDie(word="interrupt"), name="step", mem_gb=0.1)])
            made.add_nodes([chain])
        return made

    with pytest.raises(KeyboardInterrupt), interruptible(lambda: None, 60.0):
        run_pass(assemble, progress, settings(nprocs=1), base, logs)
    assert [unit.state for unit in progress.units.values()] == ["running", "waiting"]
    assert not list(logs.glob("crash-*"))


@pytest.mark.parametrize("damage", ["", "[", None])
def test_a_list_of_files_cut_short_is_no_reason_to_stop(tmp_path: Path, damage: str | None) -> None:
    """A disk that was full leaves an empty one; its step is then run again."""
    listing = tmp_path / "words" / "only" / "step" / interfaces.FILES
    listing.parent.mkdir(parents=True)
    listing.write_text(json.dumps([str(tmp_path)]) if damage is None else damage)
    chain = Workflow(name="only")
    node = Node(MaybeDie(word="live"), name="step")
    chain.add_nodes([node])
    workflow._add(Workflow(name="words", base_dir=str(tmp_path)), chain, tmp_path / "words")
    assert bool(node.overwrite) is (damage is not None)


def test_an_error_of_the_engine_itself_is_raised(tmp_path: Path) -> None:
    def assemble(names: list[str]) -> Workflow:
        raise RuntimeError("no workflow")

    with pytest.raises(RuntimeError, match="no workflow"):
        run_pass(assemble, Progress("x", {"a": Unit("a", 1)}), settings(), tmp_path, tmp_path)


class TestEngine:
    """Which nipype plugin runs a pass."""

    def test_one_process_is_this_one(self) -> None:
        assert engine_of(settings(nprocs=1)).plugin == "Linear"

    def test_several_never_fork(self) -> None:
        engine = engine_of(settings())
        assert engine.plugin == "MultiProc"
        assert engine.arguments["mp_context"] == "forkserver"
        assert engine.arguments["memory_gb"] == 4

    def test_a_plugin_file(self, tmp_path: Path) -> None:
        path = tmp_path / "plugin.yml"
        path.write_text("plugin: SLURM\nplugin_args: {sbatch_args: --mem=4G}\n")
        assert engine_of(settings(plugin=path)) == Engine("SLURM", {"sbatch_args": "--mem=4G"})
        path.write_text("plugin: MultiProc\nplugin_args: {n_procs: 7}\n")
        engine = engine_of(settings(plugin=path, nprocs=8))
        assert (engine.arguments["n_procs"], engine.arguments["mp_context"]) == (7, "forkserver")
        assert engine_of(settings(plugin=path)).arguments["n_procs"] == 2  # no more than are granted

    @pytest.mark.parametrize("number", ["many", "0", "-1", "2.5", "true", "[1]", "null"])
    def test_a_wrong_number_of_processes(self, tmp_path: Path, number: str) -> None:
        path = tmp_path / "plugin.yml"
        path.write_text(f"plugin: MultiProc\nplugin_args: {{n_procs: {number}}}\n")
        with pytest.raises(DataError, match=r"plugin\.yml: n_procs is .*at least 1"):
            engine_of(settings(plugin=path))

    @pytest.mark.parametrize("text", ["plugin: Abacus", "a: [", "- 1", "plugin: SLURM\nplugin_args: 3", ""])
    def test_a_wrong_plugin_file(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "plugin.yml"
        path.write_text(text)
        with pytest.raises(DataError, match=r"plugin\.yml"):
            engine_of(settings(plugin=path))


def test_memory_follows_the_field_of_view(tmp_path: Path, bids: MakeDataset) -> None:
    small = bids.image("sub-01/anat/sub-01_T1w.nii.gz")
    big = write_image(
        tmp_path / "b.nii.gz", np.zeros((100, 100, 100), np.uint8), centred_grid((100, 100, 100), (2, 2, 2))
    )
    assert workflow.network_memory_gb(big) > workflow.network_memory_gb(small) > workflow.NETWORK_GB
    assert workflow.network_memory_gb(tmp_path / "none.nii.gz") == workflow.NETWORK_GB


def test_one_accelerator_serves_one_process_at_a_time() -> None:
    assert workflow.network_processors(settings(device="cuda", nprocs=8)) == 8
    assert workflow.network_processors(settings(device="cpu", nprocs=8, omp_nthreads=3)) == 3
    assert workflow.network_processors(settings(device="cpu", nprocs=2, omp_nthreads=3)) == 2


@pytest.mark.parametrize(("built", "there", "processors"), [
    ("'12.8'", True, 8), ("None", True, 3), ("'12.8'", False, 3), ("", True, 8),
])  # fmt: skip
def test_an_accelerator_that_torch_cannot_use_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: str, there: bool, processors: int
) -> None:
    if built:
        text = f"from typing import Optional\ncuda: Optional[str] = {built}\nhip: Optional[str] = None\n"
        (tmp_path / "version.py").write_text(text)
    monkeypatch.setattr(identity, "find_spec", lambda _: ModuleSpec("torch", None, origin=f"{tmp_path}/i.py"))
    monkeypatch.setattr(workflow, "ACCELERATOR", tmp_path if there else tmp_path / "none")
    identity.torch_knows_cuda.cache_clear()
    assert workflow.network_processors(settings(device="auto", nprocs=8, omp_nthreads=3)) == processors
    identity.torch_knows_cuda.cache_clear()


def test_what_torch_itself_says() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.version.cuda is not None)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(identity.torch_knows_cuda()) == done.stdout.strip()


def test_a_failure_leaves_a_note(tmp_path: Path) -> None:
    node = Node(
        interfaces.Conform(sources=[str(tmp_path / "no.nii.gz")], stamps=[], combine="single", bval=""),
        name="c",
    )
    node.base_dir = str(tmp_path)
    with pytest.raises(Exception, match=r"no\.nii\.gz"):
        node.run()
    note = json.loads((tmp_path / "c" / interfaces.FAILURE).read_text())
    assert note["for_user"] and "no.nii.gz" in note["message"]
