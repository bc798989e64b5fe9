"""Batch systems by nipype's plugins, and many runs at once into one OUT."""

from __future__ import annotations

import csv
import dataclasses
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import MakeDataset
from fake_slurm import Slurm
from killer import MaybeDie
from nipype.pipeline.engine import Node, Workflow
from nipype.pipeline.plugins import SLURMPlugin

from softseg_bids.app import batch, engine
from softseg_bids.app.engine import configure, engine_of, run_pass, units_at_once
from softseg_bids.app.failures import LOST
from softseg_bids.app.options import settings_of
from softseg_bids.app.progress import Progress, Unit
from softseg_bids.app.settings import Settings
from softseg_bids.image.volume import DataError

TESTS = Path(__file__).parent
# What a job of a stand-in run does before it begins: sees the stand-in, and the tests' own steps.
TEMPLATE = f"#!/bin/bash\nexport PYTHONPATH={TESTS / 'standin'}:{TESTS}"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """A batch system on PATH that is asked often and gives up soon."""
    made = Slurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("LOGNAME", "somebody")
    monkeypatch.setattr(batch, "POLL_S", 0.2)
    monkeypatch.setattr(batch, "RESULT_TIMEOUT_S", 0.1)
    return made


def plugin_file(folder: Path, sbatch_args: str = "") -> Path:
    path = folder / "slurm.yml"
    arguments = {"template": TEMPLATE, "sbatch_args": sbatch_args, "max_jobs": 4}
    path.write_text(json.dumps({"plugin": "SLURM", "plugin_args": arguments}))  # JSON is YAML
    return path


def settings(**changes: object) -> Settings:
    base = settings_of(["/bids", "/out", "participant"])
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def words_pass(
    words: dict[str, str], base: Path
) -> tuple[Callable[[list[str]], Workflow], Progress, list[int]]:
    """A pass of single steps; the progress, and how many units each workflow had."""
    sizes: list[int] = []

    def assemble(names: list[str]) -> Workflow:
        sizes.append(len(names))
        made = Workflow(name=base.name, base_dir=str(base.parent))
        for name in names:
            chain = Workflow(name=name)
            chain.add_nodes([Node(MaybeDie(word=words[name]), name="step", mem_gb=0.5, n_procs=3)])
            made.add_nodes([chain])
        return made

    return assemble, Progress("words", {name: Unit(name, 1) for name in words}), sizes


@pytest.mark.timeout(3600)  # ten processes, each starting from nothing
def test_slurm_runs_every_step_as_a_job(
    slurm: Slurm, bids: MakeDataset, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from softseg_bids.app.cli import main

    image = "sub-01/anat/sub-01_T2w.nii.gz"
    bids.image(image)
    out, work = tmp_path / "out", tmp_path / "work"
    options = [
        "--use-plugin",
        str(plugin_file(tmp_path, "--time=5")),
        "-w",
        str(work),
        "--model",
        str(checkpoint),
    ]
    assert main([str(bids.root), str(out), "participant", "--clean-workdir", *options]) == 0
    [manifest] = out.glob("logs/*/manifest.json")
    assert [entry["status"] for entry in json.loads(manifest.read_text())["inputs"]] == ["measured"]
    assert (out / "sub-01.html").exists()
    asked = slurm.asked()
    steps = [name.split(".")[0] for name in asked]
    assert sorted(steps) == sorted(
        ["conform", "segment", "trace", "find", "save", "label", "measure", "summarise", "draw", "page"]
    )
    [network] = [said for name, said in asked.items() if name.startswith("segment.")]
    memory = int(network.split("--mem=")[1].split("M")[0])
    assert memory >= 1024 * 0.5 and "--cpus-per-task=" in network and "--time=5" in network
    assert len(list(manifest.parent.glob("slurm-*.out"))) == len(asked)
    assert not list(work.iterdir())


@pytest.mark.timeout(1200)
def test_a_job_that_vanishes_costs_only_its_own_unit(slurm: Slurm, tmp_path: Path) -> None:
    words = {"first": "die", "second": "fail", "third": "live"}
    base, logs = tmp_path / "pass", tmp_path / "logs"
    logs.mkdir()
    configure(logs, stop_on_first_crash=False)
    assemble, progress, _ = words_pass(words, base)
    chosen = settings(plugin=plugin_file(tmp_path, "--mem=9G"), work=tmp_path)
    run_pass(assemble, progress, chosen, base, logs)
    states = {name: unit.state for name, unit in progress.units.items()}
    assert states == {"first": "failed", "second": "failed", "third": "done"}
    lost, failed = progress.units["first"], progress.units["second"]
    assert (lost.reason, lost.kind) == (LOST, "killed")
    assert failed.kind == "unexpected" and "ValueError: fail" in failed.reason
    assert [str(path) for path in logs.glob("crash-*")] == [failed.crash]
    for said in slurm.asked().values():
        assert said.count("--mem=") == 1 and "--mem=9G" in said and "--cpus-per-task=3" in said


@pytest.mark.timeout(300)
def test_jobs_under_way_are_cancelled_with_the_run(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would go on writing beside those of the next run, which may begin at once."""
    base, logs = tmp_path / "pass", tmp_path / "logs"
    logs.mkdir()
    configure(logs, stop_on_first_crash=False)
    assemble, progress, _ = words_pass(dict.fromkeys(("first", "second", "third"), "sleep"), base)
    asked = SLURMPlugin._is_pending

    def interrupted(plugin: object, number: int) -> bool:
        if len(slurm.asked()) == 3 and "RUNNING" in slurm.states().values():
            raise KeyboardInterrupt
        return bool(asked(plugin, number))

    monkeypatch.setattr(SLURMPlugin, "_is_pending", interrupted)
    chosen = settings(plugin=plugin_file(tmp_path), work=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_pass(assemble, progress, chosen, base, logs)
    assert slurm.states() == dict.fromkeys("123", "CANCELLED")


@pytest.mark.parametrize("name", ["SLURM", "SGE", "PBS", "LSF", "OAR", "Condor"])
def test_how_jobs_are_cancelled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []

    def note(command: list[str], **_: object) -> None:
        said.append(command)
        raise FileNotFoundError  # it is not on PATH: nothing more can be done

    monkeypatch.setattr(batch.subprocess, "run", note)
    runner = batch.runner_of(name, {"plugin_args": {}})
    runner.close()
    assert not said
    runner._pending.update({7: "a", "8.host": "b"})
    runner.close()
    assert said == [[batch.CANCEL[name], "7", "8.host"]]


class TestBatches:
    """A pass is run in workflows of a few units."""

    @pytest.fixture
    def logs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(engine, "LEAST_UNITS", 2)
        monkeypatch.setattr(engine, "UNITS_A_PROCESS", 2)
        folder = tmp_path / "logs"
        folder.mkdir()
        return folder

    @pytest.mark.parametrize("stop", [False, True])
    def test_until_none_waits(self, tmp_path: Path, logs: Path, stop: bool) -> None:
        words = dict.fromkeys("abcde", "live")
        configure(logs, stop_on_first_crash=stop)
        assemble, progress, sizes = words_pass(words, tmp_path / "pass")
        chosen = settings(nprocs=1, work=tmp_path, stop_on_first_crash=stop)
        run_pass(assemble, progress, chosen, tmp_path / "pass", logs)
        assert sizes == [2, 2, 1] and progress.in_state("done") == list(words)

    @pytest.mark.parametrize(("stop", "ran"), [(False, [2, 2, 1]), (True, [2])])
    def test_a_failure_ends_a_pass_only_where_that_was_asked_for(
        self, tmp_path: Path, logs: Path, stop: bool, ran: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = dict.fromkeys("abcde", "live")
        configure(logs, stop_on_first_crash=stop)
        assemble, progress, sizes = words_pass(words, tmp_path / "pass")

        def broken(names: list[str]) -> Workflow:
            made = assemble(names)
            if "b" in names:
                made.get_node("b.step").inputs.word = "fail"
            return made

        chosen = settings(nprocs=1, work=tmp_path, stop_on_first_crash=stop)
        run_pass(broken, progress, chosen, tmp_path / "pass", logs)
        assert sizes == ran
        assert progress.in_state("failed") == ["b"]
        assert len(progress.in_state("done")) == sum(ran) - 1

    def test_how_many(self, tmp_path: Path) -> None:
        assert units_at_once(engine_of(settings(nprocs=1))) == engine.LEAST_UNITS
        many = engine_of(settings(nprocs=20))
        assert units_at_once(many) == 20 * engine.UNITS_A_PROCESS
        jobs = engine_of(settings(plugin=plugin_file(tmp_path), work=tmp_path))
        assert units_at_once(jobs) == engine.UNITS_OF_JOBS


class TestPlugin:
    """Which of nipype's plugins are taken."""

    @pytest.mark.parametrize("name", ["SLURM", "SGE", "PBS", "LSF", "OAR", "Condor"])
    def test_batch_systems(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "p.yml"
        path.write_text(f"plugin: {name}\nplugin_args: {{qsub_args: -q short}}\n")
        found = engine_of(settings(plugin=path, work=tmp_path))
        assert (found.plugin, found.arguments) == (name, {"qsub_args": "-q short"})
        assert batch.is_batch_system(name)

    @pytest.mark.parametrize("name", ["SLURMGraph", "SGEGraph", "PBSGraph", "CondorDAGMan", "SomaFlow"])
    def test_whole_graphs_are_refused(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "p.yml"
        path.write_text(f"plugin: {name}\n")
        with pytest.raises(DataError, match=f"{name}.*one job a participant"):
            engine_of(settings(plugin=path, work=tmp_path))

    @pytest.mark.parametrize("name", ["my work", "(x);$y", "a'b", "a&b", "a*", "a\nb", "~", "a#b"])
    def test_folders_that_a_shell_would_not_take_as_they_are(self, tmp_path: Path, name: str) -> None:
        for changed, remedy in (("work", "-w"), ("out", "another OUTPUT_DIR")):
            chosen = settings(
                plugin=plugin_file(tmp_path), **{"work": tmp_path, changed: Path("/data") / name}
            )
            with pytest.raises(DataError, match=f"(?s)^/data/.*choose .*{remedy}"):
                engine_of(chosen)
        several = tmp_path / "several.yml"
        several.write_text("plugin: MultiProc\n")
        assert engine_of(settings(plugin=several, work=Path("/data") / name)).plugin == "MultiProc"

    def test_folders_that_it_does(self, tmp_path: Path) -> None:
        plain = Path("/scratch/Zoë_1/a+b@c:d%e=f,g-h.i")
        assert engine_of(settings(plugin=plugin_file(tmp_path), work=plain, out=plain)).plugin == "SLURM"

    def test_other_systems_get_what_the_user_wrote(self, tmp_path: Path) -> None:
        workflow = Workflow(name="w", base_dir=str(tmp_path))
        workflow.add_nodes([Node(MaybeDie(word="live"), name="n")])
        given = {"qsub_args": "-l mem=4gb"}
        assert batch.ask_for_resources(workflow, "PBS", given, tmp_path) == given
        assert workflow.get_node("n").plugin_args == {}
        assert float(workflow.config["execution"]["poll_sleep_duration"]) == batch.POLL_S

    def test_a_log_of_ones_own(self, tmp_path: Path) -> None:
        workflow = Workflow(name="w", base_dir=str(tmp_path))
        workflow.add_nodes([Node(MaybeDie(word="live"), name="n", mem_gb=2, n_procs=1)])
        given = {"sbatch_args": "-o mine.out --cpus-per-task=8"}
        assert batch.ask_for_resources(workflow, "SLURM", given, tmp_path) == given
        assert workflow.get_node("n").plugin_args == {"sbatch_args": "--mem=2048M"}


def test_only_ones_own_scripts_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    names = [
        f"{kind}_20260101_120000_scans.{unit}_conform.{ending}"
        for unit in ("sub_01_T2w", "sub_01_acq_x_T2w")
        for kind, ending in (("node", "pklz"), ("pyscript", "py"), ("batchscript_pyscript", "sh"))
    ]
    (folder / "batch").mkdir(parents=True)
    for name in names:
        (folder / "batch" / name).touch()
    batch.remove_scripts(folder, {"sub_01_T2w"})
    assert sorted(path.name for path in (folder / "batch").iterdir()) == sorted(names[3:])
    batch.remove_scripts(tmp_path / "pages", {"sub_01"})  # without batch jobs there is no such folder


PEOPLE = tuple(f"{number:02d}" for number in range(1, 17))


def _take_part(call: Callable[..., int], arguments: Sequence[object], barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    sys.exit(call(*arguments))


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("sketched")
def test_many_runs_at_once_into_one_out(
    bids: MakeDataset, softseg: Callable[..., int], tmp_path: Path
) -> None:
    for label in PEOPLE:
        bids.image(f"sub-{label}/anat/sub-{label}_T2w.nii.gz")
    out = tmp_path / "out"
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(PEOPLE), timeout=300)
    runs = []
    for label in PEOPLE:
        arguments = (bids.root, out, "participant", "--participant-label", label)
        runs.append(context.Process(target=_take_part, args=(softseg, arguments, barrier)))
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0] * len(PEOPLE)
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    for path in out.rglob("*.json"):
        assert isinstance(json.loads(path.read_text()), dict), path
    for path in out.rglob("*.tsv"):
        widths = {len(row) for row in csv.reader(path.open(), delimiter="\t")}
        assert len(widths) == 1, path  # every row is whole
    assert len(list(out.glob("logs/*/manifest.json"))) == len(PEOPLE)
    assert {path.stem for path in out.glob("sub-*.html")} == {f"sub-{label}" for label in PEOPLE}
    # Nothing half-written is left, and no intermediate files.
    assert not [path for path in out.rglob(".*.*") if path.is_file() and path.name != ".bidsignore"]
    assert not (out / ".softseg-work").exists()
    assert softseg(bids.root, out, "group") == 0
    rows = list(csv.DictReader((out / "group_csa.tsv").open(), delimiter="\t"))
    assert {row["participant_id"] for row in rows if row["region"] == "cord"} == {
        f"sub-{label}" for label in PEOPLE
    }
