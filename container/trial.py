"""Both images tried on the demo data, under every condition, and compared with a plain run."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from container import apptainer
from container.apptainer import Apptainer
from container.compare import differences, foreign
from container.conditions import OPEN, PROBED, RESTRICTED, STRANGER, Mounts
from container.context import revision, snapshot, source, torch_index
from container.expectations import expect_code, expect_nothing, listening, say, timed
from container.podman import Podman
from container.processes import Failed, Late, Unavailable, run, within

# The same for the plain run and all others, so that nothing depends on what each is granted.
OPTIONS = ("--nprocs", "2", "--omp-nthreads", "1")
PARTICIPANT, GROUP = ("/data", "/out", "participant", *OPTIONS), ("/data", "/out", "group")
PROBE = ("-I", "-B", "/probe/probe.py")
MOST_GB = 1.5
UNKNOWN_PARTICIPANT = 18
BUILD_S = 1200  # what a build may take; beyond it the machine or its network is too slow to judge by
# A run in an image may take this, and so many times as long as the plain one; beyond it, it hangs.
RUN_S, TIMES_PLAIN = 900, 5
Result = TypeVar("Result")
DEMO = """
import sys; from pathlib import Path
from softseg_bids.app.demo import PEOPLE, write_dataset
write_dataset(Path(sys.argv[1]), PEOPLE[-int(sys.argv[2]):])
"""


class Enough(Exception):
    """There is no time left to begin the step that is named."""


class Trial:
    """Demo data and a plain run on it; then each engine.

    Parameters
    ----------
    work : Path
        An empty folder for all that is made.
    participants : int
        How many of the demo's people.
    minutes : float
        When these are over no further step is begun.
    """

    def __init__(self, work: Path, participants: int, minutes: float = float("inf")) -> None:
        self.work = work
        self.last_begin = time.monotonic() + 60 * minutes
        self.context = snapshot(work / "context")
        self.data, self.plain, self.empty = (work / name for name in ("bids", "plain/softseg", "empty"))
        self.empty.mkdir()
        self.probe = ((self.context / "container", "/probe"),)
        self.torch_index = torch_index()
        self.facts = {"REVISION": revision(), "SOURCE": source()}
        timed("demo data", self._python, "-c", DEMO, self.data, participants)
        start = time.monotonic()
        timed("plain run", self._plain)
        self.run_s = RUN_S + TIMES_PLAIN * (time.monotonic() - start)
        self.archive: Path | None = None

    def podman(self, engine: Podman) -> None:
        """Build the Dockerfile's image and try it."""
        engine.set_up()
        origin, self.archive = timed("base image", engine.base)
        say(f"the base is {origin}")
        with self._out(STRANGER) as out:
            timed("a trivial image", engine.try_out, RESTRICTED[1], Mounts(self.empty, out))
        self._build("build, Dockerfile", engine.build, self.context, self.torch_index, self.facts)
        self._size("image", engine.size_gb())
        self._labels(json.dumps(engine.labels()))
        self._step("restrictions", self._probes, engine)
        self._step("modules from outside", self._leaks, engine)
        for condition in RESTRICTED:
            with self._out(condition.uid) as out:
                seen, alone = Mounts(self.data, out), Mounts(self.empty, out)
                self._step(f"participant, {condition.name}", engine.app, condition, seen, PARTICIPANT)
                self._step(f"group, {condition.name}", engine.app, condition, alone, GROUP)
                self._judge(out, condition.uid)
        unknown = ("/data", "/out", "participant", "--participant-label", "nobody")
        with self._out(STRANGER) as out:
            asked = (RESTRICTED[1], Mounts(self.data, out), unknown)
            self._step("an unknown participant", expect_code, UNKNOWN_PARTICIPANT, engine.app, *asked)

    def apptainer(self, engine: Apptainer) -> None:
        """Build Singularity.def's image and try it, where Apptainer can be installed."""
        assert self.archive is not None
        self._begin("Apptainer in a tree of Debian")
        try:
            with within(BUILD_S):
                timed("Apptainer in a tree of Debian", engine.set_up)
        except (Unavailable, Failed) as failure:
            say(f"SKIPPED: Apptainer cannot be installed here: {failure}")
            return
        sources = (self.context, self.archive, self.torch_index, self.facts)
        try:
            self._build("build, Singularity.def", engine.build, *sources)
        except Unavailable as lack:
            say(f"SKIPPED: {lack}")
            return
        self._size("SIF" if engine.sif else "sandbox", engine.size_gb())
        self._labels(engine.labels())
        self._step("%test", engine.test)
        for uid in (apptainer.UID, 0):
            with self._out(uid) as out:
                seen, alone = Mounts(self.data, out), Mounts(self.empty, out)
                who = f"Apptainer, as user {uid}"
                self._step(f"restrictions, {who}", self._apptainer_probes, engine, uid, out)
                self._step(f"participant, {who}", engine.app, uid, seen, PARTICIPANT)
                self._step(f"group, {who}", engine.app, uid, alone, GROUP)
                self._judge(out, uid)

    def _begin(self, what: str) -> None:
        if time.monotonic() > self.last_begin:
            raise Enough(what)

    def _step(self, what: str, call: Callable[..., Result], *arguments: object) -> Result:
        """Try something; whatever hangs has failed."""
        self._begin(what)
        with within(self.run_s):
            return timed(what, call, *arguments)

    def _build(self, what: str, call: Callable[..., None], *arguments: object) -> None:
        """Build an image; a machine that is too slow for that is no fault of the image."""
        self._begin(what)
        try:
            with within(BUILD_S):
                timed(what, call, *arguments)
        except Late as late:
            raise Unavailable(f"{what}: not done after {BUILD_S // 60} minutes") from late

    def _plain(self) -> None:
        for level in ("participant", "group"):
            self._python("run.py", self.data, self.plain, level, *OPTIONS)

    def _python(self, *words: object) -> str:
        return run([sys.executable, *words], {"OMP_NUM_THREADS": "1"}, self.context)

    def _size(self, what: str, size_gb: float) -> None:
        say(f"size of the {what}: {size_gb:.2f} GB")
        if what == "image" and size_gb > MOST_GB:
            raise Failed(f"the image is larger than {MOST_GB} GB")

    def _labels(self, text: str) -> None:
        version = (self.context / "version").read_text().strip()
        labels = {"version": version, "title": "softseg", "licenses": "MIT"}
        labels |= {key.lower(): value for key, value in self.facts.items()}
        for key, value in labels.items():
            label = f"org.opencontainers.image.{key}"
            if not re.search(rf'{re.escape(label)}"?: "?{re.escape(value)}', text):
                raise Failed(f"label {label} is not {value}:\n{text}")

    def _probes(self, engine: Podman) -> None:
        """Each restriction holds; and the same probes without restrictions find that none does."""
        with listening() as port, self._out(STRANGER) as out:
            mounts = Mounts(self.empty, out, self.probe)
            words = (*PROBE, port, *PROBED)
            free = json.loads(engine.python(OPEN, mounts, words).splitlines()[-1])
            expect_nothing("without restrictions", OPEN.wrong(free))
            for condition in RESTRICTED:
                os.chown(out, condition.uid, condition.uid)
                found = json.loads(engine.python(condition, mounts, words).splitlines()[-1])
                expect_nothing(condition.name, condition.wrong(found))
                if len(condition.wrong(free)) < 3:
                    raise Failed(f"{condition.name}: the probes do not see what is not restricted")
        say("restrictions hold, and the probes see where they do not")

    def _leaks(self, engine: Podman) -> None:
        """No Python module of the machine outside gets in, though PYTHONPATH names its folder."""
        folder = self.work / "foreign"
        folder.mkdir()
        (folder / "argparse.py").write_text("raise SystemExit('leaked')\n")
        with self._out(STRANGER) as out:
            mounts = Mounts(self.empty, out, ((folder, "/foreign"),))
            leaky = ("PYTHONPATH=/foreign",)
            engine.python(RESTRICTED[1], mounts, ("-I", "-B", "/run.py", "--version"), leaky)
            expect_code(1, engine.python, RESTRICTED[1], mounts, ("/run.py", "--version"), leaky)

    def _apptainer_probes(self, engine: Apptainer, uid: int, out: Path) -> None:
        mounts = Mounts(self.empty, out, self.probe)
        with listening() as port:
            words = (*PROBE, port, "/", "/opt/softseg", "/data", "/out")
            found = json.loads(engine.python(uid, mounts, words).splitlines()[-1])
            free = json.loads(engine.python(uid, mounts, words, ("--containall",)).splitlines()[-1])
        if (found["uid"], found["network"], found["writable"]) != (uid, False, ["/out"]):
            raise Failed(f"Apptainer as user {uid}: {found}")
        if not free["network"]:
            raise Failed("the probe does not see the network where it is there")

    @contextmanager
    def _out(self, uid: int) -> Iterator[Path]:
        """A new output folder that belongs to a user."""
        above = Path(tempfile.mkdtemp(dir=self.work, prefix="out-"))
        above.chmod(0o711)
        out = above / "softseg"
        out.mkdir()
        os.chown(out, uid, uid)
        yield out
        shutil.rmtree(above)

    def _judge(self, out: Path, uid: int) -> None:
        expect_nothing("owners of the results", foreign(out, uid, uid))
        expect_nothing("compared with the plain run", differences(self.plain, out))
        say("  the results are the caller's, and equal those of the plain run")
