"""nipype's plugins for batch systems: which of them can be used, and what their jobs ask for."""

from __future__ import annotations

import contextlib
import math
import re
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

from nipype.pipeline import plugins
from nipype.pipeline.engine import Workflow
from nipype.pipeline.plugins.base import GraphPluginBase, SGELikeBatchManagerBase

from softseg_bids.image.volume import DataError

# Every look asks the batch system once for each waiting job.
POLL_S = 2.0
# A network file system may show a result to this process only when its cache has aged.
RESULT_TIMEOUT_S = 30.0
# What takes numbers of jobs to end them; batch systems answer late when they are busy.
CANCEL = {
    "SLURM": "scancel", "SGE": "qdel", "PBS": "qdel", "LSF": "bkill", "OAR": "oardel", "Condor": "condor_rm",
}  # fmt: skip
CANCEL_TIMEOUT_S = 30.0
# nipype puts paths into commands for a shell, without quotes.
PLAIN = re.compile(r"[\w./+@:%=,-]+")


def is_batch_system(plugin: str) -> bool:
    """Whether a nipype plugin submits each step as a job of its own."""
    return issubclass(getattr(plugins, f"{plugin}Plugin"), SGELikeBatchManagerBase)


class Steady:
    """What is mixed into a plugin so that a job without a result costs only its own unit.

    nipype appends a list to the traceback of such a job, which is text: the whole run would end.
    """

    traces: dict[str, str]
    _pending: dict[int | str, str]  # nipype's: what was submitted and has no result yet, and where

    def _report_crash(self, node: Any, result: Any = None) -> Any:
        lines = result["traceback"] if result else []
        lines = lines.splitlines(keepends=True) if isinstance(lines, str) else list(lines)
        self.traces[node.fullname] = "".join(lines)
        with contextlib.suppress(OSError):  # a full disk has no room for crash files
            return super()._report_crash(node, dict(result, traceback=lines) if result else None)  # type: ignore[misc]
        return None

    def close(self) -> None:
        """Cancel the jobs under way: after an interruption they would write beside the next run's."""
        jobs = [str(number) for number in self._pending]
        command = CANCEL.get(type(self).__name__.removesuffix("Plugin"))
        if jobs and command is not None:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run([command, *jobs], capture_output=True, check=False, timeout=CANCEL_TIMEOUT_S)


def runner_of(plugin: str, arguments: dict[str, Any]) -> Any:
    """A batch system's plugin, made steady; ``traces`` has the traceback of each step that failed."""
    base = getattr(plugins, f"{plugin}Plugin")
    runner = type(base.__name__, (Steady, base), {})(plugin_args=arguments)
    runner.traces = {}
    return runner


def check_plugin(plugin: str, work: Path, out: Path) -> None:
    """Refuse plugins that cannot be followed, and folders that a shell would not take as they are.

    Parameters
    ----------
    plugin : str
        Name of one of nipype's plugins.
    work : Path
        The folder of intermediate files, where jobs' scripts are written.
    out : Path
        OUT, where SLURM is told to write what jobs print.

    Raises
    ------
    DataError
        With the remedy.
    """
    if issubclass(getattr(plugins, f"{plugin}Plugin"), GraphPluginBase):
        raise DataError(
            f"plugin {plugin}: submits the whole graph and returns, so that nothing could be said about what "
            "becomes of it; use SLURM, SGE, PBS, LSF, OAR or Condor, or one job a participant"
        )
    folders = {work: "another folder with -w"} if is_batch_system(plugin) else {}
    if plugin == "SLURM":
        folders[out] = "another OUTPUT_DIR"
    for folder, remedy in folders.items():
        if wrong := sorted(set(PLAIN.sub("", str(folder)))):
            raise DataError(
                f"{folder}: has {' '.join(map(repr, wrong))} in it, and plugin {plugin} can pass on letters, "
                f"digits and ._/+@:%=,- alone; choose {remedy}"
            )


def ask_for_resources(
    workflow: Workflow, plugin: str, arguments: dict[str, Any], logs: Path
) -> dict[str, Any]:
    """Make each job of a workflow ask for the memory and processors of its step; where only SLURM knows how.

    Parameters
    ----------
    workflow : Workflow
        Its nodes' arguments and its polling are changed.
    plugin : str
        A plugin for a batch system.
    arguments : dict
        ``plugin_args`` as the user gave them; what they say of memory or processors holds for all jobs.
    logs : Path
        Where SLURM is told to write what jobs print.

    Returns
    -------
    dict
        The arguments to run with.
    """
    workflow.config["execution"] |= {
        "poll_sleep_duration": str(POLL_S),
        "job_finished_timeout": str(RESULT_TIMEOUT_S),
    }
    given = str(arguments.get("sbatch_args", ""))
    if plugin != "SLURM":
        return arguments
    for name in workflow.list_node_names():
        node = workflow.get_node(name)
        wishes = {"--mem": f"{math.ceil(node.mem_gb * 1024)}M", "--cpus-per-task": str(node.n_procs)}
        missing = [f"{option}={value}" for option, value in wishes.items() if option not in given]
        if missing:
            node.plugin_args = {"sbatch_args": " ".join(missing)}
    # nipype itself looks for these two letters, in whatever option they are.
    said = given if "-o" in given else f"{given} -o {logs}/slurm-%j.out -e {logs}/slurm-%j.out"
    return arguments | {"sbatch_args": said.strip()}


def remove_scripts(folder: Path, units: Collection[str]) -> None:
    """Remove the scripts and pickled nodes of some units' jobs.

    Parameters
    ----------
    folder : Path
        A pass's folder; nipype writes them into its subfolder ``batch``.
    units : collection of str
        Only theirs: other runs may be using the same folder.
    """
    name_of = re.compile(rf"_{re.escape(folder.name)}\.(.+)_[a-z]+\.(?:pklz|py|sh)$")
    for path in (folder / "batch").glob("*"):
        found = name_of.search(path.name)
        if found and found[1] in units:
            path.unlink(missing_ok=True)
