"""Two of nipype's plugins, made to survive what goes wrong around them.

Neither ends because a crash file cannot be written; both keep the tracebacks. The workers of the
pool end with the process that started them, and a killed one is told instead of waited for.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import traceback
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import Any

from nipype.pipeline import plugins
from nipype.pipeline.engine.utils import topological_sort
from nipype.pipeline.plugins.base import PluginBase
from nipype.pipeline.plugins.tools import report_crash

from softseg_bids.app.interruption import heeding


class InOrder(PluginBase):  # type: ignore[misc]
    """One node after the other in this process; what depends on a failed one is left out."""

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self.traces: dict[str, str] = {}

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run the nodes of a graph."""
        stops = config["execution"]["stop_on_first_crash"] == "true"
        lost: set[Any] = set()
        for node in topological_sort(graph)[0]:
            if node in lost or (stops and self.traces):
                lost.update(graph.successors(node))
                continue
            self._status_callback(node, "start")
            try:
                with heeding():  # an interrupted node has not failed
                    node.run(updatehash=updatehash)
            except Exception:
                lost.update(graph.successors(node))
                self.traces[node.fullname] = traceback.format_exc()
                with contextlib.suppress(OSError):
                    report_crash(node)
                self._status_callback(node, "exception")
            else:
                self._status_callback(node, "end")

    def close(self) -> None:
        """Nothing to let go of."""


class Several(plugins.MultiProcPlugin):  # type: ignore[misc]
    """Nodes in a pool of processes; raises BrokenProcessPool when one was killed."""

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self.traces: dict[str, str] = {}
        self.broken: BrokenProcessPool | None = None
        context = multiprocessing.get_context(self.plugin_args["mp_context"])
        # nipype's own pool has not started a process yet.
        self.pool = ProcessPoolExecutor(
            self.processors, mp_context=context, initializer=begin_worker, initargs=(self._cwd,)
        )
        ignore_keyboard()

    def close(self) -> None:
        """Kill what is still at work: after an interruption nobody waits for its result."""
        for process in list((self.pool._processes or {}).values()):
            process.kill()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        number: int = self._taskid
        future = self.pool.submit(run_node, node, updatehash, number)
        future.add_done_callback(functools.partial(self._ended, number))
        self._task_obj[number] = future
        return number

    def _ended(self, number: int, future: Future[dict[str, Any]]) -> None:
        # A result that never comes is waited for for ever, so every end has to be one.
        try:
            self._taskresult[number] = future.result()
        except BrokenProcessPool as error:
            self.broken = error
        except Exception:
            trace = traceback.format_exc().splitlines(keepends=True)
            self._taskresult[number] = {"result": None, "traceback": trace, "taskid": number}

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        if self.broken is not None:
            raise self.broken
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)

    def _report_crash(self, node: Any, result: Any = None) -> Any:
        self.traces[node.fullname] = "".join(result["traceback"]) if result else ""
        with contextlib.suppress(OSError):
            return super()._report_crash(node, result)
        return None


def run_node(node: Any, updatehash: bool, number: int) -> dict[str, Any]:
    """Run a node in a worker; whatever goes wrong is part of the result.

    nipype's own function asks a failed node for its result, and raises where that could not be written.
    """
    result: dict[str, Any] = {"result": None, "traceback": None, "taskid": number}
    try:
        result["result"] = node.run(updatehash=updatehash)
    except Exception:
        result["traceback"] = traceback.format_exc().splitlines(keepends=True)
        with contextlib.suppress(Exception):
            result["result"] = node.result
    return result


def ignore_keyboard() -> None:
    """Start the server that forks workers so that a Ctrl-C reaches only this process.

    A terminal sends it to all; this one ends the others. A signal that arrives meanwhile waits.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(folder: str) -> None:
    """Make a worker ready: in the run's folder, and ending as soon as the run's main process does."""
    os.chdir(folder)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    # A worker whose parent was killed waits for work for ever, or goes on writing beside the next run.
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
