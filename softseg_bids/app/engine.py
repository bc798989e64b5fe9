"""Running a pass of nipype so that nothing one unit does can harm another.

Node failures never end a pass. A worker that is killed (most often for memory) breaks
nipype's pool of processes; the pass is then resumed with one process, which also tells which
unit it was. A step that runs out of memory by itself gets a second chance in the same way.

nipype looks at all nodes of a workflow each time one ends, and keeps all in memory. So a pass is run
in batches of units: a thousand participants cost no more memory, and no more time each, than ten.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from nipype import config
from nipype.pipeline import plugins
from nipype.pipeline.engine import Workflow

from softseg_bids.app.batch import ask_for_resources, check_plugin, is_batch_system, runner_of
from softseg_bids.app.failures import KILLED, explain, unwritable_error
from softseg_bids.app.interfaces import FAILURE
from softseg_bids.app.plugins import InOrder, Several
from softseg_bids.app.progress import Progress, Unit
from softseg_bids.app.settings import Settings
from softseg_bids.image.volume import DataError

POLL_S = 0.1
# Units of one workflow: enough that no process waits long for the last ones, and few enough that
# looking at all their nodes takes milliseconds. Batch systems plan better the more they are given.
LEAST_UNITS = 64
UNITS_A_PROCESS = 16
UNITS_OF_JOBS = 512


class Engine(NamedTuple):
    """A nipype plugin: its name and arguments."""

    plugin: str
    arguments: dict[str, Any]


class QuietLog(logging.FileHandler):
    """A log that gives up silently: where a disk is full, every line would become a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore that a line could not be written."""


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
    handler = QuietLog(logs / "nipype.log", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    logger.addHandler(handler)


def engine_of(settings: Settings) -> Engine:
    """The plugin asked for; by default MultiProc, or this very process for ``--nprocs 1``.

    Raises
    ------
    DataError
        If the plugin file is malformed, or names a plugin that is not nipype's or cannot be followed.
    """
    if settings.plugin is None:
        return Engine("MultiProc" if settings.nprocs > 1 else "Linear", _multiproc(settings, settings.nprocs))
    try:
        content = yaml.safe_load(settings.plugin.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{settings.plugin}: cannot be read as YAML ({error}); correct it") from error
    name = content.get("plugin") if isinstance(content, dict) else None
    arguments = content.get("plugin_args") or {} if isinstance(content, dict) else {}
    if not isinstance(name, str) or not hasattr(plugins, f"{name}Plugin") or not isinstance(arguments, dict):
        raise DataError(
            f"{settings.plugin}: names no nipype plugin; write `plugin: SLURM` and `plugin_args: {{...}}`"
        )
    check_plugin(name, settings.work, settings.out)
    if "n_procs" in arguments:
        arguments = arguments | {"n_procs": _processes(arguments["n_procs"], settings)}
    defaults = _multiproc(settings, settings.nprocs) if name == "MultiProc" else {}
    return Engine(name, defaults | arguments)


def _processes(asked: Any, settings: Settings) -> int:
    """How many processes a plugin file asks for, but no more than are granted."""
    if not isinstance(asked, int) or isinstance(asked, bool) or asked < 1:
        raise DataError(f"{settings.plugin}: n_procs is {asked!r}; write a whole number of at least 1")
    return min(asked, settings.nprocs)


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
    while names := progress.in_state("waiting")[: units_at_once(engine)]:
        _run_batch(names, assemble, engine, progress, settings, work, logs)
        left = not set(names).isdisjoint(progress.in_state("waiting"))
        if left or (settings.stop_on_first_crash and progress.in_state("failed")):
            break
    progress.close()


def units_at_once(engine: Engine) -> int:
    """How many units make one workflow."""
    if is_batch_system(engine.plugin):
        return UNITS_OF_JOBS
    return max(LEAST_UNITS, UNITS_A_PROCESS * int(engine.arguments.get("n_procs", 1)))


def _run_batch(
    names: list[str],
    assemble: Callable[[list[str]], Workflow],
    engine: Engine,
    progress: Progress,
    settings: Settings,
    work: Path,
    logs: Path,
) -> None:
    """Run some units; the next batch begins with all processes again."""
    traces: dict[str, str] = {}
    while waiting := [name for name in names if progress.units[name].state == "waiting"]:
        try:
            _run(assemble(waiting), engine, progress, traces, logs)
        except BrokenProcessPool:
            engine = _resume(engine, settings, progress)
            continue
        except OSError as error:
            _give_up(progress, error)
        except Exception:
            if not progress.in_state("failed"):
                raise
        finally:
            _explain(progress, work, logs, traces)
        if not _again(engine, progress, names):
            break
        engine = Engine("MultiProc", _multiproc(settings, 1))


def _run(workflow: Workflow, engine: Engine, progress: Progress, traces: dict[str, str], logs: Path) -> None:
    """Run a workflow; ``traces`` gets the traceback of each step that failed, by its full name."""

    def follow(node: Any, status: str) -> None:
        name, step = node.fullname.split(".")[-2:]
        progress.event(name, step, status)

    arguments = engine.arguments | {"status_callback": follow}
    runner: Any
    if is_batch_system(engine.plugin):
        runner = runner_of(engine.plugin, ask_for_resources(workflow, engine.plugin, arguments, logs))
    elif engine.plugin in ("MultiProc", "Linear"):
        runner = (Several if engine.plugin == "MultiProc" else InOrder)(arguments)
    else:
        workflow.run(plugin=engine.plugin, plugin_args=arguments)
        return
    try:
        workflow.run(plugin=runner)
    finally:
        runner.close()
        traces.update(runner.traces)


def _resume(engine: Engine, settings: Settings, progress: Progress) -> Engine:
    """The engine to go on with after a worker was killed; who was killed alone has failed.

    Nobody else: nipype does the first steps of all units before the second of any, so that most of
    them have begun and are between two steps.
    """
    running = progress.in_state("running")
    if engine.arguments.get("n_procs") == 1:
        at_work = [name for name in running if progress.units[name].under_way]
        for name in (at_work or running or progress.in_state("waiting"))[:1]:
            unit = progress.units[name]
            unit.reason, unit.kind, unit.failed_step = KILLED, "killed", next(iter(unit.under_way), "")
            progress.finish(name, "failed")
    for name in progress.in_state("running"):
        unit = progress.units[name]
        unit.state = "waiting"
        unit.finished.clear()
        unit.under_way.clear()
    logging.getLogger("softseg").warning("a worker process was killed; going on with one process")
    return Engine("MultiProc", _multiproc(settings, 1))


def _again(engine: Engine, progress: Progress, names: list[str]) -> bool:
    """Whether units that ran out of memory beside others wait for a second chance alone."""
    starved = [name for name in names if progress.units[name].kind == "memory"]
    if engine.plugin != "MultiProc" or engine.arguments.get("n_procs") == 1 or not starved:
        return False
    for name in starved:
        progress.units[name] = Unit(progress.units[name].label, progress.units[name].steps)
    logging.getLogger("softseg").warning("memory ran out; going on with one process")
    return True


def _give_up(progress: Progress, error: OSError) -> None:
    """The folders of the pass cannot be written: nothing that has not ended can."""
    for name in progress.in_state("waiting", "running"):
        progress.units[name].reason = unwritable_error(error)
        progress.units[name].kind = "output"
        progress.finish(name, "failed")


def _multiproc(settings: Settings, processes: int) -> dict[str, Any]:
    return {
        "n_procs": processes,
        "memory_gb": settings.mem_gb,
        "raise_insufficient": False,
        # A forked copy of a process that has used torch dead-locks.
        "mp_context": "forkserver",
    }


def _explain(progress: Progress, work: Path, logs: Path, traces: Mapping[str, str]) -> None:
    """Find the reason of each failure: the note of its step, its traceback, and the crash file of nipype."""
    crashes = {_node_of(path): path for path in sorted(logs.glob("crash-*.txt"))}
    for name in progress.in_state("failed"):
        unit = progress.units[name]
        if unit.reason:
            continue
        node = f"{work.name}.{name}.{unit.failed_step}"
        crash = crashes.get(node)
        trace = traces.get(node) or (crash.read_text(encoding="utf-8", errors="replace") if crash else "")
        note = _note(work / name / unit.failed_step / FAILURE) if unit.failed_step else None
        unit.reason, unit.kind = explain(note, trace, unit.failed_step)
        if crash is None:
            continue
        if unit.kind == "unexpected":
            unit.crash = str(crash)
            unit.reason += f" (unexpected; please report it with {crash})"
        else:
            crash.unlink(missing_ok=True)  # the reason says it all; a traceback would hide it


def _note(path: Path) -> dict[str, Any] | None:
    """What a step could write about its failure; None where it could not, or only in part."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _node_of(crash: Path) -> str:
    first = crash.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]
    return first.removeprefix("Node: ").strip()
