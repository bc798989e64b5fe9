"""Running a pass of nipype so that nothing one unit does can harm another.

Node failures never end a pass. A worker that is killed (most often for memory) breaks
nipype's pool of processes; the pass is then resumed with one process, which also tells which
unit it was.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from nipype import config
from nipype.pipeline import plugins
from nipype.pipeline.engine import Workflow

from softseg_bids.app.interfaces import FAILURE
from softseg_bids.app.progress import Progress
from softseg_bids.app.settings import Settings
from softseg_bids.image.volume import DataError

POLL_S = 0.1
KILLED = (
    "its worker process was killed, most often because memory ran out; give the run more memory, "
    "or fewer processes with --nprocs"
)


class Engine(NamedTuple):
    """A nipype plugin: its name and arguments."""

    plugin: str
    arguments: dict[str, Any]


class SturdyMultiProcPlugin(plugins.MultiProcPlugin):  # type: ignore[misc]
    """MultiProc that reports a broken pool instead of waiting for its results for ever."""

    broken: BrokenProcessPool | None = None

    def _async_callback(self, args: Any) -> None:
        try:
            super()._async_callback(args)
        except BrokenProcessPool as error:
            self.broken = error

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        if self.broken is not None:
            raise self.broken
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)


def configure(logs: Path, stop_on_first_crash: bool) -> None:
    """Set nipype's global options for this run, and send what it says to ``logs/nipype.log``."""
    config.update_config(
        {
            "execution": {
                "crashdump_dir": str(logs),
                "crashfile_format": "txt",
                "stop_on_first_crash": str(stop_on_first_crash).lower(),
                "poll_sleep_duration": str(POLL_S),
                "hash_method": "content",
                "check_version": "false",
                "create_report": "false",
                "remove_unnecessary_outputs": "false",
                "parameterize_dirs": "false",
            }
        }
    )
    logger = logging.getLogger("nipype")
    for old in [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]:
        logger.removeHandler(old)
        old.close()
    handler = logging.FileHandler(logs / "nipype.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    logger.addHandler(handler)


def engine_of(settings: Settings) -> Engine:
    """The plugin asked for; by default MultiProc, or this very process for ``--nprocs 1``.

    Raises
    ------
    DataError
        If the plugin file is malformed or names no nipype plugin.
    """
    if settings.plugin is None:
        return Engine("MultiProc" if settings.nprocs > 1 else "Linear", _multiproc(settings, settings.nprocs))
    try:
        content = yaml.safe_load(settings.plugin.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{settings.plugin}: cannot be read as YAML ({error}); correct it") from error
    name = content.get("plugin") if isinstance(content, dict) else None
    arguments = content.get("plugin_args") or {} if isinstance(content, dict) else {}
    if not isinstance(name, str) or not hasattr(plugins, f"{name}Plugin") or not isinstance(arguments, dict):
        raise DataError(
            f"{settings.plugin}: names no nipype plugin; write `plugin: SLURM` and `plugin_args: {{...}}`"
        )
    defaults = _multiproc(settings, settings.nprocs) if name == "MultiProc" else {}
    return Engine(name, defaults | arguments)


def run_pass(
    assemble: Callable[[list[str]], Workflow], progress: Progress, settings: Settings, work: Path, logs: Path
) -> None:
    """Run all units of a pass; what became of each is in ``progress`` afterwards.

    Parameters
    ----------
    assemble : callable
        Makes the workflow of the units named.
    progress : Progress
        Follows the units.
    work, logs : Path
        The pass's folder (units are its subfolders), and the run's folder of logs.

    Raises
    ------
    RuntimeError
        If nipype fails though no unit did.
    """
    engine = engine_of(settings)
    while names := progress.in_state("waiting"):
        try:
            _run(assemble(names), engine, progress)
        except BrokenProcessPool:
            engine = _resume(engine, settings, progress)
            continue
        except Exception:
            if not progress.in_state("failed"):
                raise
        break
    _explain(progress, work, logs)
    progress.close()


def _run(workflow: Workflow, engine: Engine, progress: Progress) -> None:
    def follow(node: Any, status: str) -> None:
        name, step = node.fullname.split(".")[-2:]
        progress.event(name, step, status)

    arguments = engine.arguments | {"status_callback": follow}
    if engine.plugin != "MultiProc":
        workflow.run(plugin=engine.plugin, plugin_args=arguments)
        return
    runner = SturdyMultiProcPlugin(plugin_args=arguments)
    try:
        workflow.run(plugin=runner)
    finally:
        runner.pool.shutdown(wait=False, cancel_futures=True)


def _resume(engine: Engine, settings: Settings, progress: Progress) -> Engine:
    running = progress.in_state("running")
    alone = engine.arguments.get("n_procs") == 1
    for name in running:
        unit = progress.units[name]
        if alone:
            unit.reason, unit.for_user = KILLED, True
            progress.finish(name, "failed")
        else:
            unit.state = "waiting"
            unit.finished.clear()
    logging.getLogger("softseg").warning("a worker process was killed; going on with one process")
    return Engine("MultiProc", _multiproc(settings, 1))


def _multiproc(settings: Settings, processes: int) -> dict[str, Any]:
    return {
        "n_procs": processes,
        "memory_gb": settings.mem_gb,
        "raise_insufficient": False,
        # A forked copy of a process that has used torch dead-locks.
        "mp_context": "forkserver",
    }


def _explain(progress: Progress, work: Path, logs: Path) -> None:
    """Find the reason of each failure: the note of its step, and the crash file nipype wrote."""
    crashes = {_node_of(path): path for path in sorted(logs.glob("crash-*.txt"))}
    for name in progress.in_state("failed"):
        unit = progress.units[name]
        crash = crashes.get(f"{work.name}.{name}.{unit.failed_step}")
        note = work / name / unit.failed_step / FAILURE
        if unit.failed_step and note.is_file():
            found = json.loads(note.read_text())
            unit.for_user = found["for_user"]
            unit.reason = found["message"] if unit.for_user else f"{found['kind']}: {found['message']}"
        unit.reason = unit.reason or f"its step {unit.failed_step} could not be run"
        if crash is None:
            continue
        if unit.for_user:
            crash.unlink()  # the reason says it all; a traceback would hide it
        else:
            unit.crash = str(crash)
            unit.reason += f" (unexpected; please report it with {crash})"


def _node_of(crash: Path) -> str:
    first = crash.read_text(errors="replace").split("\n", 1)[0]
    return first.removeprefix("Node: ").strip()
